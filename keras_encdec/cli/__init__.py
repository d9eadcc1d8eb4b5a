"""The command line: demo, vocabulary, train, evaluate, generate, export."""

import argparse
import sys

from keras_encdec.cli import export, learn, use


def main(arguments=None):
    """Runs a command.

    Args:
        arguments: The words after the program's name; by default those it was called
            with.

    Returns:
        The exit status: 0, or 2 after an error that the user can mend.

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
        epilog="Choose the backend with KERAS_BACKEND=tensorflow, jax or torch.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    learn.add_commands(commands)
    use.add_commands(commands)
    export.add_commands(commands)
    options = vars(parser.parse_args(arguments))
    command = options.pop("command")
    try:
        command(**options)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        print(f"keras-encdec: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
