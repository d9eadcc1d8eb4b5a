"""Whichever numbers the special ids are, tokenizers and batches say the same."""

import copy
import pickle

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from keras_encdec.text import (
    ByteTokenizer,
    CharacterTokenizer,
    SentencePieceTokenizer,
    TokenBatches,
    WordTokenizer,
    text_dataset,
)

pytestmark = pytest.mark.once

TEXTS = ["a cat sat", "", "the cats that sat", "a hat? at the mat", "é"]
WORDS = ["a", "cat", "sat", "the", "that", "hat", "at"]
few = hypothesis.settings(max_examples=15, derandomize=True, deadline=None)


@st.composite
def special_ids(draw):
    """Any special ids, and those of the usual numbers with the same structure."""
    number = st.integers(0, 40)
    padding, start, end, unknown, *others = draw(
        st.lists(number, min_size=8, max_size=8, unique=True)
    )
    start = draw(st.sampled_from([start, padding, end]))
    # Names of ids, so that one structure has two sets of numbers.
    prefix = draw(st.sampled_from([(), ("start",), (4,), (4, 5)]))
    suffix = draw(st.sampled_from([("end",), ("end", 4), (6, "end"), (6, "end", 7)]))
    if start == padding and "start" in prefix:
        prefix = ()
    odd = dict(zip(("padding", "start", "end", "unknown", 4, 5, 6, 7), (
        padding, start, end, unknown, *others), strict=True))  # fmt: skip
    usual = {"padding": 0, "start": 1, "end": 2, "unknown": 3, 4: 4, 5: 5, 6: 6, 7: 7}
    return tuple(
        {
            **{f"{name}_id": numbers[name] for name in list(numbers)[:4]},
            "prefix_ids": [numbers[name] for name in prefix],
            "suffix_ids": [numbers[name] for name in suffix],
        }
        for numbers in (odd, usual)
    )


def renumbered(odd, usual, size):
    """The table from the ids of one tokenizer to those of another of its structure."""
    table = np.full(odd.vocabulary_size + usual.vocabulary_size, -1)
    regular = [
        [i for i in range(each.vocabulary_size) if i not in each.special_ids]
        for each in (usual, odd)
    ]
    for one, other in zip(*(ids[:size] for ids in regular), strict=True):
        table[one] = other
    for name in ("padding_id", "start_id", "end_id", "unknown_id"):
        table[getattr(usual, name)] = getattr(odd, name)
    for name in ("prefix_ids", "suffix_ids"):
        table[list(getattr(usual, name))] = getattr(odd, name)
    return table


def tokenizers(options):
    return [
        (CharacterTokenizer(list("acehmst "), **options), 8),
        (WordTokenizer(WORDS, **options), 7),
        (ByteTokenizer(**options), 256),
    ]


@pytest.mark.slow
@few
@hypothesis.given(special_ids())
def test_ids_are_renumbered_and_texts_the_same(options):
    for (odd, size), (usual, _) in zip(*map(tokenizers, options), strict=True):
        table = renumbered(odd, usual, size)
        ids, expected = odd.encode(TEXTS), usual.encode(TEXTS)
        assert ids.to_list() == [table[row].tolist() for row in expected.to_list()]
        assert ids.values.numpy().max() < odd.vocabulary_size
        same = usual.decode(expected).numpy().tolist()
        assert odd.decode(ids).numpy().tolist() == same
        start = [] if odd.start_id in odd.prefix_ids else [odd.start_id]
        started = [[*start, *row, odd.padding_id] for row in ids.to_list()]
        assert odd.decode(started).numpy().tolist() == same
        again = pickle.loads(pickle.dumps(odd))
        assert again.get_config() == odd.get_config()
        assert copy.deepcopy(odd).encode(TEXTS).to_list() == ids.to_list()


@pytest.mark.slow
@few
@hypothesis.given(special_ids(), st.booleans())
def test_datasets_are_renumbered(options, cut):
    (odd, size), (usual, _) = (tokenizers(each)[0] for each in options)
    table = renumbered(odd, usual, size)
    lengths = {"max_source_length": 6, "max_target_length": 7} if cut else {}

    def batches(tokenizer):
        pair = tokenizer, tokenizer
        datasets = (
            text_dataset(TEXTS, TEXTS[::-1], *pair, batch_size=2, **lengths),
            TokenBatches(TEXTS, TEXTS[::-1], *pair, 50, **lengths).dataset(count=3),
        )
        return [batch for dataset in datasets for batch in dataset.as_numpy_iterator()]

    for received, expected in zip(batches(odd), batches(usual), strict=True):
        (source, target), labels, weights = expected
        np.testing.assert_array_equal(received[0][0], table[source])
        np.testing.assert_array_equal(received[0][1], table[target])
        np.testing.assert_array_equal(received[1], table[labels])
        np.testing.assert_array_equal(received[2], weights)


