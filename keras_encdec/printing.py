"""What is told to people: silenced as Keras is, and readable in files too."""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import keras
from absl import logging


def tell(message: str, stream: Any = None) -> None:
    """Prints a message, or logs it where Keras was told not to print.

    Args:
        message: A `str`. What the stream's encoding lacks is replaced.
        stream: Where to; by default standard output.

    Example:
        ```python
        import keras
        from keras_encdec.printing import tell

        keras.config.disable_interactive_logging()
        tell("This goes to the log of absl, which shows it if it is told to.")
        keras.config.enable_interactive_logging()
        ```
    """
    if not keras.config.is_interactive_logging_enabled():
        logging.info(message)
        return
    stream = sys.stdout if stream is None else stream
    encoding = getattr(stream, "encoding", None) or "utf-8"
    message = message.encode(encoding, "replace").decode(encoding)
    print(message, file=stream, flush=True)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Has neither Keras nor `tell` print in this context.

    Example:
        ```python
        from keras_encdec.printing import silent, tell

        with silent():
            tell("Nobody hears this.")
        ```
    """
    before = keras.config.is_interactive_logging_enabled()
    keras.config.disable_interactive_logging()
    try:
        yield
    finally:
        if before:
            keras.config.enable_interactive_logging()


def as_line(text: str, indent: int = 0) -> str:
    """Returns a text as one line that fits the terminal, or 80 characters.

    Args:
        text: A `str`.
        indent: How many characters stand before it.

    Example:
        ```python
        from keras_encdec.printing import as_line

        print(as_line("never " * 100))
        ```
    """
    room = max(shutil.get_terminal_size().columns - indent, 20)
    line = " ".join(text.splitlines())
    return line if len(line) <= room else f"{line[: room - 1]}…"


def fit_verbosity(verbose: int | str) -> int | str:
    """Returns what to give to `fit` as `verbose`, which "auto" leaves open.

    A progress bar needs a terminal or a notebook; elsewhere its control codes would
    fill a file, and each epoch has a line.

    Args:
        verbose: 0, 1, 2 or `"auto"`.

    Example:
        ```python
        from keras_encdec.printing import fit_verbosity

        assert fit_verbosity(0) == 0 and fit_verbosity("auto") in (1, 2)
        ```
    """
    if verbose != "auto":
        return verbose
    return 1 if sys.stdout.isatty() or "ipykernel" in sys.modules else 2
