"""A lock on a folder, which ends with the process that holds it."""

import contextlib
import os
from collections.abc import Iterator

from keras_encdec.annotations import AnyPath


@contextlib.contextmanager
def held_folder(path: AnyPath) -> Iterator[None]:
    """Keeps a folder for this process, as long as the block runs or the process lives.

    Windows, and some disks of networks, know no such lock: there it keeps nobody off.

    Args:
        path: The folder, `str` or `Path`.

    Raises:
        BlockingIOError: If another process, or another block, holds it.

    Example:
        ```python
        import tempfile
        from keras_encdec.run.lock import held_folder

        with held_folder(tempfile.mkdtemp()):
            print("mine")
        ```
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                "A folder is written by one process at a time; another one is writing "
                f"{str(path)!r}. Wait for its end, or choose another folder."
            ) from None
        except OSError:
            pass  # A disk without locks.
        yield
    finally:
        os.close(opened)
