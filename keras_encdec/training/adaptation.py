"""Training few numbers of a model that has many."""

import json

import numpy as np
from keras import ops

from keras_encdec.backend import all_layers, layers_in
from keras_encdec.files import new_file


def enable_lora(model, rank, alpha=None, *, targets=None):
    """Has matrices of a model learn by adaptations of a low rank.

    To each kernel and each table of embeddings a product of two small matrices is
    added, which learn in its place. Without `targets` all matrices have one, and
    biases and normalizations learn as before; with it those named have one, and
    nothing else learns. Nothing changes until they have learnt. `merge_lora` adds the
    products to the matrices for good; when the model is saved, or `train` ends, they
    are merged too. Compile afterwards: an optimizer knows the variables it was built
    for.

    Args:
        model: A built model, such as an `EncoderDecoder`.
        rank: The inner size of the products, an int.
        alpha: Products are multiplied by `alpha / rank`; by default by 1.
        targets: Names of layers, such as `("query", "value")`; or the ends of their
            paths, such as `"cross_attention/query"`.

    Raises:
        ValueError: If the rank is not positive, no layer can do so, some do, or a name
            is that of no layer.

    Example:
        ```python
        from keras_encdec import EncoderDecoder, enable_lora

        model = EncoderDecoder(1000, 64, 128, num_heads=2, num_layers=1)
        enable_lora(model, rank=4, targets=("query", "value"))
        model.summary()  # of 102,000 parameters 3,000 are trainable
        ```

    Reference:
        Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models.
    """
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise ValueError(
            f"The rank of LoRA must be a positive integer; received {rank!r}. 8 is "
            "usual."
        )
    layers = _adaptable(model)
    adapted = [x.path for x in layers if x.lora_enabled]
    if adapted or not layers:
        which = f"one with LoRA in {adapted[0]!r}" if adapted else "one without any"
        raise ValueError(
            "A model gets LoRA once, on the layers that can have it, such as Dense; "
            f"received {which}. Save and load it first, which merges."
        )
    if targets is not None:
        layers = _targets(layers, targets)
        model.trainable = True  # What was frozen as a whole holds what is to learn.
        for layer in all_layers(model):
            if not layers_in(layer):
                layer.trainable = layer in layers
    for layer in layers:
        layer.enable_lora(rank, lora_alpha=alpha)
        if targets is not None and getattr(layer, "bias", None) is not None:
            layer.bias.trainable = False
    _forget_programs(model)


def merge_lora(model):
    """Adds what LoRA has learnt to the matrices themselves, and takes it away.

    The model computes what it did before, to the last digits, and may be given LoRA
    anew. Compile it again; what was frozen stays frozen.

    Args:
        model: A model, after `enable_lora`.

    Raises:
        ValueError: If it has no LoRA.

    Example:
        ```python
        from keras_encdec import EncoderDecoder, enable_lora, merge_lora

        model = EncoderDecoder(1000, 64, 128, num_heads=2, num_layers=1)
        enable_lora(model, rank=4, targets=("query", "value"))
        merge_lora(model)
        ```
    """
    for layer in _adapted(model):
        matrix, first, second = _parts(layer)
        merged = ops.copy(getattr(layer, matrix))
        layer._tracker.unlock()
        for name in (first, second):
            layer._untrack_variable(getattr(layer, name))
            delattr(layer, name)
        layer._tracker.lock()
        layer.lora_enabled = False
        layer.lora_rank = None
        variable = getattr(layer, f"_{matrix}")
        variable.trainable = True
        variable.assign(merged)
    _forget_programs(model)


def save_adapter(model, path):
    """Writes what a model with LoRA has learnt, and nothing of what is frozen.

    Args:
        model: A model, after `enable_lora` and a training.
        path: The file to write, of safetensors.

    Raises:
        ValueError: If the model has no LoRA.

    Example:
        ```python
        import tempfile
        from keras_encdec import EncoderDecoder, enable_lora, load_adapter, save_adapter

        path = tempfile.mkdtemp() + "/adapter.safetensors"
        model = EncoderDecoder(1000, 64, 128, num_heads=2, num_layers=1)
        enable_lora(model, rank=4, targets=("query", "value"))
        save_adapter(model, path)
        model = EncoderDecoder(1000, 64, 128, num_heads=2, num_layers=1)
        load_adapter(model, path)
        ```
    """
    from safetensors.numpy import save_file

    layers = {x.path: [x.lora_rank, x.lora_alpha] for x in _adapted(model)}
    arrays = {
        x.path: np.ascontiguousarray(ops.convert_to_numpy(ops.cast(x, "float32")))
        for x in model.trainable_variables
    }
    with new_file(path) as file:
        save_file(arrays, file, metadata={"lora": json.dumps(layers)})


