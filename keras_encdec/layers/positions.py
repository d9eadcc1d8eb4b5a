"""Positions: sinusoidal, learned, rotary, and T5's relative bias.

Sinusoidal and learned positions are added to the embeddings; rotary positions turn
queries and keys; the relative bias is added to the scores of attention.
"""

import keras
import numpy as np
from keras import ops

from keras_encdec.layers.checks import require_positive


def positions_from(start, length):
    """Returns the positions of a part of a sequence, or of each of several.

    Args:
        start: The first position, an int or an int32 scalar; or one for each row,
            `(B,)`, int32.
        length: The number of positions L, an int or an int32 scalar.

    Returns:
        `(L,)`, int32; or `(B, L)`.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers.positions import positions_from

        print(positions_from(2, 3), positions_from(ops.array([2, 5]), 3))
        ```
    """
    if len(getattr(start, "shape", ())):
        start = ops.expand_dims(start, -1)
    return start + ops.arange(length, dtype="int32")


def _angles(positions, dim, endpoint=False):
    # float32 whatever the policy: float16 cannot even count beyond 2,048.
    frequencies = np.geomspace(1, 1 / 10000, dim // 2, endpoint=endpoint)
    positions = ops.expand_dims(ops.cast(positions, "float32"), -1)
    return positions * ops.cast(frequencies, "float32")


def sinusoidal_positions(positions, hidden_dim, *, interleaved=True, endpoint=False):
    """Returns sines at the even and cosines at the odd features of each position.

    Args:
        positions: `(L,)`, integer; or of each row `(B, L)`.
        hidden_dim: The model's width D, an even int.
        interleaved: Whether sines and cosines take turns; if not, all sines come
            before all cosines, as in Tensor2Tensor and Marian.
        endpoint: Whether the lowest frequency is 1/10000, as in Tensor2Tensor, or, as
            in the paper, the one that would come next.

    Returns:
        `(L, D)`, or `(B, L, D)`, float32.

    Raises:
        ValueError: If `hidden_dim` is odd.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers import sinusoidal_positions

        print(sinusoidal_positions(ops.arange(4), 8).shape)
        ```

    Reference:
        Vaswani et al. 2017, Attention Is All You Need, section 3.5.
    """
    if hidden_dim % 2:
        raise ValueError(
            "Sinusoidal positions need an even hidden_dim, a sine and a cosine for "
            f"each frequency; received hidden_dim={hidden_dim}. Add or remove one."
        )
    angles = _angles(positions, hidden_dim, endpoint)
    if not interleaved:
        return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
    waves = ops.stack([ops.sin(angles), ops.cos(angles)], axis=-1)
    return ops.reshape(waves, (*ops.shape(angles)[:-1], hidden_dim))


def rotate(x, positions):
    """Turns queries or keys by angles that grow with their positions.

    The scores of turned queries and keys depend on their distance alone.

    Args:
        x: `(B, L, N, H)`, float, H even.
        positions: `(L,)`, integer; or of each row `(B, L)`.

    Returns:
        `(B, L, N, H)`, the dtype of `x`; feature i is paired with feature i + H/2.

    Raises:
        ValueError: If H is odd.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers import rotate

        print(rotate(ops.ones((1, 4, 2, 8)), ops.arange(4)).shape)
        ```

    Reference:
        Su et al. 2021, RoFormer: Enhanced Transformer with Rotary Position Embedding.
    """
    head_dim = x.shape[-1]
    if head_dim % 2:
        raise ValueError(
            "Rotary positions need an even size of the heads; received "
            f"head_dim={head_dim}. Choose head_dim, or hidden_dim / num_heads, even."
        )
    angles = ops.expand_dims(_angles(positions, head_dim), -2)
    cosines, sines = ops.cos(angles), ops.sin(angles)
    first, second = ops.split(ops.cast(x, "float32"), 2, axis=-1)
    turned = ops.concatenate(
        [first * cosines - second * sines, second * cosines + first * sines], axis=-1
    )
    return ops.cast(turned, x.dtype)


@keras.saving.register_keras_serializable(package="keras_encdec")
class SinusoidalPosition(keras.layers.Layer):
    """Adds sinusoidal positions to its input, of any length.

    Args:
        interleaved: Whether sines and cosines take turns; if not, all sines come
            before all cosines, as in Tensor2Tensor and Marian.
        endpoint: Whether the lowest frequency is 1/10000, as in Tensor2Tensor, or, as
            in the paper, the one that would come next.
        first: The number of the first position, 1 in OpenNMT-tf.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        x: `(B, L, D)`, float.
        start: The position of `x[:, 0]`, an int or an int32 scalar; or `(B,)`, that of
            each row.

    Returns:
        `(B, L, D)`, in the compute dtype.

    Raises:
        ValueError: If D is odd.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers import SinusoidalPosition

        print(SinusoidalPosition()(ops.zeros((1, 4, 8))).shape)
        ```

    Reference:
        Vaswani et al. 2017, Attention Is All You Need, section 3.5.
    """

    def __init__(self, *, interleaved=True, endpoint=False, first=0, **kwargs):
        super().__init__(**kwargs)
        self.interleaved = interleaved
        self.endpoint = endpoint
        self.first = first
        self.supports_masking = True

    def build(self, x_shape):
        """Checks the width; there are no weights."""
        sinusoidal_positions(np.zeros(0, "int32"), x_shape[-1])

    def call(self, x, start=0):
        """Adds the positions."""
        positions = positions_from(start + self.first, ops.shape(x)[1])
        waves = sinusoidal_positions(
            positions,
            x.shape[-1],
            interleaved=self.interleaved,
            endpoint=self.endpoint,
        )
        return x + ops.cast(waves, x.dtype)

    def compute_output_shape(self, x_shape):
        """Returns the shape of the output, which is that of the input."""
        return x_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "interleaved": self.interleaved,
            "endpoint": self.endpoint,
            "first": self.first,
        }


