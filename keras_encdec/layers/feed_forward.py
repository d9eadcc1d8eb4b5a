"""The position-wise feed-forward network, plain and gated."""

import keras
from keras import ops

from keras_encdec.layers.activations import get_activation, saved_activation
from keras_encdec.layers.checks import require_number, require_positive
from keras_encdec.layers.dense import built_dense
from keras_encdec.layers.dropout import Dropout


@keras.saving.register_keras_serializable(package="keras_encdec")
class FeedForward(keras.layers.Layer):
    """Two dense layers applied to each position, the first one optionally gated.

    Plain, `y = W2 activation(W1 x)`; gated, `y = W2 (activation(W1 x) * V x)`.

    Args:
        intermediate_dim: Width between the two layers.
        activation: Any Keras activation, such as `"relu"`, `"gelu"`, `"silu"`; or
            `"gelu_new"`, GELU by tanh.
        gated: Whether to multiply by a second projection (GLU; with `"silu"` known
            as SwiGLU, with `"gelu"` as GEGLU).
        use_bias: Whether the dense layers have biases.
        dropout: Dropout rate of the activations between the two layers.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        x: `(B, L, D)`, float.
        training: Whether to drop activations.

    Returns:
        `(B, L, D)`, in the compute dtype.

    Raises:
        ValueError: If `intermediate_dim` is not a positive integer.

    Example:
        ```python
        from keras import ops
        from keras_encdec.layers import FeedForward

        feed_forward = FeedForward(64, activation="silu", gated=True)
        print(feed_forward(ops.ones((2, 5, 16))).shape)
        ```

    Reference:
        Vaswani et al. 2017, Attention Is All You Need, equation 2; Shazeer 2020, GLU
        Variants Improve Transformer.
    """

    def __init__(
        self,
        intermediate_dim,
        *,
        activation="relu",
        gated=False,
        use_bias=True,
        dropout=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_positive(intermediate_dim=intermediate_dim)
        require_number(0, 1, dropout=dropout)
        self.intermediate_dim = intermediate_dim
        self.activation = get_activation(activation)
        self.gated = gated
        self.use_bias = use_bias
        self.dropout = dropout
        self.supports_masking = True

    def build(self, x_shape):
        """Creates the dense layers for inputs of the given shape."""
        self.intermediate_dense = built_dense(
            self, self.intermediate_dim, "intermediate", x_shape
        )
        if self.gated:
            self.gate_dense = built_dense(self, self.intermediate_dim, "gate", x_shape)
        hidden_shape = (*x_shape[:-1], self.intermediate_dim)
        self.output_dense = built_dense(self, x_shape[-1], "output", hidden_shape)
        self.dropout_layer = Dropout(
            self.dropout, dtype=self.dtype_policy, name="dropout"
        )

    def call(self, x, training=None):
        """Applies the network to each position."""
        hidden = self.activation(self.intermediate_dense(x))
        if self.gated:
            # Each layer may have a dtype of its own.
            hidden = hidden * ops.cast(self.gate_dense(x), hidden.dtype)
        y = self.output_dense(self.dropout_layer(hidden, training=training))
        return ops.cast(y, self.compute_dtype)

    def compute_output_shape(self, x_shape):
        """Returns the shape of the output, which is that of the input."""
        return x_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "intermediate_dim": self.intermediate_dim,
            "activation": saved_activation(self.activation),
            "gated": self.gated,
            "use_bias": self.use_bias,
            "dropout": self.dropout,
        }
