"""Texts from files: one reader for all of them, whatever they are read for."""

import gzip
import io
import itertools
import os
import sys
import zlib
from collections.abc import Iterator
from typing import Any

from keras_encdec.files import require_file

_GZIP = b"\x1f\x8b"
_BLOCK = 2**20  # Bytes of lines that are read at a time.
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
    name, data = _name(file), _read(file)
    for beginning, other in _OTHERS.items():
        if data.startswith(beginning):
            raise ValueError(
                f"Texts must be UTF-8, plain or gzip; {name} is {other}. Unpack it, or "
                f"convert it with `iconv -f UTF-16 -t UTF-8` or the like."
            )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place, remedy = (
            error.start,
            (
                "Convert it with `iconv -f ENCODING -t UTF-8`, or leave such bytes out "
                "with `iconv -c -t UTF-8`."
            ),
        )
    else:
        place, remedy = (
            data.find(b"\x00"),
            ("Unpack it if it is an archive, or convert it to UTF-8."),
        )
    if place >= 0:
        number = data.count(b"\n", 0, place) + 1
        raise ValueError(
            f"Texts must be UTF-8; line {number} of {name} holds the byte "
            f"0x{data[place]:02x}, which is not. {remedy}"
        )
    # Not `str.splitlines`, which also splits on U+2028 and other characters in a line.
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    lines = [line.rstrip("\r").removeprefix("\ufeff") for line in lines]
    if "\n" not in text and any("\r" in line for line in lines):
        raise ValueError(
            f"Lines must end by a line feed; {name} holds carriage returns alone. "
            "Convert it with `tr '\\r' '\\n'`."
        )
    return lines


def _name(file: Any) -> str:
    """What a message calls a file."""
    if hasattr(file, "read"):
        return str(getattr(file, "name", "the input"))
    return "standard input" if file == "-" else repr(os.fspath(file))


def _read(file: Any) -> Any:
    """The bytes of a file, unpacked."""
    if file == "-":
        data = sys.stdin.buffer.read()
    elif hasattr(file, "read"):
        data = file.read()
    else:
        require_file(file, "Texts are read from a file")
        with open(file, "rb") as opened:
            data = opened.read()
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise _no_gzip(file, error) from error
    return data


def _no_gzip(file: Any, error: Exception) -> ValueError:
    return ValueError(
        f"A file that begins as gzip must be gzip, whole; {_name(file)} is not "
        f"({error}). Copy it again."
    )


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
    rows = [line.split("\t") for line in read_lines(source_path)]
    for number, row in enumerate(rows, start=1):
        if len(row) < 2:
            raise ValueError(
                f"Each line must be `source<tab>target`; line {number} of "
                f"{_name(source_path)} has no tab: {row[0]!r:.80}. Correct the line, "
                "or give the targets in a file of their own."
            )
    return [row[0] for row in rows], [row[1] for row in rows]


def stream_pairs(source_path: Any, target_path: Any = None) -> Iterator[Any]:
    r"""Yields pairs of texts as `read_pairs` reads them, holding some lines at a time.

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
        for lines in _blocks(source_path):
            yield from zip(*read_pairs(lines), strict=True)
        return
    sides = (
        itertools.chain.from_iterable(map(read_lines, _blocks(path)))
        for path in (source_path, target_path)
    )
    missing = object()
    for number, pair in enumerate(itertools.zip_longest(*sides, fillvalue=missing)):
        if missing in pair:
            raise ValueError(
                "Parallel files must have the same number of lines; "
                f"{_name((source_path, target_path)[pair.index(missing)])} ends after "
                f"{number:,}, the other goes on. Align them again."
            )
        yield pair


class _Block(io.BytesIO):
    """Some lines of a file, which messages call by its name."""

    name = ""


def _blocks(path: Any) -> Iterator[_Block]:
    """Yields the bytes of a file, unpacked, in blocks of whole lines."""
    require_file(path, "Texts are read from a file")
    with open(path, "rb") as file:
        packed = file.peek(2)[:2] == _GZIP
        unpacked: Any = gzip.GzipFile(fileobj=file) if packed else file
        first = 1
        while data := _lines_of(unpacked, path):
            block = _Block(data)
            block.name = f"{os.fspath(path)!r} from line {first:,} on"
            first += data.count(b"\n")
            yield block


def _lines_of(file: Any, path: Any) -> bytes:
    try:
        return b"".join(file.readlines(_BLOCK))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _no_gzip(path, error) from error
