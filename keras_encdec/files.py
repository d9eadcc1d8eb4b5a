"""What is saved: folders and files written whole or not at all, configs read anywhere.

Each is written beside its place, brought to the disk, and then renamed. A symbolic link
stays: what it leads to is replaced. What killed writers left has names of its own.
"""

import contextlib
import difflib
import errno
import os
import pathlib
import re
import secrets
import shutil
import stat
import tempfile
import warnings
from collections.abc import Collection, Iterator
from typing import Any

from keras_encdec.annotations import AnyPath

# Of all files of this library. 1 is what version 0.1.0 wrote, which named none.
FORMAT = 2


@contextlib.contextmanager
def new_folder(
    path: AnyPath, *, overwrite: bool = False, holds: str | None = None
) -> Iterator[pathlib.Path]:
    """Gives a folder to write in, which takes its place when all is written.

    Args:
        path: The place of the folder, `str` or `Path`.
        overwrite: Whether to replace a folder that is there already.
        holds: The name of a file that is written in it. If it is given, a folder
            without one is not replaced, unless it is empty: it is something else.

    Yields:
        The `Path` of an empty folder beside the place. When the block ends it is
        renamed to `path`; if the block or that fails, it is removed and `path` is as
        before.

    Raises:
        FileExistsError: If there is something at `path`, and `overwrite` is False or
            it is no folder that can be renamed, or one that does not hold such a file.
        OSError: If the folder cannot be written. Should the folder that was there not
            come back to its place, the error names where it is.

    Example:
        ```python
        import pathlib
        import tempfile
        from keras_encdec.files import new_folder

        place = pathlib.Path(tempfile.mkdtemp()) / "run"
        with new_folder(place) as folder:
            (folder / "note.txt").write_text("whole")
        print(list(place.iterdir()))
        ```
    """
    require_place_of_folder(path, overwrite=overwrite, holds=holds)
    place = _end_of_links(path)
    missing = [parent for parent in place.parents if not parent.exists()]
    work = _beside(place)
    swapped = False
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        work.mkdir(mode=0o700)
        new = work / "new"
        new.mkdir()
        yield new
        if (there := _status(place)) is not None:
            _make_like(new, there)
        for folder, _, files in os.walk(new):
            for name in files:
                _sync(os.path.join(folder, name))
            _sync_folder(folder)
        _swap(new, place, overwrite)
        swapped = True
        _sync_folder(place.parent)
    finally:
        # Not the only copy of what was there.
        if swapped or place.exists() or not _olds(work):
            _remove(work)
        for parent in missing:
            # With something in it, it stays.
            with contextlib.suppress(OSError):
                parent.rmdir()


def require_place_of_folder(
    path: AnyPath,
    *,
    overwrite: bool = False,
    holds: str | None = None,
    only: Collection[str] | None = None,
) -> None:
    """Raises where `new_folder` would, before what is to be written is made.

    Args:
        path: As in `new_folder`.
        overwrite: As in `new_folder`.
        holds: The name of a file that a folder to be replaced must hold, if anything;
            by default it may be any folder.
        only: The names of all that it may hold, likewise.

    Raises:
        FileExistsError: As in `new_folder`, or if the folder is another one.
        NotADirectoryError: If there is a file on the way.
        PermissionError: If no folder may be written there.

    Example:
        ```python
        from keras_encdec.files import require_place_of_folder

        require_place_of_folder("saved_models/new/1")
        ```
    """
    place = _end_of_links(path)
    there = _status(place)
    if there is not None and not stat.S_ISDIR(there.st_mode):
        raise FileExistsError(
            f"A new folder needs a free place; {str(path)!r} is there already, and no "
            "folder. Choose another place."
        )
    if there is not None and not overwrite:
        raise _taken(path)
    if os.path.ismount(place):
        raise FileExistsError(
            f"A folder is replaced as a whole; {str(path)!r} is where a disk is "
            "mounted. Choose a place in it."
        )
    found = _names_in(place)
    others = [x for x in found if only is not None and x not in only]
    if others or (found and holds is not None and holds not in found):
        kind = f"that holds {holds}" if only is None else "that was written here before"
        raise FileExistsError(
            f"Only a folder {kind} is replaced; {str(path)!r} holds "
            f"{(others or found)[0]!r}{' too' if only else ''}. Choose another place."
        )
    parent = next(x for x in place.parents if x.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(
            f"A new folder needs one that may be written; received {str(path)!r}, and "
            f"{str(parent)!r} may not. Change its permissions, or choose another place."
        )


def recover(path: AnyPath) -> None:
    """Brings a folder or a file back that a kill caught while it was replaced.

    What killed writers left beside it is removed, and nothing else: no other process
    may be writing it.

    Args:
        path: The place of the folder, `str` or `Path`; or that of a file of `new_file`.

    Example:
        ```python
        import tempfile
        from keras_encdec.files import recover

        recover(tempfile.mkdtemp() + "/run")
        ```
    """
    place = _end_of_links(path)
    for work in _works(place):
        if _olds(work) and not place.exists():
            os.rename(_whole(work), place)
        _remove(work)


def whole_folder(path: AnyPath) -> pathlib.Path:
    """Returns where a folder is, read only: also if a kill caught its replacement.

    Args:
        path: The place of the folder, `str` or `Path`.

    Returns:
        A `Path`: the place; or that of what `recover` would bring there.

    Example:
        ```python
        from keras_encdec.files import whole_folder

        print(whole_folder("saved"))  # saved
        ```
    """
    place = _end_of_links(path)
    if not place.exists():
        for work in _works(place):
            if _olds(work):
                return _whole(work)
    return pathlib.Path(path)


@contextlib.contextmanager
def new_file(path: AnyPath, *, suffix: str | None = None) -> Iterator[pathlib.Path]:
    """Gives a file to write, which takes its place when all is written.

    Args:
        path: The place of the file, `str` or `Path`; a file that is there already is
            replaced, and its permissions are kept. A pipe or a device, and what a
            process has open, such as `/dev/stdout`, is written straight.
        suffix: What the name of the file that is written must end in, for who writes
            by names, or puts another file in the place of the one given: a pipe and the
            like then get the bytes when all is written. By default any.

    Yields:
        The `Path` of an empty file beside the place. When the block ends it is renamed
        to `path`; if the block or that fails, it is removed and `path` is as before.

    Raises:
        OSError: If `path` is a folder, may not be written or has no folder to stand in.

    Example:
        ```python
        import pathlib
        import tempfile
        from keras_encdec.files import new_file

        place = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
        with new_file(place) as file:
            file.write_text("whole")
        print(place.read_text())
        ```
    """
    require_place_of_file(path)
    if is_written_straight(path):
        if suffix is None:
            yield pathlib.Path(path)
            return
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, f"new{suffix}")
            file.touch()
            yield file
            with file.open("rb") as written, open(path, "wb") as straight:
                shutil.copyfileobj(written, straight)
        return
    place = _end_of_links(path)
    beside = _beside(place)
    beside = beside.with_name(beside.name + (suffix or ""))
    try:
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        # Who writes may make the file anew, with other permissions.
        permissions = (place if place.exists() else beside).stat()
        yield beside
        _make_like(beside, permissions)
        _sync(beside)
        os.replace(beside, place)
        _sync_folder(place.parent)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(beside)


