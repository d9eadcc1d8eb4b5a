"""Arguments that several commands take."""

import argparse
import functools
import math
import os
import pathlib
import sys


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


def positive(text):
    """A whole number of at least 1."""
    return _number(text, int, "a whole number of at least 1", lambda x: 0 < x < 2**31)


def int32(text):
    """A whole number of 32 bits."""
    rule = "a whole number that fits in 32 bits"
    return _number(text, int, rule, lambda x: -(2**31) <= x < 2**31)


def finite(text):
    """A number that is neither infinite nor none."""
    return _number(text, float, "a finite number", math.isfinite)


def positive_real(text):
    """A number above 0."""
    return _number(text, float, "a finite number above 0", lambda x: 0 < x < math.inf)


def share(text):
    """A number of at least 0 and less than 1."""
    rule = "a number of at least 0 and less than 1"
    return _number(text, float, rule, lambda x: 0 <= x < 1)


def portion(text):
    """A number above 0 and at most 1."""
    rule = "a number above 0 and at most 1"
    return _number(text, float, rule, lambda x: 0 < x <= 1)


def _number(text, kind, rule, holds):
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not holds(number):
        raise argparse.ArgumentTypeError(f"must be {rule}; received {text!r:.40}")
    return number
