"""Texts from files."""

import gzip
import os
import zlib


def read_pairs(source_path, target_path=None):
    r"""Reads pairs of texts from two parallel files, or from one with tabs.

    Args:
        source_path: A UTF-8 text file with one source a line; or, without
            `target_path`, one with `source<tab>target` a line, of which further
            columns are left out. It is unpacked if its name ends in `.gz`.
        target_path: A UTF-8 text file with one target a line.

    Returns:
        The list of sources and the list of targets, `str` each.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If a file is not UTF-8 or not gzip, a line has no tab, or the
            numbers of lines differ; it names the file and the line.

    Example:
        ```python
        from pathlib import Path
        from tempfile import TemporaryDirectory
        from keras_encdec.text import read_pairs

        with TemporaryDirectory() as folder:
            path = Path(folder, "pairs.tsv")
            path.write_text("cat\tKatze\ndog\tHund\n", encoding="utf-8")
            print(read_pairs(path))  # (['cat', 'dog'], ['Katze', 'Hund'])
        ```
    """
    sources = read_lines(source_path)
    if target_path is not None:
        targets = read_lines(target_path)
        if len(sources) != len(targets):
            raise ValueError(
                "Parallel files must have the same number of lines; received "
                f"{len(sources)} in {os.fspath(source_path)!r} and {len(targets)} in "
                f"{os.fspath(target_path)!r}. Align them again."
            )
        return sources, targets
    rows = [line.split("\t") for line in sources]
    for number, row in enumerate(rows, start=1):
        if len(row) < 2:
            raise ValueError(
                "Each line must be `source<tab>target`; line "
                f"{number} of {os.fspath(source_path)!r} has no tab: {row[0]!r:.80}. "
                "Correct the line, or give the file of targets as `target_path`."
            )
    return [row[0] for row in rows], [row[1] for row in rows]


def read_lines(path):
    r"""Reads texts from a UTF-8 file, a line each.

    Args:
        path: The file's path; it is unpacked if its name ends in `.gz`.

    Returns:
        A list of `str`.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is not UTF-8 or not gzip; it names the file and the line.

    Example:
        ```python
        from pathlib import Path
        from tempfile import TemporaryDirectory
        from keras_encdec.text import read_lines

        with TemporaryDirectory() as folder:
            path = Path(folder, "texts.en")
            path.write_text("a cat\na dog\n", encoding="utf-8")
            print(read_lines(path))  # ['a cat', 'a dog']
        ```
    """
    name = os.fspath(path)
    opened = gzip.open if name.endswith(".gz") else open
    try:
        with opened(path, "rb") as file:
            data = file.read()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"Texts are read from a file; there is none at {name!r}. Check the path."
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"A file named `.gz` must be gzip, whole; {name!r} is not ({error}). Copy "
            "it again, or rename it if it is plain text."
        ) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"Texts must be UTF-8; line {number} of {name!r} holds the byte "
            f"0x{data[error.start]:02x}, which is not. Convert the file to UTF-8."
        ) from error
    # Not `str.splitlines`, which also splits on U+2028 and other characters in a line.
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
