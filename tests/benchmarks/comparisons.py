"""What each task compares: orders for the workers, checks, and values of rounds."""

import dataclasses
import functools
import json
import os
import subprocess
import sys

import batches
import numpy as np
import reference
from report import Result
from rounds import HERE, ROOT, FreshWorkers, Worker, WorkerFailed, take_turns
from sizes import SIZES, draw_source, draw_weights, operations

DROPOUT = 0.1
# Of the largest deviation from the loss in double precision.
LOSS_TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2}
MEMORY_VOCABULARY = 32_000


def starters(options, order, fresh=False, **of_each):
    """By name of the contender a function that starts its worker."""
    logs = options.output / "logs"
    kind = FreshWorkers if fresh else Worker
    return {
        name: functools.partial(
            kind,
            {
                **order,
                "module": contender.module,
                "variant": contender.variant,
                **{key: give(name) for key, give in of_each.items()},
            },
            contender.backend,
            logs / f"{name.replace('/', '_')}.log",
            contender.checkout,
            contender.without,
        )
        for name, contender in options.contenders.items()
    }


def sizes(options):
    return [dataclasses.replace(SIZES[x], dtype=options.dtype) for x in options.sizes]


def measured_peak(options):
    """Returns the operations a second of matrix products here, None without torch."""
    log = options.output / "logs" / "peak.log"
    worker = Worker({"task": "peak", "dtype": options.dtype}, "numpy", log)
    try:
        return worker.prepare()["operations"]
    except WorkerFailed:
        return None
    finally:
        worker.close()


def decoding(options):
    options.peak = measured_peak(options)
    for size in sizes(options):
        weights = draw_weights(size, decisive=True)
        for batch in options.batches:
            for beams in options.beams:
                yield _decoding(options, size, weights, batch, beams)


def _decoding(options, size, weights, batch, beams):
    way = "greedy" if beams == 1 else f"{beams} beams"
    title = f"decoding, {described(size)}, batch {batch}, {way}"
    print(title, flush=True)
    source = draw_source(size, batch)
    check, notes = same_ids(options, size, weights, source)
    order = {
        "task": "decoding",
        "size": dataclasses.asdict(size),
        "batch": batch,
        "beams": beams,
        "length": options.new_tokens,
        "seconds": options.seconds,
    }
    prepared, answers, failures = take_turns(
        starters(options, order), options.rounds, check
    )
    amount = batch * options.new_tokens
    needed = batch * operations(size, source.shape[1], options.new_tokens, beams)
    return Result(
        title,
        "new tokens/s",
        {name: [amount / x["seconds"] for x in xs] for name, xs in answers.items()},
        prepared,
        failures,
        notes,
        also=share_of_peak(options, needed / amount),
    )


def described(size):
    return size.name if size.dtype == "float32" else f"{size.name}, {size.dtype}"


def share_of_peak(options, operations_each):
    """The share of the machine's peak as another metric, by that of the result."""
    if not options.peak:
        return {}
    return {"of the peak, %": 100 * operations_each / options.peak}


def same_ids(options, size, weights, source):
    """Returns a check that the contenders generate the same, and its notes."""
    known, notes = {}, []

    def check(name, answer):
        ids = np.array(answer.pop("ids"))
        exact = options.contenders[name].exact and size.dtype == "float32"
        if not known and options.contenders[name].exact:
            rows = len(np.unique(ids, axis=0))
            notes.append(f"{rows} different sequences of {len(ids)}, by {name}")
            known[name] = ids
            return
        for other, others in known.items():
            same = np.mean(ids == others) if ids.shape == others.shape else 0.0
            notes.append(f"{name}: {same:.2%} of the ids are those of {other}")
            found = exact and reference.difference(size, weights, source, ids, others)
            if found:
                raise ValueError(f"other ids than {other}: {found}")

    return check, notes


def training(options):
    options.peak = measured_peak(options)
    for size in sizes(options):
        for kind in options.kinds:
            result = _training(options, size, kind)
            if result is not None:
                yield result


def _training(options, size, kind):
    path = options.output / f"{size.name}-{kind}.npz"
    if kind == "full":
        shape = f"{options.rows} × {options.row_tokens}"
        title = f"training, {described(size)}, {shape} ids"
        _write_full(path, options, size.vocabulary_size, options.steps)
        kinds = dict.fromkeys(options.contenders, "full")
    else:
        title = f"training, {described(size)}, Multi30k"
        if not batches.CORPUS.is_dir():
            print(f"Skipped {title}: it needs the corpus in {batches.CORPUS}.")
            return None
        _write_real(path, options, size)
        kinds = {
            name: "buckets" if contender.buckets else "padded"
            for name, contender in options.contenders.items()
        }
    print(title, flush=True)
    order = {
        "task": "training",
        "size": dataclasses.asdict(size),
        "batches": str(path),
        "dropout": DROPOUT,
    }
    prepared, answers, failures = take_turns(
        starters(options, order, kind=kinds.get),
        options.rounds,
        same_loss(size, batches.check_batch(size.vocabulary_size)),
    )
    notes = []
    for used in dict.fromkeys(kinds.values()):
        found = batches.read_batches(path, used)[0]
        sentences, tokens, padding = batches.count(found)
        # A backward pass needs twice as many as a forward pass.
        pairs = zip(*batches.sentences_of(found), strict=True)
        needed = 3 * sum(operations(size, len(x), len(y)) for x, y in pairs)
        notes.append(
            f"{used}: {sentences} sentences with {tokens} target tokens in "
            f"{len(found)} steps of {len({x[0].shape + x[1].shape for x in found})} "
            f"shapes, {padding:.0%} padding"
        )
    return Result(
        title,
        "target tokens/s",
        {name: [tokens / x["seconds"] for x in xs] for name, xs in answers.items()},
        prepared,
        failures,
        notes,
        also={
            "sentences/s": sentences / tokens,
            **share_of_peak(options, needed / tokens),
        },
    )


