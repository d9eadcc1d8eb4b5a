"""What a command sets for its process, which a library must leave to its user."""

import contextlib
import ctypes
import logging
import os

# Where the user's environment says nothing. Threads of OpenMP that wait would spin on
# cores that other threads need; TensorFlow tells which instructions it was built with.
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "TF_CPP_MIN_LOG_LEVEL": "2"}

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
MOST = 2**31 - 1


def set_environment() -> None:
    """Sets what is read when a backend is imported, if it is not set already.

    Example:
        ```python
        from keras_encdec.cli.process import set_environment

        set_environment()
        ```
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # It warns of functions that it traces anew, as for each shape of batches.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def keep_freed_memory() -> None:
    """Has the C library keep what a step frees for the next one, as GPUs' memory is.

    By default glibc gives hundreds of MB back to the system after each step, and the
    system clears them again in the next one. It holds for the whole process and cannot
    be undone; where the C library is another one, nothing is done.

    Example:
        ```python
        from keras_encdec.cli.process import keep_freed_memory

        keep_freed_memory()
        ```

    Reference:
        mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, MOST)
