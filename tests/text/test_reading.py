"""Texts from files."""

import gzip

import pytest

from keras_encdec.text import read_pairs


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
    for data in (b"plain text", two.read_bytes()[:-6], two.read_bytes()[:12] + b"zzz"):
        broken.write_bytes(data)
        with pytest.raises(ValueError, match="broken.gz' is not"):
            read_pairs(broken)
