"""Lines written in turn: kept where a command ends early, gone on with, done once."""

import contextlib
import hashlib
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from keras_encdec.annotations import AnyPath
from keras_encdec.files import is_written_straight, new_file, require_place_of_file
from keras_encdec.lock import held


@contextlib.contextmanager
def growing_file(
    path: AnyPath, name: str, *, resume: bool = False
) -> Iterator[BinaryIO]:
    r"""Gives a file to append to, which takes its place when all is written.

    Left early, by an error or a kill, it stays beside the place with what it holds. One
    process at a time writes it.

    Args:
        path: The place of the file, as in `new_file`.
        name: What names the work, the same for who goes on with it, as in
            `partial_place`.
        resume: Whether to go on with what is there, and to write beside it what
            `is_finished` reads; otherwise it is begun anew.

    Yields:
        The file, open for bytes to read and to write, at its beginning. When the block
        ends it is renamed to `path`; if the block fails, it stays, unless it is empty.

    Raises:
        BlockingIOError: If another process writes it.
        OSError: As in `new_file`.

    Example:
        ```python
        import pathlib
        import tempfile
        from keras_encdec.cli.partial_output import growing_file

        place = pathlib.Path(tempfile.mkdtemp()) / "answers.txt"
        with growing_file(place, "mine") as file:
            file.write(b"one\n")
            print([path.name for path in place.parent.iterdir()])
        print(place.read_text())
        ```
    """
    require_place_of_file(path)
    if is_written_straight(path):
        with open(path, "wb") as straight:
            yield straight
        return
    partial = partial_place(path, name)
    # Nothing of it is cut before it is held.
    with open(partial, "a+b") as file, held(partial):
        file.seek(0)
        if not resume:
            file.truncate()
        try:
            yield file
            file.flush()
            if resume:
                # Before the file is there, of which it then says nothing wrong.
                with new_file(_record_place(path)) as record:
                    record.write_text(_record(partial, name))
            with new_file(path) as whole:
                os.replace(partial, whole)
        finally:
            with contextlib.suppress(OSError):
                file.flush()
                if not partial.stat().st_size:
                    partial.unlink()


def partial_place(path: AnyPath, name: str) -> pathlib.Path:
    """Returns where a `growing_file` is until it is whole: `PATH.NAME.partial`.

    Args:
        path: The place of the file.
        name: What names the work.

    Example:
        ```python
        from keras_encdec.cli.partial_output import partial_place

        print(partial_place("/tmp/answers.txt", "mine"))
        ```
    """
    return pathlib.Path(f"{os.path.realpath(path)}.{name}.partial")


def is_finished(path: AnyPath, name: str) -> bool:
    r"""Returns whether a file is what this work has written, whole and unchanged.

    Args:
        path: The place of the file.
        name: What names the work, as in `growing_file`.

    Example:
        ```python
        import pathlib
        import tempfile
        from keras_encdec.cli.partial_output import growing_file, is_finished

        place = pathlib.Path(tempfile.mkdtemp()) / "answers.txt"
        with growing_file(place, "mine", resume=True) as file:
            file.write(b"one\n")
        print(is_finished(place, "mine"), is_finished(place, "other"))  # True False
        ```
    """
    try:
        return _record_place(path).read_text() == _record(path, name)
    except (OSError, ValueError):
        return False


def _record_place(path: AnyPath) -> pathlib.Path:
    place = pathlib.Path(os.path.realpath(path))
    return place.with_name(f".{place.name}.done")


def _record(path: AnyPath, name: str) -> str:
    with open(path, "rb") as file:
        return f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n"


@contextlib.contextmanager
def written_lines(
    output: str, name: str, *, resume: bool = False, lines_each: int = 1
) -> Iterator[tuple[int, Callable[[str], object]]]:
    """Gives a function that writes a line, and the number of texts that have theirs.

    Args:
        output: The file's path; or `"-"` for standard output.
        name: What names the work, as in `growing_file`.
        resume: Whether to go on with what the same work left.
        lines_each: The number of lines of each text.

    Yields:
        The number of texts whose lines are there already, an int, and the function.

    Raises:
        OSError: As in `growing_file`.

    Example:
        ```python
        from keras_encdec.cli.partial_output import written_lines

        with written_lines("-", "example") as (done, write):
            write(f"{done} texts before this one")
        ```
    """
    if output == "-":
        # Bytes, for the terminal's encoding may lack a character.
        sys.stdout.flush()
        yield 0, lambda line: sys.stdout.buffer.write(as_line(line))
        sys.stdout.buffer.flush()
        return
    with growing_file(output, name, resume=resume) as file:
        whole = _cut_to_whole_texts(file, lines_each) if resume else 0

        def write(line: str) -> None:
            file.write(as_line(line))
            file.flush()  # A kill leaves what is buffered behind.

        yield whole, write


def as_line(text: str) -> bytes:
    """Returns a text as one line: a break in it would shift all lines after it."""
    return (" ".join(text.splitlines()) + "\n").encode()


def _cut_to_whole_texts(file: BinaryIO, lines_each: int) -> int:
    """Leaves out what a kill tore; returns how many texts are there whole."""
    number, size, end = 0, 0, 0
    for line in file:
        size += len(line)
        if line.endswith(b"\n"):
            number += 1
            end = size if number % lines_each == 0 else end
    file.truncate(end)
    file.seek(end)
    return number // lines_each


def name_of_work(saved: Sequence[str], source: str, **options: Any) -> str:
    """Returns a name for what models generate for a file: for the same, the same.

    Args:
        saved: The folders of the models, or places on a hub.
        source: The path of the texts, or `"-"`.
        **options: All that answers depend on, beside them.

    Returns:
        A `str` of 12 letters and digits.

    Example:
        ```python
        from keras_encdec.cli.partial_output import name_of_work

        print(name_of_work(["runs/en-de"], "test.en", seed=0))
        ```
    """
    folders = [pathlib.Path(place) for place in saved]
    files = sorted(x for folder in folders for x in folder.glob("*") if x.is_file())
    read = [source, options.get("shortlist")]
    files += [pathlib.Path(x) for x in read if x and os.path.isfile(x)]
    # A model that is trained on, or a file that is changed, is another one.
    states = [(str(x.resolve()), x.stat().st_size, x.stat().st_mtime_ns) for x in files]
    facts = json.dumps([[*saved], source, states, options], sort_keys=True, default=str)
    return hashlib.sha256(facts.encode()).hexdigest()[:12]
