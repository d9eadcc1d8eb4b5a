"""Several corpora as one."""

import collections

import numpy as np
import pytest

from keras_encdec.text import (
    ByteTokenizer,
    MixedPairs,
    TokenBatches,
    times_by_temperature,
)

pytestmark = pytest.mark.once

TOKENIZER = ByteTokenizer()


class Constant:
    """Pairs whose source and target hold their number behind an offset."""

    def __init__(self, size, offset):
        self.size, self.offset = size, offset

    def __len__(self):
        return self.size

    def lengths(self):
        return np.full((self.size, 2), 2)

    def ids(self, side, rows):
        return [np.array([self.offset + row, TOKENIZER.end_id]) for row in rows]


def test_a_pass_takes_each_as_often_as_told():
    mixed = MixedPairs([Constant(5, 100), Constant(7, 200)], [3, 1])
    assert len(mixed) == 22 and mixed.lengths().shape == (22, 2)
    rows = [21, 0, 14, 15, 5]
    assert [x[0] for x in mixed.ids("source", rows)] == [206, 100, 104, 200, 100]
    batches = TokenBatches(mixed, None, TOKENIZER, TOKENIZER, 8)
    seen = collections.Counter()
    for (source, _), _, _ in batches.dataset(count=len(batches)).as_numpy_iterator():
        seen.update(source[source != 0].tolist())
    del seen[TOKENIZER.end_id]
    expected = {100 + i: 3 for i in range(5)} | {200 + i: 1 for i in range(7)}
    assert seen == expected


def test_another_mixture_has_another_digest():
    parts = [Constant(5, 100), Constant(7, 200)]
    digests = {MixedPairs(parts, times).digest for times in ([1, 1], [2, 1], [1, 2])}
    assert len(digests) == 3


@pytest.mark.parametrize("times", [[], [1], [1, 0]])
def test_each_part_has_a_number(times):
    with pytest.raises(ValueError, match="how many times"):
        MixedPairs([Constant(5, 100), Constant(7, 200)], times)


@pytest.mark.parametrize("times", [1.5, 2.3, 1.0, 3.9])
def test_a_fraction_takes_some_pairs_once_more_spread_among_all(times):
    mixed = MixedPairs([Constant(3, 500), Constant(40, 100)], [1, times])
    rows = [*range(len(mixed))]
    found = [x[0] - 100 for x in mixed.ids("source", rows)[3:]]
    assert len(found) == round(40 * times) and len(mixed.lengths()) == len(mixed)
    counts = collections.Counter(found)
    assert set(counts) == set(range(40))
    assert set(counts.values()) <= {int(times), int(times) + 1}
    more = [row for row in range(40) if counts[row] > int(times)]
    # None of them beside others while there is a gap elsewhere.
    assert len({*np.diff(more).tolist()}) <= 2


@pytest.mark.parametrize("temperature", [1, 2, 5, 100])
def test_shares_are_those_of_the_sizes_to_a_power(temperature):
    sizes = np.array([1000, 64_000, 8_000])
    times = times_by_temperature(sizes.tolist(), temperature)
    shares = sizes * times / np.sum(sizes * times)
    expected = sizes ** (1 / temperature)
    np.testing.assert_allclose(shares, expected / expected.sum(), rtol=1e-9)
    assert min(times) == times[1] == 1
    parts = [Constant(int(size), 0) for size in sizes // 100]
    mixed = MixedPairs(parts, times)
    np.testing.assert_allclose(
        np.diff(mixed._ends, prepend=0), sizes * times / 100, 0.1
    )


def test_says_what_no_temperature_is():
    for sizes, temperature in (
        ([1, 2], 0.5),
        ([1, 2], float("inf")),
        ([], 2),
        ([0], 2),
    ):
        with pytest.raises(ValueError, match="a temperature of at least 1; received"):
            times_by_temperature(sizes, temperature)
