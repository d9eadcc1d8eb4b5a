"""Results as JSON, as a table and as a plot."""

import contextlib
import dataclasses
import json
import os
import platform

from rounds import ratios, spread


@dataclasses.dataclass
class Result:
    """What one comparison found: by name of the contender the values of its rounds."""

    title: str
    metric: str
    rounds: dict
    prepared: dict = dataclasses.field(default_factory=dict)
    failures: dict = dataclasses.field(default_factory=dict)
    notes: list = dataclasses.field(default_factory=list)
    lower_is_better: bool = False
    # Other metrics, and their quotients with this one.
    also: dict = dataclasses.field(default_factory=dict)

    def as_dict(self):
        return {
            **dataclasses.asdict(self),
            "spread": {name: spread(values) for name, values in self.rounds.items()},
            "ratios": ratios(self.rounds, self.lower_is_better),
        }


def describe(result):
    """Yields the lines of a Markdown table, the best first."""
    names = sorted(
        result.rounds,
        key=lambda name: spread(result.rounds[name])["median"],
        reverse=not result.lower_is_better,
    )
    yield f"### {result.title}"
    yield ""
    if names:
        first = next(iter(result.rounds))
        pairs = ratios(result.rounds, result.lower_is_better)[first]
        heads = [
            "",
            result.metric,
            "min–max",
            *result.also,
            f"{first} is … times as good",
            "min–max",
            "build, s",
            "first call, s",
        ]
        yield f"|{' | '.join(heads)} |"
        yield f"|{' --- |' * len(heads)}"
        for name in names:
            values = spread(result.rounds[name])
            cells = [name, *_cells(values)]
            cells += [number(values["median"] * by) for by in result.also.values()]
            cells += _cells(pairs[name]) if name in pairs else ["", ""]
            ready = result.prepared.get(name, {})
            for key in ("build", "first"):
                cells.append(number(ready[key]) if key in ready else "")
            yield f"| {' | '.join(cells)} |"
        yield ""
    for note in result.notes:
        yield f"- {note}"
    for name, failure in result.failures.items():
        yield f"- {name} FAILED: {failure.strip().splitlines()[-1]}"
    yield ""


def _cells(values):
    return number(values["median"]), f"{number(values['min'])}–{number(values['max'])}"


def number(value):
    """Three significant digits, and no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.5f}"


def write(folder, task, results):
    """Writes `TASK.json`, `TASK.md` and `TASK.png`; returns their paths."""
    table = [f"## {task}", "", machine(), ""]
    for result in results:
        table += describe(result)
    found = {"machine": machine(), "results": [result.as_dict() for result in results]}
    paths = [folder / f"{task}.{suffix}" for suffix in ("json", "md", "png")]
    with whole_file(paths[0]) as path:
        path.write_text(json.dumps(found, indent=1), "utf-8")
    with whole_file(paths[1]) as path:
        path.write_text("\n".join(table), "utf-8")
    drawn = [result for result in results if result.rounds]
    if not drawn:
        return paths[:2]
    with whole_file(paths[2]) as path:
        plot(path, drawn)
    return paths


def machine():
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        names = [line.split(":")[1].strip() for line in lines if "model name" in line]
        model = names[0] if names else model
    return f"{len(os.sched_getaffinity(0))} cores of {model}"


@contextlib.contextmanager
def whole_file(path):
    """Gives a path to write, which takes the place of `path` once all is written."""
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def plot(path, results):
    """Bars of the medians, with lines from the least to the greatest."""
    import matplotlib.figure

    counts = [len(result.rounds) for result in results]
    figure = matplotlib.figure.Figure((8, 0.9 * len(results) + 0.3 * sum(counts)))
    axes = figure.subplots(len(results), squeeze=False, height_ratios=counts)[:, 0]
    for axis, result in zip(axes, results, strict=True):
        names = [*result.rounds][::-1]
        spreads = [spread(result.rounds[name]) for name in names]
        medians = [values["median"] for values in spreads]
        below = [values["median"] - values["min"] for values in spreads]
        above = [values["max"] - values["median"] for values in spreads]
        colours = ["C0" if name.startswith("ours") else "C7" for name in names]
        axis.barh(names, medians, xerr=[below, above], color=colours)
        axis.set_title(result.title, fontsize="medium")
        less = " (less is better)" if result.lower_is_better else ""
        axis.set_xlabel(result.metric + less)
        axis.tick_params(axis="y", labelsize="small")
    figure.tight_layout()
    figure.savefig(path, format="png", dpi=120)
