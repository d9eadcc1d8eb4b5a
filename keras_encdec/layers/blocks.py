"""The encoder and decoder blocks: attention and feed-forward, each with a residual.

Legend of shapes: B batch, T target, S source, D model, K beams.
"""

import keras
from keras import ops

from keras_encdec.backend import rematerialized, write_at
from keras_encdec.layers import checks
from keras_encdec.layers.activations import get_activation, saved_activation
from keras_encdec.layers.attention import Attention
from keras_encdec.layers.dropout import Dropout
from keras_encdec.layers.feed_forward import FeedForward
from keras_encdec.layers.masks import step_mask, tokens_mask
from keras_encdec.layers.normalization import make_normalization


class _Block(keras.layers.Layer):
    """The options and the residual connection that both blocks share."""

    def __init__(
        self,
        num_heads,
        intermediate_dim,
        *,
        head_dim=None,
        num_key_value_heads=None,
        activation="relu",
        gated=False,
        normalization="layer",
        normalize_first=True,
        epsilon=1e-5,
        use_bias=True,
        rotary=False,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        remat=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        checks.require_positive(num_heads=num_heads, intermediate_dim=intermediate_dim)
        checks.require_one_of(("layer", "rms"), normalization=normalization)
        checks.require_one_of((False, True), remat=remat)
        checks.require_number(0, 1, epsilon=epsilon, dropout=dropout)
        self.num_heads = num_heads
        self.intermediate_dim = intermediate_dim
        self.head_dim = head_dim
        self.num_key_value_heads = num_key_value_heads
        self.activation = get_activation(activation)
        self.gated = gated
        self.normalization = normalization
        self.normalize_first = normalize_first
        self.epsilon = epsilon
        self.use_bias = use_bias
        self.rotary = rotary
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.activation_dropout = activation_dropout
        self.remat = remat
        self.supports_masking = True

    def _attention(self, name, *shapes, rotary=False):
        attention = Attention(
            self.num_heads,
            head_dim=self.head_dim,
            num_key_value_heads=self.num_key_value_heads,
            use_bias=self.use_bias,
            dropout=self.attention_dropout,
            rotary=rotary,
            dtype=self.dtype_policy,
            name=name,
        )
        attention.build(*shapes)
        return attention

    def _norm(self, name, x_shape):
        norm = make_normalization(
            self.normalization, epsilon=self.epsilon, dtype=self.dtype_policy, name=name
        )
        norm.build(x_shape)
        return norm

    def _build_common(self, x_shape):
        self.self_attention = self._attention(
            "self_attention", x_shape, rotary=self.rotary
        )
        self.self_attention_norm = self._norm("self_attention_norm", x_shape)
        self.feed_forward = FeedForward(
            self.intermediate_dim,
            activation=self.activation,
            gated=self.gated,
            use_bias=self.use_bias,
            dropout=self.activation_dropout,
            dtype=self.dtype_policy,
            name="feed_forward",
        )
        self.feed_forward.build(x_shape)
        self.feed_forward_norm = self._norm("feed_forward_norm", x_shape)
        self.dropout_layer = Dropout(
            self.dropout, dtype=self.dtype_policy, name="dropout"
        )

    def _residual(self, x, norm, sublayer, training=None):
        # As `call` casts it; the sublayers may have dtypes of their own.
        x = ops.cast(x, self.compute_dtype)
        y = sublayer(norm(x) if self.normalize_first else x)
        y = x + ops.cast(self.dropout_layer(y, training=training), x.dtype)
        return y if self.normalize_first else ops.cast(norm(y), x.dtype)

    def _feed_forward(self, x, training=None):
        return self._residual(
            x,
            self.feed_forward_norm,
            lambda y: self.feed_forward(y, training=training),
            training,
        )

    def compute_mask(self, inputs, previous_mask=None):
        """Returns the mask of `x`, unless a mask of attention was given."""
        return tokens_mask(previous_mask)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "intermediate_dim": self.intermediate_dim,
            "head_dim": self.head_dim,
            "num_key_value_heads": self.num_key_value_heads,
            "activation": saved_activation(self.activation),
            "gated": self.gated,
            "normalization": self.normalization,
            "normalize_first": self.normalize_first,
            "epsilon": self.epsilon,
            "use_bias": self.use_bias,
            "rotary": self.rotary,
            "dropout": self.dropout,
            "attention_dropout": self.attention_dropout,
            "activation_dropout": self.activation_dropout,
            "remat": self.remat,
        }


