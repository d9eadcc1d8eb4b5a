"""Cross entropy over tokens.

Shapes: B batch, T target length, V vocabulary.
"""

import keras
from keras import ops

from keras_encdec.backend import carried_mask


@keras.saving.register_keras_serializable(package="keras_encdec")
class TokenCrossEntropy(keras.losses.Loss):
    """Cross entropy of integer labels, averaged over the tokens that count.

    A token counts unless its label is `ignore_class`, the Keras mask carried by the
    logits is False there, or its sample weight is 0. By default the loss is the
    weighted mean over those tokens; a batch without any gives 0. The work is done in
    float32 whatever the type of the logits, and labels are never made one-hot.

    Both the mask and `ignore_class` are needed: the decoder reads `<s> a b </s>` and
    predicts `a b </s> <pad>`, so that the mask is True at the last position of every
    sentence but the longest, where there is nothing to predict.

    Args:
        label_smoothing: Float in `[0, 1)`, the probability taken from the label and
            spread evenly over the whole vocabulary.
        ignore_class: The label to leave out, `None` to leave out none. It need not be
            an id of the vocabulary: -100 will do.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Call arguments:
        y_true: Labels `(B, T)`, ids in `[0, V)` or `ignore_class`.
        y_pred: Logits `(B, T, V)`, floating point and finite.
        sample_weight: `None`, one weight a sentence `(B,)` or `(B, 1)`, or one a token
            `(B, T)`.

    Returns:
        A float32 scalar in nats, or `(B, T)` with `reduction="none"`; nan where a label
        that counts is no id.

    Raises:
        ValueError: If `label_smoothing` lies outside `[0, 1)`; at a call, if there is
            not a label for each position of the logits.

    Example:
        ```python
        import numpy as np
        from keras_encdec.training import TokenCrossEntropy

        labels = np.array([[2, 1, 0]])  # 0 is padding
        logits = np.zeros((1, 3, 8), "float32")
        loss = TokenCrossEntropy(label_smoothing=0.1)(labels, logits)
        assert np.isclose(float(loss), np.log(8))
        ```

    Reference:
        Szegedy et al. 2016, Rethinking the Inception Architecture for Computer Vision,
        section 7, for label smoothing; Vaswani et al. 2017, Attention Is All You Need,
        section 5.4, for its use here.
    """

    def __init__(
        self,
        *,
        label_smoothing=0.0,
        ignore_class=0,
        reduction="mean_with_sample_weight",
        name="token_cross_entropy",
    ):
        # Half precision would round ids as well: Keras casts labels to this type.
        super().__init__(name=name, reduction=reduction, dtype="float32")
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(
                "label_smoothing must lie in [0, 1); "
                f"received label_smoothing={label_smoothing!r}. "
                "Use 0 to train without smoothing, 0.1 for the usual amount."
            )
        self.label_smoothing = label_smoothing
        self.ignore_class = ignore_class

    def __call__(self, y_true, y_pred, sample_weight=None):
        weights = token_weights(y_true, sample_weight, self.ignore_class)
        labels = counted_labels(y_true, weights)
        return super().__call__(labels, y_pred, sample_weight=weights)

    def weight_of(self, y_true, y_pred, sample_weight=None):
        """Returns the weight of all tokens together, which the mean is taken over.

        Args:
            y_true: As at a call.
            y_pred: Likewise.
            sample_weight: Likewise.
        """
        weights = token_weights(y_true, sample_weight, self.ignore_class)
        mask = carried_mask(y_pred)
        return ops.sum(weights if mask is None else weights * ops.cast(mask, "float32"))

    def call(self, y_true, y_pred):
        """Returns the loss of each token, float32 `(B, T)`."""
        return token_cross_entropy(y_true, y_pred, label_smoothing=self.label_smoothing)

    def get_config(self):
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
            "ignore_class": self.ignore_class,
        }


def token_cross_entropy(labels, logits, *, label_smoothing=0.0):
    """Returns the cross entropy of each token, in nats.

    Args:
        labels: `(B, T)`, ids in `[0, V)`.
        logits: `(B, T, V)`, of any floating point type.
        label_smoothing: Probability spread evenly over the vocabulary.

    Returns:
        float32 `(B, T)`; nan for a label outside `[0, V)`.

    Raises:
        ValueError: If there is not a label for each position of the logits.

    Example:
        ```python
        import keras
        import numpy as np
        from keras_encdec.training.losses import token_cross_entropy

        nll = token_cross_entropy(np.array([[3, 1]]), np.zeros((1, 2, 8), "float16"))
        assert np.allclose(keras.ops.convert_to_numpy(nll), np.log(8))
        ```
    """
    logits = ops.cast(logits, "float32")  # (B, T, V)
    labels, real = ids_in_vocabulary(labels, logits)  # (B, T)
    return _smoothed_cross_entropy(labels, label_smoothing)(logits) * real


