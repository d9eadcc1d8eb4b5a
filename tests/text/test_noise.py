"""Noise of ids: what it changes, how much, and that numbers alone decide."""

import collections
import itertools

import numpy as np
import pytest

from keras_encdec.text import (
    ByteTokenizer,
    DeleteTokens,
    InfillSpans,
    MaskTokens,
    ShuffleTokens,
    TokenBatches,
    WordTokenizer,
)
from keras_encdec.text.noise import with_noise

pytestmark = pytest.mark.once

IDS = np.arange(100, 140, dtype="int32")
MASK = 3
KINDS = [
    MaskTokens(0.3, MASK),
    DeleteTokens(0.3),
    InfillSpans(0.3, MASK),
    ShuffleTokens(3),
]


def draws(noise, number=400, ids=IDS):
    random = np.random.default_rng(0)
    return [noise(ids, random) for _ in range(number)]


def test_masks_each_token_as_often_as_told():
    hidden = np.array(draws(MaskTokens(0.3, MASK))) == MASK
    assert hidden.mean() == pytest.approx(0.3, abs=0.02)
    assert hidden.mean(axis=0).min() > 0.2 and hidden.mean(axis=0).max() < 0.4
    assert all(np.all((row == IDS) | (row == MASK)) for row in draws(KINDS[0]))


def test_deletes_each_token_as_often_as_told_and_never_all():
    rows = draws(DeleteTokens(0.3))
    assert np.mean([len(row) for row in rows]) == pytest.approx(28, abs=0.5)
    # What is left is in order, and each token was left out now and then.
    assert all(np.all(np.diff(row) > 0) for row in rows)
    counts = collections.Counter(itertools.chain(*(row.tolist() for row in rows)))
    assert set(counts) == set(IDS.tolist()) and max(counts.values()) < 400
    alone = draws(DeleteTokens(1.0), ids=IDS[:4])
    assert {len(row) for row in alone} == {1}
    assert {int(row[0]) for row in alone} == set(IDS[:4].tolist())


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.8, 1.0])
def test_hides_runs_of_tokens_each_as_one(rate):
    runs = []
    for row in draws(InfillSpans(rate, MASK)):
        marks = np.flatnonzero(row == MASK)
        kept = row[row != MASK]
        assert np.all(np.diff(kept) > 0)
        hidden = len(IDS) - len(kept)
        assert abs(hidden - rate * len(IDS)) < 1
        assert np.all(np.diff(marks) > 1), "two runs side by side"
        # What stood between the tokens around a mark is what it hides.
        around = np.concatenate([[IDS[0] - 1], row, [IDS[-1] + 1]])
        its = [around[mark + 2] - around[mark] - 1 for mark in marks]
        assert sum(its) == hidden and all(length >= 1 for length in its)
        runs += its
    if rate == 0.3:
        # Of max(1, Poisson(3)), the last of 12 tokens cut.
        assert 2.6 < np.mean(runs) < 3.1 and max(runs) > 5


@pytest.mark.parametrize("distance", [1, 3])
def test_no_token_moves_further_than_told(distance):
    moves = collections.Counter()
    for row in draws(ShuffleTokens(distance)):
        assert sorted(row) == IDS.tolist()
        moves.update((np.argsort(row) - np.arange(len(IDS))).tolist())
    assert set(moves) == set(range(-distance, distance + 1))


@pytest.mark.parametrize("noise", KINDS)
def test_texts_of_no_token_and_of_one(noise):
    for ids in (IDS[:0], IDS[:1]):
        for found in draws(noise, 50, ids):
            assert len(found) == len(ids) and found.dtype == ids.dtype


def test_ids_around_a_text_and_padding_stay():
    tokenizer = WordTokenizer(
        [f"w{i}" for i in range(60)], prefix_ids=(50, 51), suffix_ids=(2, 52)
    )
    texts = ["", "w1", "w1 w2 w3 w4 w5 w6 w7"]
    rows = tokenizer(texts).to_tensor(0, shape=[4, 12]).numpy()
    for noise in ([DeleteTokens(0.9)], [InfillSpans(1.0, MASK)], KINDS):
        found = with_noise(rows, tokenizer, noise, np.random.default_rng(1))
        assert found.shape == rows.shape and not found[3].any()
        for row in found[:3]:
            ids = row[row != 0]
            assert ids[:2].tolist() == [50, 51] and ids[-2:].tolist() == [2, 52]
            assert not row[len(ids) :].any()
        assert found[0].tolist() == rows[0].tolist()


def test_what_becomes_too_long_stays_as_it_was():
    rows = ByteTokenizer()(["abc", "a"]).to_tensor(0).numpy()
    twice = lambda ids, random: np.repeat(ids, 2)  # noqa: E731
    found = with_noise(rows, ByteTokenizer(), [twice], np.random.default_rng(0))
    np.testing.assert_array_equal(found, [rows[0], [101, 101, 2, 0]])


def test_a_source_is_another_each_time_and_its_target_the_same():
    tokenizer = ByteTokenizer()
    texts = [f"{number:02d} abcdefghij" for number in range(40)]
    options = {"batch_tokens": 200, "noise": KINDS[:3]}
    plain = TokenBatches(texts, texts, tokenizer, tokenizer, 200)
    noisy = TokenBatches(texts, texts, tokenizer, tokenizer, **options)
    assert noisy.shapes == plain.shapes and noisy.tokens == plain.tokens
    count = 2 * len(plain)
    known = [*plain.dataset(count=count).as_numpy_iterator()]
    found = [*noisy.dataset(count=count).as_numpy_iterator()]
    changed = set()
    for ((source, *target), *one), ((other, *its), *another) in zip(
        known, found, strict=True
    ):
        for left, right in zip([*target, *one], [*its, *another], strict=True):
            np.testing.assert_array_equal(left, right)
        changed |= {row.tobytes() for row in other}
        assert np.mean(np.any(source != other, axis=1)) > 0.8
    assert len(changed) > 70  # Of 80 and rows of padding.
    # From any batch on, and with another seed not.
    rest = noisy.dataset(first=3, count=count - 3).as_numpy_iterator()
    for ((source, _), *_), ((again, _), *_) in zip(found[3:], rest, strict=True):
        np.testing.assert_array_equal(source, again)


def test_ids_of_a_corpus_are_as_noisy_as_its_texts():
    class Stored:
        def __init__(self, rows):
            self.rows = rows

        def __len__(self):
            return len(self.rows)

        def lengths(self):
            return np.array([[len(row)] * 2 for row in self.rows])

        def ids(self, side, rows):
            return [self.rows[row] for row in rows]

    tokenizer, texts = ByteTokenizer(), ["abcdef", "gh", "ijk"]
    stored = Stored(tokenizer(texts).to_list())
    options = {"batch_tokens": 30, "noise": KINDS}
    pair = tokenizer, tokenizer
    for one, other in zip(
        TokenBatches(texts, texts, *pair, **options).dataset(count=4),
        TokenBatches(stored, None, *pair, **options).dataset(count=4),
        strict=True,
    ):
        np.testing.assert_array_equal(one[0][0], other[0][0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: MaskTokens(0, MASK),
        lambda: DeleteTokens(1.1),
        lambda: InfillSpans(float("nan"), MASK),
        lambda: InfillSpans(0.3, MASK, mean_length=0),
        lambda: ShuffleTokens(0),
        lambda: ShuffleTokens(1.5),
    ],
)
def test_refuses_what_is_no_noise(make):
    with pytest.raises(ValueError, match="must|positive number"):
        make()
