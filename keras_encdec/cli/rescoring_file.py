"""The file that says which models rescore candidates, and how much each counts."""

import argparse
import dataclasses
import itertools
import json
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_encdec.cli.arguments import load_model, saved_or_checkpoint
from keras_encdec.files import FORMAT, check_format, new_file, require_file
from keras_encdec.pretrained.hub import is_remote

if TYPE_CHECKING:
    from keras_encdec.rescoring import ModelScorer

# Sources whose candidates are scored at a time.
_CHUNK = 64


@dataclasses.dataclass(frozen=True)
class Rescoring:
    """What `tune-rescoring` writes and `generate --rescore` reads.

    Args:
        path: The path of the file.
        candidates: How many texts are generated for each source.
        models: The folders of the scorers, or their places on a hub.
        reverse: For each whether it is a model of the other direction.
        weights: That of the score of the search first, then of each scorer.

    Example:
        ```python
        from keras_encdec.cli.rescoring_file import Rescoring

        print(Rescoring("weights.json", 8, ("runs/de-en",), (True,), (0.6, 0.4)))
        ```
    """

    path: str
    candidates: int
    models: tuple[str, ...]
    reverse: tuple[bool, ...]
    weights: tuple[float, ...]

    def write(self, **told: Any) -> None:
        """Writes the file.

        Args:
            **told: What else it tells people.
        """
        scorers = [
            {"model": place, "reverse": reverse}
            for place, reverse in zip(self.models, self.reverse, strict=True)
        ]
        facts = {"candidates": self.candidates, "scorers": scorers}
        facts |= {"format": FORMAT, "weights": [*self.weights], **told}
        with new_file(self.path) as file:
            file.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def with_beams(search: Mapping[str, Any], candidates: int) -> dict[str, Any]:
    """Returns options of a search with a beam for each candidate if no number is given.

    Args:
        search: Those of `add_search`.
        candidates: The number of candidates.

    Example:
        ```python
        from keras_encdec.cli.rescoring_file import with_beams

        print(with_beams({"sampler": None, "beams": None}, 8))
        ```
    """
    found = dict(search)
    if found["sampler"] in (None, "beam") and found["beams"] is None:
        found["beams"] = candidates
    return found


def place_of_model(place: str) -> str:
    """Returns the place of a model that holds from any folder.

    Args:
        place: What `saved_or_checkpoint` takes.

    Example:
        ```python
        from keras_encdec.cli.rescoring_file import place_of_model

        print(place_of_model("hf://owner/name"))
        ```
    """
    return place if is_remote(place) else os.path.abspath(place)


def add_rescoring(parser: argparse.ArgumentParser) -> None:
    """Adds the option to have other models choose among candidates."""
    parser.add_argument(
        "--rescore",
        dest="rescoring",
        type=rescoring_file,
        metavar="FILE",
        help="what tune-rescoring wrote: other models choose among the candidates, "
        "which are as many --beams if not given",
    )


def rescoring_file(path: str) -> Rescoring:
    """Reads what `tune-rescoring` wrote: the type of an argument.

    Args:
        path: The path of the file.

    Raises:
        argparse.ArgumentTypeError: If it is none, or a model that it names is gone.

    Example:
        ```python
        import argparse
        from keras_encdec.cli.rescoring_file import rescoring_file

        try:
            rescoring_file("missing.json")
        except argparse.ArgumentTypeError as error:
            print(error)
        ```
    """
    try:
        require_file(path, rule="Weights are read from a file")
        found = json.loads(pathlib.Path(path).read_text("utf-8"))
        check_format(found["format"], path)
        rescoring = Rescoring(
            path,
            found["candidates"],
            tuple(each["model"] for each in found["scorers"]),
            tuple(each["reverse"] for each in found["scorers"]),
            tuple(map(float, found["weights"])),
        )
        if not _is_sound(rescoring):
            raise ValueError(
                "it needs at least 2 candidates, and numbers of at least 0, one of "
                f"them by more, for the search and each scorer: {rescoring}"
            )
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(
            f"must be a file that tune-rescoring wrote; received {path!r}, which could "
            f"not be read: {type(error).__name__}: {error}. Write it again"
        ) from error
    for place in rescoring.models:
        saved_or_checkpoint(place)
    return rescoring


def _is_sound(rescoring: Rescoring) -> bool:
    weights, models = rescoring.weights, rescoring.models
    return (
        type(rescoring.candidates) is int
        and 2 <= rescoring.candidates < 2**31
        and len(weights) == 1 + len(models)
        and all(math.isfinite(weight) and weight >= 0 for weight in weights)
        and any(weights)
        and all(isinstance(place, str) for place in models)
        and all(isinstance(reverse, bool) for reverse in rescoring.reverse)
    )


def loaded_scorers(
    rescoring: Rescoring, modules: Iterable[str] = ()
) -> list["ModelScorer"]:
    """Returns the scorers; one that counts nothing is not loaded, nor asked.

    Args:
        rescoring: The `Rescoring`.
        modules: As in `TextToText.load`.

    Raises:
        ValueError: As in `TextToText.load`.
    """
    from keras_encdec.rescoring import ModelScorer

    return [
        ModelScorer(load_model(place, modules), reverse)
        for place, reverse, weight in zip(
            rescoring.models, rescoring.reverse, rescoring.weights[1:], strict=True
        )
        if weight > 0
    ]


def rescored(
    sources: Iterable[str],
    answers: Iterable[Sequence[tuple[str, float]]],
    rescoring: Rescoring,
    scorers: Sequence["ModelScorer"],
    n_best: int,
) -> Iterator[Any]:
    """Yields the best candidate of each source, in turn, or a list of the best.

    Args:
        sources: The source texts.
        answers: Their n-best lists.
        rescoring: The `Rescoring`.
        scorers: What `loaded_scorers` returned for it.
        n_best: How many are wanted: one is a `str`, several pairs with their scores.
    """
    from keras_encdec.rescoring import rescore

    first, *others = rescoring.weights
    weights = [first, *(weight for weight in others if weight > 0)]
    pairs = zip(sources, answers, strict=True)
    while chunk := [*itertools.islice(pairs, _CHUNK)]:
        some, candidates = zip(*chunk, strict=True)
        for ranked in rescore(some, candidates, scorers, weights):
            yield ranked[0][0] if n_best == 1 else ranked[:n_best]
