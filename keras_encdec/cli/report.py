"""The command that writes a page about a model: report."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

from keras_encdec.cli.answers import checked_ids, progress_of
from keras_encdec.cli.arguments import (
    Commands,
    add_command,
    add_pairs,
    add_saved,
    count,
    new_file_place,
    positive,
    read_some_pairs,
)
from keras_encdec.cli.checks import require_packages
from keras_encdec.cli.models import add_languages, searching_model
from keras_encdec.cli.search import add_search
from keras_encdec.cli.use_checks import check_evaluate


def add_commands(commands: Commands) -> None:
    """Adds this command to a parser."""
    added = add_command(
        commands,
        report,
        "write a page about a model: scores, curves, the worst and the best texts",
        "runs/en-de --source test.en --target test.de --output report.html --beams 5",
        check=check_report,
    )
    add_saved(added)
    add_languages(added)
    add_pairs(added)
    added.add_argument(
        "--output",
        type=new_file_place,
        default="report.html",
        help="file to write, one page of HTML with its pictures within",
    )
    added.add_argument(
        "--texts",
        type=positive,
        default=20,
        help="how many of the worst texts, and of the best, to show",
    )
    added.add_argument(
        "--pictures", type=count, default=3, help="how many pictures of attention"
    )
    add_search(added)


def check_report(**options: Any) -> None:
    """Refuses what `evaluate` refuses, and to begin without matplotlib."""
    require_packages("A report", "plots", "matplotlib")
    check_evaluate(**options)


def report(
    saved: Sequence[str],
    modules: Iterable[str],
    weights: Sequence[float] | None,
    source: str,
    target: str | None,
    output: str,
    texts: int,
    pictures: int,
    **search: Any,
) -> None:
    """Writes a page about a model and the texts that it generates for some sources.

    It tells sizes, scores, the worst and the best texts with what differs marked, and
    where the model looked; of a training its curves and options too.
    """
    from keras_encdec.evaluation import check_evaluation
    from keras_encdec.report import write_report

    sources, references = read_some_pairs("A report", source, target)
    check_evaluation(sources, references)
    text_to_text, answers_to = searching_model(
        saved, modules, weights, len(sources), **search
    )
    ids = checked_ids(text_to_text, sources, references)
    show = progress_of(len(ids))
    hypotheses = [*answers_to(ids, progress=show)]
    scores = write_report(
        text_to_text,
        sources,
        text_to_text.target_tokenizer.join(references),
        output,
        hypotheses=hypotheses,
        run=saved[0] if len(saved) == 1 and os.path.isdir(saved[0]) else None,
        title=" + ".join(saved),
        number=texts,
        pictures=pictures,
    )
    for line in scores.report:
        print(line)
    print(f"Written to {output}.")