@keras.saving.register_keras_serializable(package="keras_encdec")
class LearnedPosition(keras.layers.Layer):
    """Adds a learned vector for each position, up to a largest length.

    Args:
        max_length: The number of positions.
        offset: The number of vectors before that of the first position, which are
            never used: 2 in BART.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        x: `(B, L, D)`, float, L at most `max_length`.
        start: The position of `x[:, 0]`, an int or an int32 scalar; or `(B,)`, that of
            each row.

    Returns:
        `(B, L, D)`, in the compute dtype.

    Raises:
        ValueError: If `max_length` is not a positive integer or `offset` a negative
            one, or if L is known and above `max_length`.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers import LearnedPosition

        print(LearnedPosition(max_length=16)(ops.zeros((1, 4, 8))).shape)
        ```
    """

    def __init__(self, max_length, *, offset=0, **kwargs):
        super().__init__(**kwargs)
        require_positive(max_length=max_length)
        if offset:
            require_positive(offset=offset)
        self.max_length = max_length
        self.offset = offset
        self.supports_masking = True

    def build(self, x_shape):
        """Creates the vectors for inputs of the given shape."""
        self.position_vectors = self.add_weight(
            name="position_vectors",
            shape=(self.offset + self.max_length, x_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )

    def call(self, x, start=0):
        """Adds the vectors of the positions."""
        length = x.shape[1]
        self._check_end(length + start if length and isinstance(start, int) else length)
        positions = positions_from(start + self.offset, ops.shape(x)[1])
        return x + ops.take(self.position_vectors, positions, axis=0)

    def _check_end(self, end):
        if end is not None and end > self.max_length:
            raise ValueError(
                "A sequence must not be longer than the learned positions; received "
                f"length {end} with max_length={self.max_length}. Shorten the "
                "sequence, or build the model with a larger max_length."
            )

    def compute_output_shape(self, x_shape):
        """Returns the shape of the output, which is that of the input."""
        self._check_end(x_shape[1])  # A symbolic call comes here alone.
        return x_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "max_length": self.max_length,
            "offset": self.offset,
        }


