"""Arguments that several commands take."""

import argparse
import functools
import os
import pathlib
import sys

from keras_encdec.training.options import POSITIVE, SHARE, Numbers


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Tells the defaults that say something: no False of a switch, and no None."""

    def _get_help_string(self, action):
        if action.default is None or isinstance(action.default, (bool, list)):
            return action.help
        return super()._get_help_string(action)


def add_command(commands, function, summary):
    """Adds the command of a function, under its name, described by its docstring."""
    added = commands.add_parser(
        function.__name__,
        help=summary,
        description=function.__doc__,
        formatter_class=_Help,
    )
    added.set_defaults(command=_while_it_is_read(function))
    return added


def _while_it_is_read(command):
    """Ends a command with status 141, as a shell does, when nobody reads it further."""

    @functools.wraps(command)
    def run(**options):
        try:
            command(**options)
            sys.stdout.flush()
        except OSError as error:
            try:
                sys.stdout.flush()
            except OSError:
                # What could not be written would fail once more when Python ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise SystemExit(141) from error
            raise

    return run


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


def within(bounds):
    """Returns the type of an argument that lies within bounds.

    Args:
        bounds: What it may be, as of `training.options`: `Numbers` or `Names`.

    Example:
        ```python
        from keras_encdec.cli.arguments import within
        from keras_encdec.training.options import Numbers

        print(within(Numbers(kind=int, least=1))("3"))
        ```
    """

    def read(text):
        value = bounds.read(text)
        if value not in bounds:
            raise argparse.ArgumentTypeError(f"must be {bounds}; received {text!r:.30}")
        return value

    return read


# Larger ones would fit into no array of ids.
positive = within(Numbers(kind=int, least=1, below=2**31))
int32 = within(Numbers(kind=int, least=-(2**31), below=2**31))
finite = within(Numbers(kind=float))
positive_real = within(POSITIVE)
share = within(SHARE)
portion = within(Numbers(kind=float, above=0, most=1))
