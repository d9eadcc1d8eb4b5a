"""Ctrl-C as an interruption between two steps, whatever a library makes of it.

Python raises KeyboardInterrupt wherever it happens to be. Within a library's C that may
come out as another error or not at all, and within an update it leaves half of it.
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
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, _Handler) and handler.came and _is_main():
        raise KeyboardInterrupt


def _is_main() -> bool:
    # Python runs handlers there, and sets them nowhere else.
    return threading.current_thread() is threading.main_thread()
