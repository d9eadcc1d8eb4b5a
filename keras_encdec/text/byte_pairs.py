"""The merging of byte pairs, of all words at once, in TensorFlow's graph."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from keras_encdec.annotations import Tensor
from keras_encdec.backend import lazy_tensorflow
from keras_encdec.text.graph_parts import HasGraphParts

tf = lazy_tensorflow()


class Merges(HasGraphParts):
    """Merges the bytes of words to pieces, the earliest merge first.

    The pieces of all words stand in one row, without padding. A step merges in every
    word the pair that comes first in the list, wherever it occurs; a word needs as many
    steps as it has different merges.

    Args:
        size: A number above all ids.
        bytes_ids: The ids of the 256 bytes.
        merges: Triples `(left id, right id, merged id)`, the first ones first.

    Example:
        ```python
        import tensorflow as tf

        from keras_encdec.text.byte_pairs import Merges

        merges = Merges(258, range(256), [(97, 98, 256), (256, 97, 257)])
        print(merges(tf.constant(["abab", "aba"])).to_list())  # [[256, 256], [257]]
        ```
    """

    def __init__(
        self,
        size: int,
        bytes_ids: Iterable[int],
        merges: Iterable[tuple[int, int, int]],
    ) -> None:
        triples = np.array(list(merges), np.int64).reshape(-1, 3)
        left, right, merged = triples.T
        # Of a pair that is listed twice the later rank counts, as in `tokenizers`.
        keys = (left * size + right).tolist()
        # A table must not be empty.
        ranks = {-1: len(triples), **dict(zip(keys, range(len(triples)), strict=True))}
        self._size = size
        self._none = len(triples)
        self._bytes = tf.constant(list(bytes_ids), tf.int64)
        self._merged = tf.constant([*merged.tolist(), 0], tf.int64)
        self._ranks = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                np.array(list(ranks), np.int64), np.array([*ranks.values()], np.int64)
            ),
            default_value=self._none,
        )
        # Wherever a pair occurs at once is one after the other only if no merge makes
        # a pair that comes earlier in the list.
        first_use = np.full(size, len(triples) + 1)
        for parts in (left, right):
            np.minimum.at(first_use, parts, np.arange(len(triples)))
        self._in_order = bool(np.all(first_use[merged] > np.arange(len(triples))))

    def __call__(self, words: Tensor) -> Tensor:
        """Ragged int32 ids `(W, None)` of words `(W,)`, none of them empty."""
        lengths = tf.strings.length(words)
        values = tf.io.decode_raw(tf.strings.reduce_join(words), tf.uint8)
        ids = tf.gather(self._bytes, tf.cast(values, tf.int32))
        number = tf.size(words, tf.int64)
        of_word = tf.repeat(tf.range(number), lengths)
        ids, of_word, _ = tf.while_loop(
            lambda ids, of_word, ranks: tf.reduce_any(ranks < self._none),
            self._step,
            (ids, of_word, self._ranks_of(ids, of_word, tf.range(tf.size(ids)))),
            shape_invariants=3 * (tf.TensorShape([None]),),
        )
        return tf.RaggedTensor.from_value_rowids(
            tf.cast(ids, tf.int32), of_word, number, validate=False
        )

    def _ranks_of(self, ids: Tensor, of_word: Tensor, places: Tensor) -> Tensor:
        """The rank of the pair that begins at each place, or `_none`."""
        behind = tf.minimum(places + 1, tf.size(ids) - 1)
        together = tf.gather(of_word, places) == tf.gather(of_word, behind)
        pairs = tf.gather(ids, places) * self._size + tf.gather(ids, behind)
        none = tf.constant(self._none, tf.int64)
        ranks = self._ranks.lookup(pairs)
        return tf.where(together & (behind > places), ranks, none)

    def _step(
        self, ids: Tensor, of_word: Tensor, ranks: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        best = tf.gather(tf.math.segment_min(ranks, of_word), of_word)
        chosen = (ranks == best) & (ranks < self._none)
        places = tf.range(tf.size(ids))
        if self._in_order:
            # Of "aaa" the first two: in a run of places, every other one.
            begins = chosen & ~_shifted(chosen)
            run = tf.maximum(tf.cumsum(tf.cast(begins, tf.int32)) - 1, 0)
            chosen &= (
                places - tf.gather(tf.boolean_mask(places, begins), run)
            ) % 2 == 0
        else:
            last = tf.size(ids)
            earliest = tf.math.segment_min(tf.where(chosen, places, last), of_word)
            chosen &= places == tf.gather(earliest, of_word)
        ids = tf.where(chosen, tf.gather(self._merged, ranks), ids)
        # The pair of a merged place, and the one before it, are other pairs now.
        keep = ~_shifted(chosen)
        ids, of_word, ranks, chosen = (
            tf.boolean_mask(each, keep) for each in (ids, of_word, ranks, chosen)
        )
        before = tf.concat([chosen[1:], [False]], axis=0)
        changed = tf.where(chosen | before)
        new = self._ranks_of(ids, of_word, tf.cast(changed[:, 0], tf.int32))
        return ids, of_word, tf.tensor_scatter_nd_update(ranks, changed, new)


def _shifted(mask: Tensor) -> Tensor:
    """What stood one place before."""
    return tf.concat([[False], mask[:-1]], axis=0)
