"""Texts to a corpus: filters, and going on."""

import pytest

import keras_encdec.text.encoding
from keras_encdec.text import ByteTokenizer, Corpus, encode_corpus

pytestmark = pytest.mark.once

TOKENIZER = ByteTokenizer()
PAIRS = [
    *(("one", "eno"), ("two", "owt"), ("", "x"), ("abcdefgh", "a")),
    *(("one", "eno"), ("three", "eerht"), ("two", "two"), ("two", "owt")),
]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(keras_encdec.text.encoding, "_CHUNK", 3)


def encode(pairs, folder, **options):
    return encode_corpus(pairs, TOKENIZER, TOKENIZER, folder, **options)


def interrupted(after):
    yield from PAIRS[:after]
    raise KeyboardInterrupt


def texts(folder):
    corpus = Corpus(folder)
    sides = [
        TOKENIZER.decode(
            [list(map(int, x)) for x in corpus.ids(side, range(len(corpus)))]
        )
        for side in ("source", "target")
    ]
    return list(zip(*sides, strict=True))


@pytest.mark.parametrize(
    "options, kept, left_out",
    [
        ({}, range(8), {}),
        ({"min_length": 1}, [0, 1, 3, 4, 5, 6, 7], {"short": 1}),
        ({"min_length": 1, "max_ratio": 3}, [0, 1, 4, 5, 6, 7], {"uneven": 1}),
        ({"drop_duplicates": True}, [0, 1, 2, 3, 5, 6], {"duplicates": 2}),
    ],
)
def test_filters(tmp_path, options, kept, left_out):
    counts = encode(PAIRS, tmp_path / "corpus", **options)
    assert texts(tmp_path / "corpus") == [PAIRS[row] for row in kept]
    assert counts["read"] == 8 and counts["kept"] == len(kept)
    assert left_out.items() <= counts.items()
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


@pytest.mark.parametrize("after", [1, 4, 7])
def test_goes_on_after_an_interruption(tmp_path, after):
    options = {"drop_duplicates": True, "min_length": 1}
    encode(PAIRS, tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        encode(interrupted(after), tmp_path / "parts", **options)
    # What a kill may leave behind the last progress.
    with open(tmp_path / "parts.partial" / "source.ids", "ab") as file:
        file.write(b"rest")
    encode(PAIRS, tmp_path / "parts", **options)
    files = sorted(path.name for path in (tmp_path / "whole").iterdir())
    for name in files:
        one, other = (tmp_path / x / name for x in ("whole", "parts"))
        assert one.read_bytes() == other.read_bytes(), name
    assert not (tmp_path / "parts.partial").exists()


def test_goes_on_with_the_same_pairs_alone(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        encode(interrupted(7), tmp_path / "corpus")
    others = [*PAIRS[:4], ("four", "ruof"), *PAIRS[5:]]
    for pairs in (others, PAIRS[1:], PAIRS[:5]):
        with pytest.raises(ValueError, match="of the first 6 some are others than"):
            encode(pairs, tmp_path / "corpus")
    # After those, more may have come.
    assert encode([*PAIRS, *others], tmp_path / "corpus")["read"] == 16
    assert texts(tmp_path / "corpus") == [*PAIRS, *others]


def test_nothing_is_removed_that_it_did_not_write(tmp_path):
    note = tmp_path / "corpus.partial" / "note.txt"
    note.parent.mkdir()
    note.write_text("mine")
    with pytest.raises(FileExistsError, match=r"corpus\.partial' holds 'note\.txt'"):
        encode(PAIRS, tmp_path / "corpus")
    assert note.read_text() == "mine"


def test_one_process_at_a_time_writes_it(tmp_path):
    def pairs():
        yield from PAIRS
        with pytest.raises(BlockingIOError):
            encode(PAIRS, tmp_path / "corpus")

    assert encode(pairs(), tmp_path / "corpus")["kept"] == 8
    assert texts(tmp_path / "corpus") == PAIRS


def test_texts_of_two_pairs_are_no_duplicates_when_joined_alike(tmp_path):
    pairs = [("a\nb", "c"), ("a", "b\nc")]
    assert encode(pairs, tmp_path / "corpus", drop_duplicates=True)["kept"] == 2


def test_begins_anew_with_other_options(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        encode(interrupted(4), tmp_path / "corpus")
    # A kill in the middle of a file's writing.
    (tmp_path / "corpus.partial" / ".progress.json.0123abcd.part").touch()
    assert encode(PAIRS, tmp_path / "corpus", min_length=1)["short"] == 1


def test_needs_a_pair_and_a_place(tmp_path):
    with pytest.raises(ValueError, match="at least one pair; received 1, of which"):
        encode([("", "a")], tmp_path / "corpus", min_length=1)
    assert not any(tmp_path.iterdir())
    with pytest.raises(ValueError, match="`max_ratio` at least 1; received 0 and 0.5"):
        encode(PAIRS, tmp_path / "corpus", max_ratio=0.5)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        encode(PAIRS, tmp_path)
