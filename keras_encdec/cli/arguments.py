"""Arguments that several commands take."""

import argparse
import pathlib


def add_command(commands, function, summary):
    """Adds the command of a function, under its name, described by its docstring."""
    added = commands.add_parser(
        function.__name__,
        help=summary,
        description=function.__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    added.set_defaults(command=function)
    return added


def add_pairs(parser):
    """Adds the files of source and target texts."""
    parser.add_argument(
        "--source",
        required=True,
        help="file of source texts, a line each; or of source<tab>target; .gz too",
    )
    parser.add_argument("--target", help="file of target texts, a line each")


def add_saved(parser):
    """Adds the folder of a trained model."""
    parser.add_argument(
        "saved", type=saved_folder, help="folder that train or demo wrote"
    )
    parser.add_argument(
        "--module",
        action="append",
        default=[],
        help="module to import that registers custom objects of the model; may be "
        "given again for more",
    )


def saved_folder(text):
    """The folder of the model itself: in that of a run, that of its best epoch."""
    best = pathlib.Path(text, "best")
    return str(best) if best.is_dir() else text


def positive(text):
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be a whole number of at least 1; received {text!r}"
        )
    return int(text)


def share(text):
    """A number of at least 0 and less than 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(
            f"must be a number of at least 0 and less than 1; received {text!r}"
        )
    return number


def check_folder_of(output):
    """Checks, before the work and not after it, that a file can be written there."""
    if not pathlib.Path(output).parent.is_dir():
        raise FileNotFoundError(
            f"--output must be a file in a folder that is there; received {output!r}. "
            "Make the folder first."
        )
