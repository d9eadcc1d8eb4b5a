"""The options of a generation: the sampler and its numbers, lengths, batches."""

import argparse
import functools
from typing import TYPE_CHECKING, Any

from keras_encdec.cli.arguments import (
    Within,
    checked_by,
    portion,
    positive,
    positive_real,
)
from keras_encdec.files import require_file
from keras_encdec.training_options import Numbers

if TYPE_CHECKING:
    from keras_encdec.generation import Sampler

int32 = Within(Numbers(kind=int, least=-(2**31), below=2**31))
finite = Within(Numbers(kind=float))
file_of_shortlist = checked_by(
    functools.partial(require_file, rule="A shortlist is read from a file")
)
# For each sampler its options, by the names of its class's arguments.
_TEMPERATURE = {"temperature": "temperature"}
# Of what chooses among samples, the arguments of `MinimumBayesRiskDecoder`.
_OF_RISK = {"samples": "num_samples", "utility": "utility"}
SAMPLERS: dict[str, dict[str, str]] = {
    "greedy": {},
    "lookup": {},
    "beam": {"beams": "num_beams", "length_penalty": "length_penalty"},
    "random": _TEMPERATURE,
    "top-k": {**_TEMPERATURE, "k": "k"},
    "top-p": {**_TEMPERATURE, "p": "p"},
    "min-p": {**_TEMPERATURE, "p": "p"},
    "typical": {**_TEMPERATURE, "p": "p"},
    "mbr": {**_OF_RISK, **_TEMPERATURE},
}

SAMPLING_OPTIONS = (
    *("sampler", "beams", "length_penalty", "temperature", "k", "p"),
    *_OF_RISK,
)
# Those of `bayes_risk.UTILITIES`, which cannot be imported without NumPy.
UTILITIES = "chrf", "bleu", "token-accuracy", "character-accuracy"
# Of beam search, where no number is given.
BEAMS = 4


def add_search(
    parser: argparse.ArgumentParser,
    sampler: str | None = None,
    *,
    shortlist: bool = True,
) -> None:
    """Adds all options of a generation.

    Args:
        parser: The parser.
        sampler: The sampler where none is given; by default that of the model.
        shortlist: Whether it may have one.
    """
    otherwise = "; if not given beam with --beams, else as saved: greedy after train"
    parser.add_argument(
        "--sampler",
        choices=tuple(SAMPLERS),
        default=sampler,
        help="how to choose tokens; lookup as greedy, in fewer steps where texts copy "
        "their sources; mbr draws --samples and chooses the text nearest to all"
        + otherwise
        * (sampler is None),
    )
    if shortlist:
        add_shortlist(parser)
    add_beams(parser, f"of beam: the number of hypotheses, {BEAMS} if not given")
    parser.add_argument(
        "--temperature",
        type=positive_real,
        help="of random, top-k, top-p, min-p, typical and mbr; 1 if not given",
    )
    parser.add_argument("--k", type=positive, help="of top-k, 10 if not given")
    parser.add_argument(
        "--p",
        type=portion,
        help="of top-p and typical, 0.9 if not given, and of min-p, 0.1",
    )
    parser.add_argument(
        "--samples", type=positive, help="of mbr: texts drawn for each, 64 if not given"
    )
    parser.add_argument(
        "--utility",
        choices=UTILITIES,
        help="of mbr: how good a text is if another is right, chrf if not given",
    )
    parser.add_argument("--seed", type=int32, default=0, help="of what is drawn")
    parser.add_argument(
        "--max-length",
        type=positive,
        help="largest number of tokens; as saved if not given",
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        help="texts generated at once; if not given as many as have 2,048 tokens",
    )


def add_shortlist(parser: argparse.ArgumentParser) -> None:
    """Adds the option of a shortlist."""
    parser.add_argument(
        "--shortlist",
        type=file_of_shortlist,
        metavar="FILE",
        help="what shortlist wrote: only the tokens that each text may become are "
        "looked at; all if not given",
    )


