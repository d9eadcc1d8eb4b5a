"""Work that is done while a training goes on."""

import threading
from collections.abc import Callable


class Background:
    """Runs functions beside the caller, one after another.

    Example:
        ```python
        from keras_encdec.training.background import Background

        background = Background()
        background.begin(lambda: print("Written."))
        background.wait()
        ```
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def begin(self, function: Callable[[], None]) -> None:
        """Begins with a function, when the one before is done.

        Args:
            function: A function without arguments.

        Raises:
            Exception: That of the one before.
        """
        self.wait()

        def run() -> None:
            try:
                function()
            except Exception as error:
                self._error = error

        # Python waits for it before it ends.
        self._thread = threading.Thread(target=run)
        self._thread.start()

    def settle(self) -> None:
        """Waits until the function is done, whether it fails or not."""
        if self._thread is not None:
            self._thread.join()

    def wait(self) -> None:
        """Waits until the function is done.

        Raises:
            Exception: That of the function, once.
        """
        self.settle()
        error, self._thread, self._error = self._error, None, None
        if error is not None:
            raise error
