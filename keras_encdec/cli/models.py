"""Trained models as a command uses them: several as one, with the search asked for."""

import argparse
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from keras_encdec.cli.arguments import load_model
from keras_encdec.cli.search import bayes_risk_options, make_sampler, too_many

if TYPE_CHECKING:
    from keras_encdec.text_to_text import TextToText


def add_languages(parser: argparse._ActionsContainer) -> None:
    """Adds what a model of several languages, or tasks, is told."""
    for side, way in (("source", "from"), ("target", "to")):
        parser.add_argument(
            f"--{side}-language",
            metavar="NAME",
            help=f"language to translate {way}, as the checkpoint spells it: de, "
            "de_DE, deu_Latn; none if not given",
        )
    parser.add_argument(
        "--tag",
        type=word,
        metavar="WORD",
        help="what stands at the head of each source, of a model that was trained with "
        "several tags; none if not given",
    )


def word(text: str) -> str:
    """Returns a word that was typed: the type of an argument.

    Args:
        text: What was typed.
    """
    if not text or text.split() != [text]:
        raise argparse.ArgumentTypeError(
            f"must be a word, as __de__, without spaces; received {text!r:.30}"
        )
    return text


def load_models(
    saved: Sequence[str],
    modules: Iterable[str] = (),
    weights: Sequence[float] | None = None,
    **languages: str | None,
) -> "TextToText":
    """Returns the `TextToText` of one model, or the ensemble of several.

    Args:
        saved: What `add_saved` calls so.
        modules: As in `TextToText.load`.
        weights: What `add_saved` calls so.
        **languages: As in `load_model`.

    Raises:
        ValueError: If the models do not fit each other, or as in `TextToText.load`.
    """
    models = [load_model(place, modules, **languages) for place in saved]
    if len(models) == 1:
        return models[0]
    from keras_encdec.ensembles import text_ensemble

    return text_ensemble(models, weights, names=[repr(place) for place in saved])


def teacher_of(text_to_text: "TextToText", places: Sequence[str]) -> "TextToText":
    """Returns what a model is to learn from, several as one.

    Args:
        text_to_text: The `TextToText` that is to learn.
        places: The folders of the teachers.

    Raises:
        ValueError: If they have other ids than it, or as in `load_models`.
    """
    from keras_encdec.text_checks import check_same_ids

    teacher = load_models(places)
    names = ["the model to train", f"--teacher {' '.join(places)}"]
    for side in ("source", "target"):
        both = [getattr(x, f"{side}_tokenizer") for x in (text_to_text, teacher)]
        check_same_ids(side, names, both)
    return teacher


def searching_model(
    saved: Sequence[str],
    modules: Iterable[str],
    weights: Sequence[float] | None,
    number: int,
    n_best: int = 1,
    *,
    source_language: str | None = None,
    target_language: str | None = None,
    tag: str | None = None,
    max_length: int | None,
    seed: int = 0,
    batch_size: int | None,
    shortlist: str | None = None,
    **options: Any,
) -> tuple["TextToText", Callable[..., Iterator[Any]]]:
    """Returns the models with the sampler asked for, and what generates by it.

    Args:
        saved: As in `load_models`.
        modules: Likewise.
        weights: Likewise.
        number: The number of texts.
        n_best: The number of texts for each of them.
        source_language: As in `load_model`.
        target_language: Likewise.
        tag: Likewise.
        max_length: As in `add_search`, and so are all others.
        seed: Likewise.
        batch_size: Likewise.
        shortlist: Likewise.
        **options: Likewise.

    Returns:
        A `TextToText`, and its `generate`, or that of a `MinimumBayesRiskDecoder`, with
        all options but `first` and `progress`.

    Raises:
        ValueError: If an option does not fit the models.
    """
    sampler = make_sampler(**options)
    text_to_text = load_models(
        saved,
        modules,
        weights,
        source_language=source_language,
        target_language=target_language,
        tag=tag,
    )
    text_to_text = text_to_text.with_sampler(
        text_to_text.sampler if sampler is None else sampler,
        max_length=max_length,
        # At once if so many texts are worth the seconds it takes.
        jit_compile=True if number > 200 else "auto",
    )
    if shortlist is not None:
        from keras_encdec.generation import Shortlist

        text_to_text.generator.shortlist = Shortlist.load(shortlist)
    try:
        text_to_text.sampler.rows_per_source(n_best)
    except ValueError as error:
        raise too_many(n_best, repr(text_to_text.sampler)) from error
    # With no source a call checks its options, and no more.
    text_to_text.generator([], text_to_text.max_length)
    call: dict[str, Any] = {"seed": seed, "batch_size": batch_size}
    if n_best > 1:
        call.update(num_return_sequences=n_best, return_scores=True)
    generate: Callable[..., Iterator[Any]] = text_to_text.generate
    risk = bayes_risk_options(**options)
    if risk is not None:
        from keras_encdec.bayes_risk import MinimumBayesRiskDecoder

        sampler = text_to_text.sampler
        decoder = MinimumBayesRiskDecoder(text_to_text, sampler=sampler, **risk)
        generate = decoder.generate
    return text_to_text, functools.partial(generate, **call)
