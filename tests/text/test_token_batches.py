"""Batches of about as many tokens: their shapes, padding and order."""

import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_encdec.text import (
    ByteTokenizer,
    SentencePieceTokenizer,
    TokenBatches,
    WordTokenizer,
    read_pairs,
    teacher_forcing,
)

pytestmark = pytest.mark.once

BYTES = ByteTokenizer()


@pytest.fixture(scope="module")
def pairs():
    """Texts of 0 to 30 letters, all different."""
    random = np.random.default_rng(0)
    texts = [f"{number:03d}" + "x" * random.integers(0, 28) for number in range(400)]
    targets = [text + "y" * random.integers(0, 9) for text in texts]
    return texts, targets


def as_arrays(dataset):
    return [
        tuple(array.numpy() for array in (*inputs, labels, weights))
        for inputs, labels, weights in dataset
    ]


def texts_of(batches):
    """The source texts in the order they come, without rows of padding."""
    return [
        [text.decode() for text in BYTES.decode(source).numpy() if text]
        for source, *_ in batches
    ]


def assert_same(left, right):
    for one, other in zip(left, right, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_pass_takes_every_pair_once_in_few_shapes(pairs):
    batches = TokenBatches(*pairs, BYTES, BYTES, 256, num_shapes=6)
    arrays = as_arrays(batches.dataset(count=len(batches)))
    assert len(arrays) == len(batches)
    assert collections.Counter(itertools.chain(*texts_of(arrays))) == (
        collections.Counter(pairs[0])
    )
    shapes = {(*source.shape, target.shape[1]) for source, target, *_ in arrays}
    assert shapes == set(batches.shapes) and len(batches.shapes) <= 6
    for source, target, labels, weights in arrays:
        assert max(source.size, target.size) <= 256
        assert source.dtype == target.dtype == labels.dtype == np.int32
        assert weights.dtype == np.float32


def test_batches_are_those_of_teacher_forcing(pairs):
    batches = TokenBatches(*pairs, BYTES, BYTES, 128)
    of_source = dict(zip(*pairs, strict=True))
    for source, target, labels, weights in as_arrays(batches.dataset(count=4)):
        texts = [text.decode() for text in BYTES.decode(source).numpy()]
        rows = BYTES.encode([of_source[text] for text in texts if text])
        expected = rows.to_tensor(0, shape=[None, labels.shape[1]]).numpy()
        np.testing.assert_array_equal(labels[: len(expected)], expected)
        (_, again), _, real = teacher_forcing(source, labels)
        np.testing.assert_array_equal(target, again)
        np.testing.assert_array_equal(weights, real)


def test_padding_is_reported_as_it_is(pairs):
    batches = TokenBatches(*pairs, BYTES, BYTES, 256)
    arrays = as_arrays(batches.dataset(count=len(batches)))
    real = sum(
        (source != 0).sum() + (labels != 0).sum() for source, _, labels, _ in arrays
    )
    cells = sum(source.size + labels.size for source, _, labels, _ in arrays)
    assert batches.padding == pytest.approx(1 - real / cells)
    one = TokenBatches(*pairs, BYTES, BYTES, 256, num_shapes=1)
    assert len(one.shapes) == 1 and batches.padding < one.padding


def test_each_split_is_the_one_that_saves_most():
    # By brute force over all the thresholds of a side: two shapes of few rows.
    random = np.random.default_rng(1)
    lengths = random.integers(1, 9, (40, 2))
    texts, others = (["x" * (n - 1) for n in column] for column in lengths.T)
    found = TokenBatches(texts, others, BYTES, BYTES, 9, num_shapes=2)
    assert len(found.shapes) == 2
    best = min(
        sum(
            len(part) * part.max(axis=0).sum() for part in (lengths[low], lengths[~low])
        )
        for side in (0, 1)
        for low in (lengths[:, side] <= longest for longest in range(1, 8))
        if low.any()
        and not low.all()
        and all(len(part) * part.max() >= 9 for part in (lengths[low], lengths[~low]))
    )
    rows = collections.Counter()
    for source, _, labels, _ in as_arrays(found.dataset(count=len(found))):
        shape = source.shape[1], labels.shape[1]
        rows[shape] += int(np.any(labels != 0, axis=1).sum())
    assert sum(number * sum(shape) for shape, number in rows.items()) == best


def test_multi30k_has_less_than_a_tenth_of_padding(shared_data):
    folder = shared_data / "multi30k" / "bpe"
    pairs = read_pairs(folder / "train.en.gz", folder / "train.de.gz")
    words = WordTokenizer.from_texts(pairs[0] + pairs[1])
    batches = TokenBatches(*pairs, words, words, 8192)
    assert batches.padding < 0.1 and len(batches.shapes) <= 16
    assert sum(batches.tokens) / (2 * len(batches)) > 0.7 * 8192


def test_order_depends_on_the_seed_and_the_number_alone(pairs):
    make = lambda seed: TokenBatches(*pairs, BYTES, BYTES, 256, seed=seed)  # noqa: E731
    batches = make(3)
    whole = as_arrays(batches.dataset(count=3 * len(batches)))
    assert_same(whole, as_arrays(make(3).dataset(count=3 * len(batches))))
    for first in (1, len(batches), 2 * len(batches) + 5):
        assert_same(whole[first:], as_arrays(
            make(3).dataset(first=first, count=len(whole) - first)
        ))  # fmt: skip
    passes = [
        texts_of(whole[i * len(batches) : (i + 1) * len(batches)]) for i in range(3)
    ]
    assert passes[0] != passes[1] != passes[2]
    other = as_arrays(make(4).dataset(count=len(batches)))
    assert texts_of(other) != passes[0]


def test_without_shuffling_all_passes_are_alike(pairs):
    batches = TokenBatches(*pairs, BYTES, BYTES, 256, shuffle=False)
    arrays = as_arrays(batches.dataset(count=2 * len(batches)))
    assert_same(arrays[: len(batches)], arrays[len(batches) :])


def test_a_dataset_has_an_end_only_if_it_has_a_count(pairs):
    batches = TokenBatches(*pairs, BYTES, BYTES, 256)
    assert batches.dataset(count=7).cardinality() == 7
    assert batches.dataset().cardinality() == tf.data.UNKNOWN_CARDINALITY
    assert sum(1 for _ in batches.dataset().take(3 * len(batches))) == 3 * len(batches)


def test_weights_of_batches_that_make_one_update_are_shares(pairs):
    batches = TokenBatches(*pairs, BYTES, BYTES, 128)
    plain = as_arrays(batches.dataset(count=9))
    shared = as_arrays(batches.dataset(count=9, accumulate=3))
    for first in (0, 3, 6):
        group, shares = plain[first : first + 3], shared[first : first + 3]
        tokens = sum(weights.sum() for *_, weights in group)
        assert_same([x[:3] for x in group], [x[:3] for x in shares])
        for (*_, weights), (*_, found) in zip(group, shares, strict=True):
            np.testing.assert_allclose(found, weights * 3 / tokens, rtol=1e-6)
    # Going on in the middle of an update is the same.
    later = batches.dataset(first=4, count=5, accumulate=3)
    assert_same(shared[4:], as_arrays(later))


@pytest.mark.parametrize("accumulate", [0, -1, 1.5, True, None])
def test_refuses_what_is_no_number_of_batches(pairs, accumulate):
    with pytest.raises(ValueError, match="accumulate must be an integer of at least 1"):
        TokenBatches(*pairs, BYTES, BYTES, 128).dataset(accumulate=accumulate)


def test_long_texts_are_cut_and_keep_their_end():
    batches = TokenBatches(
        ["abcdef"], ["abcd"], BYTES, BYTES, 8, max_source_length=3, max_target_length=2
    )
    ((source, _, labels, _),) = as_arrays(batches.dataset(count=1))
    assert batches.cut == (1, 1)
    np.testing.assert_array_equal(source, [[ord("a") + 4, ord("b") + 4, 2]])
    np.testing.assert_array_equal(labels, [[ord("a") + 4, 2]])


@pytest.fixture(scope="module")
def subwords():
    texts = ["the cats sat on the mats", "a hat that sat on that cat"] * 5
    return SentencePieceTokenizer.train(
        texts, 40, model_type="bpe", hard_vocab_limit=False
    )


def sampled(tokenizer, sampling=0.3, copies=8, **options):
    texts = ["the cat sat on that hat", "a mat", "the hats on the cats"] * copies
    return TokenBatches(
        texts, texts, tokenizer, tokenizer, 128, sampling=sampling, **options
    )


def test_sampled_subwords_differ_but_say_the_same(subwords):
    batches = sampled(subwords)
    decoded = []
    for number in (0, 1):
        dataset = batches.dataset(number * len(batches), len(batches))
        sources = [source for source, *_ in as_arrays(dataset)]
        assert len({row.tobytes() for source in sources for row in source}) > 6
        texts = [subwords.decode(source).numpy() for source in sources]
        decoded.append(collections.Counter(np.concatenate(texts).tolist()))
    assert decoded[0] == decoded[1]


def test_padding_of_sampled_subwords_is_reported_as_it_is_on_average(subwords):
    batches = sampled(subwords, copies=200)
    arrays = as_arrays(batches.dataset(count=len(batches)))
    real = sum(
        (source != 0).sum() + (labels != 0).sum() for source, _, labels, _ in arrays
    )
    cells = sum(source.size + labels.size for source, _, labels, _ in arrays)
    assert batches.padding == pytest.approx(1 - real / cells, abs=0.01)


def test_sampled_subwords_depend_on_the_number_alone(subwords):
    whole = as_arrays(sampled(subwords).dataset(count=9))
    assert_same(whole[5:], as_arrays(sampled(subwords).dataset(first=5, count=4)))


def test_a_sample_too_long_gives_way_to_the_usual_subwords(subwords):
    batches = sampled(subwords, 0.9, max_source_length=6)
    for source, *_ in as_arrays(batches.dataset(count=3 * len(batches))):
        assert source.shape[1] <= 6


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_tokens": 0}, "batch_tokens must be a positive number"),
        ({"batch_tokens": 3}, "pair 0 has 5 tokens, and batch_tokens is 3"),
        ({"batch_tokens": 9, "num_shapes": 0}, "num_shapes"),
        ({"batch_tokens": 9, "max_source_length": 0}, "max_source_length"),
    ],
)
def test_refuses_sizes_that_hold_nothing(options, message):
    with pytest.raises(ValueError, match=message):
        TokenBatches(["abcd"], ["a"], BYTES, BYTES, **options)