def test_a_cut_text_keeps_its_prefix_and_suffix():
    tokenizer = ByteTokenizer(prefix_ids=(300, 301), suffix_ids=(2, 302))
    dataset = text_dataset(
        ["abcdef"], ["xyzxyz"], tokenizer, tokenizer, max_source_length=6
    )
    ((source, _), labels, _) = next(iter(dataset))
    assert source.numpy()[0, :6].tolist() == [300, 301, 101, 102, 2, 302]
    assert labels.numpy()[0, -2:].tolist() == [0, 0]
    for build in (
        lambda **options: text_dataset(["a"], ["b"], tokenizer, tokenizer, **options),
        lambda **options: TokenBatches(
            ["a"], ["b"], tokenizer, tokenizer, 99, **options
        ),
    ):
        with pytest.raises(ValueError, match="the 4 ids before and behind.*received 3"):
            build(max_source_length=3)


def test_targets_must_end():
    source, target = ByteTokenizer(suffix_ids=()), ByteTokenizer()
    text_dataset(["a"], ["b"], source, target)
    for build in (text_dataset, lambda *pair: TokenBatches(*pair, 99)):
        with pytest.raises(ValueError, match=r"must hold its end id.*suffix_ids=\(\)"):
            build(["a"], ["b"], target, source)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"end_id": 0}, ValueError, "must differ"),
        ({"unknown_id": 2}, ValueError, "must differ"),
        ({"start_id": 3}, ValueError, "start_id from unknown_id"),
        ({"padding_id": -1}, ValueError, "negative; received -1 in padding_id"),
        ({"start_id": 1.0}, TypeError, "integers; received 1.0 in start_id"),
        ({"prefix_ids": [0]}, ValueError, "neither padding"),
        ({"suffix_ids": [2, 3]}, ValueError, "neither padding"),
        ({"prefix_ids": [7, 2]}, ValueError, "must not hold the end id"),
    ],
)
def test_special_ids_refused(options, error, message):
    with pytest.raises(error, match=message):
        WordTokenizer(["a"], **options)


def test_an_end_that_is_the_start_ends_no_row_at_its_beginning():
    tokenizer = WordTokenizer(["a", "b"], start_id=2, prefix_ids=[9])
    assert tokenizer.decode([[2, 9, 3, 1, 2, 1]]).numpy().tolist() == [b"<unk> a"]
    assert tokenizer.decode([[2, 2, 1]]).numpy().tolist() == [b""]


def test_repr_tells_the_ids():
    tokenizer = WordTokenizer(["a"], padding_id=1, start_id=0)
    assert repr(tokenizer) == (
        "<WordTokenizer of 5 ids: padding_id=1, start_id=0, end_id=2, unknown_id=3, "
        "prefix_ids=[], suffix_ids=[2]>"
    )


def test_configs_without_special_ids_have_the_usual_ones():
    for config in ({"vocabulary": ["a"]}, {"vocabulary": ["a"], "continuation": None}):
        tokenizer = WordTokenizer.from_config(config)
        assert tokenizer.encode(["a b"]).to_list() == [[4, 3, 2]]


# SentencePiece


def test_a_model_brings_its_ids():
    options = {"padding_id": 3, "start_id": 3, "end_id": 0, "unknown_id": 1}
    trained = SentencePieceTokenizer.train(
        TEXTS, 24, hard_vocab_limit=False, control_symbols=["<en>"], **options
    )
    with pytest.raises(ValueError, match=r"lacks.*none for start_id. Pass start_id=\d"):
        SentencePieceTokenizer(trained.proto)
    read = SentencePieceTokenizer(trained.proto, start_id=3, prefix_ids=[2])
    assert read.special_ids == (0, 1, 2, 3)
    ids = read.encode(["a cat", "the €"])
    assert [row[0] for row in ids.to_list()] == [2, 2]
    assert [row[-1] for row in ids.to_list()] == [0, 0]
    assert 1 in ids.to_list()[1]
    assert read.decode(ids).numpy()[0] == b"a cat"
    drawn = read.sample(["a cat"] * 3, alpha=0.3, seed=1)
    assert {(row[0], row[-1]) for row in drawn.to_list()} == {(2, 0)}
    assert set(read.decode(drawn).numpy()) == {b"a cat"}
    for again in (pickle.loads(pickle.dumps(read)), copy.deepcopy(read)):
        assert again.encode(["a cat"]).to_list() == ids.to_list()[:1]
        assert again.special_ids == read.special_ids


def test_ids_above_the_pieces():
    trained = SentencePieceTokenizer.train(TEXTS, 24, hard_vocab_limit=False)
    size = trained.vocabulary_size
    tokenizer = SentencePieceTokenizer(trained.proto, prefix_ids=[size + 5])
    assert tokenizer.vocabulary_size == size + 6
    ids = tokenizer.encode(["a cat"])
    assert ids.to_list()[0][0] == size + 5
    assert tokenizer.decode(ids).numpy()[0] == b"a cat"
    unknown = tokenizer.decode([[3]]).numpy().tolist()
    # In the gap stands nothing.
    for number in (size, size + 4, size + 6):
        assert tokenizer.decode(tf.constant([[number]])).numpy().tolist() == unknown


def test_sentencepiece_refuses_ids_of_usual_pieces():
    trained = SentencePieceTokenizer.train(TEXTS, 24, hard_vocab_limit=False)
    with pytest.raises(ValueError, match="none that a text is split into.*received 9"):
        SentencePieceTokenizer(trained.proto, prefix_ids=[9])
    with pytest.raises(ValueError, match="gives, 3; received 2"):
        SentencePieceTokenizer(trained.proto, unknown_id=2)
