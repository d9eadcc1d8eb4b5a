"""Seconds and memory to load a checkpoint and read it once, beside transformers."""

import pathlib

import numpy as np
from comparisons import starters
from report import Result
from rounds import Worker, take_turns

SMALL = {"vocabulary_size": 50, "hidden_dim": 16, "num_layers": 1}
# 302 million parameters.
LARGE = {"vocabulary_size": 64_000, "hidden_dim": 1024, "num_layers": 8}


def loading(options):
    small = _made(options, "small", SMALL)
    folder = options.checkpoint or _made(options, "large", LARGE)
    files = [*pathlib.Path(folder).glob("*.safetensors")]
    megabytes = sum(file.stat().st_size for file in files) / 2**20
    title = f"loading, {pathlib.Path(folder).name}, {megabytes:,.0f} MB of weights"
    print(title, flush=True)
    order = {"task": "loading", "folder": str(folder), "small": str(small)}
    prepared, answers, failures = take_turns(
        starters(options, order, fresh=True), options.rounds, same_weights()
    )
    notes = [
        f"{name}: {x['after']:.0f} MB more once it is loaded and read, which took "
        f"{x['reading']:.1f} s"
        for name, x in prepared.items()
    ]

    def result(metric, key, divisor):
        rounds = {name: [x[key] / divisor for x in xs] for name, xs in answers.items()}
        return Result(
            title,
            metric,
            rounds,
            failures=failures,
            notes=notes,
            lower_is_better=True,
        )

    yield result("seconds", "seconds", 1)
    yield result("times the weights, at the peak", "peak", megabytes)


def _made(options, name, sizes):
    folder = (options.output / "checkpoints" / name).resolve()
    if not (folder / "config.json").is_file():
        log = options.output / "logs" / f"checkpoint-{name}.log"
        order = {"task": "checkpoint", "folder": str(folder), "sizes": sizes}
        worker = Worker(order, "numpy", log)
        worker.prepare()
        worker.close()
    return folder


def same_weights():
    """Returns a check that all have loaded the same, but for the order of a sum."""
    known = []

    def check(name, answer):
        known.append(answer["checksum"])
        if not np.isclose(known[0], known[-1], rtol=1e-6):
            raise ValueError(f"other weights: they sum up to {known[-1]}, {known[0]}")

    return check
