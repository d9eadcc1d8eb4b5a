"""A shortlist within a graph of TensorFlow.

Legend of shapes: B batch, S source, K candidates of a source id, N of a batch, V target
ids.
"""

import numpy as np

from keras_encdec.annotations import Tensor
from keras_encdec.backend import import_tensorflow
from keras_encdec.generation import Generator, Shortlist
from keras_encdec.generation.shortlist import FEWEST, NONE
from keras_encdec.generation.task import as_tuple

tf = import_tensorflow()


class InGraph(tf.Module):  # type: ignore[name-defined]
    """The candidates of a generator's `Shortlist`, found by operations of TensorFlow.

    Args:
        generator: A `Generator`.
        shortlist: Its shortlist.
    """

    def __init__(self, generator: Generator, shortlist: Shortlist) -> None:
        super().__init__()
        self._size = shortlist.target_vocabulary_size
        self._padding_id = generator.padding_id
        of_all = np.zeros(self._size + 1, "bool")
        of_all[[*shortlist.of_all, *as_tuple(generator.end_id)]] = True
        # The last id stands for none.
        table = np.where(shortlist.candidates == NONE, self._size, shortlist.candidates)
        # A variable, for a constant would be written into each function that has it.
        self._table = tf.Variable(table.astype("int32"), trainable=False)
        self._of_all = tf.Variable(of_all, trainable=False)

    def of_sources(self, source: Tensor, least: int) -> tuple[Tensor, Tensor]:
        """Returns what `Shortlist.of_sources` returns, of as many as there are.

        Args:
            source: Source ids `(B, S)`, int32.
            least: The smallest number of candidates; where there are not as many target
                ids, the last one stands there again, for no row to have.

        Returns:
            The candidates `(N,)`, int32, and which each row may have, `(B, N)`, bool.
        """
        rows, size = tf.shape(source)[0], self._size
        found = tf.gather(self._table, source)  # (B, S, K)
        tokens = source != self._padding_id
        found = tf.where(tokens[..., None], found, size)
        row = tf.broadcast_to(tf.range(rows)[:, None, None], tf.shape(found))
        places = tf.reshape(tf.stack([row, found], axis=-1), (-1, 2))
        counts = tf.scatter_nd(
            places, tf.ones(tf.shape(places)[0], tf.int32), (rows, size + 1)
        )
        allowed = tf.logical_or(counts > 0, self._of_all)[:, :size]
        if max(least, FEWEST) >= size:
            more = max(least - size, 0)
            ids = tf.minimum(tf.range(size + more), size - 1)
            return ids, tf.pad(allowed, [[0, 0], [0, more]])
        least = max(least, FEWEST)
        wanted = tf.reduce_any(allowed, axis=0)
        number = tf.reduce_sum(tf.cast(wanted, tf.int32))
        smallest = tf.maximum(number, least)
        # What fills it up no row may have.
        others = tf.cumsum(tf.cast(~wanted, tf.int32))
        wanted = tf.logical_or(wanted, others <= smallest - number)
        ids = tf.cast(tf.where(wanted)[:, 0], tf.int32)
        return ids, tf.gather(allowed, ids, axis=1)
