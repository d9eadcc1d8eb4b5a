"""Pairs of texts to batches of ids: `((source, target), labels, weights)`.

The labels are what the decoder must say, closed by the end id; the target is what it
reads, the labels shifted right by one behind the start id; the weights are 1 at labels
and 0 at padding.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_encdec.annotations import Ids, Tensor, Texts
from keras_encdec.backend import lazy_tensorflow
from keras_encdec.text.interface import Tokenizer

tf = lazy_tensorflow()

# Pairs tokenized at a time, and pairs a shuffled `tf.data.Dataset` chooses among.
_CHUNK = 1024
_SHUFFLE_WINDOW = 10_000


def teacher_forcing(
    source: Ids, labels: Tensor, *, start_id: int = 1, padding_id: int = 0
) -> tuple[Any, ...]:
    """Turns arrays of ids into what `model.fit` takes.

    Args:
        source: Source ids, integers `(B, S)`.
        labels: Target ids, integers `(B, T)`: each row holds its end id, then padding
            alone.
        start_id: The id that the target begins with.
        padding_id: The id of padding, in `labels` and in the target.

    Returns:
        `((source, target), labels, weights)`, NumPy arrays: int32 `(B, S)`, int32
        `(B, T)`, int32 `(B, T)` and float32 `(B, T)`. Target, labels and weights are
        padding at the same places.

    Raises:
        TypeError: If an array does not hold integers.
        ValueError: If an array is not of rank 2, the numbers of rows differ, or
            padding stands before other labels.

    Example:
        ```python
        import numpy as np
        from keras_encdec.text import teacher_forcing

        source, labels = np.array([[7, 2]]), np.array([[8, 9, 2, 0]])
        (source, target), labels, weights = teacher_forcing(source, labels)
        print(target)  # [[1 8 9 0]]
        print(weights)  # [[1. 1. 1. 0.]]
        ```
    """
    source, labels = np.asarray(source), np.asarray(labels)
    for name, ids in (("source", source), ("labels", labels)):
        if ids.ndim != 2:
            raise ValueError(
                f"`{name}` must be of rank 2, one row a text; received shape "
                f"{ids.shape}. Pad the rows to one length."
            )
        if ids.dtype.kind not in "iu":
            raise TypeError(
                f"`{name}` must hold integer ids; received dtype {ids.dtype}. Encode "
                "the texts with a tokenizer, or cast the ids."
            )
    if len(source) != len(labels):
        raise ValueError(
            "`source` and `labels` must have the same number of rows; received "
            f"{len(source)} and {len(labels)}. Pair them again."
        )
    real = labels != padding_id
    broken = np.any(real[:, 1:] & ~real[:, :-1], axis=1)
    if broken.any():
        raise ValueError(
            f"Padding ({padding_id}) must stand at the end of a row of `labels` only; "
            f"row {int(broken.argmax())} has it before other ids. Pad on the right."
        )
    target = np.full_like(labels, start_id)
    target[:, 1:] = labels[:, :-1]
    target[~real] = padding_id
    source, target, labels = (ids.astype("int32") for ids in (source, target, labels))
    return (source, target), labels, real.astype("float32")


def text_dataset(
    sources: Texts,
    targets: Texts,
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    *,
    batch_size: int = 64,
    bucket_boundaries: Sequence[int] = (8, 16, 32, 64, 128, 256, 512),
    max_source_length: int | None = None,
    max_target_length: int | None = None,
    shuffle: bool = True,
    seed: int = 0,
    drop_remainder: bool = False,
) -> Any:
    """Builds the dataset of ids that `model.fit` takes, from pairs of texts.

    Pairs of similar length share a batch. Source and target of a batch are padded to
    the same length, the smallest boundary that holds the longest of both, so that a
    compiler sees one shape a bucket (and, unless `drop_remainder`, one more for the
    bucket's last, smaller batch).

    The longest bucket is the larger of the two maximum lengths; boundaries beyond it
    are not used. A longer text is cut to the maximum length and keeps its prefix and
    suffix ids.

    Args:
        sources: The source texts, a list of `str` or `bytes`; or a
            `tf.data.Dataset` of pairs `(source, target)` of scalar strings, and then
            `targets` is None.
        targets: The target texts, as many as sources; or None.
        source_tokenizer: A `Tokenizer`.
        target_tokenizer: A `Tokenizer`; it may be the same.
        batch_size: The number of pairs in a batch.
        bucket_boundaries: The lengths, in ids, that batches are padded to.
        max_source_length: The largest number of source ids, prefix and suffix ids
            included; None is the last boundary.
        max_target_length: The same for the labels.
        shuffle: Whether to draw another order in each epoch. Lists are shuffled as a
            whole, a `tf.data.Dataset` in a window of 10,000 pairs.
        seed: The seed of these orders: the same seed gives the same epochs.
        drop_remainder: Whether to leave out a bucket's last batch if it is smaller.

    Returns:
        A `tf.data.Dataset` of `((source, target), labels, weights)`: int32, int32,
        int32 and float32, all `(B, L)` with L a boundary. Its cardinality is known
        if it was built from lists, whose ids it holds in memory.

    Raises:
        TypeError: If the texts are not strings.
        ValueError: If the numbers of sources and targets differ, there are none, a
            length or size is not positive, or the target tokenizer ends no text.

    Example:
        ```python
        from keras_encdec.text import ByteTokenizer, text_dataset

        tokenizer = ByteTokenizer()
        dataset = text_dataset(["a", "bc"], ["A", "BC"], tokenizer, tokenizer)
        for (source, target), labels, weights in dataset:
            print(source.shape, target.shape, labels.shape, weights.shape)  # (2, 8) ...
        ```
    """
    boundaries = sorted(set(bucket_boundaries))
    if not boundaries or boundaries[0] < 1 or batch_size < 1:
        raise ValueError(
            "`batch_size` and all `bucket_boundaries` must be positive, with at least "
            f"one boundary; received {batch_size} and {bucket_boundaries}. Correct "
            "them."
        )
    if max_source_length is None:
        max_source_length = boundaries[-1]
    if max_target_length is None:
        max_target_length = boundaries[-1]
    longest = max(max_source_length, max_target_length)
    tokenizers = source_tokenizer, target_tokenizer
    check_tokenizers(*tokenizers, max_source_length, max_target_length)
    buckets = [boundary for boundary in boundaries if boundary < longest] + [longest]

    def encode(sources: Texts, targets: Texts) -> Tensor:
        sources = source_tokenizer.encode(sources)
        targets = target_tokenizer.encode(targets)
        return (
            shortened(sources, source_tokenizer, max_source_length),
            shortened(targets, target_tokenizer, max_target_length),
        )

    def forced(source: Ids, labels: Tensor) -> Any:
        starts = tf.fill([tf.shape(labels)[0], 1], target_tokenizer.start_id)
        target = tf.concat([starts, labels[:, :-1]], axis=1)
        real = labels != target_tokenizer.padding_id
        target = tf.where(real, target, target_tokenizer.padding_id)
        return (source, target), labels, tf.cast(real, tf.float32)

    paddings = (source_tokenizer.padding_id, target_tokenizer.padding_id)
    if isinstance(sources, tf.data.Dataset):
        _check_dataset_of_pairs(sources, targets)
        if shuffle:
            sources = sources.shuffle(_SHUFFLE_WINDOW, seed=seed)
        dataset = sources.batch(_CHUNK).map(encode).unbatch()
        # `unbatch` calls its rows ragged tensors, which padding refuses.
        dataset = dataset.map(lambda source, labels: (source, labels))
        dataset = dataset.bucket_by_sequence_length(
            lambda source, labels: tf.maximum(tf.size(source), tf.size(labels)),
            # A bucket holds lengths below its boundary, and is padded to one less.
            bucket_boundaries=[length + 1 for length in buckets],
            bucket_batch_sizes=[batch_size] * (len(buckets) + 1),
            padding_values=paddings,
            pad_to_bucket_boundary=True,
            drop_remainder=drop_remainder,
        )
        return prefetched(dataset.map(forced))

    check_pairs(sources, targets)
    ids = encode(sources, targets)
    lengths = np.maximum(*(rows.row_lengths().numpy() for rows in ids))
    bucket_of = np.searchsorted(buckets, lengths)
    full, rest = np.divmod(np.bincount(bucket_of), batch_size)
    cardinality = int(np.sum(full if drop_remainder else full + (rest > 0)))
    if cardinality == 0:
        raise ValueError(
            "`drop_remainder=True` needs a bucket with a full batch; received "
            f"{len(lengths)} pairs and batch_size={batch_size}, so that no batch is "
            "left. Lower `batch_size`, or keep the remainders."
        )

    def padded(indices: Any, bucket: Any) -> Any:
        shape = [-1, tf.gather(buckets, bucket[0])]
        return tuple(
            tf.gather(rows, indices).to_tensor(padding, shape=tf.stack(shape))
            for rows, padding in zip(ids, paddings, strict=True)
        )

    # Batches of indices, not of ids, which makes an epoch many times faster.
    dataset = tf.data.Dataset.from_tensor_slices((np.arange(len(lengths)), bucket_of))
    if shuffle:
        dataset = dataset.shuffle(len(lengths), seed=seed)
    dataset = dataset.group_by_window(
        key_func=lambda index, bucket: bucket,
        reduce_func=lambda bucket, pairs: pairs.batch(batch_size, drop_remainder),
        window_size=batch_size,
    )
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    return prefetched(dataset.map(padded).map(forced))


def prefetched(dataset: Any) -> Any:
    """Makes the next batches of a dataset while one is trained on, without tuning."""
    options = tf.data.Options()
    # There is nothing to tune, and the tuner may hold up the end of `fit` for seconds.
    options.autotune.enabled = False
    return dataset.prefetch(2).with_options(options)


def shortened(ids: Tensor, tokenizer: Tokenizer, length: Any) -> Tensor:
    """Cuts ragged rows `(B, None)` of ids to a length; prefix and suffix ids stay."""
    last = len(tokenizer.suffix_ids)
    if last == 0:
        return ids[:, :length]
    return tf.concat([ids[:, :-last][:, : length - last], ids[:, -last:]], axis=1)


def check_tokenizers(
    source_tokenizer: Tokenizer, target_tokenizer: Tokenizer, *lengths: Any
) -> None:
    """Checks that targets end, and that a text cut to the longest length holds more."""
    if target_tokenizer.end_id not in target_tokenizer.suffix_ids:
        raise ValueError(
            "Each target must hold its end id, or the model learns no end; received a "
            f"target tokenizer with end_id={target_tokenizer.end_id} and suffix_ids="
            f"{target_tokenizer.suffix_ids}. Put the end id into its suffix_ids."
        )
    for side, tokenizer, length in zip(
        ("source", "target"), (source_tokenizer, target_tokenizer), lengths, strict=True
    ):
        around = len(tokenizer.prefix_ids) + len(tokenizer.suffix_ids)
        if length is not None and length < max(1, around):
            raise ValueError(
                f"max_{side}_length must be positive and hold the {around} ids before "
                f"and behind each text; received {length}. Raise it, or leave it out."
            )


def check_pairs(sources: Texts, targets: Texts) -> None:
    """Checks that two lists of texts are pairs, and that there are any."""
    if targets is None:
        raise ValueError(
            "`targets` may be None only if `sources` is a `tf.data.Dataset` of pairs; "
            f"received {type(sources).__name__}. Give the target texts too."
        )
    if len(sources) != len(targets):
        raise ValueError(
            "There must be as many targets as sources; received "
            f"{len(sources)} sources and {len(targets)} targets. Pair them again."
        )
    if len(sources) == 0:
        raise ValueError(
            "A dataset needs at least one pair of texts; received 0 sources and 0 "
            "targets. Check the file they were read from."
        )


def _check_dataset_of_pairs(pairs: Any, targets: Texts) -> None:
    if targets is not None:
        raise ValueError(
            "`targets` must be None if `sources` is a `tf.data.Dataset`, whose "
            f"elements are pairs; received {type(targets).__name__}. Combine both "
            "with `tf.data.Dataset.zip`."
        )
    text = tf.TensorSpec((), tf.string)
    if pairs.element_spec != (text, text):
        raise ValueError(
            "The elements of the dataset must be pairs of scalar strings; received "
            f"{pairs.element_spec}. Bring them into this form with `dataset.map`."
        )
