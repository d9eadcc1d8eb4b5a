"""Datasets against the lists that they were made from."""

import random

import numpy as np
import pytest
import tensorflow as tf

from keras_encdec.text import (
    ByteTokenizer,
    CharacterTokenizer,
    WordTokenizer,
    read_pairs,
    teacher_forcing,
    text_dataset,
)

pytestmark = pytest.mark.once

BYTES = ByteTokenizer()
CHARACTERS = CharacterTokenizer(list("xyz"))


def random_pairs(count, longest=20, seed=0):
    generator = random.Random(seed)

    def text(alphabet):
        return "".join(generator.choices(alphabet, k=generator.randrange(longest)))

    return [text("abc") for _ in range(count)], [text("xyz") for _ in range(count)]


def batches_of(dataset):
    return list(dataset.as_numpy_iterator())


def pairs_of(batches):
    """The pairs of texts in batches, in their order."""
    sources = [row.tolist() for (source, _), _, _ in batches for row in source]
    targets = [row.tolist() for _, labels, _ in batches for row in labels]
    texts = (BYTES.decode(sources).numpy(), CHARACTERS.decode(targets).numpy())
    return [(s.decode(), t.decode()) for s, t in zip(*texts, strict=True)]


# teacher_forcing


def test_teacher_forcing_shifts_and_weighs():
    source = np.array([[7, 8, 2], [9, 2, 0]])
    labels = np.array([[5, 6, 2, 0, 0], [5, 6, 7, 8, 2]], "int64")
    (same_source, target), same_labels, weights = teacher_forcing(source, labels)
    assert np.array_equal(same_source, source)
    assert np.array_equal(same_labels, labels)
    assert target.tolist() == [[1, 5, 6, 0, 0], [1, 5, 6, 7, 8]]
    assert weights.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert {a.dtype.name for a in (same_source, target, same_labels)} == {"int32"}
    assert weights.dtype == "float32"
    assert labels.tolist()[0] == [5, 6, 2, 0, 0]


def test_teacher_forcing_with_other_ids():
    (_, target), _, weights = teacher_forcing(
        [[1]], [[5, 6, 9], [0, 9, 9]][:1], start_id=0, padding_id=9
    )
    assert target.tolist() == [[0, 5, 9]]
    assert weights.tolist() == [[1, 1, 0]]


def test_teacher_forcing_keeps_empty_rows_and_columns():
    (_, target), _, weights = teacher_forcing([[3]], [[0, 0]])
    assert target.tolist() == [[0, 0]]
    assert not weights.any()
    ids = np.zeros((2, 0), int)
    (_, target), _, _ = teacher_forcing(ids, ids)
    assert target.shape == (2, 0)


@pytest.mark.parametrize(
    ("source", "labels", "error", "message"),
    [
        ([1, 2], [[1]], ValueError, r"`source` must be of rank 2.*\(2,\)"),
        ([[1]], [[[1]]], ValueError, r"`labels` must be of rank 2.*\(1, 1, 1\)"),
        ([[1.0]], [[1]], TypeError, "`source` must hold integer ids.*float64"),
        ([[1]], [["a"]], TypeError, "`labels` must hold integer ids"),
        ([[1], [1]], [[1]], ValueError, "received 2 and 1"),
        ([[1], [1]], [[5, 2], [0, 2]], ValueError, "row 1 has it before other ids"),
    ],
)
def test_teacher_forcing_refuses(source, labels, error, message):
    with pytest.raises(error, match=message):
        teacher_forcing(source, labels)


# text_dataset


@pytest.fixture(params=["lists", "dataset"])
def build(request):
    """Builds the same dataset from lists of texts and from a dataset of texts."""

    def from_lists(sources, targets, **options):
        return text_dataset(sources, targets, BYTES, CHARACTERS, **options)

    def from_dataset(sources, targets, **options):
        pairs = tf.data.Dataset.from_tensor_slices((sources, targets))
        return text_dataset(pairs, None, BYTES, CHARACTERS, **options)

    return {"lists": from_lists, "dataset": from_dataset}[request.param]


