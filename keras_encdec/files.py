"""What is saved: folders written whole or not at all, configs read everywhere."""

import contextlib
import os
import pathlib
import shutil
import tempfile

# Of all files of this library. 1 is what version 0.1.0 wrote, which named none.
FORMAT = 2


@contextlib.contextmanager
def new_folder(path, *, overwrite=False):
    """Gives a folder to write in, which takes its place when all is written.

    Args:
        path: The place of the folder, `str` or `Path`.
        overwrite: Whether to replace a folder that is there already.

    Yields:
        The `Path` of an empty folder beside the place. When the block ends it is
        renamed to `path`; if the block raises, it is removed and `path` is as before.

    Raises:
        FileExistsError: If there is something at `path`, and `overwrite` is False or
            it is no folder.

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
    path = pathlib.Path(path)
    if path.exists() and not (overwrite and path.is_dir()):
        raise FileExistsError(
            f"A new folder needs a free place; {str(path)!r} is there already. Choose "
            "another place, or allow it to be overwritten where that is offered."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        folder = work / "new"
        folder.mkdir()
        yield folder
        if path.exists():
            path.rename(work / "old")
        folder.rename(path)
    finally:
        shutil.rmtree(work)


def recover_folder(path):
    """Brings a folder back that a kill caught while `new_folder` replaced it.

    What killed writers left beside it is removed: no other process may be writing it.

    Args:
        path: The place of the folder, `str` or `Path`.

    Example:
        ```python
        import tempfile
        from keras_encdec.files import recover_folder

        recover_folder(tempfile.mkdtemp() + "/run")
        ```
    """
    path = pathlib.Path(path)
    for work in path.parent.glob(f".{path.name}.*"):
        # The old one is put aside only when the new one is whole.
        if (work / "old").is_dir() and not path.exists():
            (work / "new").rename(path)
        shutil.rmtree(work)


@contextlib.contextmanager
def new_file(path):
    """Gives a file to write, which takes its place when all is written.

    Args:
        path: The place of the file, `str` or `Path`; a file that is there already is
            replaced.

    Yields:
        The `Path` of a file beside the place. When the block ends it is renamed to
        `path`; if the block raises, it is removed and `path` is as before.

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
    path = pathlib.Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def portable_config(config):
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


def check_format(number, path):
    """Checks that a file was not written by a later version.

    Args:
        number: The format the file names, `FORMAT` when it is written; None or 1 of a
            file that names none. What such a file lacks is filled up by what was the
            rule when it was written.
        path: The file, to name it.

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
