"""Texts from files."""

import bz2
import gzip
import io
import lzma
import sys

import pytest

from keras_encdec.text import read_lines, read_pairs, read_sources, stream_pairs
from keras_encdec.text.reading import SourceLines

pytestmark = pytest.mark.once


def write(path, data):
    if path.suffix == ".gz":
        data = gzip.compress(data)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_parallel_files(tmp_path, suffix):
    # A line separator of Unicode is no end of a line.
    sources = write(tmp_path / f"a{suffix}", "é\u2028x\r\n\nlast".encode())
    targets = write(tmp_path / f"b{suffix}", b"\xef\xbb\xbfone\n\ttwo\n three \n")
    expected = (["é\u2028x", "", "last"], ["one", "\ttwo", " three "])
    assert read_pairs(sources, targets) == expected
    assert read_pairs(str(sources), str(targets)) == expected


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_tab_separated_file(tmp_path, suffix):
    path = write(tmp_path / f"a.tsv{suffix}", b"cat\tChat\ndog\tchien\tCC-BY\n")
    assert read_pairs(path) == (["cat", "dog"], ["Chat", "chien"])


def test_empty_files(tmp_path):
    path = write(tmp_path / "a", b"")
    assert read_pairs(path) == ([], [])
    assert read_pairs(path, path) == ([], [])


def test_read_pairs_refuses(tmp_path):
    three = write(tmp_path / "three", b"a\tx\nb\ty\nc\n")
    two = write(tmp_path / "two.gz", b"a\nb\n")
    latin = write(tmp_path / "latin.gz", b"a\nb\ncaf\xe9\nd\n")
    with pytest.raises(ValueError, match="line 3 of '.*three' has no tab: 'c'"):
        read_pairs(three)
    with pytest.raises(ValueError, match="3 in '.*three' and 2 in '.*two.gz'"):
        read_pairs(three, two)
    with pytest.raises(ValueError, match="line 3 of '.*latin.gz' holds the byte 0xe9"):
        read_pairs(latin)
    with pytest.raises(FileNotFoundError, match="there is none at '.*missing'"):
        read_pairs(three, tmp_path / "missing")
    broken = tmp_path / "broken.gz"
    for data in (two.read_bytes()[:-6], two.read_bytes()[:12] + b"zzz"):
        broken.write_bytes(data)
        with pytest.raises(ValueError, match="broken.gz' is not"):
            read_pairs(broken)


def test_what_packs_a_file_is_seen_from_its_content(tmp_path):
    text = "é a\nb\n".encode()
    for name in ("plain.gz", "packed.txt"):
        data = gzip.compress(text) if name == "packed.txt" else text
        (tmp_path / name).write_bytes(data)
        assert read_lines(tmp_path / name) == ["é a", "b"]
        assert read_lines(io.BytesIO(data)) == ["é a", "b"]
    # Two packed files, one after the other, are one.
    both = gzip.compress(text) + gzip.compress(b"c")
    assert read_lines(io.BytesIO(both)) == ["é a", "b", "c"]


def test_standard_input_is_a_file_like_any_other(monkeypatch):
    data = gzip.compress(b"\xef\xbb\xbfa\tx\r\nb\ty\r\n")
    for read, expected in (
        (read_lines, ["a\tx", "b\ty"]),
        (read_sources, ["a", "b"]),
        (read_pairs, (["a", "b"], ["x", "y"])),
    ):
        stdin = io.TextIOWrapper(io.BytesIO(data))
        monkeypatch.setattr(sys, "stdin", stdin)
        assert read("-") == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\xff\n")))
    with pytest.raises(
        ValueError, match="line 2 of standard input holds the byte 0xff"
    ):
        read_lines("-")


def test_sources_are_the_first_column_where_every_line_has_a_tab():
    assert read_sources(io.BytesIO(b"a\tx\tmore\n\ty\n")) == ["a", ""]
    assert read_sources(io.BytesIO(b"a\tx\nb\n")) == ["a\tx", "b"]
    assert read_sources(io.BytesIO(b"")) == []


