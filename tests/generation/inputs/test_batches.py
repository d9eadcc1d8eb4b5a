import random

import pytest

from keras_encdec.generation.inputs.batches import batches_by_length
from keras_encdec.generation.inputs.rows import bucketed_length

pytestmark = pytest.mark.once


def test_every_row_is_in_one_batch_and_the_longest_come_first():
    draw = random.Random(3)
    for number in (0, 1, 2, 63, 64, 65, 300, 1000):
        lengths = [draw.randint(1, 70) for _ in range(number)]
        batches = [*batches_by_length(lengths)]
        assert sorted(i for batch in batches for i in batch) == [*range(number)]
        found = [lengths[i] for batch in batches for i in batch]
        assert found == sorted(lengths, reverse=True)


def test_a_batch_holds_so_many_tokens_with_its_padding():
    draw = random.Random(4)
    lengths = [min(4000, int(draw.lognormvariate(3, 1)) + 1) for _ in range(2000)]
    for batch in batches_by_length(lengths):
        width = max(lengths[i] for i in batch)
        assert len(batch) == 1 or len(batch) <= 64 and len(batch) * width <= 2048
    # Texts of captions need few programs.
    lengths = [draw.randint(6, 38) for _ in range(1000)]
    shapes = {
        (bucketed_length(len(batch)), bucketed_length(max(lengths[i] for i in batch)))
        for batch in batches_by_length(lengths)
    }
    assert len(shapes) <= 4


def test_batches_of_one_width_are_even():
    assert [len(batch) for batch in batches_by_length([9] * 130)] == [44, 43, 43]
    assert [len(batch) for batch in batches_by_length([9] * 13, 5)] == [5, 5, 3]
