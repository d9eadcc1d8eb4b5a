"""Several models that predict each token together.

Legend of shapes: B batch, T target, S source, D model, V vocabulary, R target rows.
"""

import keras
import numpy as np
from keras import ops

from keras_encdec.keras_model import CheckedModel, RestoredModel
from keras_encdec.layers import checks
from keras_encdec.model.encoder_decoder import EncoderDecoder
from keras_encdec.model.functional import FunctionalModel
from keras_encdec.protocol import largest_lengths

MEANS = "probability", "log_probability"


@keras.saving.register_keras_serializable(package="keras_encdec")
class Ensemble(CheckedModel, RestoredModel, FunctionalModel):
    """Predicts each token by the mean of what several models predict.

    It has the verbs of `EncoderDecoder`, so that it generates, scores, is saved and
    exported as one model, and teaches another by `WordDistillation`. The models may be
    of different sizes, and are shared, not copied.

    Args:
        models: A list of `EncoderDecoder`s with the same source and target ids.
        weights: A positive number for each model, in proportion; by default all count
            the same.
        mean: `"probability"`, the mean of the models' probabilities, or
            `"log_probability"`, their geometric mean, which lets a model that finds a
            token very unlikely veto it.
        name: The model's name.

    Call arguments:
        inputs: A pair of token ids `(source, target)`, `(B, S)` and `(B, T)`, int32.
        training: Whether to drop out.

    Returns:
        Logits `(B, T, V)`, float32, the logarithms of the means, with the mask of the
        target.

    Raises:
        TypeError: If a model is of another kind.
        ValueError: If there is none, the models have different ids, or the weights are
            not a positive number for each.

    Example:
        ```python
        from keras_encdec import EncoderDecoder, Ensemble, Generator

        models = [EncoderDecoder(20, width, 32, 2, 1) for width in (16, 32)]
        print(Generator(Ensemble(models), "beam")([[5, 7, 2]], max_length=4))
        ```
    """

    def __init__(self, models, weights=None, *, mean="probability", name="ensemble"):
        models = [
            keras.saving.deserialize_keras_object(x) if isinstance(x, dict) else x
            for x in models
        ]
        _check(models)
        checks.require_one_of(MEANS, mean=mean)
        shares = _shares(weights, len(models))
        source = keras.Input(
            models[0].inputs[0].shape[1:],
            dtype=models[0].inputs[0].dtype,
            name="source",
        )
        target = keras.Input((None,), dtype="int32", name="target")
        members = _Members(models, shares, mean)
        self._build_graph(
            {"members": members},
            (source, target),
            lambda: members((source, target)),
            {"weights": shares.tolist(), "mean": mean, "name": name},
        )

    @property
    def models(self):
        """The models, a list."""
        return list(self.members.models)

    def options(self):
        """Returns the constructor's arguments, in words that JSON takes."""
        models = [keras.saving.serialize_keras_object(x) for x in self.models]
        return {"models": models, **super().options()}

    def encode(self, source):
        """Encodes sources for each model, a tuple of what each `encode` returns.

        Args:
            source: Token ids `(B, S)`, int32.
        """
        return tuple(model.encode(source) for model in self.models)

    def encode_hidden(self, source, training=None):
        """Returns the outputs of all encoders side by side, `(B, S, D + D + ...)`.

        Args:
            source: Token ids `(B, S)`, int32.
            training: Whether to drop out.
        """
        hidden = [x.encode_hidden(source, training=training) for x in self.models]
        return ops.concatenate(hidden, axis=-1)

    def new_cache(self, batch_size, length):
        """Returns an empty cache for `step`, a tuple of each model's.

        Args:
            batch_size: The number of target rows, an int or an int32 scalar.
            length: The largest number of steps, an int.
        """
        return tuple(model.new_cache(batch_size, length) for model in self.models)

    def step(
        self,
        tokens,
        index,
        memory,
        cache,
        *,
        return_hidden=False,
        attention_layer=None,
    ):
        """Decodes one position of the target, or several at once.

        Args:
            tokens: As in `EncoderDecoder.step`, `(R,)` or `(R, T)`, int32.
            index: As there.
            memory: What `encode` returned.
            cache: What `new_cache` returned, filled by the earlier steps.
            return_hidden: Whether to return the decoders' outputs, side by side.
            attention_layer: The block whose attention to the source to return as well,
                of all models' heads one behind the other.

        Returns:
            As `EncoderDecoder.step`: the logits, `(R, V)` or `(R, T, V)`, float32, the
            cache, and what was asked for.
        """
        options = {"return_hidden": return_hidden, "attention_layer": attention_layer}
        steps = [
            model.step(tokens, index, remembered, cached, **options)
            for model, remembered, cached in zip(
                self.models, memory, cache, strict=True
            )
        ]
        logits, caches, *others = zip(*steps, strict=True)
        # Hidden states lie along the last axis, heads along that before the source's.
        axes = ([-1] if return_hidden else []) + [-2]
        side_by_side = (
            ops.concatenate(each, axis)
            for each, axis in zip(others, axes, strict=False)
        )
        return self.members.combine(logits), caches, *side_by_side

    def check_ids(self, source=None, target=None, labels=None, *, ignore_class=None):
        """Checks ids on the host, as `EncoderDecoder.check_ids` does, for each model.

        Args:
            source: Source ids `(B, S)`, an array, a list, a tensor or None.
            target: Target ids `(B, T)`, likewise.
            labels: The labels of the target `(B, T)`, likewise.
            ignore_class: A label that may be no id, for the loss leaves it out.

        Raises:
            ValueError: As there.
        """
        for model in self.models:
            model.check_ids(source, target, labels, ignore_class=ignore_class)

    @property
    def padding_id(self):
        """The id of padding in source and target."""
        return self.models[0].padding_id

    @property
    def memory_by_source(self):
        """Whether that is so of all the models."""
        return all(model.memory_by_source for model in self.models)

    @property
    def masks_padding(self):
        """Whether padding behind a source changes nothing."""
        return all(model.masks_padding for model in self.models)

    @property
    def steps_by_row(self):
        """Whether `step` takes an index for each row."""
        return all(model.steps_by_row for model in self.models)

    @property
    def source_vocabulary_size(self):
        """The number of source ids; None if an encoder of another kind has no such."""
        return self.models[0].source_vocabulary_size

    @property
    def target_vocabulary_size(self):
        """The number of target ids."""
        return self.models[0].target_vocabulary_size

    @property
    def source_features(self):
        """The number of features of each source position; None of ids."""
        return self.models[0].source_features

    @property
    def max_source_length(self):
        """The largest length of a source that all take, None if there is none."""
        return largest_lengths(self.models)["max_source_length"]

    @property
    def max_length(self):
        """The largest length of a target that all take, None if there is none."""
        return largest_lengths(self.models)["max_length"]