def test_refuses_texts_that_are_no_pairs():
    with pytest.raises(ValueError, match="as many targets as sources"):
        TokenBatches(["a", "b"], ["a"], BYTES, BYTES, 8)
    with pytest.raises(ValueError, match="at least one pair"):
        TokenBatches([], [], BYTES, BYTES, 8)


def test_rows_divide_among_devices_and_hold_the_same_pairs():
    tokenizer = ByteTokenizer()
    words = [x * (1 + i % 5) for i, x in enumerate("abcdefghijklmnopqrs")]
    batches = TokenBatches(words, words, tokenizer, tokenizer, batch_tokens=40)
    count = len(batches)
    for alone, shared in zip(
        batches.dataset(count=count),
        batches.dataset(count=count, replicas=4),
        strict=True,
    ):
        alone, shared = map(tf.nest.flatten, (alone, shared))
        for one, other in zip(alone, shared, strict=True):
            rows = len(one)
            assert len(other) % 4 == 0 and len(other) - rows < 4
            np.testing.assert_array_equal(other[:rows], one)
            assert not np.any(other[rows:])
    with pytest.raises(ValueError, match="replicas must be .* received 0"):
        batches.dataset(replicas=0)


def test_shares_of_replicas_are_the_batches():
    tokenizer = ByteTokenizer()
    words = [x * (1 + i % 5) for i, x in enumerate("abcdefghijklmnopqrs")]
    batches = TokenBatches(words, words, tokenizer, tokenizer, batch_tokens=40)
    options = {"first": 1, "count": 3, "accumulate": 2, "replicas": 2}
    whole = batches.dataset(**options)
    shares = [batches.dataset(**options, replica=replica) for replica in range(2)]
    for everything, *parts in zip(whole, *shares, strict=True):
        parts = map(tf.nest.flatten, parts)
        for one, *rows in zip(tf.nest.flatten(everything), *parts, strict=True):
            for replica, some in enumerate(rows):
                np.testing.assert_array_equal(some, one[replica::2])
    of_two = batches.dataset(**{**options, "replicas": 4}, replica=[1, 2])
    for everything, part in zip(
        batches.dataset(**{**options, "replicas": 4}), of_two, strict=True
    ):
        for one, rows in zip(*map(tf.nest.flatten, (everything, part)), strict=True):
            np.testing.assert_array_equal(rows, np.concatenate([one[1::4], one[2::4]]))
    for replica in (-1, 2, [0, 2]):
        with pytest.raises(ValueError, match="replica must be one of 2"):
            batches.dataset(replicas=2, replica=replica)


@pytest.mark.parametrize("sampling", [None, 0.0])
def test_sources_may_be_without_a_token(sampling, subwords):
    config = subwords.get_config() | {"suffix_ids": []}
    bare = SentencePieceTokenizer.from_config(config)
    texts = [""] * 4
    batches = TokenBatches(texts, texts, bare, subwords, 16, sampling=sampling)
    assert batches.tokens == [0, 4] and next(batches.counts()) == (4, 4)
    assert batches.dataset(count=1).as_numpy_iterator().next()[0][0].shape == (4, 0)


def test_pairs_may_be_yielded():
    class Yielding:
        def __len__(self):
            return 6

        def lengths(self):
            return np.tile([2, 2], (6, 1))

        def ids(self, side, rows):
            yield from ([4 + row, 2] for row in rows)

    tokenizer = ByteTokenizer()
    batches = TokenBatches(Yielding(), None, tokenizer, tokenizer, 12)
    [((source, _), *_)] = batches.dataset(count=1).as_numpy_iterator()
    assert sorted(source[:, 0]) == [4, 5, 6, 7, 8, 9]
