"""What a model's parts are beside their options: quantized, frozen, of other dtypes."""

import contextlib
import gc

import keras

from keras_encdec.backend import layers_in, policy_config


def part_states(model):
    """Returns what was, or may be, changed in a model's layers after they were built.

    Weights are no part of it; neither is LoRA, which Keras merges with them when it
    saves, so that what it adapts is trainable as before it.

    Args:
        model: A built `keras.Model`.

    Returns:
        For each layer, found by the names on the way to it, a dict of what JSON takes:
        its dtype policy, how it was quantized, and what of it is frozen.

    Example:
        ```python
        from keras_encdec import EncoderDecoder
        from keras_encdec.layers.part_states import part_states

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        model.encoder_blocks[0].trainable = False
        print(part_states(model)["encoder_block_0"]["trainable"])
        ```
    """
    return {path: _state(layer) for path, layer in _layers_by_path(model).items()}


def changed_states(before, after):
    """Returns what of some states is new.

    Args:
        before: What `part_states` returned once.
        after: What it returns now.

    Example:
        ```python
        from keras_encdec.layers.part_states import changed_states

        print(changed_states({"a": {"trainable": True}}, {"a": {"trainable": False}}))
        ```
    """
    changed = {
        path: {k: v for k, v in state.items() if v != before.get(path, {}).get(k)}
        for path, state in after.items()
    }
    return {path: state for path, state in changed.items() if state}


def restore_part_states(model, states):
    """Brings the layers of a model, as it was built, to their states.

    Args:
        model: A built `keras.Model`.
        states: Of what `part_states` returned, what differs from the model's.

    Raises:
        ValueError: If the model has no such layer.

    Example:
        ```python
        from keras_encdec import EncoderDecoder
        from keras_encdec.layers.part_states import restore_part_states

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        restore_part_states(model, {"encoder_block_0": {"trainable": False}})
        print(len(model.trainable_variables))
        ```
    """
    layers = _layers_by_path(model)
    if unknown := states.keys() - layers.keys():
        raise ValueError(
            "A model's state names its layers; received the state of "
            f"{sorted(unknown)}, which it does not have. Load it with the version of "
            "keras_encdec that saved it."
        )
    with quick_collections():
        for path, layer in layers.items():
            if path and "dtype" in states.get(path, {}):
                _restore_dtype(layer, states[path])
    # From the outside in, for what is frozen freezes all that is in it.
    for path, layer in layers.items():
        trainable = states.get(path, {}).get("trainable", True)
        if layer.trainable != trainable:
            layer.trainable = trainable
    for path, state in states.items():
        for variable in layers[path]._trainable_variables:
            if variable.name in state.get("frozen", ()):
                variable.trainable = False


@contextlib.contextmanager
def quick_collections():
    """Keeps what is there before from each search for garbage in this context.

    Keras searches whenever a layer lets go of a variable, as each layer does that is
    quantized: with a backend's million objects, most of a second for each.

    Example:
        ```python
        import gc

        from keras_encdec.layers.part_states import quick_collections

        with quick_collections():
            gc.collect()
        ```
    """
    frozen_before = gc.get_freeze_count()
    gc.freeze()
    try:
        yield
    finally:
        if not frozen_before:  # Else some of it is frozen for good.
            gc.unfreeze()


def _restore_dtype(layer, state):
    policy = keras.dtype_policies.deserialize(state["dtype"])
    config = keras.saving.deserialize_keras_object(state.get("quantization"))
    if policy.quantization_mode is not None:
        layer.quantize(policy.quantization_mode, config=config)
    layer.dtype_policy = policy


def _layers_by_path(layer, path="", found=None):
    found = {} if found is None else found
    if layer not in found.values():
        # The models of an ensemble may well have one name.
        number = sum(
            each == path or each.startswith(f"{path}_again_") for each in found
        )
        path = f"{path}_again_{number}" if path in found else path
        found[path] = layer
        for each in layers_in(layer):
            _layers_by_path(each, f"{path}/{each.name}" if path else each.name, found)
    return found


def _state(layer):
    config = getattr(layer, "quantization_config", None)
    if layer.dtype_policy.quantization_mode is None:
        config = None  # Left by an attempt that the layer refused.
    frozen = []
    if layer.trainable:
        frozen = [
            x.name
            for x in layer._trainable_variables
            if not x.trainable and not _is_of_lora(layer, x)
        ]
    return {
        "dtype": _alone(policy_config(layer.dtype_policy)),
        "quantization": _alone(keras.saving.serialize_keras_object(config)),
        "trainable": layer.trainable,
        "frozen": frozen,
    }


def _is_of_lora(layer, variable):
    """Whether it is one of the adapters, or what they are added to, and freeze."""
    if not getattr(layer, "lora_enabled", False):
        return False
    adapted = (getattr(layer, name, None) for name in ("_kernel", "_embeddings"))
    return variable.name.startswith("lora_") or any(variable is x for x in adapted)


def _alone(config):
    """A config without the numbers by which Keras tells shared objects as it loads."""
    if not isinstance(config, dict):
        return config
    return {k: _alone(v) for k, v in config.items() if k != "shared_object_id"}
