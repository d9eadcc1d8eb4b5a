"""What a training learns from: texts, or corpora and how often each is taken."""

import pytest

from keras_encdec.cli.training_pairs import training_pairs
from keras_encdec.text import ByteTokenizer, encode_corpus

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    root, tokenizer = tmp_path_factory.mktemp("corpora"), ByteTokenizer()
    for name, size in (("few", 4), ("many", 64)):
        pairs = [(f"{name}{i}", f"{i}") for i in range(size)]
        encode_corpus(pairs, tokenizer, tokenizer, root / name)
    return [(str(root / "few"), 1), (str(root / "many"), 1)]


def test_texts_are_read(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tb\nc\td\n")
    assert training_pairs(str(path), None, None, None) == (["a", "c"], ["b", "d"])


def test_corpora_are_taken_as_often_as_told_or_by_their_sizes(corpora):
    mixed, targets = training_pairs(None, None, corpora, None)
    assert (len(mixed), targets) == (68, ())
    (few, _), many = corpora
    assert len(training_pairs(None, None, [(few, 3), many], None)[0]) == 76
    # Sixteen times as many are taken four times as often.
    mixed, _ = training_pairs(None, None, corpora, 2.0)
    assert mixed.times == [4, 1] and len(mixed) == 80