@keras.saving.register_keras_serializable(package="keras_encdec")
class _Members(keras.layers.Layer):
    """The models of an ensemble as one layer, for a graph wants each name once."""

    def __init__(self, models, shares, mean):
        super().__init__(name="members", dtype="float32")
        self.models = models
        self._log_shares = np.log(shares)
        self._mean = mean
        self.supports_masking = True

    def build(self, input_shape):
        self.built = True

    def call(self, inputs, training=None):
        return self.combine([model(inputs, training=training) for model in self.models])

    def compute_output_shape(self, input_shape):
        # Keras would find it by a call of some length, which positions may not have.
        return (*input_shape[1], self.models[0].target_vocabulary_size)

    def compute_mask(self, inputs, previous_mask=None):
        return inputs[1] != self.models[0].padding_id

    def combine(self, logits):
        """Returns the logarithms of the means of what each model predicts.

        Args:
            logits: The logits of each model, `(..., V)`.
        """
        each = [ops.log_softmax(ops.cast(x, "float32"), axis=-1) for x in logits]
        if self._mean == "log_probability":
            return sum(
                float(np.exp(share)) * x
                for share, x in zip(self._log_shares, each, strict=True)
            )
        total, *others = (
            x + float(share) for share, x in zip(self._log_shares, each, strict=True)
        )
        for x in others:
            total = ops.logaddexp(total, x)
        return total


def _check(models):
    for model in models:
        if not isinstance(model, EncoderDecoder):
            raise TypeError(
                "The models of an ensemble are EncoderDecoders; received "
                f"{model!r:.200}. Of a TextToText give its `model`."
            )
    if not models:
        raise ValueError("An ensemble needs at least one model; received none.")
    of_ids = (
        *("padding_id", "source_vocabulary_size", "target_vocabulary_size"),
        "source_features",
    )
    for name in of_ids:
        values = [getattr(model, name) for model in models]
        if len(set(values)) > 1:
            raise ValueError(
                f"The models of an ensemble must have the same ids; received {name} of "
                f"{', '.join(map(str, values))}. Train them with the same vocabulary."
            )


def _shares(weights, number):
    """Returns the share of each model, `(n,)`, float64, their sum being 1."""
    shares = np.ones(number) if weights is None else np.asarray(weights, "float64")
    if shares.shape != (number,) or not np.all(np.isfinite(shares) & (shares > 0)):
        raise ValueError(
            "An ensemble needs a positive weight for each of its models; received "
            f"{weights!r} for {number} models. Leave out a model that is not to count."
        )
    return shares / shares.sum()
