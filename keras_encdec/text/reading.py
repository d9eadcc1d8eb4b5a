"""Texts from files: one reader for all of them, whatever they are read for."""

import contextlib
import gzip
import io
import itertools
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from keras_encdec.files import require_file

_GZIP = b"\x1f\x8b"
# What begins a file that is no text in UTF-8, the longer beginnings first.
_OTHERS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\xfd7zXZ\x00": "packed by xz",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"BZh91AY&SY": "packed by bzip2",
    b"PK\x03\x04": "packed by zip",
}


def read_lines(file: Any) -> list[str]:
    r"""Reads texts, a line each, from a UTF-8 file, plain or packed by gzip.

    Whether it is packed is seen from what it holds, not from its name. Byte order marks
    at the beginnings of lines, as of files that were joined, and carriage returns at
    their ends are left out.

    Args:
        file: The path of a file, `"-"` for standard input, or a binary file that is
            open.

    Returns:
        A list of `str`.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is not UTF-8, such as UTF-16, is packed otherwise or not
            whole, holds NUL bytes, which no text has, or ends its lines by carriage
            returns alone; it names file and line.

    Example:
        ```python
        import io
        from keras_encdec.text import read_lines

        print(read_lines(io.BytesIO(b"a cat\r\na dog\n")))  # ['a cat', 'a dog']
        ```
    """
    return [*_stream(file, _name(file))]


def _stream(file: Any, name: str) -> Iterator[str]:
    """The lines of a file, as it is read."""
    with _opened(file) as opened:
        yield from _lines(opened, name)


def _lines(opened: Any, name: str) -> Iterator[str]:
    """The lines of a binary file that is open, checked and without their ends."""
    head = opened.peek(8)
    for beginning, other in _OTHERS.items():
        if head.startswith(beginning):
            raise ValueError(
                f"Texts must be UTF-8, plain or gzip; {name} is {other}. Unpack it, or "
                f"convert it with `iconv -f UTF-16 -t UTF-8` or the like."
            )
    number = 0
    # Not `str.splitlines`, which also splits on U+2028 and other characters in a line.
    for number, data in enumerate(_unpacked(opened, name), start=1):
        try:
            line = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _no_text(
                f"line {number} of {name} holds the byte 0x{data[error.start]:02x}",
                "Convert it with `iconv -f ENCODING -t UTF-8`, or leave such bytes out "
                "with `iconv -c -t UTF-8`.",
            ) from error
        if "\0" in line:
            raise _no_text(
                f"line {number} of {name} holds the byte 0x00",
                "Unpack it if it is an archive, or convert it to UTF-8.",
            )
        text = line.removesuffix("\n").rstrip("\r").removeprefix("\ufeff")
        if number == 1:
            # A mark that the whole file has, and one that its first part had.
            text = text.removeprefix("\ufeff")
            if "\r" in text and not line.endswith("\n"):
                raise ValueError(
                    f"Lines must end by a line feed; {name} holds carriage returns "
                    "alone. Convert it with `tr '\\r' '\\n'`."
                )
        yield text


def _no_text(found: str, remedy: str) -> ValueError:
    return ValueError(f"Texts must be UTF-8; {found}, which is not. {remedy}")


def _unpacked(opened: Any, name: str) -> Iterator[bytes]:
    try:
        yield from opened
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"A file that begins as gzip must be gzip, whole; {name} is not "
            f"({error}). Copy it again."
        ) from error


def _name(file: Any) -> str:
    """What a message calls a file."""
    if hasattr(file, "read"):
        return str(getattr(file, "name", "the input"))
    return "standard input" if file == "-" else repr(os.fspath(file))


@contextlib.contextmanager
def _opened(file: Any) -> Iterator[Any]:
    """Opens a file to read bytes, which are unpacked where they are packed by gzip."""
    if file == "-":
        raw: Any = io.BytesIO(sys.stdin.buffer.read())
    elif hasattr(file, "read"):
        raw = io.BytesIO(file.read())
    else:
        require_file(file, "Texts are read from a file")
        raw = open(file, "rb", buffering=0)
    with io.BufferedReader(raw) as opened:
        packed = opened.peek(2).startswith(_GZIP)
        yield gzip.GzipFile(fileobj=opened) if packed else opened


def read_sources(file: Any) -> list[str]:
    r"""Reads source texts, a line each, or the first column of pairs.

    Where every line holds a tab, the lines are `source<tab>target`, as `read_pairs`
    takes them; otherwise a tab is part of a text.

    Args:
        file: As in `read_lines`.

    Returns:
        A list of `str`.

    Raises:
        FileNotFoundError: As in `read_lines`.
        ValueError: As in `read_lines`.

    Example:
        ```python
        import io
        from keras_encdec.text import read_sources

        print(read_sources(io.BytesIO(b"cat\tKatze\ndog\tHund\n")))  # ['cat', 'dog']
        ```
    """
    lines = read_lines(file)
    if all("\t" in line for line in lines):
        return [line.split("\t")[0] for line in lines]
    return lines


