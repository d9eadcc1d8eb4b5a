"""What the verbs of a Keras model are given, checked before anything runs.

In a compiled graph a bad id is a wrong answer, or an error that names an operation.
Shapes: B batch, T target, V vocabulary.
"""

import contextlib
import inspect
import os
import warnings

import keras
import numpy as np
from keras import tree

from keras_encdec.backend import (
    are_the_same,
    inner_optimizer,
    part_averages,
    refuse_replicas,
)
from keras_encdec.files import new_file, portable_config


class CheckedModel:
    """Mixed into a `keras.Model` of token ids: checks what its verbs are given.

    The model itself, or the `model` that it trains, says by `check_ids` what it takes;
    without one, nothing is checked. Arrays, lists and tensors are looked at; in what a
    pipeline gives, a bad id makes the loss nan.

    Example:
        ```python
        import keras
        import numpy as np
        from keras_encdec import EncoderDecoder
        from keras_encdec.model_checks import CheckedModel

        class Doubled(CheckedModel, keras.Model):
            def __init__(self, model):
                super().__init__()
                self.model = model

            def call(self, inputs):
                return 2 * self.model(inputs)

        model = Doubled(EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1))
        print(model.predict((np.array([[5, 2]]), np.array([[1]])), verbose=0).shape)
        ```
    """

    def compile(self, *args, **kwargs):
        """Compiles as `keras.Model.compile` does; losses and metrics are checked."""
        verb = super().compile
        given = inspect.signature(verb).bind_partial(*args, **kwargs).arguments
        for name, get in (
            ("loss", keras.losses.get),
            ("metrics", keras.metrics.get),
            ("weighted_metrics", keras.metrics.get),
        ):
            for each in tree.flatten(given.get(name)):
                # These names Keras resolves by the shapes, later.
                if each in ("crossentropy", "ce") and name == "loss":
                    measure = keras.losses.sparse_categorical_crossentropy
                else:
                    measure = None if each in ("accuracy", "acc") else get(each)
                self._check_measure(name, each, measure)
        super().compile(*args, **kwargs)

    def _check_accumulation(self):
        # Not when it is compiled, for what was saved so can be loaded and evaluated.
        optimizer = inner_optimizer(self.optimizer)
        steps = getattr(optimizer, "gradient_accumulation_steps", None)
        shares = getattr(self, "weights_are_shares", False)
        if shares and not steps:
            raise ValueError(
                "Weights are shares of the batches whose gradients the optimizer "
                f"accumulates; received gradient_accumulation_steps={steps}. Give it "
                "their number, or leave weights_are_shares out."
            )
        is_plain = self._of_ids() is self
        reduction = getattr(self.loss, "reduction", None)
        if steps and not shares and not (is_plain and reduction == "sum"):
            # How many tokens there are is known when the last batch comes; then the
            # optimizer alone could still weigh the others, and it keeps but their sum.
            sums = 'TokenCrossEntropy(reduction="sum"), in which all count alike, or '
            raise ValueError(
                "Keras takes the mean of the means of accumulated batches, in which a "
                "token of a batch with few tokens counts for more; received "
                f"gradient_accumulation_steps={steps}. Train by "
                f"{sums if is_plain else ''}an objective such as "
                "ProjectedLoss(model, weights_are_shares=True), on "
                f"TokenBatches.dataset(accumulate={steps}), for the update of one "
                "batch of them all."
            )

    def save(self, filepath, *args, **kwargs):
        """Saves as `keras.Model.save` does, whole or not at all."""
        self.get_config()  # What cannot be saved is refused before anything is written.
        if not str(filepath).endswith(".keras"):
            super().save(filepath, *args, **kwargs)
            return
        with new_file(filepath) as file:
            # Keras knows its files by their names.
            beside = file.with_name(f"{file.name}.keras")
            try:
                super().save(beside, *args, **kwargs)
                os.replace(beside, file)
            finally:
                beside.unlink(missing_ok=True)

    def get_compile_config(self):
        """Returns what `compile` was given, in words that every backend understands."""
        config = portable_config(super().get_compile_config())
        if config and getattr(self, "optimizer", None) is not None:
            config["optimizer_state"] = self._has_optimizer_state()
        return config

    def _has_optimizer_state(self):
        """Whether the optimizer remembers what a loaded model trains."""
        optimizer = inner_optimizer(self.optimizer)
        # LoRA is merged when it is saved.
        lora = any(getattr(x, "lora_enabled", False) for x in self._flatten_layers())
        trained = getattr(optimizer, "_trainable_variables", [])
        fits = are_the_same(trained, self.trainable_variables)
        return bool(optimizer.built and fits and not lora)

    def compile_from_config(self, config):
        """Compiles as a saved model was, by what `get_compile_config` returned."""
        config = dict(config)
        had_state = config.pop("optimizer_state", True)
        # Keras's own leaves a model whose `compile` is not its own uncompiled.
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is None:
            return
        if not had_state:
            _begin_anew(self.optimizer)
        elif self.built:
            self.optimizer.build(self.trainable_variables)

    def _check_measure(self, name, given, measure):
        model = self._of_ids()
        if measure is None or not hasattr(model, "check_ids"):
            return
        ignored = getattr(measure, "ignore_class", None)
        size = model.target_vocabulary_size
        if ignored is not None and ignored != model.padding_id and 0 <= ignored < size:
            raise ValueError(
                "The label to leave out must be the model's padding id, or no id of "
                f"its vocabulary; received {name} with ignore_class={ignored} for a "
                f"model with padding_id={model.padding_id}. Give "
                f"ignore_class={model.padding_id}."
            )
        if _takes_probabilities(measure):
            raise ValueError(
                f"The model gives logits, not probabilities; received {name}={given!r} "
                "with from_logits=False. Give TokenCrossEntropy(), or "
                "keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
            )

    def __call__(self, inputs, *args, **kwargs):
        """Returns the outputs; arrays of ids are checked first."""
        # Within a step, to look at a tensor would wait for the device.
        arrays = (
            x if isinstance(x, np.ndarray | list) else None for x in _pair(inputs)
        )
        self._check_ids(*arrays)
        return super().__call__(inputs, *args, **kwargs)

    def fit(self, *args, **kwargs):
        """Trains as `keras.Model.fit` does; arrays are checked first."""
        given = self._checked_to_train(super().fit, args, kwargs)
        _, target = _pair(given.get("x"))
        _warn_of_no_shift(as_array(target), as_array(given.get("y")))
        if not isinstance(given.get("x"), np.ndarray | dict | list | tuple):
            # A dataset shuffles itself; at Keras's default of True, Keras warns of it.
            given.setdefault("shuffle", False)
        try:
            return super().fit(**given)
        finally:
            part_averages(self.optimizer)

    def evaluate(self, *args, **kwargs):
        """Evaluates as `keras.Model.evaluate` does; arrays are checked first."""
        return super().evaluate(**self._checked(super().evaluate, args, kwargs))

    def predict(self, *args, **kwargs):
        """Predicts as `keras.Model.predict` does; arrays are checked first."""
        return super().predict(**self._checked(super().predict, args, kwargs))

    def train_on_batch(self, *args, **kwargs):
        """Trains as `keras.Model.train_on_batch` does; arrays are checked first."""
        given = self._checked_to_train(super().train_on_batch, args, kwargs)
        return super().train_on_batch(**given)

    def test_on_batch(self, *args, **kwargs):
        """Tests as `keras.Model.test_on_batch` does; arrays are checked first."""
        given = self._checked(super().test_on_batch, args, kwargs)
        return super().test_on_batch(**given)

    def predict_on_batch(self, *args, **kwargs):
        """Predicts as `keras.Model.predict_on_batch` does; arrays are checked first."""
        given = self._checked(super().predict_on_batch, args, kwargs)
        return super().predict_on_batch(**given)

    def _of_ids(self):
        # No property: Keras would follow it when it saves.
        return getattr(self, "model", self)

    def _check_ids(self, source, target, labels=None):
        if hasattr(self._of_ids(), "check_ids"):
            ignored = getattr(getattr(self, "loss", None), "ignore_class", None)
            self._of_ids().check_ids(source, target, labels, ignore_class=ignored)

    def _checked_to_train(self, verb, args, kwargs):
        refuse_replicas(self, self._of_ids())
        self._check_accumulation()
        given = self._checked(verb, args, kwargs)
        self._build_optimizer()
        return given

    def _build_optimizer(self):
        # TensorFlow would build it within the first step, and trace that step twice.
        if self.optimizer is None or self.optimizer.built:
            return
        # An objective that has not been called is not built, but for its model.
        if all(layer.built for layer in self.layers):
            strategy = getattr(self, "distribute_strategy", None)
            with strategy.scope() if strategy else contextlib.nullcontext():
                self.optimizer.build(self.trainable_variables)

    def _checked(self, verb, args, kwargs):
        """Returns the arguments of a verb, by name, when they have been checked."""
        given = inspect.signature(verb).bind_partial(*args, **kwargs).arguments
        given.update(given.pop("kwargs", {}))
        if given.get("class_weight") is not None:
            raise ValueError(
                "class_weight weighs rows by their one class, and a sequence has many; "
                f"received class_weight={given['class_weight']!r}. Give each token its "
                "weight: sample_weight, of shape (B, T)."
            )
        given.update(self._checked_data(given))
        held_out = given.get("validation_data")
        _refuse_nothing(held_out)
        if isinstance(held_out, tuple | list) and len(held_out) in (2, 3):
            data = dict(zip(("x", "y", "sample_weight"), held_out, strict=False))
            data.update(self._checked_data(data))
            given["validation_data"] = tuple(data.values())
        return given

    def _checked_data(self, data):
        """Checks `x`, `y` and `sample_weight`; returns the weights as they must be."""
        _refuse_nothing(data.get("x"))
        source, target = map(as_array, _pair(data.get("x")))
        labels = as_array(data.get("y"))
        if labels is not None and labels.ndim > 2 and labels.dtype.kind == "f":
            labels = None  # One-hot, for a loss of the user's own.
        self._check_ids(source, target, labels)
        weights = as_array(data.get("sample_weight"))
        if weights is None or labels is None or labels.ndim != 2:
            return {}
        if weights.shape == labels.shape[:1]:
            weights = weights[:, None]
        if weights.shape not in (labels.shape, (len(labels), 1)):
            raise ValueError(
                "sample_weight must have a weight for each row, (B,) or (B, 1), or for "
                f"each token, (B, T); received shape {weights.shape} for labels "
                f"{labels.shape}."
            )
        # Always of one shape: TensorFlow keeps the graph of the first call.
        return {"sample_weight": np.broadcast_to(weights, labels.shape)}


