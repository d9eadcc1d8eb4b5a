"""The options of a generation: the sampler and its numbers, lengths, batches."""

from keras_encdec.cli.arguments import finite, int32, portion, positive, positive_real

# For each sampler its class, and its options by the names of the class's arguments.
_TEMPERATURE = {"temperature": "temperature"}
SAMPLERS = {
    "greedy": ("GreedySampler", {}),
    "beam": (
        "BeamSampler",
        {"beams": "num_beams", "length_penalty": "length_penalty"},
    ),
    "random": ("RandomSampler", _TEMPERATURE),
    "top-k": ("TopKSampler", {**_TEMPERATURE, "k": "k"}),
    "top-p": ("TopPSampler", {**_TEMPERATURE, "p": "p"}),
    "min-p": ("MinPSampler", {**_TEMPERATURE, "p": "p"}),
    "typical": ("TypicalSampler", {**_TEMPERATURE, "p": "p"}),
}


def add_search(parser):
    """Adds all options of a generation."""
    parser.add_argument(
        "--sampler",
        choices=tuple(SAMPLERS),
        help="beam with --beams, else that of the model: greedy after train",
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
    parser.add_argument("--seed", type=int32, default=0)
    parser.add_argument("--max-length", type=positive, help="largest number of tokens")
    parser.add_argument("--batch-size", type=positive, default=64)


def add_beams(parser, words):
    """Adds the options of beam search."""
    parser.add_argument("--beams", type=positive, help=words)
    parser.add_argument(
        "--length-penalty",
        type=finite,
        help="of beams: above 0 favours long; 1 if not given",
    )


def make_sampler(sampler=None, **options):
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
    from keras_encdec import generation

    given = {name: value for name, value in options.items() if value is not None}
    if sampler is None and "beams" in given:
        sampler = "beam"
    name, takes = SAMPLERS.get(sampler, (None, {}))
    for option in given:
        if option not in takes:
            samplers = [name for name in SAMPLERS if option in SAMPLERS[name][1]]
            raise ValueError(
                f"--{option.replace('_', '-')} is an option of --sampler "
                f"{' or '.join(samplers)}; received it with "
                f"{f'--sampler {sampler}' if sampler else 'no --sampler'}. Give both, "
                "or leave it out."
            )
    if name is None:
        return None
    arguments = {takes[option]: value for option, value in given.items()}
    return getattr(generation, name)(**arguments)
