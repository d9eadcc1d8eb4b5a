"""Ctrl-C, and SIGTERM, as an interruption between two steps.

Python raises KeyboardInterrupt wherever it happens to be. Within a library's C that may
come out as another error or not at all, and within an update it leaves half of it.
SIGTERM, by which a machine is taken away, ends a process wherever it is.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any


class _Handler:
    """Notes an interrupt, and raises it: if it waits for a step's end, the second."""

    def __init__(self, waits: bool, came: bool) -> None:
        self.waits, self.came, self.is_over = waits, came, False

    def __call__(self, number: int, frame: Any) -> Any:
        first, self.came = not self.came, True
        if self.is_over:
            return
        if not (first and self.waits):
            signal.default_int_handler(number, frame)
        # Within a write to the same stream there can be no other.
        with contextlib.suppress(Exception):
            if sys.stderr.isatty():
                print("\nWaiting for the step's end; again: at once.", file=sys.stderr)


@contextlib.contextmanager
def interrupts_kept(*, until_checked: bool) -> Iterator[None]:
    """Makes sure that an interrupt which comes in a block is not lost in it.

    Any error that leaves the block after an interrupt came, and its end too, is the
    KeyboardInterrupt. Where SIGINT is ignored, as under `nohup`, or has a handler of
    the user's own, and in other threads than the main one, nothing is changed. Blocks
    may stand in one another.

    Args:
        until_checked: Whether the first interrupt is only noted, until
            `check_interrupt` or the end of the block raises it; a second one then is
            raised at once, as is each without it.

    Raises:
        KeyboardInterrupt: If an interrupt came.

    Example:
        ```python
        from keras_encdec.interrupts import check_interrupt, interrupts_kept

        with interrupts_kept(until_checked=True):
            for step in range(3):
                check_interrupt()  # Here Ctrl-C ends it, and not within a step.
                print(step)
        ```
    """
    before = signal.getsignal(signal.SIGINT)
    came = isinstance(before, _Handler) and before.came
    ours = isinstance(before, _Handler) or before is signal.default_int_handler
    if not (_is_main() and ours):
        yield
        return
    handler = _Handler(until_checked, came)
    try:
        signal.signal(signal.SIGINT, handler)
        yield
    except Exception as error:
        if handler.came:
            raise KeyboardInterrupt from error
        raise
    finally:
        handler.is_over = True  # Nothing raised here may leave it in its place.
        signal.signal(signal.SIGINT, before)
    if handler.came:
        raise KeyboardInterrupt


def check_interrupt() -> None:
    """Raises KeyboardInterrupt if an interrupt came in a block of `interrupts_kept`.

    Example:
        ```python
        from keras_encdec.interrupts import check_interrupt

        check_interrupt()  # In no such block there is none.
        ```
    """
    if interrupt_came():
        raise KeyboardInterrupt


def interrupt_came() -> bool:
    """Returns whether an interrupt came in a block of `interrupts_kept`.

    Example:
        ```python
        from keras_encdec.interrupts import interrupt_came

        print(interrupt_came())  # False: in no such block there is none.
        ```
    """
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(handler, _Handler) and handler.came and _is_main()


class Terminated(SystemExit):
    """SIGTERM, raised where a training is whole; the status of a process is 143.

    Args:
        message: What there is to say, which a process that ends so does not print.

    Example:
        ```python
        from keras_encdec.interrupts import Terminated

        print(Terminated("The machine is taken away.").code)  # 143
        ```
    """

    def __init__(self, message: str = "Terminated.") -> None:
        super().__init__(128 + signal.SIGTERM)
        self.message = message

    def __str__(self) -> str:
        return self.message


class _Termination:
    """Notes SIGTERM; the second raises it."""

    came = False

    def __call__(self, number: int, frame: Any) -> Any:
        if self.came:
            raise Terminated
        self.came = True


@contextlib.contextmanager
def termination_kept() -> Iterator[None]:
    """Has SIGTERM wait in a block until `termination_came` is asked, or for its end.

    A second one is raised at once. Where SIGTERM is ignored or has a handler of the
    user's own, and in other threads than the main one, nothing is changed.

    Raises:
        Terminated: At the end of the block, if SIGTERM came.

    Example:
        ```python
        from keras_encdec.interrupts import termination_came, termination_kept

        with termination_kept():
            for step in range(3):
                if termination_came():  # Here all is whole, and can be written.
                    break
                print(step)
        ```
    """
    if not (_is_main() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL):
        yield
        return
    handler = _Termination()
    signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if handler.came:
        raise Terminated


def termination_came() -> bool:
    """Returns whether SIGTERM came in a block of `termination_kept`.

    Example:
        ```python
        from keras_encdec.interrupts import termination_came

        print(termination_came())  # False: in no such block there is none.
        ```
    """
    handler = signal.getsignal(signal.SIGTERM)
    return isinstance(handler, _Termination) and handler.came


def _is_main() -> bool:
    # Python runs handlers there, and sets them nowhere else.
    return threading.current_thread() is threading.main_thread()
