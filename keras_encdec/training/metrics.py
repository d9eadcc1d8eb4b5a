"""Means over tokens, true across batches of different lengths.

Shapes: B batch, T target length, V vocabulary.
"""

import keras
from keras import ops

from keras_encdec.training.losses import (
    counted_labels,
    ids_in_vocabulary,
    token_cross_entropy,
    token_weights,
)


class _FlatMean(keras.metrics.Mean):
    """A mean in which every token weighs the same.

    Keras's own `Mean` first averages values and weights along the second axis, so that
    a token of a short batch outweighs one of a long batch.
    """

    def update_state(self, values, sample_weight):
        super().update_state(
            ops.reshape(values, (-1,)), ops.reshape(sample_weight, (-1,))
        )


class _TokenMetric(keras.metrics.MeanMetricWrapper, _FlatMean):
    # The wrapper comes first: it is the one public place that merges the mask carried
    # by the logits into the weights, and it hands both to the next class, _FlatMean.
    def __init__(self, token_values, ignore_class, name, dtype):
        super().__init__(token_values, name=name, dtype=dtype)
        self.ignore_class = ignore_class

    def update_state(self, y_true, y_pred, sample_weight=None):
        # The mask alone is not enough: under JAX, Keras drops it between the loss and
        # the metrics of `fit`.
        weights = token_weights(y_true, sample_weight, self.ignore_class)
        labels = counted_labels(y_true, weights)
        super().update_state(labels, y_pred, sample_weight=weights)

    def get_config(self):
        return {
            "ignore_class": self.ignore_class,
            "name": self.name,
            "dtype": self.dtype,
        }


@keras.saving.register_keras_serializable(package="keras_encdec")
class TokenAccuracy(_TokenMetric):
    """Fraction of tokens whose highest logit is the label.

    A token counts as in `TokenCrossEntropy`: unless its label is `ignore_class`, the
    Keras mask carried by the logits is False, or its weight is 0. All tokens seen since
    the last reset weigh the same, however long their batch was.

    Args:
        ignore_class: The label to leave out, `None` to leave out none.
        name: Name of the metric.
        dtype: Type of the result, by default `keras.config.floatx()`.

    Call arguments:
        y_true: Labels `(B, T)`.
        y_pred: Logits `(B, T, V)`.
        sample_weight: `None`, `(B,)`, `(B, 1)` or `(B, T)`.

    Returns:
        From `result()`, a scalar in `[0, 1]`; 0 before any token.

    Example:
        ```python
        import numpy as np
        from keras_encdec.training import TokenAccuracy

        accuracy = TokenAccuracy()
        accuracy.update_state(np.array([[2, 1, 0]]), np.eye(3)[None, ::-1])
        assert float(accuracy.result()) == 1.0
        ```
    """

    def __init__(self, *, ignore_class=0, name="token_accuracy", dtype=None):
        super().__init__(is_best, ignore_class, name, dtype)
        # Lets EarlyStopping and ModelCheckpoint find the better value by themselves.
        self._direction = "up"


@keras.saving.register_keras_serializable(package="keras_encdec")
class Perplexity(_TokenMetric):
    """Exponential of the mean cross entropy of the tokens, in nats.

    A token counts as in `TokenCrossEntropy`, and all tokens seen since the last reset
    weigh the same, however long their batch was. Labels are not smoothed.

    Args:
        ignore_class: The label to leave out, `None` to leave out none.
        name: Name of the metric.
        dtype: Type of the result, by default `keras.config.floatx()`.

    Call arguments:
        y_true: Labels `(B, T)`, ids in `[0, V)` or `ignore_class`.
        y_pred: Logits `(B, T, V)`.
        sample_weight: `None`, `(B,)`, `(B, 1)` or `(B, T)`.

    Returns:
        From `result()`, a scalar of at least 1; 1 before any token.

    Example:
        ```python
        import numpy as np
        from keras_encdec.training import Perplexity

        perplexity = Perplexity()
        perplexity.update_state(np.array([[2, 1, 0]]), np.zeros((1, 3, 8)))
        assert np.isclose(float(perplexity.result()), 8)
        ```

    Reference:
        Jelinek et al. 1977, Perplexity - a measure of the difficulty of speech
        recognition tasks.
    """

    def __init__(self, *, ignore_class=0, name="perplexity", dtype=None):
        super().__init__(token_cross_entropy, ignore_class, name, dtype)
        self._direction = "down"

    def result(self):
        return ops.exp(super().result())


def is_best(y_true, y_pred):
    """Returns 1 where a label `(B, T)` has the highest of its logits, else 0, float32.

    It is nan where the label is no id.
    """
    labels, real = ids_in_vocabulary(y_true, y_pred)
    best = ops.argmax(y_pred, axis=-1)  # (B, T)
    # Not a product: XLA takes what a bool is multiplied by for a number.
    return ops.where(ops.cast(labels, best.dtype) == best, real, real - real)