@keras.saving.register_keras_serializable(package="keras_encdec")
class EncoderBlock(_Block):
    """Self-attention and a feed-forward network.

    Args:
        num_heads: The number of attention heads N.
        intermediate_dim: The width of the feed-forward network's middle.
        head_dim: The size of each head; by default D / N.
        num_key_value_heads: Heads of keys and values; by default N.
        activation: Any Keras activation, such as `"relu"`, `"gelu"`, `"silu"`; or
            `"gelu_new"`, GELU by tanh.
        gated: Whether the feed-forward network is gated.
        normalization: `"layer"` or `"rms"`.
        normalize_first: Whether to normalize before each sublayer, or after its
            residual connection. With the former, normalize the last block's output.
        epsilon: Added to the variance in normalization.
        use_bias: Whether the dense layers have biases.
        rotary: Whether self-attention has rotary positions.
        dropout: Dropout rate of the sublayers' outputs.
        attention_dropout: Dropout rate of the attention weights.
        activation_dropout: Dropout rate in the middle of the feed-forward network.
        remat: Whether to compute the block again for the gradient, in training, in
            place of keeping what is within it: the same numbers in less memory.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        x: `(B, S, D)`, float.
        mask: Which positions are tokens, `(B, S)` bool, or a mask of attention. By
            default the mask that `x` carries, which Keras fills in here, or as
            `x_mask` beside other tensors.
        x_mask: The same as `mask`, which wins.
        bias: Added to the scores of attention, broadcasts to `(B, N, S, S)`.
        training: Whether to drop out.

    Returns:
        `(B, S, D)` in the compute dtype, with the mask of `x`.

    Raises:
        ValueError: If an option is unknown or sizes do not divide.

    Example:
        ```python
        import keras
        from keras_encdec.layers import EncoderBlock, TokenEmbedding

        ids = keras.Input((None,), dtype="int32")
        x = TokenEmbedding(100, 16, positions="sinusoidal")(ids)
        x = EncoderBlock(num_heads=4, intermediate_dim=32)(x)
        print(keras.Model(ids, x).output_shape)
        ```

    Reference:
        Vaswani et al. 2017, Attention Is All You Need, section 3.1; for
        `normalize_first`, Xiong et al. 2020, On Layer Normalization in the Transformer
        Architecture.
    """

    def build(self, x_shape):
        """Creates the sublayers for inputs of the given shape."""
        self._build_common(x_shape)

    def call(self, x, mask=None, x_mask=None, bias=None, training=None):
        """Applies the block."""
        mask = x_mask if mask is None else mask

        def apply(x, bias):
            x = self._residual(
                x,
                self.self_attention_norm,
                lambda y: self.self_attention(
                    y, mask=mask, bias=bias, training=training
                ),
                training,
            )
            return self._feed_forward(x, training)

        if self.remat and training:
            return rematerialized(self, apply, x, bias)
        return apply(x, bias)

    def compute_output_shape(self, x_shape):
        """Returns the shape of the output, which is that of `x`."""
        return x_shape