@keras.saving.register_keras_serializable(package="keras_encdec")
class RelativePositionBias(keras.layers.Layer):
    """Learns a bias of attention for each head and bucket of distances.

    Near distances have a bucket each, far ones share buckets that widen
    logarithmically. One layer serves all the blocks of a stack, which take its output
    as their `bias`.

    Args:
        num_heads: The number of heads N.
        num_buckets: The number of buckets.
        max_distance: The distance from which on all share the last bucket.
        bidirectional: Whether keys after the query have buckets of their own, as an
            encoder needs; a decoder does not look ahead.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        x: `(B, L, D)`; only its length is used.

    Returns:
        `(1, N, L, L)`, in the compute dtype, to be added to the scores.

    Raises:
        ValueError: If a size is not a positive integer, or the buckets are too few or
            too many for the distances.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers import EncoderBlock, RelativePositionBias

        x = ops.ones((2, 5, 16))
        bias = RelativePositionBias(num_heads=4)(x)
        print(EncoderBlock(num_heads=4, intermediate_dim=32)(x, bias=bias).shape)
        ```

    Reference:
        Raffel et al. 2020, Exploring the Limits of Transfer Learning with a Unified
        Text-to-Text Transformer, section 2.1.
    """

    def __init__(
        self,
        num_heads,
        *,
        num_buckets=32,
        max_distance=128,
        bidirectional=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_positive(
            num_heads=num_heads, num_buckets=num_buckets, max_distance=max_distance
        )
        self.num_heads = num_heads
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        one_way = num_buckets // 2 if bidirectional else num_buckets
        if one_way < 2 or max_distance <= one_way // 2:
            raise ValueError(
                "A relative bias needs at least 2 buckets a direction, and a "
                "max_distance above the exact half of them; received "
                f"num_buckets={num_buckets}, max_distance={max_distance}, "
                f"bidirectional={bidirectional}. Choose more buckets or a larger "
                "max_distance."
            )
        self._bucket_of_distance = self._make_buckets(one_way)

    def _make_buckets(self, buckets):
        # A table made once on the host: the logarithm of each backend may round
        # differently where a bucket begins.
        exact = buckets // 2
        distances = np.arange(self.max_distance + 1, dtype="float32")
        far = np.log(np.maximum(distances, 1) / exact) / np.log(
            self.max_distance / exact
        )
        far = exact + (far.astype("float32") * (buckets - exact)).astype("int32")
        return np.where(
            distances < exact, distances, np.minimum(far, buckets - 1)
        ).astype("int32")

    def build(self, x_shape):
        """Creates the biases."""
        self.bucket_biases = self.add_weight(
            name="bucket_biases",
            shape=(self.num_buckets, self.num_heads),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )

    def call(self, x):
        """Returns the bias between all positions of a sequence."""
        positions = ops.arange(ops.shape(x)[1], dtype="int32")
        return self.between(positions, positions)

    def between(self, queries, keys):
        """Returns the bias between positions of queries and of keys.

        Args:
            queries: Positions `(T,)`, int32; or of each row `(B, T)`.
            keys: Positions `(S,)`, int32.

        Returns:
            `(1, N, T, S)`, or `(B, N, T, S)`, in the compute dtype.
        """
        by_row = len(queries.shape) == 2
        distances = queries[:, :, None] if by_row else queries[:, None]
        distances = distances - keys[None, :]
        ahead = ops.less(distances, 0)
        if self.bidirectional:
            offset = ops.cast(ahead, "int32") * (self.num_buckets // 2)
            distances = ops.abs(distances)
        else:
            offset = 0
            distances = ops.where(ahead, 0, distances)
        near = ops.minimum(distances, self.max_distance)
        buckets = offset + ops.take(self._bucket_of_distance, near, axis=0)
        biases = ops.cast(self.bucket_biases, self.compute_dtype)
        biases = ops.take(biases, buckets, axis=0)  # (T, S, N), or (B, T, S, N)
        if len(biases.shape) == 4:
            return ops.transpose(biases, (0, 3, 1, 2))
        return ops.expand_dims(ops.transpose(biases, (2, 0, 1)), 0)

    def compute_mask(self, inputs, previous_mask=None):
        """Returns None: a bias carries no mask of tokens."""
        return None

    def compute_output_shape(self, x_shape):
        """Returns the shape of the bias."""
        return (1, self.num_heads, x_shape[1], x_shape[1])

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "num_buckets": self.num_buckets,
            "max_distance": self.max_distance,
            "bidirectional": self.bidirectional,
        }