@pytest.mark.parametrize(
    "data, message",
    [
        ("a\nb".encode("utf-16"), "is UTF-16. Unpack.*iconv"),
        ("a\nb".encode("utf-32"), "is UTF-32"),
        (b"\xfe\xff" + "a".encode("utf-16-be"), "is UTF-16"),
        (b"\x00\x00\xfe\xff" + "a".encode("utf-32-be"), "is UTF-32"),
        ("a\nb".encode("utf-16-le"), "line 1 of .* holds the byte 0x00"),
        (b"a\nb\x00c\n", "line 2 of .* holds the byte 0x00"),
        # Without the time: each process that collects tests names them the same.
        (
            gzip.compress(b"a\nb\n\xff", mtime=0),
            "line 3 of .* holds the byte 0xff.*iconv -c",
        ),
        (gzip.compress("a".encode("utf-16"), mtime=0), "is UTF-16"),
        (lzma.compress(b"a"), "packed by xz"),
        (bz2.compress(b"a"), "packed by bzip2"),
        (b"a\tx\rb\ty\r", "carriage returns alone.*tr "),
        (gzip.compress(b"a\rb", mtime=0), "carriage returns alone"),
        (gzip.compress(gzip.compress(b"a\n", mtime=0), mtime=0), "holds the byte 0x8b"),
    ],
)
def test_refuses_what_is_no_text(data, message, tmp_path):
    (tmp_path / "texts").write_bytes(data)
    for file in (io.BytesIO(data), tmp_path / "texts"):
        for read in (read_lines, read_sources, read_pairs):
            if hasattr(file, "seek"):
                file.seek(0)
            with pytest.raises(ValueError, match=message):
                read(file)


def test_marks_and_returns_of_joined_files_are_left_out():
    one = b"\xef\xbb\xbfa\r\r\n\xef\xbb\xbfb\rc\n"
    for data in (one, gzip.compress(one[:9]) + gzip.compress(one[9:])):
        assert read_lines(io.BytesIO(data)) == ["a", "b\rc"]
    assert read_lines(io.BytesIO(b"\xef\xbb\xbf" + one)) == ["a", "b\rc"]
    assert read_lines(io.BytesIO(b"a\r")) == ["a"]
    assert read_lines(io.BytesIO(b"b\rc\n")) == ["b\rc"]


def test_the_sources_of_two_files_may_be_a_column(tmp_path):
    pairs = io.BytesIO(b"cat\tKatze\ndog\tHund\n")
    found = read_pairs(pairs, io.BytesIO(b"chat\nchien\n"))
    assert found == (["cat", "dog"], ["chat", "chien"])


def test_pairs_are_streamed_as_they_are_read(tmp_path):
    columns = write(tmp_path / "pairs.tsv", b"cat\tKatze\ndog\tHund\n")
    some = write(tmp_path / "some.tsv", b"cat\tKatze\ndog\n")
    targets = write(tmp_path / "targets.txt", b"chat\nchien\tx\n")
    for files in ((columns,), (columns, targets), (some, targets)):
        assert [*stream_pairs(*files)] == [*zip(*read_pairs(*files), strict=True)]


def test_lines_are_read_as_often_as_wanted(tmp_path, monkeypatch):
    data = b"\xef\xbb\xbfa\tx\r\nb\ty\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(data))))
    for file in (write(tmp_path / "a.gz", data), write(tmp_path / "b", data), "-"):
        lines = SourceLines(file)
        assert [*lines] == [*lines] == ["a", "b"]
        assert len(lines) == 2 and lines[1] == "b"
    assert [*SourceLines(write(tmp_path / "c", b"a\tx\nb\n"))] == ["a\tx", "b"]
    assert not SourceLines(write(tmp_path / "d", b""))
    # All of it is looked at before the first.
    with pytest.raises(ValueError, match="line 2 of '.*e' holds the byte 0xff"):
        SourceLines(write(tmp_path / "e", b"a\n\xff\n"))
    with pytest.raises(FileNotFoundError, match="there is none at"):
        SourceLines(tmp_path / "missing")
    with pytest.raises(IsADirectoryError, match="Name a file in it"):
        SourceLines(tmp_path)


def test_a_folder_is_named(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder. Name a file in it"):
        read_lines(tmp_path)
