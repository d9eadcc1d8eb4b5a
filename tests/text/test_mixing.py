"""Several corpora as one."""

import collections

import numpy as np
import pytest

from keras_encdec.text import ByteTokenizer, MixedPairs, TokenBatches

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