def ids_in_vocabulary(labels, logits):
    """Returns labels that can be looked up, and what to multiply their values by.

    Outside the vocabulary the backends look up different things, and none says so.

    Args:
        labels: `(B, T)`, integer.
        logits: `(B, T, V)`.

    Returns:
        `(B, T)`, int32, in `[0, V)`, and `(B, T)`, float32: 1, and nan where the label
        was another one.

    Raises:
        ValueError: If there is not a label for each position of the logits.

    Example:
        ```python
        import numpy as np
        from keras_encdec.training.losses import ids_in_vocabulary

        labels, real = ids_in_vocabulary(np.array([[3, -100]]), np.zeros((1, 2, 8)))
        print(labels, real)
        ```
    """
    labels, shape = ops.cast(labels, "int32"), logits.shape[:-1]
    known = zip(labels.shape, shape, strict=False)
    if len(labels.shape) != len(shape) or any(
        None not in sizes and len(set(sizes)) > 1 for sizes in known
    ):
        raise ValueError(
            "There must be a label for each position of the logits; received labels "
            f"of shape {tuple(labels.shape)} for logits of shape "
            f"{tuple(logits.shape)}. teacher_forcing makes labels and target."
        )
    inside = ops.clip(labels, 0, logits.shape[-1] - 1)
    nan = ops.cast(float("nan"), "float32")
    return inside, ops.where(inside == labels, ops.cast(1.0, "float32"), nan)


def _smoothed_cross_entropy(labels, smoothing):
    """The cross entropy with some labels, as a function of float32 logits."""
    labels = labels[..., None]  # (B, T, 1)

    # The gradient is known in one expression; derived step by step it would take
    # several more arrays of the size of the logits, and scatter into one of them.
    @ops.custom_gradient
    def cross_entropy(logits):
        log_sum = ops.logsumexp(logits, axis=-1, keepdims=True)  # (B, T, 1)
        chosen = ops.take_along_axis(logits, labels, axis=-1)
        if smoothing:
            mean = ops.mean(logits, axis=-1, keepdims=True)
            chosen = (1 - smoothing) * chosen + smoothing * mean

        def gradient(*args, upstream=None):
            # PyTorch gives the arguments beside the upstream gradient.
            upstream = (args[-1] if upstream is None else upstream)[..., None]
            ids = ops.arange(logits.shape[-1], dtype=labels.dtype)
            probability = ops.exp(logits - log_sum)
            taken = ops.cast(ids == labels, logits.dtype) * (1 - smoothing)
            spread = smoothing / logits.shape[-1]
            return (probability - taken - spread) * upstream

        return ops.squeeze(log_sum - chosen, -1), gradient

    return cross_entropy


def counted_labels(labels, weights):
    """Returns the labels, 0 in the place of those that weigh nothing.

    Args:
        labels: `(B, T)`, integer.
        weights: `(B, T)`, as `token_weights` returns them.

    Returns:
        `(B, T)`, as the labels.

    Example:
        ```python
        import numpy as np
        from keras_encdec.training.losses import counted_labels

        print(counted_labels(np.array([[3, -100]]), np.array([[1.0, 0.0]])))
        ```
    """
    return ops.where(weights == 0, ops.zeros_like(labels), labels)


def token_weights(labels, sample_weight=None, ignore_class=0):
    """Returns the weight of each token: its sample weight, or 0 where ignored.

    Args:
        labels: `(B, T)`.
        sample_weight: `None`, `(B,)`, `(B, 1)` or `(B, T)`.
        ignore_class: The label whose tokens weigh 0, or `None`.

    Returns:
        float32 `(B, T)`.

    Example:
        ```python
        import keras
        import numpy as np
        from keras_encdec.training.losses import token_weights

        weights = token_weights(np.array([[5, 0], [5, 5]]), np.array([1.0, 0.5]))
        assert np.allclose(keras.ops.convert_to_numpy(weights), [[1, 0], [0.5, 0.5]])
        ```
    """
    labels = ops.convert_to_tensor(labels)
    weights = ops.ones_like(labels, dtype="float32")
    if ignore_class is not None:
        weights = ops.cast(labels != ignore_class, "float32")
    if sample_weight is not None:
        sample_weight = ops.cast(sample_weight, "float32")
        # Left alone, (B,) would broadcast along T whenever B == T.
        if len(sample_weight.shape) == 1:
            sample_weight = sample_weight[:, None]  # (B, 1)
        weights = weights * sample_weight
    return weights