def test_structure_and_dtypes(build):
    dataset = build(*random_pairs(5))
    ids = tf.TensorSpec((None, None), tf.int32)
    weights = tf.TensorSpec((None, None), tf.float32)
    assert dataset.element_spec == ((ids, ids), ids, weights)


def test_every_pair_comes_once_an_epoch(build):
    sources, targets = random_pairs(100)
    dataset = build(sources, targets, batch_size=8)
    expected = sorted(zip(sources, targets, strict=True))
    for _ in range(2):
        assert sorted(pairs_of(batches_of(dataset))) == expected


def test_batches_are_padded_to_their_bucket(build):
    sources, targets = random_pairs(300, longest=40)
    options = {"batch_size": 8, "bucket_boundaries": (4, 16, 64)}
    batches = batches_of(build(sources, targets, **options))
    lengths = set()
    for (source, target), labels, weights in batches:
        assert source.shape == target.shape == labels.shape == weights.shape
        assert len(source) <= 8
        used = max((ids != 0).sum(axis=1).max() for ids in (source, labels))
        length = source.shape[1]
        assert length == min(b for b in (4, 16, 64) if b >= used)
        shortest = np.maximum((source != 0).sum(1), (labels != 0).sum(1)).min()
        assert all(shortest > b for b in (4, 16, 64) if b < length)
        lengths.add(length)
    assert lengths == {4, 16, 64}


def test_a_text_of_the_length_of_a_boundary_fits_it(build):
    options = {"bucket_boundaries": (4, 8), "shuffle": False}
    shapes = [labels.shape for _, labels, _ in build(["abc"], [""], **options)]
    assert shapes == [(1, 4)]
    shapes = [labels.shape for _, labels, _ in build([""], ["xyzx"], **options)]
    assert shapes == [(1, 8)]


def test_target_and_weights_are_those_of_teacher_forcing(build):
    for batch in batches_of(build(*random_pairs(50), batch_size=8)):
        (source, _), labels, _ = batch
        for one, other in zip(
            tf.nest.flatten(batch),
            tf.nest.flatten(teacher_forcing(source, labels)),
            strict=True,
        ):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)


def test_long_texts_are_cut_and_keep_their_end(build):
    options = {"max_source_length": 5, "max_target_length": 3}
    texts = (["abcdefgh", "abcd", ""], ["xyzx", "xy", "xyz"])
    ((inputs, labels, _),) = batches_of(build(*texts, shuffle=False, **options))
    assert labels.shape == (3, 5)
    assert pairs_of([(inputs, labels, None)]) == [("abcd", "xy"), ("abcd", "xy")] + [
        ("", "xy")
    ]
    assert (inputs[0] == 2).sum() == (labels == 2).sum() == 3
    # Without limits, the last boundary is the limit.
    ((inputs, labels, _),) = batches_of(
        build(*texts, shuffle=False, bucket_boundaries=(2, 4))
    )[-1:]
    assert inputs[0].shape[1] == 4
    # A limit beyond the last boundary makes a longer bucket.
    options = {"bucket_boundaries": (2, 4), "max_source_length": 100}
    shapes = [x[0].shape[1] for x, _, _ in batches_of(build(*texts, **options))]
    assert sorted(shapes) == [4, 100]


def test_shuffling_follows_the_seed_and_changes_with_the_epoch(build):
    texts = random_pairs(60)

    def epochs(**options):
        dataset = build(*texts, batch_size=16, **options)
        return [pairs_of(batches_of(dataset)) for _ in range(2)]

    first, second = epochs(seed=3)
    assert first != second
    assert epochs(seed=3) == [first, second]
    assert epochs(seed=4)[0] != first
    plain, again = epochs(shuffle=False)
    assert plain == again


