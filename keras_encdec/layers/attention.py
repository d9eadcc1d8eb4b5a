"""Multi-head attention with two verbs: remember a sequence, attend to it."""

import keras
from keras import ops

from keras_encdec.backend import fused_attention
from keras_encdec.layers.checks import require_number, require_positive
from keras_encdec.layers.dense import built_dense
from keras_encdec.layers.dropout import Dropout
from keras_encdec.layers.masks import (
    attend_to,
    combine_masks,
    look_ahead_mask,
    tokens_mask,
)
from keras_encdec.layers.positions import positions_from, rotate


@keras.saving.register_keras_serializable(package="keras_encdec")
class Attention(keras.layers.Layer):
    """Multi-head attention of a sequence to itself or to a memory.

    `call` composes two verbs, which cached decoding uses one by one:
    `remember(memory) -> (keys, values)` and
    `attend(x, (keys, values), mask) -> y`. A query whose keys are all masked gets
    zeros from attention, whatever the padding.

    Args:
        num_heads: The number of heads of the queries N.
        head_dim: The size of each head H; by default D / N.
        num_key_value_heads: The number of heads of keys and values, which groups of
            query heads share; by default N.
        use_bias: Whether the four projections have biases.
        dropout: Dropout rate of the attention weights.
        rotary: Whether queries and keys are turned by rotary positions, for
            self-attention.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        x: The queries' sequence `(B, T, D)`, float.
        memory: The sequence attended to `(B, S, D')`, float; by default `x`.
        mask: Which positions of `x` are tokens, `(B, T)` bool, or which may be
            attended to, `(B, T, T)` bool, or a 4D mask that broadcasts to
            `(B, N, T, T)`. By default the mask that `x` carries, which Keras fills in
            here, or as `x_mask` beside other tensors.
        x_mask: The same as `mask`, which wins.
        memory_mask: The same of `memory`.
        bias: Added to the scores, broadcasts to `(B, N, T, S)`, float.
        causal: Whether position t attends to positions up to t alone.
        return_attention_weights: Whether to return the weights as well.
        training: Whether to drop weights.

    Returns:
        `(B, T, D)` in the compute dtype; with `return_attention_weights=True` a pair
        with the weights `(B, N, T, S)`, float32.

    Raises:
        ValueError: If D is not divisible by `num_heads` and `head_dim` is not given,
            or `num_heads` not by `num_key_value_heads`.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers import Attention

        x, memory = ops.ones((2, 3, 16)), ops.ones((2, 5, 16))
        attention = Attention(num_heads=4)
        y = attention(x, memory)
        again = attention.attend(x, attention.remember(memory))
        print(y.shape, ops.all(ops.isclose(y, again)))
        ```

    Reference:
        Vaswani et al. 2017, Attention Is All You Need, section 3.2; Ainslie et al.
        2023, GQA.
    """

    def __init__(
        self,
        num_heads,
        *,
        head_dim=None,
        num_key_value_heads=None,
        use_bias=True,
        dropout=0.0,
        rotary=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_key_value_heads is None:
            num_key_value_heads = num_heads
        require_positive(num_heads=num_heads, num_key_value_heads=num_key_value_heads)
        require_number(0, 1, dropout=dropout)
        if head_dim is not None:
            require_positive(head_dim=head_dim)
        if num_heads % num_key_value_heads:
            raise ValueError(
                "num_heads must be divisible by num_key_value_heads, each of which "
                f"serves a group of them; received num_heads={num_heads}, "
                f"num_key_value_heads={num_key_value_heads}."
            )
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.num_key_value_heads = num_key_value_heads
        self.use_bias = use_bias
        self.dropout = dropout
        self.rotary = rotary
        self.supports_masking = True

    def build(self, x_shape, memory_shape=None):
        """Creates the projections for sequences of the given shapes."""
        hidden_dim = x_shape[-1]
        if self.head_dim is None and hidden_dim % self.num_heads:
            raise ValueError(
                "hidden_dim must be divisible by num_heads; received "
                f"hidden_dim={hidden_dim}, num_heads={self.num_heads}. Change one of "
                "them, or give head_dim."
            )
        self._head_dim = self.head_dim or hidden_dim // self.num_heads
        if self.rotary:  # Checks the size before a symbolic call, which computes none.
            rotate(ops.zeros((1, 1, 1, self._head_dim)), ops.arange(1))
        key_value_dim = self.num_key_value_heads * self._head_dim
        memory_shape = memory_shape or x_shape
        self.query_dense = built_dense(
            self, self.num_heads * self._head_dim, "query", x_shape
        )
        self.key_dense = built_dense(self, key_value_dim, "key", memory_shape)
        self.value_dense = built_dense(self, key_value_dim, "value", memory_shape)
        self.output_dense = built_dense(
            self, hidden_dim, "output", (*x_shape[:-1], self.num_heads * self._head_dim)
        )
        self.dropout_layer = Dropout(
            self.dropout, dtype=self.dtype_policy, name="dropout"
        )

    def _heads(self, dense, x, num_heads, start=None):
        batch_size, length = ops.shape(x)[:2]
        # As `call` casts it; the projections may have dtypes of their own.
        x = ops.cast(dense(ops.cast(x, self.compute_dtype)), self.compute_dtype)
        x = ops.reshape(x, (batch_size, length, num_heads, self._head_dim))
        if self.rotary and start is not None:
            x = rotate(x, positions_from(start, length))
        # Heads first, as matrix products want them, so that a cache is never reordered.
        return ops.transpose(x, (0, 2, 1, 3))

    def remember(self, memory, start=0):
        """Projects a sequence to the keys and values that queries attend to.

        Args:
            memory: `(B, S, D')`, float.
            start: The position of `memory[:, 0]`, for rotary positions; or `(B,)`,
                that of each row.

        Returns:
            A pair `(keys, values)`, each `(B, num_key_value_heads, S, H)`.
        """
        heads = self.num_key_value_heads
        keys = self._heads(self.key_dense, memory, heads, start)
        return keys, self._heads(self.value_dense, memory, heads)

    def new_cache(self, batch_size, length):
        """Returns zeros in the place of what `remember` will return step by step.

        Args:
            batch_size: The number of rows, an int or an int32 scalar.
            length: The number of positions L, an int or an int32 scalar.

        Returns:
            A pair `(keys, values)`, each `(B, num_key_value_heads, L, H)`.
        """
        shape = (batch_size, self.num_key_value_heads, length, self._head_dim)
        zeros = [ops.zeros(shape, dtype=self.compute_dtype) for _ in range(2)]
        return tuple(zeros)

    def attend(
        self,
        x,
        memory,
        mask=None,
        *,
        bias=None,
        start=0,
        return_attention_weights=False,
        training=None,
    ):
        """Attends from a sequence to remembered keys and values.

        Args:
            x: `(B, T, D)`, float.
            memory: The pair `(keys, values)` of `remember`.
            mask: Bool, True = attend, broadcasts to `(B, N, T, S)`, or None.
            bias: Added to the scores, broadcasts to `(B, N, T, S)`, or None.
            start: The position of `x[:, 0]`, for rotary positions, or `(B,)`.
            return_attention_weights: Whether to return the weights as well.
            training: Whether to drop weights.

        Returns:
            `(B, T, D)`, or a pair with the weights `(B, N, T, S)`.
        """
        queries = self._heads(self.query_dense, x, self.num_heads, start)
        keys, values = memory
        bias = bias if bias is None else ops.cast(bias, self.compute_dtype)
        groups = self.num_heads // self.num_key_value_heads
        if groups > 1:
            keys = ops.repeat(keys, groups, axis=1)
            values = ops.repeat(values, groups, axis=1)
        drop = training and self.dropout > 0
        weights = None
        if return_attention_weights or drop:
            weights = self._weights(queries, keys, mask, bias)
            kept = self.dropout_layer(weights, training=training)
            kept = ops.cast(kept, values.dtype)
            y = ops.matmul(kept, values)
        else:
            y = self._fused(queries, keys, values, mask, bias)
        rows, length = ops.shape(x)[:2]
        y = ops.transpose(y, (0, 2, 1, 3))
        y = ops.reshape(y, (rows, length, self.num_heads * self._head_dim))
        y = ops.cast(self.output_dense(y), self.compute_dtype)
        return (y, weights) if return_attention_weights else y

    def _weights(self, queries, keys, mask, bias):
        scores = ops.einsum("bnth,bnsh->bnts", queries, keys)
        scores = ops.cast(scores, "float32") * self._head_dim**-0.5
        if bias is not None:
            scores = scores + ops.cast(bias, "float32")
        if mask is not None:
            scores = ops.where(mask, scores, -1e30)
        # Not `ops.softmax`, which warns of a memory of length 1.
        weights = ops.exp(ops.log_softmax(scores))
        return weights if mask is None else ops.where(mask, weights, 0.0)

    def _fused(self, queries, keys, values, mask, bias):
        if mask is None:
            return fused_attention(queries, keys, values, bias=bias)
        if bias is None:
            y = fused_attention(queries, keys, values, mask=mask)
        else:
            # One of the two: PyTorch takes no bias beside a mask.
            lowest = -3e4 if bias.dtype == "float16" else -1e30
            bias = ops.where(mask, bias, ops.cast(lowest, bias.dtype))
            y = fused_attention(queries, keys, values, bias=bias)
        # The fused kernels give the mean of all values, padding included, to a query
        # that may attend to none.
        any_key = ops.any(mask, axis=-1, keepdims=True)  # (B, N, T, 1)
        return y * ops.cast(any_key, y.dtype)

    def call(
        self,
        x,
        memory=None,
        mask=None,
        x_mask=None,
        memory_mask=None,
        bias=None,
        causal=False,
        return_attention_weights=False,
        training=None,
    ):
        """Attends to the memory, or to the sequence itself."""
        if memory is not None:
            mask = memory_mask
        elif mask is None:
            mask = x_mask
        if mask is not None:
            mask = attend_to(mask)
        if causal:
            mask = combine_masks(mask, look_ahead_mask(ops.shape(x)[1]))
        return self.attend(
            x,
            self.remember(x if memory is None else memory),
            mask,
            bias=bias,
            return_attention_weights=return_attention_weights,
            training=training,
        )

    def compute_mask(self, inputs, previous_mask=None):
        """Returns the mask of `x`, unless a mask of attention was given."""
        return tokens_mask(previous_mask)

    def compute_output_shape(self, x_shape, memory_shape=None):
        """Returns the shape of the output, which is that of `x`."""
        return x_shape

    def compute_output_spec(
        self, x, memory=None, *args, return_attention_weights=False, **kwargs
    ):
        """Returns the shapes and dtypes of the output, and of the weights if asked."""
        y = keras.KerasTensor(x.shape, dtype=self.compute_dtype)
        if not return_attention_weights:
            return y
        source_length = (x if memory is None else memory).shape[1]
        shape = (x.shape[0], self.num_heads, x.shape[1], source_length)
        return y, keras.KerasTensor(shape, dtype="float32")

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "head_dim": self.head_dim,
            "num_key_value_heads": self.num_key_value_heads,
            "use_bias": self.use_bias,
            "dropout": self.dropout,
            "rotary": self.rotary,
        }