def _begin_anew(optimizer):
    """Passes over a state that is of other variables, or of none, when it is loaded."""
    # Keras warns of as many as it does not expect, and else loads them or fails.
    for each in {optimizer, inner_optimizer(optimizer)}:
        each.load_own_variables = lambda store, each=each: vars(each).pop(
            "load_own_variables"
        )


def as_array(x):
    """Returns ids as a NumPy array, None if they are not to be looked at.

    Args:
        x: An array, a list, a tensor of any backend, or anything else.

    Returns:
        A NumPy array; None for what has no values yet, or gives them one by one.

    Raises:
        ValueError: If rows are of different lengths.

    Example:
        ```python
        from keras_encdec.model_checks import as_array

        print(as_array([[5, 7, 2]]).shape)
        ```
    """
    if hasattr(x, "detach"):
        x = x.detach().cpu()  # PyTorch's, wherever it is.
    if not isinstance(x, list | tuple) and not hasattr(x, "__array__"):
        return None
    if isinstance(x, keras.KerasTensor):
        return None
    try:
        return np.asarray(x)
    except NotImplementedError:  # TensorFlow's, within a graph.
        return None
    except ValueError as error:
        raise ValueError(
            "Rows of ids must have one length, to make an array; received rows of "
            f"different lengths. Pad them with the model's padding id. ({error})"
        ) from None


