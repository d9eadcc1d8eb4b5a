"""What the verbs of a Keras model are given, checked before anything runs.

In a compiled graph a bad id is a wrong answer, or an error that names an operation.
"""

import inspect

import numpy as np

from keras_encdec.backend import (
    divides_steps,
    no_strategy,
    part_averages,
    part_random_numbers,
    refuse_replicas,
    share_variables,
    shared_step_function,
    shared_test_step,
    shared_train_step,
    whole_loss,
)
from keras_encdec.keras_model.data import (
    as_array,
    refuse_nothing,
    source_and_target,
    warn_of_no_shift,
    weights_of_tokens,
)
from keras_encdec.keras_model.measures import check_measures
from keras_encdec.keras_model.optimizers import build_optimizer, check_accumulation
from keras_encdec.keras_model.shares import check_shares


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
        from keras_encdec.keras_model import CheckedModel

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
        if hasattr(self._of_ids(), "check_ids"):
            given = inspect.signature(verb).bind_partial(*args, **kwargs).arguments
            check_measures(self._of_ids(), given)
        super().compile(*args, **kwargs)

    def __call__(self, inputs, *args, **kwargs):
        """Returns the outputs; arrays of ids are checked first."""
        # Within a step, to look at a tensor would wait for the device.
        arrays = (
            x if isinstance(x, np.ndarray | list) else None
            for x in source_and_target(inputs)
        )
        self._check_ids(*arrays)
        return super().__call__(inputs, *args, **kwargs)

    def fit(self, *args, **kwargs):
        """Trains as `keras.Model.fit` does; arrays are checked first."""
        given = self._checked_to_train(super().fit, args, kwargs)
        _, target = source_and_target(given.get("x"))
        warn_of_no_shift(as_array(target), as_array(given.get("y")))
        if not isinstance(given.get("x"), np.ndarray | dict | list | tuple):
            # A dataset shuffles itself; at Keras's default of True, Keras warns of it.
            given.setdefault("shuffle", False)
        with no_strategy():
            self._begin_together()
            try:
                return super().fit(**given)
            finally:
                part_averages(self)

    def evaluate(self, *args, **kwargs):
        """Evaluates as `keras.Model.evaluate` does; arrays are checked first."""
        given = self._checked(super().evaluate, args, kwargs)
        with no_strategy():
            return super().evaluate(**given)

    def predict(self, *args, **kwargs):
        """Predicts as `keras.Model.predict` does; arrays are checked first."""
        return super().predict(**self._checked(super().predict, args, kwargs))

    def train_on_batch(self, *args, **kwargs):
        """Trains as `keras.Model.train_on_batch` does; arrays are checked first."""
        given = self._checked_to_train(super().train_on_batch, args, kwargs)
        with no_strategy():
            if not self._is_together:
                self._begin_together()
            return super().train_on_batch(**given)

    def test_on_batch(self, *args, **kwargs):
        """Tests as `keras.Model.test_on_batch` does; arrays are checked first."""
        given = self._checked(super().test_on_batch, args, kwargs)
        with no_strategy():
            return super().test_on_batch(**given)

    def predict_on_batch(self, *args, **kwargs):
        """Predicts as `keras.Model.predict_on_batch` does; arrays are checked first."""
        given = self._checked(super().predict_on_batch, args, kwargs)
        return super().predict_on_batch(**given)

    def train_step(self, *args, **kwargs):
        """Takes a step as `keras.Model.train_step` does, with the other replicas."""
        if divides_steps(self):
            return shared_train_step(self, *args, **kwargs)
        return super().train_step(*args, **kwargs)

    def test_step(self, *args, **kwargs):
        """Takes a step as `keras.Model.test_step` does, with the other replicas."""
        if divides_steps(self):
            return shared_test_step(self, *args, **kwargs)
        return super().test_step(*args, **kwargs)

    def make_train_function(self, force=False):
        """Makes what `fit` calls for each step, with the other replicas."""
        if not force and self.train_function is not None:
            return
        self.train_function = shared_step_function(self, self.train_step, training=True)
        if self.train_function is None:
            super().make_train_function(force)

    def make_test_function(self, force=False):
        """Makes what `evaluate` calls for each step, with the other replicas."""
        if not force and self.test_function is not None:
            return
        self.test_function = shared_step_function(self, self.test_step, training=False)
        if self.test_function is None:
            super().make_test_function(force)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Returns the loss as `keras.Model.compute_loss` does, for any replica."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        reduction = getattr(getattr(self, "loss", None), "reduction", None)
        return whole_loss(loss, is_mean=reduction != "sum")

    # Whether all processes have begun with the weights of the first.
    _is_together = False

    def _begin_together(self):
        share_variables([*self.variables, *self.optimizer.variables])
        part_random_numbers(self)
        self._is_together = True

    def weight_of(self, y, y_pred, sample_weight):
        """Returns the weight of all tokens, which the loss is a mean over."""
        return self.loss.weight_of(y, y_pred, sample_weight)

    def sums_loss(self, training):
        """Whether the loss is a sum over the tokens, and no mean."""
        shares = training and getattr(self, "weights_are_shares", False)
        return bool(shares) or self.loss.reduction == "sum"

    def _of_ids(self):
        # No property: Keras would follow it when it saves.
        return getattr(self, "model", self)

    def _check_ids(self, source, target, labels=None):
        if hasattr(self._of_ids(), "check_ids"):
            ignored = getattr(getattr(self, "loss", None), "ignore_class", None)
            self._of_ids().check_ids(source, target, labels, ignore_class=ignored)

    def _checked_to_train(self, verb, args, kwargs):
        refuse_replicas(self, self._of_ids())
        # Not when it is compiled, for what was saved so can be loaded and evaluated.
        check_accumulation(
            self,
            is_plain=self._of_ids() is self,
            weights_are_shares=getattr(self, "weights_are_shares", False),
        )
        if divides_steps(self):
            check_shares(self)
        given = self._checked(verb, args, kwargs)
        build_optimizer(self)
        return given

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
        refuse_nothing(held_out)
        if isinstance(held_out, tuple | list) and len(held_out) in (2, 3):
            data = dict(zip(("x", "y", "sample_weight"), held_out, strict=False))
            data.update(self._checked_data(data))
            given["validation_data"] = tuple(data.values())
        return given

    def _checked_data(self, data):
        """Checks `x`, `y` and `sample_weight`; returns the weights as they must be."""
        refuse_nothing(data.get("x"))
        source, target = map(as_array, source_and_target(data.get("x")))
        labels = as_array(data.get("y"))
        if labels is not None and labels.ndim > 2 and labels.dtype.kind == "f":
            labels = None  # One-hot, for a loss of the user's own.
        self._check_ids(source, target, labels)
        weights = as_array(data.get("sample_weight"))
        if weights is None or labels is None or labels.ndim != 2:
            return {}
        return {"sample_weight": weights_of_tokens(weights, labels)}
