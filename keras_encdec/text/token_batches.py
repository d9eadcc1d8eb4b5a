"""Batches of about as many tokens, in few shapes, in an order given by numbers alone.

Legend of shapes: B rows, S source, T target.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_encdec.annotations import Texts
from keras_encdec.backend import lazy_tensorflow
from keras_encdec.text.buckets import buckets_of
from keras_encdec.text.corpora import SIDES, PairsOfIds
from keras_encdec.text.dataset import (
    check_pairs,
    check_tokenizers,
    prefetched,
    teacher_forcing,
)
from keras_encdec.text.draws import Draws
from keras_encdec.text.encoding import encode_in_memory
from keras_encdec.text.interface import Tokenizer
from keras_encdec.text.noise import Noise, with_noise

tf = lazy_tensorflow()

# Which random numbers of a batch are those of noise; 0 and 1 are of its two sides.
_OF_NOISE = 2


class TokenBatches:
    """Batches of about `batch_tokens` tokens each, from pairs of texts.

    Pairs of similar lengths share a bucket, and all batches of a bucket have one shape,
    so that a compiler sees at most `num_shapes` of them. The buckets are chosen for the
    texts: the one that wastes most on padding is split, by source or by target length,
    where that saves most. To fill a bucket's batches, a few rows may be padding alone;
    they weigh nothing.

    A pass takes every pair once. Which pairs make up batch i, counted from the start
    of training on, depends on the texts, the options and i alone: training goes on
    after an interruption with `dataset(first=i)` as if there had been none.

    Args:
        sources: The source texts, a list of `str` or `bytes`; or pairs that are ids
            already, a `Corpus` or other `PairsOfIds`, which give the same batches.
        targets: The target texts, as many; None beside pairs of ids.
        source_tokenizer: A `Tokenizer`.
        target_tokenizer: A `Tokenizer`; it may be the same.
        batch_tokens: The most tokens of a batch, padding included, on that side,
            source or target, that has more.
        num_shapes: The most shapes of batches.
        max_source_length: The largest number of source ids, prefix and suffix ids
            included; None for no limit. A longer text is cut and keeps these.
        max_target_length: The same for the labels.
        shuffle: Whether pairs change batches, and batches places, from pass to pass.
        sampling: None, or how strongly to draw other subwords for a text, or for ids,
            in each pass, the `alpha` of `SentencePieceTokenizer.sample`. Pairs get room
            in batches for draws that are longer than the usual subwords; the few that
            are longer still give way to these.
        noise: What is done to the ids of each source, between its prefix and suffix,
            each time it comes: `MaskTokens`, `DeleteTokens`, `InfillSpans`,
            `ShuffleTokens`, or other functions `(ids, random) -> ids`, one after
            another.
        seed: The seed of all this.

    Attributes:
        lengths: The number of tokens of each source and target, cut as `ids` are, an
            array `(N, 2)`; of drawn subwords the room for them.
        cut: The numbers of sources and of targets that were too long, and are cut.
        shapes: The rows, source and target lengths of the batches of each bucket.
        tokens: The numbers of source and of target tokens in a pass, without noise; of
            drawn subwords about that.
        padding: The share of padding in a pass.

    Raises:
        NotImplementedError: If subwords are to be drawn, and a tokenizer has one way to
            split a text.
        TypeError: If the texts are not strings.
        ValueError: If the numbers of sources and targets differ, there are none, a size
            is not positive, the target tokenizer ends no text, a text alone has more
            than `batch_tokens` tokens, or subwords are to be drawn of a tokenizer that
            gives no ids again.

    Example:
        ```python
        from keras_encdec.text import ByteTokenizer, TokenBatches

        tokenizer = ByteTokenizer()
        words = ["a", "bc", "def", "ghij"] * 8
        batches = TokenBatches(words, words, tokenizer, tokenizer, batch_tokens=32)
        print(batches.shapes, f"{batches.padding:.0%} padding")
        for (source, target), labels, weights in batches.dataset(count=len(batches)):
            print(source.shape, target.shape)
        # model.fit(batches.dataset(), steps_per_epoch=len(batches), epochs=10)
        ```
    """

    def __init__(
        self,
        sources: Texts | PairsOfIds,
        targets: Texts | None,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        batch_tokens: int,
        *,
        num_shapes: int = 16,
        max_source_length: int | None = None,
        max_target_length: int | None = None,
        shuffle: bool = True,
        sampling: float | None = None,
        noise: Sequence[Noise] = (),
        seed: int = 0,
    ) -> None:
        pairs = sources if isinstance(sources, PairsOfIds) and targets is None else None
        if pairs is None or len(pairs) == 0:
            check_pairs(sources, targets if pairs is None else [])
        sizes = {"batch_tokens": batch_tokens, "num_shapes": num_shapes}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(
                    f"{name} must be a positive number; received {size}. Raise it."
                )
        tokenizers = source_tokenizer, target_tokenizer
        check_tokenizers(*tokenizers, max_source_length, max_target_length)
        self.shuffle = shuffle
        self.sampling = sampling
        self.noise = tuple(noise)
        self.seed = seed
        if pairs is None:
            pairs = encode_in_memory(sources, targets, *tokenizers)
        limits = max_source_length, max_target_length
        stored = pairs.lengths()
        self._sides = [
            _Side(
                *(pairs, name, stored[:, place], tokenizer, limits[place]),
                batch_tokens,
                None if sampling is None else Draws(tokenizer, sampling, [seed, place]),
            )
            for place, (name, tokenizer) in enumerate(
                zip(SIDES, tokenizers, strict=True)
            )
        ]
        del stored
        lengths = np.stack([side.lengths for side in self._sides], axis=1)  # (B, 2)
        for place, side in enumerate(self._sides):
            side.lengths = lengths[:, place]  # Once, for there may be many.
        self.lengths = lengths
        self.cut = tuple(side.cut for side in self._sides)
        if lengths.max() > batch_tokens:
            row, _ = np.unravel_index(lengths.argmax(), lengths.shape)
            raise ValueError(
                f"A batch must hold at least one pair; pair {row} has "
                f"{lengths.max()} tokens, and batch_tokens is {batch_tokens}. Raise "
                "batch_tokens, or cut long texts with max_source_length and "
                "max_target_length."
            )
        self._buckets = buckets_of(lengths, batch_tokens, num_shapes)
        self._numbers, self.shapes = [], []
        for members in self._buckets:
            longest = lengths[members].max(axis=0)
            capacity = batch_tokens // int(longest.max())
            number = -(-len(members) // capacity)
            # Of about the same size, rather than full ones and a rest.
            rows = -(-len(members) // number)
            self._numbers.append(number)
            self.shapes.append((rows, *longest.tolist()))
        numbered = zip(self._numbers, self.shapes, strict=True)
        padded = sum(
            n * rows * (source + target) for n, (rows, source, target) in numbered
        )
        bucket_of = np.empty(len(lengths), "uint16")
        for number, members in enumerate(self._buckets):
            bucket_of[members] = number
        self.tokens = [
            side.tokens(bucket_of, [shape[place] for shape in self.shapes])
            for place, side in enumerate(self._sides, 1)
        ]
        self.padding = 1 - sum(self.tokens) / padded

    @property
    def ids(self) -> Any:
        """The ids of the sources and those of the targets, two sequences of arrays."""
        return tuple(side.ids for side in self._sides)

    def __len__(self) -> int:
        """The number of batches in a pass."""
        return sum(self._numbers)

    def dataset(
        self,
        first: int = 0,
        count: int | None = None,
        *,
        accumulate: int = 1,
        replicas: int = 1,
        replica: int | Sequence[int] | None = None,
    ) -> Any:
        """Returns batches in their order, for `fit` or `evaluate`.

        Args:
            first: The number of the first batch, counted from the start of training;
                pass p begins with batch `p * len(self)`.
            count: The number of batches; None for no end, and then `fit` needs
                `steps_per_epoch`.
            accumulate: The number n of batches whose gradients make one update. Their
                weights are then shares: those of n batches in turn, the first of which
                have the numbers 0 to n - 1, sum to n.
            replicas: The number of devices among which rows are divided: each batch
                gets rows of padding until it divides. The pairs in it stay the same.
            replica: The number of the device whose rows alone are wanted, from 0, as
                where each has a process, or the numbers of several; None for all rows.

        Returns:
            A `tf.data.Dataset` of `((source, target), labels, weights)`: int32
            `(B, S)`, int32 `(B, T)`, int32 `(B, T)` and float32 `(B, T)`.

        Raises:
            ValueError: If `accumulate` or `replicas` is not a positive integer, or
                there is no such `replica`.
        """
        for name, number in {"accumulate": accumulate, "replicas": replicas}.items():
            if type(number) is not int or number < 1:
                raise ValueError(
                    f"{name} must be an integer of at least 1; received {number!r}."
                )
        wanted = range(replicas) if replica is None else np.atleast_1d(replica)
        if not all(0 <= each < replicas for each in wanted):
            raise ValueError(
                f"replica must be one of {replicas}, counted from 0; received "
                f"{replica!r}."
            )

        def rows_of(x: Any) -> Any:
            return np.concatenate([x[each::replicas] for each in wanted])

        def batches() -> Any:
            # In turn, for what has no pairs in it are the last rows.
            for (source, target), labels, weights in itertools.islice(
                self._shared(first, accumulate, replicas), count
            ):
                if replica is not None:
                    of_replica = map(rows_of, (source, target, labels, weights))
                    source, target, labels, weights = of_replica
                yield (source, target), labels, weights

        ids, weights = (tf.TensorSpec((None, None), t) for t in (tf.int32, tf.float32))
        dataset = tf.data.Dataset.from_generator(
            batches,
            output_signature=((ids, ids), ids, weights),
        )
        if count is not None:
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
        return prefetched(dataset)

    def counts(self, first: int = 0) -> Iterator[tuple[int, int]]:
        """Yields how many tokens batches have, those of sources and targets together.

        Args:
            first: The number of the first batch, as in `dataset`.

        Yields:
            The number of tokens and, padding too, that of ids. Where subwords are
            drawn, that of tokens is about that.
        """
        # Of their room, how much a draw fills.
        share = self.tokens / np.maximum(self.lengths.sum(axis=0, dtype="int64"), 1)
        for bucket, rows in self._plan(first):
            size, source, target = self.shapes[bucket]
            real = self.lengths[rows[rows >= 0]].sum(axis=0)
            yield round(float(real @ share)), size * (source + target)

    def _plan(self, first: int) -> Any:
        """The batches from a number on, without end: a bucket and its rows."""
        for number in itertools.count(first // len(self)):
            skipped = max(0, first - number * len(self))
            yield from self._pass(number)[skipped:]

    def _shared(self, first: int, accumulate: int, replicas: int) -> Any:
        if accumulate == 1:
            yield from self._batches(first, replicas)
            return
        skipped = first % accumulate
        batches = self._batches(first - skipped, replicas)
        while group := list(itertools.islice(batches, accumulate)):
            tokens = sum(weights.sum() for _, _, weights in group)
            for ids, labels, weights in group[skipped:]:
                share = np.float32(accumulate / max(tokens, 1))
                yield ids, labels, weights * share
            skipped = 0

    def _batches(self, first: int, replicas: int) -> Any:
        for batch, (bucket, rows) in enumerate(self._plan(first), first):
            rows = np.pad(rows, (0, -len(rows) % replicas), constant_values=-1)
            source, labels = (
                side.padded(rows, length, batch // len(self))
                for side, length in zip(
                    self._sides, self.shapes[bucket][1:], strict=True
                )
            )
            if self.noise:
                random = np.random.default_rng([self.seed, _OF_NOISE, batch])
                tokenizer = self._sides[0].tokenizer
                source = with_noise(source, tokenizer, self.noise, random)
            target = self._sides[1].tokenizer
            yield teacher_forcing(
                source,
                labels,
                start_id=target.start_id,
                padding_id=target.padding_id,
            )

    def _pass(self, number: int) -> Any:
        """The batches of a pass: a bucket and its rows, -1 for one of padding."""
        random = np.random.default_rng([self.seed, number])
        batches = []
        for bucket, members in enumerate(self._buckets):
            if self.shuffle:
                members = random.permutation(members)
            shape = self._numbers[bucket], self.shapes[bucket][0]
            rows = np.full(shape, -1, "int32")
            rows.flat[: len(members)] = members
            batches += [(bucket, batch) for batch in rows]
        if self.shuffle:
            batches = [batches[i] for i in random.permutation(len(batches))]
        return batches


class _Side:
    """One side of pairs of ids."""

    def __init__(
        self,
        pairs: PairsOfIds,
        name: str,
        lengths: Any,
        tokenizer: Tokenizer,
        max_length: int | None,
        most: int,
        draws: Draws | None,
    ) -> None:
        self.tokenizer = tokenizer
        self._pairs, self._name, self._max_length = pairs, name, max_length
        self._draws = draws
        whole = np.iinfo("int32").max if max_length is None else max_length
        self.cut = int(np.count_nonzero(lengths > whole))
        self.lengths = np.minimum(lengths, whole).astype("int32")
        self._whole, self._tokens = whole, int(self.lengths.sum(dtype="int64"))
        if draws is not None:
            room = draws.room(functools.partial(pairs.ids, name), lengths)
            # The usual ids, to which draws give way, always fit.
            room = np.minimum(room, min(whole, most))
            self.lengths = np.maximum(self.lengths, room)
        self.ids = _Rows(self)

    def tokens(self, bucket_of: Any, room: Any) -> int:
        """The tokens of a pass, where each pair has a bucket, and each bucket room."""
        if self._draws is None:
            return self._tokens
        room = np.array(room)[bucket_of[self._draws.probed]]
        return round(self._tokens * self._draws.growth(room, self._whole))

    def padded(self, rows: Any, length: int, number: int) -> Any:
        """Ids `(B, length)` of some rows in a pass, -1 for one of padding."""
        padded = np.full((len(rows), length), self.tokenizer.padding_id, "int32")
        real = rows[rows >= 0].astype("int64")
        whole = [*self._pairs.ids(self._name, real)]
        drawn = whole if self._draws is None else self._draws(whole, real, number)
        for place, (some, usual) in enumerate(zip(drawn, whole, strict=True)):
            ids = self._shortened(some)
            if len(ids) > length:
                ids = self._shortened(usual)
            padded[place, : len(ids)] = ids
        return padded

    def read(self, rows: Any) -> Any:
        """Returns the usual ids of rows, cut."""
        return map(self._shortened, self._pairs.ids(self._name, rows))

    def _shortened(self, ids: Any) -> Any:
        """Ids cut as `shortened` cuts texts."""
        if self._max_length is None or len(ids) <= self._max_length:
            return ids
        last = len(self.tokenizer.suffix_ids)
        kept = ids[: self._max_length - last]
        return np.concatenate([kept, ids[len(ids) - last :]])


class _Rows(Sequence):
    """The ids of a side, read where they are asked for."""

    def __init__(self, side: _Side) -> None:
        self._side = side

    def __len__(self) -> int:
        return len(self._side.lengths)

    def __getitem__(self, row: Any) -> Any:
        return next(self._side.read([range(len(self))[row]]))
