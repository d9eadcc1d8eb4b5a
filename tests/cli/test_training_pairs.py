"""What a training learns from: texts, or corpora and how often each is taken."""

import pytest

from keras_encdec.cli.training_pairs import (
    check_both_directions,
    training_pairs,
    validation_pairs,
)
from keras_encdec.recipe import build, learn_subwords
from keras_encdec.tags import with_tag
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
    assert training_pairs(str(path), *[None] * 4) == (["a", "c"], ["b", "d"])


def test_corpora_are_taken_as_often_as_told_or_by_their_sizes(corpora):
    mixed, targets = training_pairs(None, None, corpora, None, None)
    assert (len(mixed), targets) == (68, ())
    (few, _), many = corpora
    assert len(training_pairs(None, None, [(few, 3), many], None, None)[0]) == 76
    # Sixteen times as many are taken four times as often.
    mixed, _ = training_pairs(None, None, corpora, 2.0, None)
    assert mixed.times == [4, 1] and len(mixed) == 80


def test_pairs_are_turned_around_too(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tb\nc\td\n")
    tags = ("<b>", "<a>")
    assert training_pairs(str(path), None, None, None, tags) == (
        ["<b> a", "<b> c", "<a> b", "<a> d"],
        ["b", "d", "a", "c"],
    )
    assert validation_pairs(str(path), None, tags) == (["<b> a", "<b> c"], ["b", "d"])
    assert validation_pairs(str(path), None, None) == (["a", "c"], ["b", "d"])
    assert validation_pairs(None, None, tags) is None


def test_both_directions_need_one_vocabulary_with_their_tags():
    texts, tags = ["ab", "ba ab"], ["<b>", "<a>"]
    one, other = (learn_subwords(texts, 20, tags=some) for some in (tags, tags[:1]))
    small = {"hidden_dim": 8, "intermediate_dim": 8, "num_layers": 1, "num_heads": 1}
    check_both_directions(build(one, one, **small), tags)
    with pytest.raises(ValueError, match="one vocabulary for sources and targets"):
        check_both_directions(build(one, other, **small), tags)
    with pytest.raises(ValueError, match="one vocabulary for sources and targets"):
        check_both_directions(with_tag(build(one, one, **small), "<b>"), tags)
    with pytest.raises(ValueError, match="'<a>' and <SentencePieceTokenizer of"):
        check_both_directions(build(other, other, **small), tags)
