"""Memory that is kept between the steps of a training."""

import contextlib
import ctypes
import functools

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
MOST = 2**31 - 1


@functools.cache
def keep_freed_memory():
    """Has the C library keep what a step frees for the next one, as GPUs' memory is.

    By default glibc gives hundreds of MB back to the system after each step, and the
    system clears them again in the next one. It holds for the whole process and cannot
    be undone; where the C library is another one, nothing is done.

    Example:
        ```python
        from keras_encdec.training.memory import keep_freed_memory

        keep_freed_memory()
        ```

    Reference:
        mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, MOST)