@keras.saving.register_keras_serializable(package="keras_encdec")
class DecoderBlock(_Block):
    """Causal self-attention, attention to the encoder's output, and a feed-forward.

    The arguments are those of `EncoderBlock`. For cached decoding the block has two
    verbs: `remember` projects the encoder's output once, `step` decodes one position.

    Args:
        num_heads: The number of attention heads N.
        intermediate_dim: The width of the feed-forward network's middle.
        **kwargs: Arguments of `EncoderBlock` and of `keras.layers.Layer`.

    Call arguments:
        x: The target's hidden states `(B, T, D)`, float.
        memory: The encoder's output `(B, S, D')`, float.
        mask: Which target positions are tokens, `(B, T)` bool, or a mask of
            attention; the look-ahead mask is added to it. By default the mask that `x`
            carries, which Keras fills in as `x_mask`.
        x_mask: The same as `mask`, which wins.
        memory_mask: Which source positions are tokens, `(B, S)` bool, or a mask of
            attention. By default the mask that `memory` carries.
        bias: Added to the scores of self-attention, broadcasts to `(B, N, T, T)`.
        return_attention_weights: Whether to return the weights of the attention to
            the encoder's output as well.
        training: Whether to drop out.

    Returns:
        `(B, T, D)` in the compute dtype, with the mask of `x`; with
        `return_attention_weights=True` a pair with the weights `(B, N, T, S)`.

    Raises:
        ValueError: If an option is unknown or sizes do not divide.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers import DecoderBlock

        block = DecoderBlock(num_heads=4, intermediate_dim=32)
        print(block(ops.ones((2, 3, 16)), ops.ones((2, 5, 16))).shape)
        ```

    Reference:
        Vaswani et al. 2017, Attention Is All You Need, section 3.1.
    """

    def build(self, x_shape, memory_shape):
        """Creates the sublayers for inputs of the given shapes."""
        self._build_common(x_shape)
        self.cross_attention = self._attention("cross_attention", x_shape, memory_shape)
        self.cross_attention_norm = self._norm("cross_attention_norm", x_shape)

    def call(
        self,
        x,
        memory,
        mask=None,
        x_mask=None,
        memory_mask=None,
        bias=None,
        return_attention_weights=False,
        training=None,
    ):
        """Applies the block to whole sequences."""
        mask = x_mask if mask is None else mask
        weights = None

        def apply(x, memory, bias):
            x = self._residual(
                x,
                self.self_attention_norm,
                lambda y: self.self_attention(
                    y, mask=mask, bias=bias, causal=True, training=training
                ),
                training,
            )

            def attend_to_memory(y):
                nonlocal weights
                y = self.cross_attention(
                    y,
                    memory,
                    memory_mask=memory_mask,
                    return_attention_weights=return_attention_weights,
                    training=training,
                )
                if return_attention_weights:
                    y, weights = y
                return y

            x = self._residual(x, self.cross_attention_norm, attend_to_memory, training)
            return self._feed_forward(x, training)

        if return_attention_weights:
            return apply(x, memory, bias), weights
        if self.remat and training:
            return rematerialized(self, apply, x, memory, bias)
        return apply(x, memory, bias)

    def remember(self, memory):
        """Projects the encoder's output `(B, S, D')` to what `step` attends to.

        Returns:
            A pair `(keys, values)`, each `(B, num_key_value_heads, S, H)`.
        """
        return self.cross_attention.remember(ops.cast(memory, self.compute_dtype))

    def new_cache(self, batch_size, length):
        """Returns an empty cache of the target's keys and values.

        Args:
            batch_size: The number of target rows, an int or an int32 scalar.
            length: The number of positions L, an int.

        Returns:
            A pair `(keys, values)` of zeros, each `(B, num_key_value_heads, L, H)`.
        """
        return self.self_attention.new_cache(batch_size, length)

    def step(
        self,
        x,
        index,
        cache,
        memory,
        memory_mask=None,
        bias=None,
        return_attention_weights=False,
    ):
        """Decodes the next T positions, reading and writing the cache.

        Args:
            x: The hidden states of the positions, `(B * K, T, D)`: K target rows in
                turn (beams) share the keys and values of a source.
            index: The first position, an int or an int32 scalar; or `(B * K,)`, that
                of each row.
            cache: What `new_cache` returned, filled by earlier steps.
            memory: What `remember` returned for B sources.
            memory_mask: `(B, 1, 1, S)`, bool, or None.
            bias: Added to the scores of self-attention, `(1, N, T, L)`, or with rows of
                its own, or None.
            return_attention_weights: Whether to return those to the source as well.

        Returns:
            The block's output `(B * K, T, D)` and the cache with the positions written;
            if asked for also the weights `(B * K, T, N, S)`.
        """
        rows, steps = ops.shape(x)[:2]
        bias = bias if bias is None else ops.cast(bias, self.compute_dtype)
        weights = None

        def attend_to_target(y):
            nonlocal cache
            entry = self.self_attention.remember(y, start=index)
            cache = tuple(map(write_at, cache, (index, index), entry, (2, 2)))
            mask = step_mask(index, ops.shape(cache[0])[2], steps)
            return self.self_attention.attend(y, cache, mask, bias=bias, start=index)

        def attend_to_memory(y):
            nonlocal weights
            # Beams become queries of one source: its keys and values are not copied.
            sources = ops.shape(memory[0])[0]
            beams = ops.reshape(y, (sources, rows // sources * steps, y.shape[-1]))
            beams = self.cross_attention.attend(
                beams,
                memory,
                memory_mask,
                return_attention_weights=return_attention_weights,
            )
            if return_attention_weights:
                beams, weights = beams
                shape = (rows, steps, self.num_heads, -1)
                weights = ops.reshape(ops.transpose(weights, (0, 2, 1, 3)), shape)
            return ops.reshape(beams, (rows, steps, y.shape[-1]))

        x = self._residual(x, self.self_attention_norm, attend_to_target)
        x = self._residual(x, self.cross_attention_norm, attend_to_memory)
        x = self._feed_forward(x)
        return (x, cache, weights) if return_attention_weights else (x, cache)

    def compute_output_shape(self, x_shape, memory_shape):
        """Returns the shape of the output, which is that of `x`."""
        return x_shape

    def compute_output_spec(
        self, x, memory, *args, return_attention_weights=False, **kwargs
    ):
        """Returns the shapes and dtypes of the output, and of the weights if asked."""
        y = keras.KerasTensor(x.shape, dtype=self.compute_dtype)
        if not return_attention_weights:
            return y
        shape = (x.shape[0], self.num_heads, x.shape[1], memory.shape[1])
        return y, keras.KerasTensor(shape, dtype="float32")
