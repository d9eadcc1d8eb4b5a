"""A lock on a folder or a file, which ends with the process that holds it."""

import contextlib
import os
from collections.abc import Iterator

from keras_encdec.annotations import AnyPath


@contextlib.contextmanager
def held(path: AnyPath) -> Iterator[None]:
    """Keeps a place for this process, as long as the block runs or the process lives.

    Windows, and some disks of networks, know no such lock: there it keeps nobody off.

    Args:
        path: A folder, or a file, that is there, `str` or `Path`.

    Raises:
        BlockingIOError: If another process, or another block, holds it.

    Example:
        ```python
        import tempfile
        from keras_encdec.lock import held

        with held(tempfile.mkdtemp()):
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
            kind = "folder" if os.path.isdir(path) else "file"
            raise BlockingIOError(
                f"A {kind} is written by one process at a time; another one is writing "
                f"{str(path)!r}. Wait for its end, or choose another {kind}."
            ) from None
        except OSError:
            pass  # A disk without locks.
        yield
    finally:
        os.close(opened)
