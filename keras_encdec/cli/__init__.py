"""The command line: init, demo, vocabulary, encode, train, evaluate and the like."""

import contextlib
import importlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras_encdec
from keras_encdec.cli import (
    calibration,
    corpora,
    distill,
    doctor,
    export,
    init,
    learn,
    playground,
    report,
    rescoring,
    shortlist,
    use,
)
from keras_encdec.cli.arguments import Commands, Parser
from keras_encdec.cli.process import set_environment
from keras_encdec.interrupts import Terminated, interrupts_kept

EPILOG = """\
examples:
  %(prog)s demo
  %(prog)s train --help

environment:
  KERAS_BACKEND    tensorflow, jax or torch
  KERAS_ENCDEC_PROGRAM_CACHE_MB
                   the most megabytes of programs that JAX keeps for the next command in
                   ~/.cache/keras_encdec, 1000 if not given; 0 for none

exit status:
  0    success
  1    a training diverged, or a model answers with what is no number
  2    an error that you can mend
  130  Ctrl-C
  141  nobody reads the output further
  143  SIGTERM, in a training: a checkpoint is written first
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: The words after the program's name; by default those it was called
            with.

    Returns:
        The exit status: 0 after success; 1 if a training diverged, or a model answers
        with what is no number; 2 after an error that the user can mend; 130 after
        Ctrl-C; 143 after SIGTERM in a training. Where nobody reads its output further,
        it ends with 141.

    Example:
        ```python
        from keras_encdec.cli import main

        try:
            main(["--help"])
        except SystemExit as leaving:
            print(leaving.code)
        ```
    """
    parser = Parser(
        prog="keras-encdec",
        description="Encoder-decoder Transformers for Keras 3.",
        epilog=EPILOG,
    )
    version = f"%(prog)s {keras_encdec.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands: Commands = parser.add_subparsers(required=True, metavar="COMMAND")
    parser.commands = commands.choices
    init.add_commands(commands)
    learn.add_commands(commands)
    corpora.add_commands(commands)
    use.add_commands(commands)
    calibration.add_commands(commands)
    distill.add_commands(commands)
    rescoring.add_commands(commands)
    shortlist.add_commands(commands)
    report.add_commands(commands)
    playground.add_commands(commands)
    export.add_commands(commands)
    doctor.add_commands(commands)
    options = vars(parser.parse_args(arguments))
    command, quiet = options.pop("command"), options.pop("quiet")
    check, names = options.pop("check"), options.pop("parser").names
    needs_keras = options.pop("needs_keras")
    try:
        if check is not None:
            check(**options)
        if needs_keras:
            set_environment()
            with interrupts_kept(until_checked=False):
                _run(command, options, quiet)
        else:
            command(**options)
    except FloatingPointError as error:
        return _failed(1, f"error: {_as_typed(error, names)}")
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        return _failed(2, f"error: {_as_typed(error, names)}")
    except Terminated as termination:
        return _failed(143, _as_typed(termination, names))
    except KeyboardInterrupt as interrupt:
        return _failed(130, _as_typed(interrupt, names) or "Interrupted.")
    return 0


def _run(command: Callable[..., None], options: dict[str, Any], quiet: bool) -> None:
    # The first that imports Keras: it tells of a backend that is not there.
    importlib.import_module("keras_encdec.backend")
    from keras_encdec.backend.program_cache import keep_programs
    from keras_encdec.printing import silent

    keep_programs()

    with silent() if quiet else contextlib.nullcontext():
        command(**options)


def _failed(status: int, words: str) -> int:
    print(f"keras-encdec: {words}", file=sys.stderr)
    return status


def _as_typed(error: BaseException, names: Mapping[str, str]) -> str:
    """The message of an error, with options named as they are given here."""
    # A word in backticks; or one with underscores, or before a value that was received,
    # if it is no part of a path or a name.
    either = "|".join(names)
    long_names = "|".join(name for name in names if "_" in name) or "(?!)"
    before, behind = r"(?<![\w`'\"./-])", r"(?![\w`'\"./-])"
    return re.sub(
        rf"`({either})`|{before}({long_names}){behind}|{before}({either})(?==['\w])",
        lambda found: names[found[1] or found[2] or found[3]],
        str(error),
    )
