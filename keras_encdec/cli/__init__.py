"""The command line: demo, vocabulary, train, evaluate, generate, export."""

import argparse
import re
import sys

from keras_encdec.cli import export, learn, use
from keras_encdec.interrupts import interrupts_kept


def main(arguments=None):
    """Runs a command.

    Args:
        arguments: The words after the program's name; by default those it was called
            with.

    Returns:
        The exit status: 0 after success; 1 if a training diverged, or a model answers
        with what is no number; 2 after an error that the user can mend; 130 after
        Ctrl-C. Where nobody reads its output further, it ends with 141.

    Example:
        ```python
        from keras_encdec.cli import main

        try:
            main(["--help"])
        except SystemExit as leaving:
            print(leaving.code)
        ```
    """
    parser = argparse.ArgumentParser(
        prog="keras-encdec",
        description="Encoder-decoder Transformers for Keras 3.",
        epilog="Choose the backend with KERAS_BACKEND=tensorflow, jax or torch. Exit "
        "status: 0 after success, 1 if a training diverged or a model answers with "
        "what is no number, 2 after an error that you can mend, 130 after Ctrl-C, 141 "
        "where nobody reads its output further.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    learn.add_commands(commands)
    use.add_commands(commands)
    export.add_commands(commands)
    options = vars(parser.parse_args(arguments))
    command = options.pop("command")
    try:
        with interrupts_kept(until_checked=False):
            command(**options)
    except FloatingPointError as error:
        return _failed(1, f"error: {_as_typed(error, options)}")
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        return _failed(2, f"error: {_as_typed(error, options)}")
    except KeyboardInterrupt as interrupt:
        return _failed(130, _as_typed(interrupt, options) or "Interrupted.")
    return 0


def _failed(status, words):
    print(f"keras-encdec: {words}", file=sys.stderr)
    return status


def _as_typed(error, options):
    """The message of an error, with options named as they are given here."""
    # A word in backticks, or one with underscores that is no part of a path or a name.
    names = "|".join(options)
    long_names = "|".join(name for name in options if "_" in name) or "(?!)"
    return re.sub(
        rf"`({names})`|(?<![\w`'\"./-])({long_names})(?![\w`'\"./-])",
        lambda found: f"--{(found[1] or found[2]).replace('_', '-')}",
        str(error),
    )
