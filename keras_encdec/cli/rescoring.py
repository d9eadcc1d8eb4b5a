"""The command that weighs other models for rescoring: tune-rescoring."""

import functools
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from keras_encdec.cli.answers import checked_ids, progress_of
from keras_encdec.cli.arguments import (
    Commands,
    Within,
    add_command,
    add_pairs,
    add_saved,
    load_model,
    new_file_place,
    positive,
    read_some_pairs,
    saved_or_checkpoint,
)
from keras_encdec.cli.models import add_languages, searching_model
from keras_encdec.cli.program import program
from keras_encdec.cli.rescoring_file import Rescoring, place_of_model, with_beams
from keras_encdec.cli.search import add_search
from keras_encdec.cli.use_checks import check_tune_rescoring
from keras_encdec.training_options import Numbers


def add_commands(commands: Commands) -> None:
    """Adds this command to a parser."""
    added = add_command(
        commands,
        tune_rescoring,
        "weigh other models that choose among candidates",
        "runs/en-de --source val.tsv --reverse-scorer runs/de-en --output weights.json",
        "runs/a --source val.en --target val.de --scorer runs/b --candidates 16 "
        "--metric chrf --output weights.json",
        check=check_tune_rescoring,
    )
    add_saved(added)
    add_languages(added)
    add_pairs(added)
    added.add_argument(
        "--output",
        required=True,
        type=new_file_place,
        help="file to write, a small JSON, which generate --rescore reads",
    )
    for name, words in (
        ("scorer", "of the same direction"),
        ("reverse-scorer", "of the other direction, from targets to sources"),
    ):
        added.add_argument(
            f"--{name}",
            dest=f"{name.replace('-', '_')}s",
            nargs="+",
            default=[],
            type=saved_or_checkpoint,
            metavar="FOLDER",
            help=f"models {words}, that score the candidates",
        )
    added.add_argument(
        "--candidates",
        type=Within(Numbers(kind=int, least=2, below=2**31)),
        default=8,
        help="texts that are generated for each line; as many --beams if not given",
    )
    added.add_argument(
        "--metric",
        choices=("bleu", "chrf"),
        default="bleu",
        help="of sacrebleu, which the best candidates are to have the most of",
    )
    added.add_argument(
        "--trials", type=positive, default=200, help="how many weights to try"
    )
    add_search(added, sampler="beam")


def tune_rescoring(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    modules: Iterable[str],
    source: str,
    target: str | None,
    output: str,
    scorers: Sequence[str],
    reverse_scorers: Sequence[str],
    candidates: int,
    metric: str,
    trials: int,
    **search: Any,
) -> None:
    """Weighs other models, so that they choose the best of several candidates.

    A model of the other direction tells texts that leave something out, one of the same
    direction those that only the first model likes. The weights are those of the
    highest BLEU, or chrF, of validation texts among as many as are tried.
    """
    from keras_encdec import rescoring
    from keras_encdec.evaluation import check_evaluation
    from keras_encdec.printing import tell

    sources, references = read_some_pairs("A validation", source, target)
    check_evaluation(sources, references)
    places = [place_of_model(x) for x in (*scorers, *reverse_scorers)]
    reverse = [False] * len(scorers) + [True] * len(reverse_scorers)
    seed = search["seed"]
    text_to_text, answers_to = searching_model(
        *(saved, modules, weights, len(sources), candidates),
        **with_beams(search, candidates),
    )
    load = functools.partial(load_model, modules=modules)
    models = map(rescoring.ModelScorer, map(load, places), reverse)
    asked = [*models]  # Before anything is generated.
    ids = checked_ids(text_to_text, sources, references)
    lists = [*answers_to(ids, progress=progress_of(len(ids)))]
    tuned = rescoring.tune_rescoring(
        sources,
        lists,
        text_to_text.target_tokenizer.join(references),
        asked,
        metric=metric,
        trials=trials,
        seed=seed,
    )
    Rescoring(output, candidates, tuple(places), tuple(reverse), tuned.weights).write(
        metric=metric, score=tuned.score, score_before=tuned.score_before
    )
    name = {"bleu": "BLEU", "chrf": "chrF2"}[metric]
    print(f"{name} = {tuned.score:.2f}, {tuned.score_before:.2f} without rescoring")
    for place, weight in zip(["the search", *places], tuned.weights, strict=True):
        print(f"{weight:.4f} {place}")
    if tuned.score == tuned.score_before:
        tell(
            "No weights were better than the search alone. More --candidates may hold "
            "better texts; of texts of few words --metric chrf tells more."
        )
    models_of_it = " ".join(map(shlex.quote, saved))
    tell(
        f"Written to {output}. Next:\n  {program()} generate {models_of_it} "
        f"--source FILE --rescore {shlex.quote(output)}"
    )