def load_adapter(model, path):
    """Gives a model what `save_adapter` wrote of another one of the same layers.

    Its own weights stay, and what learns is what learnt there.

    Args:
        model: A model without LoRA, such as the checkpoint that was adapted.
        path: The file.

    Raises:
        ValueError: If the file is no adapter, or not one of this model; the model is
            as before then.

    Example:
        ```python
        import tempfile
        from keras_encdec import EncoderDecoder, enable_lora, load_adapter, save_adapter

        path = tempfile.mkdtemp() + "/adapter.safetensors"
        model = EncoderDecoder(1000, 64, 128, num_heads=2, num_layers=1)
        enable_lora(model, rank=4, targets=("query", "value"))
        save_adapter(model, path)
        model = EncoderDecoder(1000, 64, 128, num_heads=2, num_layers=1)
        load_adapter(model, path)
        ```
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            layers = json.loads((file.metadata() or {})["lora"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (KeyError, SafetensorError, ValueError) as error:
        raise ValueError(
            f"An adapter is what save_adapter wrote; {str(path)!r} is not: {error!r}. "
            "Give that file."
        ) from error
    ours = {layer.path: layer for layer in _adaptable(model)}
    variables = {x.path: x for x in model.variables}
    problems = [f"no layer {name}" for name in layers if name not in ours]
    problems += [f"LoRA in {name} already" for name in ours if ours[name].lora_enabled]
    for name, array in arrays.items():
        layer, _, kind = name.rpartition("/")
        if layer in layers and layer in ours and kind.startswith("lora_"):
            matrix = getattr(ours[layer], f"_{_parts(ours[layer])[0]}")
            rank, size = layers[layer][0], matrix.shape
            shape = (size[0], rank) if kind.endswith("_a") else (rank, size[-1])
        else:
            shape = tuple(variables[name].shape) if name in variables else None
        if shape != array.shape:
            problems.append(f"{name} of shape {shape}, not {array.shape}")
    if problems:
        raise ValueError(
            "An adapter fits the model that it was made of; received a model with "
            f"{'; '.join(problems[:8])}. Load the adapted checkpoint first."
        )
    for name, (rank, alpha) in layers.items():
        ours[name].enable_lora(rank, lora_alpha=alpha)
    for variable in model.variables:
        if variable.path in arrays:
            variable.assign(arrays[variable.path])
    for layer in all_layers(model):
        if not layers_in(layer):
            layer.trainable = any(x.path in arrays for x in layer.variables)
            for x in layer.trainable_variables:
                x.trainable = x.path in arrays
    _forget_programs(model)


def _forget_programs(model):
    # TensorFlow has compiled what the model was.
    model.train_function = model.test_function = model.predict_function = None


def _adaptable(model):
    return [x for x in all_layers(model) if hasattr(x, "enable_lora")]


def _adapted(model):
    layers = [x for x in _adaptable(model) if x.lora_enabled]
    if not layers:
        raise ValueError(
            "A model must have LoRA to be merged or saved alone; received one without. "
            "Call enable_lora first, and train."
        )
    return layers


def _parts(layer):
    """Returns the names of a layer's matrix and of the factors that LoRA adds."""
    matrix = "kernel" if hasattr(layer, "_kernel") else "embeddings"
    return matrix, f"lora_{matrix}_a", f"lora_{matrix}_b"


def _targets(layers, targets):
    """Returns the layers of some names, each of which must be that of one."""
    targets = (targets,) if isinstance(targets, str) else tuple(targets)
    found = {
        target: [x for x in layers if f"/{x.path}".endswith(f"/{target}")]
        for target in targets
    }
    unknown = [target for target, those in found.items() if not those]
    if unknown or not targets:
        names = sorted({x.path.rpartition("/")[2] for x in layers})
        raise ValueError(
            "targets must be names of layers that can have LoRA, such as "
            f"{', '.join(names)}; received {unknown!r}. Give some of those."
        )
    chosen = {id(x) for those in found.values() for x in those}
    return [x for x in layers if id(x) in chosen]