def add_beams(parser: argparse.ArgumentParser, words: str) -> None:
    """Adds the options of beam search."""
    parser.add_argument("--beams", type=positive, help=words)
    parser.add_argument(
        "--length-penalty",
        type=finite,
        help="of beams: above 0 favours long; 1 if not given",
    )


def check_sampler(
    sampler: str | None = None, **options: int | float | str | None
) -> None:
    """Refuses an option that the sampler does not take.

    Args:
        sampler: Its name, a key of `SAMPLERS`, or None.
        **options: The options of all samplers, by their names on the command line; None
            for those that are not given.

    Raises:
        ValueError: If one is given that it does not take.

    Example:
        ```python
        from keras_encdec.cli.search import check_sampler

        check_sampler("top-k", k=8)
        ```
    """
    name = _name_of(sampler, options.get("beams"))
    takes = SAMPLERS[name] if name else {}
    for option, value in options.items():
        if value is not None and option not in takes:
            samplers = [name for name in SAMPLERS if option in SAMPLERS[name]]
            raise ValueError(
                f"--{option.replace('_', '-')} is an option of --sampler "
                f"{' or '.join(samplers)}; received it with "
                f"{f'--sampler {name}' if name else 'no --sampler'}. Give that "
                "sampler, or leave the option out."
            )


def check_n_best(n_best: int, sampler: str | None, beams: int | None) -> None:
    """Refuses more texts for a line than a sampler gives; the saved one may be any.

    Args:
        n_best: The number of texts.
        sampler: As in `check_sampler`.
        beams: The number of beams, or None.

    Raises:
        ValueError: If there cannot be as many.
    """
    name = _name_of(sampler, beams)
    most = {"greedy": 1, "lookup": 1, "mbr": 1, "beam": beams or BEAMS}
    most_here = most.get(name or "", n_best)
    if n_best > most_here:
        said = f"--sampler {name}" + (f" --beams {most_here}" if name == "beam" else "")
        raise too_many(n_best, said)


def too_many(n_best: int, sampler: str) -> ValueError:
    """Returns the error of more texts for a line than a sampler gives.

    Args:
        n_best: The number of texts.
        sampler: What the sampler is called.
    """
    return ValueError(
        "--n-best, or the number of candidates, is at most that of --beams, or of what "
        "--sampler random, top-k, top-p, min-p or typical draw; received "
        f"{n_best} with {sampler}. "
        f"Give --beams {n_best} too, or --sampler random."
    )


def make_sampler(
    sampler: str | None = None, **options: int | float | str | None
) -> "Sampler | None":
    """Returns the sampler asked for, or None if none is; of mbr what it draws with.

    Args:
        sampler: As in `check_sampler`.
        **options: Likewise.

    Raises:
        ValueError: Likewise.

    Example:
        ```python
        from keras_encdec.cli.search import make_sampler

        print(make_sampler(beams=8))
        ```
    """
    from keras_encdec.generation.samplers.names import sampler_of

    check_sampler(sampler, **options)
    name = _name_of(sampler, options.get("beams"))
    if name is None:
        return None
    given = {
        argument: options[option]
        for option, argument in SAMPLERS[name].items()
        if options.get(option) is not None and option not in _OF_RISK
    }
    return sampler_of("random" if name == "mbr" else name, **given)


def bayes_risk_options(
    sampler: str | None = None, **options: int | float | str | None
) -> dict[str, Any] | None:
    """Returns the arguments of a `MinimumBayesRiskDecoder`; None if none is asked for.

    Args:
        sampler: As in `check_sampler`.
        **options: Likewise.

    Example:
        ```python
        from keras_encdec.cli.search import bayes_risk_options

        print(bayes_risk_options("mbr", samples=16, utility="token-accuracy"))
        ```
    """
    if sampler != "mbr":
        return None
    given = {
        argument: options[option]
        for option, argument in _OF_RISK.items()
        if options.get(option) is not None
    }
    if "utility" in given:
        given["utility"] = str(given["utility"]).replace("-", "_")
    return given


def _name_of(sampler: str | None, beams: object) -> str | None:
    return "beam" if sampler is None and beams is not None else sampler