def _write_full(path, options, vocabulary_size, steps):
    shape = options.rows, options.row_tokens
    kinds = {
        "full": batches.full_batches(vocabulary_size, steps, *shape),
        "check": [batches.check_batch(vocabulary_size)],
    }
    batches.write_batches(path, kinds)


def _write_real(path, options, size):
    # In a process of its own, for it needs TensorFlow.
    order = {
        "path": str(path),
        "vocabulary_size": size.vocabulary_size,
        "sentences": options.sentences,
        "steps": options.steps,
    }
    found = subprocess.run(
        [sys.executable, str(HERE / "batches.py"), json.dumps(order)],
        env={
            **os.environ,
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise RuntimeError(f"There are no batches of Multi30k:\n{found.stderr[-2000:]}")


def same_loss(size, batch):
    """Returns a check that the contenders compute the loss, before they train."""
    weights = draw_weights(size, decisive=False)
    expected = reference.loss(size, weights, batch)

    def check(name, answer):
        apart = abs(answer["loss"] - expected) / expected
        if not apart < LOSS_TOLERANCE[size.dtype]:
            raise ValueError(f"a loss of {answer['loss']:.6f}, and not {expected:.6f}")

    return check


def memory(options):
    for size in sizes(options):
        size = dataclasses.replace(size, vocabulary_size=MEMORY_VOCABULARY)
        path = options.output / f"{size.name}-memory.npz"
        _write_full(path, options, size.vocabulary_size, 4)
        title = (
            f"memory, {described(size)}, {MEMORY_VOCABULARY:,} ids, "
            f"{options.rows} × {options.row_tokens}"
        )
        print(title, flush=True)
        order = {
            "task": "memory",
            "size": dataclasses.asdict(size),
            "batches": str(path),
            "kind": "full",
            "dropout": DROPOUT,
        }
        # The first answer is all: there are no rounds in a process that has peaked.
        found, values, failures = {}, {}, {}
        for contender, start in starters(options, order, fresh=True).items():
            one, answers, failed = take_turns({contender: start}, options.rounds - 1)
            failures.update(failed)
            if answers:
                found.update(one)
                rounds = [one[contender], *answers[contender]]
                values[contender] = [answer["megabytes"] for answer in rounds]
        yield Result(
            title,
            "MB above those of the built model",
            values,
            failures=failures,
            notes=[f"{x}: {y['before']:.0f} MB when built" for x, y in found.items()],
            lower_is_better=True,
        )


def cold_start(options):
    yield from _imports(options)
    for size in sizes(options):
        yield _first_tokens(options, size)


def _imports(options):
    logs = options.output / "logs"
    for backend in dict.fromkeys(c.backend for c in options.contenders.values()):
        title = f"import under {backend}"
        print(title, flush=True)
        begin = {
            f"import {module}": functools.partial(
                FreshWorkers,
                {"task": "importing", "module": module},
                backend,
                logs / f"import-{module}-{backend}.log",
            )
            for module in ("keras_encdec", "keras")
        }
        _, answers, failures = take_turns(begin, options.rounds)
        yield Result(
            title,
            "seconds",
            {name: [x["seconds"] for x in xs] for name, xs in answers.items()},
            failures=failures,
            lower_is_better=True,
        )


def _first_tokens(options, size):
    title = f"from the start of Python to the first token, {described(size)}"
    print(title, flush=True)

    def folder(name):
        name = f"{size.name}-{name.replace('/', '_')}"
        return str((options.output / "saved" / name).resolve())

    order = {"size": dataclasses.asdict(size), "batch": 1}
    for start in starters(options, {**order, "task": "saving"}, folder=folder).values():
        worker = start()
        worker.prepare()
        worker.close()
    weights = draw_weights(size, decisive=True)
    check, notes = same_ids(options, size, weights, draw_source(size, 1))
    order["task"] = "first-token"
    _, answers, failures = take_turns(
        starters(options, order, fresh=True, folder=folder), options.rounds, check
    )
    return Result(
        title,
        "seconds",
        {name: [x["wall"] for x in xs] for name, xs in answers.items()},
        failures=failures,
        notes=notes,
        lower_is_better=True,
    )


TASKS = {
    "decoding": decoding,
    "training": training,
    "memory": memory,
    "cold-start": cold_start,
}
