"""The command that writes what a teacher answers as pairs to train on: distill."""

from collections.abc import Iterable, Sequence
from typing import Any

from keras_encdec.cli.answers import add_resume, write_answers
from keras_encdec.cli.arguments import (
    Commands,
    add_command,
    add_saved,
    file_of_texts,
    new_file_place,
)
from keras_encdec.cli.models import add_languages
from keras_encdec.cli.search import add_search
from keras_encdec.cli.use_checks import check_distill


def add_commands(commands: Commands) -> None:
    """Adds this command to a parser."""
    added = add_command(
        commands,
        distill,
        "write what trained models answer as pairs to train a smaller one on",
        "runs/big --source train.en --output made.tsv --beams 5",
        "runs/a runs/b runs/c --source more.en.gz --output made.tsv --resume",
        check=check_distill,
    )
    add_saved(added)
    add_languages(added)
    added.add_argument(
        "--source",
        required=True,
        type=file_of_texts,
        help="file of texts, a line each, or of source<tab>target; .gz too; - for "
        "standard input",
    )
    added.add_argument(
        "--output",
        required=True,
        type=new_file_place,
        help="file to write, source<tab>target a line, which train and encode read",
    )
    add_resume(added)
    add_search(added, sampler="beam")


def distill(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    modules: Iterable[str],
    source: str,
    output: str,
    resume: bool,
    **search: Any,
) -> None:
    """Writes pairs of sources and what one or several models answer, found by beams.

    A smaller model that learns from them comes nearer to its teachers than from true
    targets, which are harder to predict: sequence-level knowledge distillation, Kim and
    Rush 2016. No targets are needed. To keep such pairs and true ones apart, encode
    both and train with --corpus true:2 made.
    """

    def pair(number: int, text: str, answer: str) -> list[str]:
        # The first tab of a line ends its source.
        return ["\t".join(side.replace("\t", " ") for side in (text, answer))]

    write_answers(
        *(saved, weights, modules, source, output, pair),
        command="distill",
        resume=resume,
        **search,
    )