def test_without_shuffling_a_bucket_keeps_the_order(build):
    sources, targets = random_pairs(30, longest=7)
    dataset = build(sources, targets, batch_size=4, shuffle=False)
    assert pairs_of(batches_of(dataset)) == list(zip(sources, targets, strict=True))


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_cardinality_of_lists_is_the_number_of_batches(drop_remainder):
    for count in (40, 64, 99):
        dataset = text_dataset(
            *random_pairs(count),
            BYTES,
            CHARACTERS,
            batch_size=8,
            bucket_boundaries=(4, 8, 16, 32),
            drop_remainder=drop_remainder,
        )
        batches = batches_of(dataset)
        assert len(dataset) == len(batches)
        if drop_remainder:
            assert {len(labels) for _, labels, _ in batches} == {8}


def test_drop_remainder_of_a_dataset():
    pairs = tf.data.Dataset.from_tensor_slices(random_pairs(50))
    options = {"batch_size": 8, "drop_remainder": True}
    batches = batches_of(text_dataset(pairs, None, BYTES, CHARACTERS, **options))
    assert {len(labels) for _, labels, _ in batches} == {8}


def test_more_pairs_than_one_chunk_of_a_dataset():
    sources, targets = random_pairs(2500, longest=5)
    pairs = tf.data.Dataset.from_tensor_slices((sources, targets))
    dataset = text_dataset(pairs, None, BYTES, CHARACTERS, shuffle=False)
    assert pairs_of(batches_of(dataset)) == list(zip(sources, targets, strict=True))


def test_real_pairs(shared_data):
    folder = shared_data / "multi30k" / "raw"
    sources, targets = read_pairs(folder / "val.en.gz", folder / "val.de.gz")
    assert len(sources) == 1014
    words = WordTokenizer.from_texts(sources + targets)
    read = []
    for (source, _), labels, _ in text_dataset(sources, targets, words, words):
        texts = (words.decode(source).numpy(), words.decode(labels).numpy())
        read += [(s.decode(), t.decode()) for s, t in zip(*texts, strict=True)]
    # Split as bytes, since these texts hold no-break spaces, which end no word.
    expected = [
        tuple(b" ".join(text.encode().split()).decode() for text in pair)
        for pair in zip(sources, targets, strict=True)
    ]
    assert sorted(read) == sorted(expected)


@pytest.mark.parametrize(
    ("sources", "targets", "options", "error", "message"),
    [
        (["a"], ["x", "y"], {}, ValueError, "received 1 sources and 2 targets"),
        ([], [], {}, ValueError, "received 0 sources and 0 targets"),
        (["a"], None, {}, ValueError, "`targets` may be None only"),
        (["a", 5], ["x", "y"], {}, TypeError, "received int"),
        (["a"], ["x"], {"batch_size": 0}, ValueError, "must be positive.*received 0"),
        (["a"], ["x"], {"bucket_boundaries": ()}, ValueError, "at least one boundary"),
        (["a"], ["x"], {"bucket_boundaries": (0, 8)}, ValueError, "must be positive"),
        (
            ["a"],
            ["x"],
            {"max_source_length": 0},
            ValueError,
            "max_source_length must be.*received 0",
        ),
        (
            ["a"],
            ["x"],
            {"max_target_length": -1},
            ValueError,
            "max_target_length must be.*received -1",
        ),
        (["a"], ["x"], {"drop_remainder": True}, ValueError, "1 pairs and batch_size"),
    ],
)
def test_text_dataset_refuses(sources, targets, options, error, message):
    with pytest.raises(error, match=message):
        text_dataset(sources, targets, BYTES, CHARACTERS, **options)


def test_text_dataset_refuses_other_datasets():
    pairs = tf.data.Dataset.from_tensor_slices((["a"], ["x"]))
    with pytest.raises(ValueError, match="`targets` must be None.*list"):
        text_dataset(pairs, ["x"], BYTES, CHARACTERS)
    for other in (pairs.batch(1), pairs.map(lambda source, target: source)):
        with pytest.raises(ValueError, match="pairs of scalar strings"):
            text_dataset(other, None, BYTES, CHARACTERS)
