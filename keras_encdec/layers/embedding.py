"""Token embedding: ids to vectors with positions, and back to logits."""

import keras
from keras import ops

from keras_encdec.layers.checks import (
    require_id,
    require_number,
    require_one_of,
    require_positive,
)
from keras_encdec.layers.dropout import Dropout
from keras_encdec.layers.normalization import make_normalization
from keras_encdec.layers.positions import (
    LearnedPosition,
    RelativePositionBias,
    SinusoidalPosition,
)


@keras.saving.register_keras_serializable(package="keras_encdec")
class TokenEmbedding(keras.layers.Layer):
    """Embeds token ids, adds positions and drops out; reversed, gives tied logits.

    The padding id becomes the Keras mask of the output. Rotary positions and relative
    biases belong to attention: with them, leave `positions` at None.

    Args:
        vocabulary_size: The number of ids V.
        hidden_dim: The model's width D.
        positions: `"sinusoidal"`, `"learned"`, None, or a layer that adds positions,
            called as `layer(x, start=position)`, such as `SinusoidalPosition` with
            options of its own.
        max_length: The number of learned positions, needed for them alone.
        scale: Whether to multiply the vectors by `sqrt(hidden_dim)`.
        normalization: How to normalize the vectors with their positions, `"layer"` or
            `"rms"`, or None for not at all.
        epsilon: Added to the variance in normalization.
        dropout: Dropout rate of the output.
        padding_id: The id that is masked out, or None for no mask.
        freeze_padding: Whether the vector of the padding id does not learn, from what
            it is looked up for nor from the logits: zeros stay zeros.
        start_is_token: Whether the first position counts as a token whatever its id,
            for targets that start with the padding id.
        output_bias: Whether the logits have a bias.
        table: A `keras.layers.Embedding` of V vectors of size D to share with another
            layer, which then cannot be saved by its config; by default the layer has
            its own.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        ids: Token ids `(B, L)`, integer; with `reverse=True` hidden states
            `(B, L, D)`, float.
        start: The position of `ids[:, 0]`, an int or an int32 scalar; or `(B,)`, that
            of each row, for positions of ours.
        reverse: Whether to project hidden states on the table.
        training: Whether to drop out.
        known: Whether all ids are known to be in the vocabulary, a bool: what others
            find is then the backend's.
        cut: At which positions the token's vector is zeros in place of its own, bool
            `(B, L)`, or None for nowhere; positions and the mask stay.

    Returns:
        `(B, L, D)` in the compute dtype, with the mask `ids != padding_id`, nan for an
        id out of the vocabulary; with `reverse=True` logits `(B, L, V)`, float32, with
        the mask of the input.

    Raises:
        ValueError: If a size is not a positive integer, `positions` is unknown or a
            relative bias, or `max_length` is not given for learned positions or given
            for others.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers import TokenEmbedding

        embed = TokenEmbedding(100, 16, positions="sinusoidal")
        x = embed(ops.array([[5, 7, 0]]))
        print(x.shape, embed(x, reverse=True).shape)
        ```

    Reference:
        Vaswani et al. 2017, Attention Is All You Need, sections 3.4 and 3.5; Press and
        Wolf 2017, Using the Output Embedding to Improve Language Models.
    """

    def __init__(
        self,
        vocabulary_size,
        hidden_dim,
        *,
        positions=None,
        max_length=None,
        scale=True,
        normalization=None,
        epsilon=1e-5,
        dropout=0.0,
        padding_id=0,
        freeze_padding=False,
        start_is_token=False,
        output_bias=False,
        table=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_positive(vocabulary_size=vocabulary_size, hidden_dim=hidden_dim)
        require_number(0, 1, dropout=dropout)
        if padding_id is not None:
            require_id(vocabulary_size, padding_id=padding_id)
        elif freeze_padding:
            raise ValueError(
                "A vector of padding can be kept if there is an id of it; received "
                "freeze_padding=True with padding_id=None. Give one."
            )
        if isinstance(positions, dict):
            positions = keras.saving.deserialize_keras_object(positions)
        if not isinstance(positions, keras.layers.Layer):
            require_one_of(("sinusoidal", "learned", None), positions=positions)
        if isinstance(positions, RelativePositionBias):
            raise ValueError(
                "Positions are added to embeddings, and a relative bias to the scores "
                f"of attention; received positions={positions!r}. Give EncoderDecoder "
                "positions='relative', or the layer's output to attention as its bias."
            )
        if (positions == "learned") != (max_length is not None):
            raise ValueError(
                "max_length is the number of learned positions, given with "
                f"positions='learned' and not otherwise; received "
                f"positions={positions!r} with max_length={max_length!r}."
            )
        self.vocabulary_size = vocabulary_size
        self.hidden_dim = hidden_dim
        self.positions = positions
        self.max_length = max_length
        self.scale = scale
        self.normalization = normalization
        self.epsilon = epsilon
        self.dropout = dropout
        self.padding_id = padding_id
        self.freeze_padding = freeze_padding
        self.start_is_token = start_is_token
        self.output_bias = output_bias
        self.shares_table = table is not None
        self.table = table or keras.layers.Embedding(
            vocabulary_size,
            hidden_dim,
            # Unit variance after scaling, and logits of unit variance when tied.
            embeddings_initializer=keras.initializers.RandomNormal(
                stddev=hidden_dim**-0.5
            ),
            dtype=self.dtype_policy,
            name="table",
        )
        self.position_layer = None
        if isinstance(positions, keras.layers.Layer):
            self.position_layer = positions
        elif positions == "sinusoidal":
            self.position_layer = SinusoidalPosition(
                dtype=self.dtype_policy, name="positions"
            )
        elif positions == "learned":
            self.position_layer = LearnedPosition(
                max_length, dtype=self.dtype_policy, name="positions"
            )
        self.norm = None
        if normalization is not None:
            self.norm = make_normalization(
                normalization, epsilon=epsilon, dtype=self.dtype_policy, name="norm"
            )
        self.dropout_layer = Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def build(self, ids_shape):
        """Creates the table and the positions."""
        if not self.table.built:
            self.table.build(None)
        if self.position_layer is not None:
            self.position_layer.build((None, None, self.hidden_dim))
        if self.norm is not None:
            self.norm.build((None, None, self.hidden_dim))
        if self.output_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.vocabulary_size,),
                initializer="zeros",
                dtype="float32",
            )

    def call(self, ids, start=0, reverse=False, training=None, known=False, cut=None):
        """Embeds ids, or projects hidden states on the table."""
        if reverse:
            # float32 whatever the policy: the logits decide between tokens.
            table, bias = self.projection(training)
            table = ops.transpose(ops.cast(table, "float32"))
            logits = ops.matmul(ops.cast(ids, "float32"), table)
            return logits if bias is None else logits + ops.cast(bias, "float32")
        scale = self.hidden_dim**0.5 if self.scale else 1.0
        if known:
            x = self._looked_up(ids, training)
            x = x * ops.cast(scale, x.dtype) if self.scale else x
        else:
            # Beyond the table the backends find zeros, other rows or an error.
            nearest = ops.clip(ids, 0, self.vocabulary_size - 1)
            x = self._looked_up(nearest, training)
            scale, nan = (ops.cast(value, x.dtype) for value in (scale, float("nan")))
            # Not by `[..., None]`, a slice of which LiteRT knows nothing.
            x = x * ops.expand_dims(ops.where(nearest == ids, scale, nan), -1)
        if cut is not None:
            x = ops.where(ops.expand_dims(cut, -1), ops.zeros_like(x), x)
        if self.position_layer is not None:
            x = self.position_layer(x, start=start)
        if self.norm is not None:
            x = self.norm(x)
        # The table's dtype, and the others', may not be the layer's own.
        return ops.cast(self.dropout_layer(x, training=training), self.compute_dtype)

    def _looked_up(self, ids, training):
        x = self.table(ids)
        if not (training and self.freeze_padding):
            return x
        padding = ops.expand_dims(ids == self.padding_id, -1)
        return ops.where(padding, ops.stop_gradient(x), x)

    def count_params(self):
        """Returns the number of parameters, but those of a table that is another's."""
        others = self.table.count_params() if self.shares_table else 0
        return super().count_params() - others

    def projection(self, training=None):
        """Returns the table `(V, D)` and the bias `(V,)`, or None, of the logits.

        Args:
            training: Whether a gradient is taken, which a frozen vector has none of.
        """
        if self.table.quantization_mode is None:
            table = self.table.embeddings
        else:
            # Its integers mean nothing without their scales, which the layer knows.
            table = self.table(ops.arange(self.vocabulary_size, dtype="int32"))
        if training and self.freeze_padding:
            # JAX stops the gradient of no variable.
            table = ops.convert_to_tensor(table)
            rows = ops.arange(self.vocabulary_size, dtype="int32")
            padding = ops.expand_dims(rows == self.padding_id, -1)
            table = ops.where(padding, ops.stop_gradient(table), table)
        return table, self.bias if self.output_bias else None

    def compute_mask(self, inputs, previous_mask=None):
        """Returns which ids are tokens; for hidden states, the mask they carry."""
        if len(inputs.shape) == 3:
            return previous_mask
        if self.padding_id is None:
            return None
        mask = ops.not_equal(inputs, self.padding_id)
        if self.start_is_token:
            first = ops.ones_like(mask[:, :1])
            mask = ops.concatenate([first, mask[:, 1:]], axis=1)
        return mask

    def compute_output_shape(self, ids_shape):
        """Returns `(B, L, D)` for ids and `(B, L, V)` for hidden states."""
        reverse = len(ids_shape) == 3
        return (*ids_shape[:2], self.vocabulary_size if reverse else self.hidden_dim)

    def compute_output_spec(
        self, ids, start=0, reverse=False, training=None, known=False, cut=None
    ):
        """Returns the shape and dtype of the output."""
        return keras.KerasTensor(
            self.compute_output_shape(ids.shape),
            dtype="float32" if reverse else self.compute_dtype,
        )

    def get_config(self):
        """Returns the constructor's arguments."""
        if self.shares_table:
            # At once, and not when the saved model is loaded.
            raise NotImplementedError(
                "A TokenEmbedding can be saved if its table is its own; received one "
                "that shares it, which a config cannot say. Call one TokenEmbedding on "
                "both source and target, or use EncoderDecoder, which saves as a whole "
                "(and is copied by EncoderDecoder.from_config(model.get_config()))."
            )
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "hidden_dim": self.hidden_dim,
            "positions": keras.saving.serialize_keras_object(self.positions),
            "max_length": self.max_length,
            "scale": self.scale,
            "normalization": self.normalization,
            "epsilon": self.epsilon,
            "dropout": self.dropout,
            "padding_id": self.padding_id,
            "freeze_padding": self.freeze_padding,
            "start_is_token": self.start_is_token,
            "output_bias": self.output_bias,
        }
