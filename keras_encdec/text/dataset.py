"""Pairs of texts to batches of ids: `((source, target), labels, weights)`.

The labels are what the decoder must say, closed by the end id; the target is what it
reads, the labels shifted right by one behind the start id; the weights are 1 at labels
and 0 at padding.
"""

import gzip
import os
import zlib

import numpy as np

from keras_encdec.backend import import_tensorflow

tf = import_tensorflow()

# Pairs tokenized at a time, and pairs a shuffled `tf.data.Dataset` chooses among.
_CHUNK = 1024
_SHUFFLE_WINDOW = 10_000


def teacher_forcing(source, labels, *, start_id=1, padding_id=0):
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
    sources,
    targets,
    source_tokenizer,
    target_tokenizer,
    *,
    batch_size=64,
    bucket_boundaries=(8, 16, 32, 64, 128, 256, 512),
    max_source_length=None,
    max_target_length=None,
    shuffle=True,
    seed=0,
    drop_remainder=False,
):
    """Builds the dataset of ids that `model.fit` takes, from pairs of texts.

    Pairs of similar length share a batch. Source and target of a batch are padded to
    the same length, the smallest boundary that holds the longest of both, so that a
    compiler sees one shape a bucket (and, unless `drop_remainder`, one more for the
    bucket's last, smaller batch).

    The longest bucket is the larger of the two maximum lengths; boundaries beyond it
    are not used. A longer text is cut to the maximum length and keeps its end id.

    Args:
        sources: The source texts, a list of `str` or `bytes`; or a
            `tf.data.Dataset` of pairs `(source, target)` of scalar strings, and then
            `targets` is None.
        targets: The target texts, as many as sources; or None.
        source_tokenizer: A `Tokenizer`.
        target_tokenizer: A `Tokenizer`; it may be the same.
        batch_size: The number of pairs in a batch.
        bucket_boundaries: The lengths, in ids, that batches are padded to.
        max_source_length: The largest number of source ids, the end id included; None
            is the last boundary.
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
        ValueError: If the numbers of sources and targets differ, there are none, or a
            length or size is not positive.

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
    if min(max_source_length, max_target_length) < 1:
        raise ValueError(
            "Maximum lengths must be positive, since each text holds its end id; "
            f"received {max_source_length} for sources and {max_target_length} for "
            "targets. Raise them, or leave them out."
        )
    buckets = [boundary for boundary in boundaries if boundary < longest] + [longest]

    def encode(sources, targets):
        return (
            shortened(source_tokenizer.encode(sources), max_source_length),
            shortened(target_tokenizer.encode(targets), max_target_length),
        )

    def forced(source, labels):
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

    def padded(indices, bucket):
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


def read_pairs(source_path, target_path=None):
    r"""Reads pairs of texts from two parallel files, or from one with tabs.

    Args:
        source_path: A UTF-8 text file with one source a line; or, without
            `target_path`, one with `source<tab>target` a line, of which further
            columns are left out. It is unpacked if its name ends in `.gz`.
        target_path: A UTF-8 text file with one target a line.

    Returns:
        The list of sources and the list of targets, `str` each.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If a file is not UTF-8 or not gzip, a line has no tab, or the
            numbers of lines differ; it names the file and the line.

    Example:
        ```python
        from pathlib import Path
        from tempfile import TemporaryDirectory
        from keras_encdec.text import read_pairs

        with TemporaryDirectory() as folder:
            path = Path(folder, "pairs.tsv")
            path.write_text("cat\tKatze\ndog\tHund\n", encoding="utf-8")
            print(read_pairs(path))  # (['cat', 'dog'], ['Katze', 'Hund'])
        ```
    """
    sources = read_lines(source_path)
    if target_path is not None:
        targets = read_lines(target_path)
        if len(sources) != len(targets):
            raise ValueError(
                "Parallel files must have the same number of lines; received "
                f"{len(sources)} in {os.fspath(source_path)!r} and {len(targets)} in "
                f"{os.fspath(target_path)!r}. Align them again."
            )
        return sources, targets
    rows = [line.split("\t") for line in sources]
    for number, row in enumerate(rows, start=1):
        if len(row) < 2:
            raise ValueError(
                "Each line must be `source<tab>target`; line "
                f"{number} of {os.fspath(source_path)!r} has no tab: {row[0]!r:.80}. "
                "Correct the line, or give the file of targets as `target_path`."
            )
    return [row[0] for row in rows], [row[1] for row in rows]


def prefetched(dataset):
    """Makes the next batches of a dataset while one is trained on, without tuning."""
    options = tf.data.Options()
    # There is nothing to tune, and the tuner may hold up the end of `fit` for seconds.
    options.autotune.enabled = False
    return dataset.prefetch(2).with_options(options)


def shortened(ids, length):
    """Cuts ragged rows `(B, None)` to a length; the last id of each row stays."""
    return tf.concat([ids[:, :-1][:, : length - 1], ids[:, -1:]], axis=1)


def check_pairs(sources, targets):
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


def _check_dataset_of_pairs(pairs, targets):
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


def read_lines(path):
    r"""Reads texts from a UTF-8 file, a line each.

    Args:
        path: The file's path; it is unpacked if its name ends in `.gz`.

    Returns:
        A list of `str`.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is not UTF-8 or not gzip; it names the file and the line.

    Example:
        ```python
        from pathlib import Path
        from tempfile import TemporaryDirectory
        from keras_encdec.text import read_lines

        with TemporaryDirectory() as folder:
            path = Path(folder, "texts.en")
            path.write_text("a cat\na dog\n", encoding="utf-8")
            print(read_lines(path))  # ['a cat', 'a dog']
        ```
    """
    name = os.fspath(path)
    opened = gzip.open if name.endswith(".gz") else open
    try:
        with opened(path, "rb") as file:
            data = file.read()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"Texts are read from a file; there is none at {name!r}. Check the path."
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"A file named `.gz` must be gzip, whole; {name!r} is not ({error}). Copy "
            "it again, or rename it if it is plain text."
        ) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"Texts must be UTF-8; line {number} of {name!r} holds the byte "
            f"0x{data[error.start]:02x}, which is not. Convert the file to UTF-8."
        ) from error
    # Not `str.splitlines`, which also splits on U+2028 and other characters in a line.
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
