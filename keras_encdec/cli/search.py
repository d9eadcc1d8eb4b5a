"""The options of a generation: the sampler and its numbers, lengths, batches."""

import argparse
from typing import TYPE_CHECKING

from keras_encdec.cli.arguments import finite, int32, portion, positive, positive_real

if TYPE_CHECKING:
    from keras_encdec.generation import Sampler

# For each sampler its options, by the names of its class's arguments.
_TEMPERATURE = {"temperature": "temperature"}
SAMPLERS: dict[str, dict[str, str]] = {
    "greedy": {},
    "beam": {"beams": "num_beams", "length_penalty": "length_penalty"},
    "random": _TEMPERATURE,
    "top-k": {**_TEMPERATURE, "k": "k"},
    "top-p": {**_TEMPERATURE, "p": "p"},
    "min-p": {**_TEMPERATURE, "p": "p"},
    "typical": {**_TEMPERATURE, "p": "p"},
}


def add_search(parser: argparse.ArgumentParser) -> None:
    """Adds all options of a generation."""
    parser.add_argument(
        "--sampler",
        choices=tuple(SAMPLERS),
        help="how to choose tokens; if not given beam with --beams, else as saved: "
        "greedy after train",
    )
    add_beams(parser, "of beam: the number of hypotheses, 4 if not given")
    parser.add_argument(
        "--temperature",
        type=positive_real,
        help="of random, top-k, top-p, min-p and typical; 1 if not given",
    )
    parser.add_argument("--k", type=positive, help="of top-k, 10 if not given")
    parser.add_argument(
        "--p",
        type=portion,
        help="of top-p and typical, 0.9 if not given, and of min-p, 0.1",
    )
    parser.add_argument("--seed", type=int32, default=0, help="of what is drawn")
    parser.add_argument(
        "--max-length",
        type=positive,
        help="largest number of tokens; as saved if not given",
    )
    parser.add_argument(
        "--batch-size", type=positive, default=64, help="texts generated at once"
    )


def add_beams(parser: argparse.ArgumentParser, words: str) -> None:
    """Adds the options of beam search."""
    parser.add_argument("--beams", type=positive, help=words)
    parser.add_argument(
        "--length-penalty",
        type=finite,
        help="of beams: above 0 favours long; 1 if not given",
    )


def make_sampler(
    sampler: str | None = None, **options: int | float | None
) -> "Sampler | None":
    """Returns the sampler asked for, or None if none is.

    Args:
        sampler: Its name, a key of `SAMPLERS`, or None.
        **options: The options of all samplers, by their names on the command line; None
            for those that are not given.

    Raises:
        ValueError: If an option is given that the sampler does not take.

    Example:
        ```python
        from keras_encdec.cli.search import make_sampler

        print(make_sampler(beams=8))
        ```
    """
    from keras_encdec.generation.samplers.names import sampler_of

    given = {name: value for name, value in options.items() if value is not None}
    if sampler is None and "beams" in given:
        sampler = "beam"
    takes = SAMPLERS[sampler] if sampler else {}
    for option in given:
        if option not in takes:
            samplers = [name for name in SAMPLERS if option in SAMPLERS[name]]
            raise ValueError(
                f"--{option.replace('_', '-')} is an option of --sampler "
                f"{' or '.join(samplers)}; received it with "
                f"{f'--sampler {sampler}' if sampler else 'no --sampler'}. Give that "
                "sampler, or leave the option out."
            )
    if sampler is None:
        return None
    arguments = {takes[option]: value for option, value in given.items()}
    return sampler_of(sampler, **arguments)