def require_place_of_file(path: AnyPath) -> None:
    """Raises where `new_file` would, before what is to be written is made.

    Args:
        path: As in `new_file`.

    Raises:
        OSError: As in `new_file`.

    Example:
        ```python
        from keras_encdec.files import require_place_of_file

        require_place_of_file("answers.txt")
        ```
    """
    if is_written_straight(path):
        return
    place = _end_of_links(path)
    if place.is_dir():
        raise IsADirectoryError(
            f"A file needs a place of its own; {str(path)!r} is a folder. Name a file "
            "in it."
        )
    if not place.parent.is_dir():
        raise FileNotFoundError(
            f"A file must be in a folder that is there; received {str(path)!r}. Make "
            "the folder first."
        )
    if place.exists() and not os.access(place, os.W_OK):
        raise PermissionError(
            f"A file that may not be written is not replaced; received {str(path)!r}. "
            "Change its permissions, or choose another place."
        )


def require_file(path: AnyPath, rule: str = "What is read must be a file") -> None:
    """Raises unless there is a file, and tells one of nearly its name.

    Args:
        path: Its place, `str` or `Path`.
        rule: What the error begins with.

    Raises:
        FileNotFoundError: If there is nothing.
        IsADirectoryError: If there is a folder.

    Example:
        ```python
        from keras_encdec.files import require_file

        require_file("/dev/null")
        ```
    """
    if os.path.isdir(path):
        raise IsADirectoryError(
            f"{rule}; {os.fspath(path)!r} is a folder. Name a file in it."
        )
    if not os.path.exists(path):
        folder, name = os.path.split(path)
        try:
            near = difflib.get_close_matches(name, os.listdir(folder or "."), 1)
        except OSError:
            near = []
        other = f", but one at {os.path.join(folder, near[0])!r}" if near else ""
        raise FileNotFoundError(
            f"{rule}; there is none at {os.fspath(path)!r}{other}. Check the path."
        )


def _end_of_links(path: AnyPath) -> pathlib.Path:
    return pathlib.Path(os.path.realpath(path))


def _status(place: pathlib.Path) -> os.stat_result | None:
    # Looked at once: another writer may move it away between two looks.
    try:
        return os.stat(place)
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise NotADirectoryError(
            f"A folder is written in folders; in {str(place)!r} there is a file on the "
            "way. Choose another place."
        ) from error


def _names_in(place: pathlib.Path) -> list[str]:
    try:
        return sorted(os.listdir(place))
    except FileNotFoundError:  # Or another writer has just moved it away.
        return []


def _beside(place: pathlib.Path) -> pathlib.Path:
    return place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")


