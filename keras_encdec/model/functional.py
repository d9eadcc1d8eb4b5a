"""A functional Keras model that is saved by the options it was built with."""

import re
import warnings

import keras

from keras_encdec.files import FORMAT, check_format
from keras_encdec.layers.activations import get_activation, saved_activation
from keras_encdec.layers.part_states import (
    changed_states,
    part_states,
    quick_collections,
    restore_part_states,
)


class FunctionalModel(keras.Model):
    """A functional model with verbs of its own, beside the graph from input to output.

    Keras saves a functional model by its graph, and loads one without the verbs; here
    the options say the graph, and what was quantized, frozen or given another dtype
    since is saved beside them.

    Example:
        ```python
        import keras
        from keras_encdec.model.functional import FunctionalModel

        class Doubled(FunctionalModel):
            def __init__(self, units, name="doubled"):
                dense = keras.layers.Dense(units)
                x = keras.Input((units,))
                config = {"units": units, "name": name}
                self._build_graph({"dense": dense}, x, lambda: 2 * dense(x), config)

        print(Doubled.from_config(Doubled(3).get_config()).output_shape)
        ```
    """

    def _build_graph(self, parts, inputs, outputs, config, policy=None):
        """Makes this the model from inputs to outputs.

        Args:
            parts: What the graph is made of, by the names of the attributes.
            inputs: What `keras.Input` returned, one or several.
            outputs: A function that returns the outputs when the parts are there.
            config: The constructor's arguments, among them the name.
            policy: The dtype policy; by default Keras's.
        """
        # The graph needs the parts before the model exists, when PyTorch's modules
        # refuse to be given any in the ordinary way.
        for name, part in parts.items():
            object.__setattr__(self, name, part)
        super().__init__(inputs, outputs(), name=config["name"])
        for name, part in parts.items():
            setattr(self, name, part)
        self.dtype_policy = keras.dtype_policies.get(
            policy or keras.config.dtype_policy()
        )
        self._config = config
        self._graph_parts = frozenset(parts)
        # A part may have come frozen, and its config need not say so.
        thawed = {"trainable": True, "frozen": []}
        self._states_when_built = {
            path: state | thawed for path, state in part_states(self).items()
        }

    def __setattr__(self, name, value):
        parts = vars(self).get("_graph_parts", ())
        if name in parts and value is not getattr(self, name):
            raise AttributeError(
                "The graph of a model keeps the parts that it was built with; received "
                f"another {name} for {type(self).__name__}. Build another model with "
                "it."
            )
        super().__setattr__(name, value)

    def options(self):
        """Returns the constructor's arguments, in words that JSON takes."""
        if "activation" not in self._config:
            return dict(self._config)
        activation = saved_activation(get_activation(self._config["activation"]))
        return {**self._config, "activation": activation}

    def get_config(self):
        """Returns the constructor's arguments, and what changed in parts since."""
        config = {"format": FORMAT, **self.options()}
        changed = changed_states(self._states_when_built, part_states(self))
        return config | ({"parts": changed} if changed else {})

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Builds a model from what `get_config` returned."""
        config = dict(config)
        check_format(config.pop("format", None), f"The config of {cls.__name__}")
        parts = config.pop("parts", {})
        model = cls(**config)
        restore_part_states(model, parts)
        return model

    def quantize(self, mode=None, config=None, filters=None, **kwargs):
        """Quantizes as `keras.Model.quantize` does, those layers that have weights to.

        Normalizations, dropout and the like stay as they are, without a word.

        Args:
            mode: As in Keras: such as `"int8"`, `"int4"`, `"float8"`.
            config: As in Keras.
            filters: As in Keras: a pattern of the names of layers, several, or a
                function of a layer.
            **kwargs: As in Keras.

        Raises:
            ValueError: If a mode is unknown, or a layer is quantized already.
        """
        patterns = [filters] if isinstance(filters, str) else filters
        wanted, without = mode or getattr(config, "mode", config), []

        def is_chosen(layer):
            if type(layer).quantize is keras.layers.Layer.quantize:
                return False
            if callable(filters):
                if not filters(layer):
                    return False
            elif filters and not any(re.search(x, layer.name) for x in patterns):
                return False
            known = getattr(layer, "variable_serialization_spec", {wanted: ()})
            if wanted not in known:
                without.append(layer.path)
            return wanted in known

        is_filter = filters is None or isinstance(filters, str | list | tuple)
        choice = is_chosen if is_filter or callable(filters) else filters
        with quick_collections():
            super().quantize(mode, config=config, filters=choice, **kwargs)
        if without:
            warnings.warn(
                f"Keras has no {wanted} of the tables of embeddings; {without} stay as "
                'they are. To make them smaller too, call quantize("int8", '
                'filters="table").',
                stacklevel=2,
            )

    def _run_through_graph(self, *args, **kwargs):
        # Only `keras.models.clone_model` says how to call operations.
        if "call_fn" in kwargs and hasattr(self, "_config"):
            kind = type(self).__name__
            raise TypeError(
                "keras.models.clone_model makes a plain Functional of a model, which "
                f"cannot generate. Call {kind}.from_config(model.get_config()), "
                "or copy.deepcopy(model) for its weights too."
            )
        return super()._run_through_graph(*args, **kwargs)
