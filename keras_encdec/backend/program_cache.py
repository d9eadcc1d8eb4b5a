"""Compiled programs kept from one process to the next, where nobody else can write."""

import contextlib
import hashlib
import os
import pathlib
import platform
import stat
import warnings

import keras

SWITCH = "KERAS_ENCDEC_PROGRAM_CACHE_MB"
MEGABYTES = 1000
# What is compiled faster is not worth a file.
_SECONDS = 0.3


def keep_programs() -> pathlib.Path | None:
    """Has JAX keep what it compiles, and read what a process before has compiled.

    The folder is in that of the user's caches, `$XDG_CACHE_HOME` or `~/.cache`. What
    stands in it is run: it is used only if nobody else can write there. Each processor,
    and each version of JAX, has one of its own. The environment variable
    `KERAS_ENCDEC_PROGRAM_CACHE_MB` says how large it may be, 1000 by default, 0 for
    none; what was not read for longest goes first.

    Returns:
        The `pathlib.Path` of the folder; None under another backend, where it is
        switched off or cannot be used, or where JAX has been given a folder already.

    Raises:
        ValueError: If the variable holds no number.

    Example:
        ```python
        from keras_encdec.backend.program_cache import keep_programs

        print(keep_programs())
        ```

    Reference:
        JAX's persistent compilation cache,
        https://docs.jax.dev/en/latest/persistent_compilation_cache.html.
    """
    if keras.config.backend() != "jax":
        return None
    import jax

    most = _megabytes() * 2**20
    if not most or jax.config.jax_compilation_cache_dir is not None:
        return None
    versions = f"jax-{jax.__version__}-jaxlib-{jax.lib.__version__}"
    try:
        home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
        above = pathlib.Path(home, "keras_encdec")
        folder = above / f"{versions}-{_processor()}"
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if not (_is_ours_alone(above) and _is_ours_alone(folder)):
            warnings.warn(
                "Compiled programs are kept only where nobody else can write; others "
                f"can in {str(folder)!r}, and nothing is kept. Change its permissions "
                f"with `chmod 700`, or set {SWITCH}=0.",
                stacklevel=2,
            )
            return None
        _shrink(above, most)
    # No home, or one that may not be written: compiled anew each time.
    except (OSError, RuntimeError):
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _SECONDS)
    return folder


def _megabytes() -> int:
    given = os.environ.get(SWITCH) or str(MEGABYTES)
    if not given.isdecimal():
        raise ValueError(
            f"{SWITCH} must be a number of megabytes, 0 for none; received {given!r}. "
            "Correct it, or unset it."
        )
    return int(given)


def _processor() -> str:
    """What programs are compiled for: instructions that one lacks would end it."""
    facts = [platform.machine(), platform.system()]
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        first: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            first.setdefault(name.strip(), value.strip())
        facts += [first.get(name, "") for name in ("model name", "flags", "Features")]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def _is_ours_alone(folder: pathlib.Path) -> bool:
    status = folder.lstat()
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ours = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return stat.S_ISDIR(status.st_mode) and ours and not others_write


def _shrink(folder: pathlib.Path, most: int) -> None:
    """Removes the files that were not read for longest, until all are small enough."""
    files = [(x, x.stat()) for x in folder.glob("*/*") if x.is_file()]
    size = sum(status.st_size for _, status in files)
    for path, status in sorted(files, key=lambda x: max(x[1].st_atime, x[1].st_mtime)):
        if size <= most:
            return
        # Another process may have been faster.
        path.unlink(missing_ok=True)
        size -= status.st_size
