"""The process of one contender: `worker.py ORDER`, the order in JSON.

It prepares, answers a line of JSON, and answers another one for each line that it
reads, until there are no more. A task is a generator of these answers.
"""

import importlib
import json
import os
import pathlib
import sys
import time

# Whatever costs time to import is imported by the tasks, some of which measure it.

# Rounds' worth of work before the first one counts.
WARM_UP = 6


def main():
    order = json.loads(sys.argv[1])
    # What libraries print must not get among the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for answer in TASKS[order["task"]](order):
        answers.write(json.dumps(answer) + "\n")
        if not sys.stdin.readline():
            break


def decoding(order):
    size, module, source = _parts(order)
    start = time.perf_counter()
    decode = _module(module).make_decoder(
        order["variant"],
        size,
        _weights(size, decisive=True),
        source,
        order["beams"],
        order["length"],
    )
    built = time.perf_counter()
    ids = decode()
    first = time.perf_counter()
    yield {"build": built - start, "first": first - built, "ids": ids.tolist()}
    # What is compiled in several stages, or after a number of calls, is so now.
    _repeat(decode, WARM_UP * order["seconds"])
    while True:
        yield {"seconds": _repeat(decode, order["seconds"])}


def training(order):
    size, module, _ = _parts(order)
    from batches import read_batches

    batches, check = read_batches(order["batches"], order["kind"])
    start = time.perf_counter()
    trainer = _trainer(order, size, module)
    built = time.perf_counter()
    loss = trainer.loss(check)
    start_of_first = time.perf_counter()
    shapes = {}
    for batch in batches:
        shapes.setdefault(tuple(ids.shape for ids in batch), batch)
    trainer.train([*shapes.values()])
    first = time.perf_counter()
    yield {
        "build": built - start,
        "first": first - start_of_first,
        "loss": loss,
        "steps": len(batches),
    }
    trainer.train([*shapes.values()])
    while True:
        start = time.perf_counter()
        trainer.train(batches)
        yield {"seconds": time.perf_counter() - start}


def memory(order):
    size, module, _ = _parts(order)
    from batches import read_batches

    batches, _ = read_batches(order["batches"], order["kind"])
    trainer = _trainer(order, size, module)
    before = _status("VmRSS")
    # Forgets what importing and building needed at their peak.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    trainer.train(batches)
    yield {"before": before, "megabytes": _status("VmHWM") - before}


def peak(order):
    """Operations a second of large matrix products, the best of ten."""
    import torch
    from contenders.torch_training import DEVICE

    rows = 8192 if DEVICE == "cuda" else 2048
    a, b = torch.randn(2, rows, rows, device=DEVICE).to(getattr(torch, order["dtype"]))
    times = []
    for _ in range(10):
        start = time.perf_counter()
        # Its number waits until all is done.
        float((a @ b)[0, 0])
        times.append(time.perf_counter() - start)
    yield {"operations": 2 * rows**3 / min(times)}


def importing(order):
    start = time.perf_counter()
    importlib.import_module(order["module"])
    yield {"seconds": time.perf_counter() - start}


def saving(order):
    size, module, _ = _parts(order)
    folder = pathlib.Path(order["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    _module(module).save_model(size, _weights(size, decisive=True), folder)
    yield {}


def first_token(order):
    size, module, source = _parts(order)
    folder = pathlib.Path(order["folder"])
    decode = _module(module).load_decoder(size, source, 1, 1, folder)
    yield {"ids": decode().tolist()}


def checkpoint(order):
    from contenders.hugging_face import save_checkpoint

    save_checkpoint(pathlib.Path(order["folder"]), **order["sizes"])
    yield {}


def loading(order):
    load, checksum = _module(order["module"]).loader()
    # Of small ones, so that all is imported.
    load(order["small"])
    before = _status("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    model = load(order["folder"])
    loaded = time.perf_counter()
    # What is mapped from a file comes into memory when it is read.
    total = checksum(model)
    seconds = time.perf_counter() - start
    yield {
        "seconds": seconds,
        "reading": start + seconds - loaded,
        "peak": _status("VmHWM") - before,
        "after": _status("VmRSS") - before,
        "checksum": total,
    }


def translator(order):
    """Writes what the contender translates by, where that is not what ships."""
    save = getattr(_module(order["module"]), "save_translator", None)
    if save is not None:
        folder = pathlib.Path(order["folder"])
        folder.parent.mkdir(parents=True, exist_ok=True)
        save(order["variant"], order["saved"], folder, order["beams"], order["length"])
    yield {}


def translation(order):
    begun = time.perf_counter()
    translate, texts = _translating(order)
    start = time.perf_counter()
    found = translate(texts)
    first = time.perf_counter() - start
    yield {"build": start - begun, "first": first, "texts": found}
    # What is compiled in several stages, or after a number of calls, is so now.
    setting = _tuned(translate, lambda: translate(texts))
    translate(texts)
    while True:
        start = time.perf_counter()
        translate(texts)
        seconds = time.perf_counter() - start
        yield {"seconds": seconds, "megabytes": _status("VmHWM"), **setting}


def latency(order):
    translate, texts = _translating(order)

    def one_by_one():
        seconds = []
        for text in texts:
            start = time.perf_counter()
            found.extend(translate([text]))
            seconds.append(time.perf_counter() - start)
        return seconds

    found = []
    one_by_one()
    setting = _tuned(translate, one_by_one)
    yield {"texts": found[: len(texts)]}
    while True:
        yield {"seconds": one_by_one(), **setting}


def _tuned(translate, work):
    """Lets a contender that has several settings choose; returns what it chose."""
    if not hasattr(translate, "tune"):
        return {}
    translate.tune(work)
    return {"setting": translate.setting}


def _translating(order):
    from batches import read_sentences

    translate = _module(order["module"]).make_translator(
        order["variant"],
        order["saved"],
        order["folder"],
        order["beams"],
        order["length"],
    )
    return translate, read_sentences("test.2016.en", order["lines"])


TASKS = {
    task.__name__.replace("_", "-"): task
    for task in (
        *(decoding, training, memory, peak, importing, saving, first_token),
        *(checkpoint, loading, translator, translation, latency),
    )
}


def _repeat(function, seconds):
    """Calls a function until time is up; returns the seconds of a call."""
    times, start = 0, time.perf_counter()
    while not times or time.perf_counter() - start < seconds:
        function()
        times += 1
    return (time.perf_counter() - start) / times


def _parts(order):
    from sizes import Size, draw_source

    size = Size(**order["size"])
    return size, order["module"], draw_source(size, order.get("batch", 1))


def _module(name):
    return importlib.import_module(f"contenders.{name}")


def _weights(size, decisive):
    from sizes import draw_weights

    return draw_weights(size, decisive=decisive)


def _trainer(order, size, module):
    weights = _weights(size, decisive=False)
    return _module(module).make_trainer(
        order["variant"], size, weights, order["dropout"]
    )


def _status(name):
    """Returns a line of the process's status in MB."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(name)


if __name__ == "__main__":
    main()