class SourceLines:
    r"""The texts that `read_sources` returns, read as often as they are gone through.

    They are not held in memory. What can be read but once, as standard input, is copied
    to a temporary file.

    Args:
        file: The path of a file, or `"-"` for standard input.

    Raises:
        FileNotFoundError: As in `read_lines`.
        ValueError: As in `read_lines`, before the first text is given.

    Example:
        ```python
        import pathlib
        import tempfile
        from keras_encdec.text.reading import SourceLines

        file = pathlib.Path(tempfile.mkdtemp()) / "pairs.tsv"
        file.write_text("cat\tKatze\ndog\tHund\n")
        lines = SourceLines(file)
        print(len(lines), [*lines], lines[1])  # 2 ['cat', 'dog'] dog
        ```
    """

    def __init__(self, file: Any) -> None:
        self._name, self._file = _name(file), file
        if file == "-" or (os.path.exists(file) and not os.path.isfile(file)):
            if os.path.isdir(file):
                require_file(file, "Texts are read from a file")
            self._copy = tempfile.NamedTemporaryFile()
            with contextlib.ExitStack() as stack:
                given = (
                    sys.stdin.buffer
                    if file == "-"
                    else stack.enter_context(open(file, "rb"))
                )
                shutil.copyfileobj(given, self._copy)
            self._copy.flush()
            self._file = self._copy.name
        self._number, self._first_columns = 0, True
        for line in self._lines():
            self._number += 1
            self._first_columns &= "\t" in line

    def _lines(self) -> Iterator[str]:
        return _stream(self._file, self._name)

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[str]:
        for line in self._lines():
            yield line.split("\t")[0] if self._first_columns else line

    def __getitem__(self, place: int) -> str:
        return next(itertools.islice(self, place, None))


def read_pairs(
    source_path: Any, target_path: Any = None
) -> tuple[list[str], list[str]]:
    r"""Reads pairs of texts from two parallel files, or from one with tabs.

    Args:
        source_path: A file, as in `read_sources`, with one source a line; or, without
            `target_path`, one with `source<tab>target` a line, of which further columns
            are left out.
        target_path: A file with one target a line.

    Returns:
        The list of sources and the list of targets, `str` each.

    Raises:
        FileNotFoundError: As in `read_lines`.
        ValueError: As in `read_lines`; or if a line has no tab, or the numbers of
            lines differ.

    Example:
        ```python
        import io
        from keras_encdec.text import read_pairs

        file = io.BytesIO(b"cat\tKatze\ndog\tHund\n")
        print(read_pairs(file))  # (['cat', 'dog'], ['Katze', 'Hund'])
        ```
    """
    if target_path is not None:
        sources, targets = read_sources(source_path), read_lines(target_path)
        if len(sources) != len(targets):
            raise ValueError(
                "Parallel files must have the same number of lines; received "
                f"{len(sources)} in {_name(source_path)} and {len(targets)} in "
                f"{_name(target_path)}. Align them again."
            )
        return sources, targets
    pairs = [*_pairs(read_lines(source_path), _name(source_path))]
    return [source for source, _ in pairs], [target for _, target in pairs]


def _pairs(lines: Iterable[str], name: str) -> Iterator[tuple[str, str]]:
    """The first two columns of lines."""
    for number, line in enumerate(lines, start=1):
        row = line.split("\t")
        if len(row) < 2:
            raise ValueError(
                f"Each line must be `source<tab>target`; line {number} of {name} has "
                f"no tab: {row[0]!r:.80}. Correct the line, or give the targets in a "
                "file of their own."
            )
        yield row[0], row[1]


def stream_pairs(source_path: Any, target_path: Any = None) -> Iterator[Any]:
    r"""Yields pairs of texts as `read_pairs` reads them, holding some lines at a time.

    Of two files the source is read twice, for it may be a first column.

    Args:
        source_path: The path of a file, plain or packed by gzip.
        target_path: Likewise; or None, and then each line holds a tab.

    Yields:
        Pairs `(source, target)` of `str`.

    Raises:
        FileNotFoundError: As in `read_lines`.
        ValueError: As in `read_pairs`.

    Example:
        ```python
        import pathlib
        import tempfile
        from keras_encdec.text import stream_pairs

        path = pathlib.Path(tempfile.mkdtemp(), "pairs.tsv")
        path.write_text("cat\tKatze\n")
        print(list(stream_pairs(path)))  # [('cat', 'Katze')]
        ```
    """
    if target_path is None:
        yield from _pairs(_stream(source_path, _name(source_path)), _name(source_path))
        return
    sides = SourceLines(source_path), _stream(target_path, _name(target_path))
    missing = object()
    for number, pair in enumerate(itertools.zip_longest(*sides, fillvalue=missing)):
        if missing in pair:
            raise ValueError(
                "Parallel files must have the same number of lines; "
                f"{_name((source_path, target_path)[pair.index(missing)])} ends after "
                f"{number:,}, the other goes on. Align them again."
            )
        yield pair