def _pair(x):
    """The source and the target, None each if that is not what it is."""
    if isinstance(x, dict):
        return x.get("source"), x.get("target")
    if isinstance(x, tuple | list) and len(x) == 2:
        return tuple(x)
    return None, None


def _refuse_nothing(data):
    """Refuses no rows and no batches, which Keras misses when it looks for its logs."""
    for x in (data, *_pair(data)):
        if isinstance(x, tuple | dict) or not hasattr(x, "__len__"):
            continue
        try:
            number = len(x)
        except TypeError:  # Of a pipeline that does not know it, or has no end.
            continue
        if number == 0:
            is_array = isinstance(x, list) or hasattr(x, "shape")
            raise ValueError(
                f"There must be at least one {'row' if is_array else 'batch'}; "
                f"received {f'shape {np.shape(x)}' if is_array else repr(x):.200}. "
                "Check what was read."
            )


def _warn_of_no_shift(target, labels):
    if target is None or labels is None or target.size == 0:
        return
    if target.shape == labels.shape and np.array_equal(target, labels):
        warnings.warn(
            "The target equals the labels: the model learns to copy what it is shown, "
            "and can generate nothing. The target is the labels shifted right behind "
            "the start id, as teacher_forcing gives them.",
            stacklevel=3,
        )


def _takes_probabilities(measure):
    """Whether a loss or a metric takes what it is given for probabilities."""
    if inspect.isfunction(measure):
        parameters = inspect.signature(measure).parameters
        found = (
            parameters["from_logits"].default if "from_logits" in parameters else None
        )
    elif isinstance(measure, keras.losses.Loss | keras.metrics.Metric):
        found = measure.get_config().get("from_logits")
    else:
        found = None
    return found is False
