"""A page about a model: speed, curves, scores, worst and best texts, attention."""

import base64
import html
import io
import numbers
import pathlib
import time
from collections.abc import Sequence
from typing import NamedTuple

from keras_encdec.annotations import AnyPath
from keras_encdec.backend import running_backend
from keras_encdec.backend.environment import on_cpu
from keras_encdec.evaluation import Evaluation, check_evaluation, evaluate_texts
from keras_encdec.files import new_file
from keras_encdec.model_card import sizes_of
from keras_encdec.option_checks import require_number
from keras_encdec.plots import (
    Figure,
    plot_attention,
    plot_learning_curves,
    plot_lengths,
)
from keras_encdec.saved_parts import saved_folder
from keras_encdec.text import text_differences, worst_texts
from keras_encdec.text_to_text import TextToText

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark; --line: #8886; --gone: #e0525240;
    --new: #35a05540 }}
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: auto;
    padding: 1rem }}
  h2 {{ border-bottom: 1px solid var(--line); margin-top: 2.5rem }}
  pre {{ white-space: pre-wrap; overflow-wrap: anywhere; padding: .8rem;
    border: 1px solid var(--line) }}
  img {{ display: block; max-width: 100%; margin: 1rem 0; background: #fff }}
  dl {{ display: grid; grid-template-columns: 6.5rem 1fr; gap: .1rem .8rem;
    padding: .6rem 0; border-bottom: 1px solid var(--line); margin: 0 }}
  dt {{ opacity: .7 }}
  dd {{ margin: 0; overflow-wrap: anywhere }}
  del {{ background: var(--gone) }}
  ins {{ background: var(--new); text-decoration: none }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


class _Text(NamedTuple):
    """A source with what was generated, and the nearest true text."""

    source: str
    hypothesis: str
    reference: str
    error_rate: float


def write_report(
    text_to_text: TextToText,
    sources: Sequence[str],
    references: Sequence[str],
    path: AnyPath,
    *,
    hypotheses: Sequence[str] | None = None,
    run: AnyPath | None = None,
    title: str = "Report",
    number: int = 20,
    pictures: int = 3,
    timed: int = 64,
) -> Evaluation:
    """Writes one page of HTML about a model, with all of its pictures within.

    It tells sizes, speed, scores, lengths, the worst and the best texts beside the true
    ones with what differs marked, and where the model looked in some of the worst; of a
    training its curves and options too.

    Args:
        text_to_text: A `TextToText`.
        sources: The source texts, a list of `str`.
        references: The true texts, as many.
        path: The file to write; one that is there is replaced.
        hypotheses: The generated texts, as many; by default they are generated.
        run: The folder of the training, if its curves and options are to be told, and
            the bytes of its model; or that of a saved model.
        title: What stands above.
        number: How many of the worst, and of the best, to show at most.
        pictures: How many pictures of attention to show at most.
        timed: How many texts are generated once more, twice, of which the second pass
            tells the speed; 0 for none.

    Returns:
        The `Evaluation` that the page tells.

    Raises:
        ImportError: If matplotlib is missing.
        OSError: If the file cannot be written.
        TypeError: If texts are a single one.
        ValueError: If the numbers of texts differ, or there are none, or `timed` is no
            integer of at least 0.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, build
        from keras_encdec.report import write_report

        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
        text_to_text = build(ByteTokenizer(), ByteTokenizer(), max_length=4, **small)
        write_report(text_to_text, ["one", "two"], ["eno", "owt"], "report.html")
        ```
    """
    check_evaluation(sources, references, hypotheses)
    require_number(0, float("inf"), timed=timed)
    if not isinstance(timed, numbers.Integral):
        raise ValueError(
            f"timed must be an integer of at least 0; received timed={timed!r}. Give "
            "the number of texts to measure the speed on, or 0."
        )
    with new_file(path) as file:
        if hypotheses is None:
            hypotheses = text_to_text(sources)
        scores = evaluate_texts(sources, hypotheses, references)
        worst, best = _worst_and_best(sources, hypotheses, references, number)
        sections = [
            ("The model", _list([*sizes_of(text_to_text), *_bytes_on_disk(run)])),
            ("Speed", _list(_speed(text_to_text, sources[:timed]))),
            ("Scores", _code("\n".join(scores.report))),
            ("Curves", _curves(run)),
            ("Lengths", _picture(plot_lengths(hypotheses, references), "lengths")),
            ("The worst texts", "".join(map(_shown, worst)) or "<p>All are right.</p>"),
            ("The best texts", "".join(map(_shown, best))),
            (
                "Where it looked",
                "".join(
                    _picture(
                        plot_attention(text_to_text, text.source, text.hypothesis),
                        f"attention of {text.hypothesis!r} to {text.source!r}",
                    )
                    for text in _readable([*worst, *best])[:pictures]
                ),
            ),
            ("Options of the training", _options(run)),
        ]
        body = "\n".join(
            f"<h2>{heading}</h2>\n{content}" for heading, content in sections if content
        )
        page = _PAGE.format(title=html.escape(title), body=body)
        file.write_text(page, "utf-8")
    return scores


def _bytes_on_disk(run: AnyPath | None) -> list[str]:
    try:
        files = [] if run is None else [*saved_folder(run).iterdir()]
    except FileNotFoundError:  # A checkpoint, or a training of no epoch.
        return []
    size = sum(file.stat().st_size for file in files if file.is_file())
    return [f"{size:,} bytes on disk"] if files else []


def _speed(text_to_text: TextToText, sources: Sequence[str]) -> list[str]:
    """What a second pass takes: the first has compiled."""
    if not len(sources):
        return []
    texts = text_to_text(sources)
    start = time.perf_counter()
    texts = text_to_text(sources)
    seconds = max(time.perf_counter() - start, 1e-9)
    tokens = sum(map(len, text_to_text.target_tokenizer.ids_of(texts)))
    where = f"{running_backend()} on {'CPUs' if on_cpu() else 'an accelerator'}"
    return [
        f"{len(texts) / seconds:,.1f} texts a second",
        f"{tokens / seconds:,.0f} target tokens a second",
        f"measured on {len(texts):,} texts in {seconds:.2f} s, by {where}",
    ]


def _worst_and_best(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    number: int,
) -> tuple[list[_Text], list[_Text]]:
    """The worst first; and the longest that are right, then the least wrong."""
    wrong = worst_texts(sources, hypotheses, references, len(sources))
    ranked = [
        _Text(sources[x.place], hypotheses[x.place], x.reference, x.error_rate)
        for x in wrong
    ]
    not_right = {text.source for text in ranked}
    right = {
        source: _Text(source, hypothesis, hypothesis, 0.0)
        for source, hypothesis in zip(sources, hypotheses, strict=True)
        if source not in not_right
    }
    longest = sorted(right.values(), key=lambda text: -len(text.reference))
    return ranked[:number], [*longest, *reversed(ranked[number:])][:number]


def _readable(texts: list[_Text]) -> list[_Text]:
    # Of more tokens, labels are too small to read.
    return [text for text in texts if len(text.source + text.hypothesis) <= 240]


def _curves(run: AnyPath | None) -> str:
    if run is None or not pathlib.Path(run, "log.csv").is_file():
        return ""
    return _picture(plot_learning_curves(run), "curves of the training")


def _options(run: AnyPath | None) -> str:
    """Those that are not left at their defaults, which are commented out."""
    if run is None or not (file := pathlib.Path(run, "options.toml")).is_file():
        return ""
    lines = file.read_text("utf-8").splitlines()
    return _code("\n".join(line for line in lines if line and line[0] != "#"))


def _shown(text: _Text) -> str:
    marks = {"same": "{}", "missing": "<del>{}</del>", "added": "<ins>{}</ins>"}
    marked = "".join(
        marks[kind].format(html.escape(part))
        for kind, part in text_differences(text.hypothesis, text.reference)
    )
    rows = {
        "source": html.escape(text.source),
        "reference": html.escape(text.reference),
        "generated": html.escape(text.hypothesis),
    }
    if text.error_rate:
        rows["difference"] = marked
        rows["wrong"] = f"{text.error_rate:.0%} of characters"
    lines = "".join(f"<dt>{name}</dt><dd>{words}</dd>" for name, words in rows.items())
    return f"<dl>{lines}</dl>\n"


def _list(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    # Backticks are Markdown's.
    items = (html.escape(line.replace("`", "")) for line in lines)
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def _code(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>"


def _picture(figure: Figure, words: str) -> str:
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=110)
    data = base64.b64encode(written.getvalue()).decode()
    return f'<img alt="{html.escape(words)}" src="data:image/png;base64,{data}">\n'