def _works(place: pathlib.Path) -> list[pathlib.Path]:
    """What writers that were killed left beside a place."""
    ours = re.compile(re.escape(f".{place.name}.") + r"[0-9a-f]{8}\.part(\.[.\w]+)?")
    if not place.parent.is_dir():
        return []
    return [path for path in place.parent.iterdir() if ours.fullmatch(path.name)]


def _whole(work: pathlib.Path) -> pathlib.Path:
    # The old one is put aside only when the new one is whole.
    return new if (new := work / "new").exists() else _olds(work)[-1]


def _olds(work: pathlib.Path) -> list[pathlib.Path]:
    return sorted(work.glob("old-*")) if work.is_dir() else []


def _taken(path: AnyPath) -> FileExistsError:
    return FileExistsError(
        f"A new folder needs a free place; {str(path)!r} is there already. Choose "
        "another place, or have it replaced with `overwrite`."
    )


def is_written_straight(path: AnyPath) -> bool:
    """Returns whether `new_file` writes to a place itself: a device, a pipe.

    Args:
        path: The place, `str` or `Path`.

    Example:
        ```python
        from keras_encdec.files import is_written_straight

        print(is_written_straight("/dev/null"))  # True
        ```
    """
    with contextlib.suppress(FileNotFoundError):
        os.stat(path)  # Raises where links lead round in a circle.
    # What a process has open looks like a link to a file, of which the process would
    # go on to write the old one.
    while True:
        folder = os.path.realpath(os.path.dirname(path))
        if folder == "/dev" or folder.startswith(("/dev/fd", "/proc/")):
            return True
        if not os.path.islink(path):
            break
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def _swap(new: pathlib.Path, place: pathlib.Path, overwrite: bool) -> None:
    """Renames a folder to its place; if that fails, the place is as before."""
    for number in range(10):
        old = new.with_name(f"old-{number}")
        try:
            if overwrite:
                with contextlib.suppress(FileNotFoundError):
                    os.rename(place, old)
            os.rename(new, place)
            return
        except BaseException as error:
            # Another writer was faster; what it put there is whole.
            faster = getattr(error, "errno", None) in (errno.EEXIST, errno.ENOTEMPTY)
            if faster and not overwrite:
                raise _taken(place) from error
            if not faster and old.exists() and new.exists():
                _put_back(old, place, error)
            if not faster or number == 9:
                raise


def _put_back(old: pathlib.Path, place: pathlib.Path, reason: BaseException) -> None:
    try:
        os.rename(old, place)
    except OSError as error:
        raise OSError(
            f"{str(place)!r} could not be replaced ({reason}), nor could what was "
            f"there be put back ({error}): it is {str(old)!r}, beside the new one. "
            "Move one of them to its place."
        ) from error


def _remove(work: pathlib.Path) -> None:
    try:
        if work.is_dir():
            shutil.rmtree(work)
        else:
            work.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(
            f"{str(work)!r} is no longer needed and could not be removed ({error}). "
            "Remove it by hand.",
            stacklevel=2,
        )


def _make_like(new: pathlib.Path, permissions: Any) -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.chown(new, permissions.st_uid, permissions.st_gid)
    mode = stat.S_IMODE(permissions.st_mode) & ~stat.S_ISUID
    if stat.S_IMODE(os.stat(new).st_mode) != mode:
        os.chmod(new, mode)


def _sync(file: Any) -> None:
    """Brings a file to the disk, so that no power cut leaves half of it."""
    if stat.S_ISREG(os.lstat(file).st_mode):
        _fsync(file)


def _sync_folder(folder: AnyPath) -> None:
    # Not all systems can. What was renamed is whole, before a power cut and after it.
    with contextlib.suppress(OSError):
        _fsync(folder)


def _fsync(path: AnyPath) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def portable_config(config: Any) -> Any:
    """Returns a Keras config in words that every backend understands."""
    # Under PyTorch, Keras names optimizers by classes that run under PyTorch alone; a
    # model saved so could not be trained on, nor loaded where PyTorch is missing.
    if isinstance(config, list):
        return [portable_config(part) for part in config]
    if not isinstance(config, dict):
        return config
    config = {key: portable_config(part) for key, part in config.items()}
    if str(config.get("module")).startswith("keras.src.backend."):
        config.update(module="keras.optimizers", registered_name=None)
    return config


def check_format(number: Any, path: AnyPath) -> int:
    """Checks that a file was not written by a later version.

    Args:
        number: The format the file names, `FORMAT` when it is written; None or 1 of a
            file that names none. What such a file lacks is filled up by what was the
            rule when it was written.
        path: The file, or what else it is, to name it.

    Returns:
        The number, an int.

    Raises:
        ValueError: If the number is not one that this version knows.

    Example:
        ```python
        from keras_encdec.files import FORMAT, check_format

        print(check_format(None, "old.json"), check_format(FORMAT, "new.json"))
        ```
    """
    number = 1 if number is None else number
    if type(number) is not int or not 1 <= number <= FORMAT:
        raise ValueError(
            f"This version of keras_encdec reads files of the formats 1 to {FORMAT}; "
            f"{str(path)!r} is of format {number!r}. Install the version that wrote "
            "it, or a later one."
        )
    return number
