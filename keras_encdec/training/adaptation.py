"""Training few numbers of a model that has many."""

import contextlib
import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_encdec.annotations import AnyPath, KerasModel
from keras_encdec.backend import all_layers, layers_in
from keras_encdec.files import new_file, require_file


def enable_lora(
    model: KerasModel,
    rank: int,
    alpha: float | None = None,
    *,
    targets: str | Iterable[str] | None = None,
) -> None:
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
        kept = {id(x) for layer in layers for x in layer.variables}
        for variable in model.trainable_variables:
            # Of a layer that holds others, such as the bias of the logits.
            if id(variable) not in kept:
                variable.trainable = False
    for layer in layers:
        layer.enable_lora(rank, lora_alpha=alpha)
        if targets is not None and getattr(layer, "bias", None) is not None:
            layer.bias.trainable = False
    for embedding in all_layers(model):
        if getattr(embedding, "freeze_padding", False):
            _keep_row(embedding.table, embedding.padding_id)
    _forget_programs(model)


def merge_lora(model: KerasModel) -> None:
    """Adds what LoRA has learnt to the matrices themselves, and takes it away.

    The model computes what it did before, to the last digits, and may be given LoRA
    anew. Compile it again; what was frozen stays frozen.

    Args:
        model: A model, after `enable_lora`.

    Raises:
        ValueError: If it has no LoRA, or is quantized; it is as before then.

    Example:
        ```python
        from keras_encdec import EncoderDecoder, enable_lora, merge_lora

        model = EncoderDecoder(1000, 64, 128, num_heads=2, num_layers=1)
        enable_lora(model, rank=4, targets=("query", "value"))
        merge_lora(model)
        ```
    """
    layers = _adapted(model)
    quantized = [x.path for x in layers if getattr(x, "quantization_mode", None)]
    if quantized:
        raise ValueError(
            "LoRA is merged into floats; received a model whose "
            f"{quantized[0]!r} is quantized. Save and load it, which merges and "
            "quantizes anew."
        )
    _take_away(model, layers)


def _take_away(model: KerasModel, layers: Iterable[Any]) -> None:
    """Takes LoRA away; of what is quantized without adding what it has learnt."""
    for layer in layers:
        matrix, first, second = _parts(layer)
        quantized = getattr(layer, "quantization_mode", None)
        merged = None if quantized else ops.copy(getattr(layer, matrix))
        layer._tracker.unlock()
        for name in (first, second):
            layer._untrack_variable(getattr(layer, name))
            delattr(layer, name)
        layer._tracker.lock()
        layer.lora_enabled = False
        layer.lora_rank = None
        if merged is not None:
            variable = getattr(layer, f"_{matrix}")
            variable.trainable = True
            variable.assign(merged)
    _forget_programs(model)


def save_adapter(model: KerasModel, path: AnyPath) -> None:
    """Writes what a model with LoRA has learnt, and nothing of what is frozen.

    Args:
        model: A model, after `enable_lora` and a training.
        path: The file to write, of safetensors.

    Raises:
        ValueError: If the model has no LoRA, or what it has learnt is nan.

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
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if broken:
        raise ValueError(
            "What LoRA has learnt must be numbers to be saved; received a model with "
            f"nan or infinity in {broken[0]!r}. Train anew from the last good adapter, "
            "at a lower rate."
        )
    with new_file(path, suffix=".safetensors") as file:
        save_file(arrays, file, metadata={"lora": json.dumps(layers)})


def load_adapter(model: KerasModel, path: AnyPath) -> None:
    """Gives a model what `save_adapter` wrote of another one of the same layers.

    Its own weights stay, and what learns is what learnt there.

    Args:
        model: A model without LoRA, such as the checkpoint that was adapted.
        path: The file.

    Raises:
        FileNotFoundError: If there is no file.
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

    require_file(path, "An adapter is read from a file")
    try:
        with safe_open(path, "numpy") as file:
            layers = json.loads((file.metadata() or {})["lora"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        for name, (rank, alpha) in layers.items():
            if not (type(rank) is int and rank > 0 and type(alpha) in (int, float)):
                numbers = f"{rank!r}, {alpha!r}"
                raise ValueError(f"the rank and alpha of {name} are {numbers}")
        for name, array in arrays.items():
            if array.dtype.kind != "f" or not np.isfinite(array).all():
                raise ValueError(f"{name} holds what is no number")
    except (AttributeError, KeyError, SafetensorError, TypeError, ValueError) as error:
        raise ValueError(
            f"An adapter is what save_adapter wrote; {str(path)!r} is not: {error!r}. "
            "Give that file."
        ) from error
    ours = {layer.path: layer for layer in _adaptable(model)}
    missing = [
        f"{name}/{factor}"
        for name in layers
        if name in ours
        for factor in _parts(ours[name])[1:]
        if f"{name}/{factor}" not in arrays
    ]
    if missing:
        raise ValueError(
            "An adapter holds both factors of each layer; "
            f"{str(path)!r} lacks {', '.join(missing[:4])}. Save or copy it again."
        )
    variables = {x.path: x for x in model.variables}
    problems = [f"no layer {name}" for name in layers if name not in ours]
    problems += [f"LoRA in {name} already" for name in ours if ours[name].lora_enabled]
    for name, array in arrays.items():
        layer, _, kind = name.rpartition("/")
        if layer in layers and layer in ours and kind.startswith("lora_"):
            matrix = getattr(ours[layer], f"_{_parts(ours[layer])[0]}")
            rank, size = layers[layer][0], matrix.shape
            shape: tuple[int, ...] | None = (
                (size[0], rank) if kind.endswith("_a") else (rank, size[-1])
            )
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


@contextlib.contextmanager
def adapted(
    model: KerasModel, rank: int | None, targets: Iterable[str] | None
) -> Iterator[Any]:
    """Has a model learn by LoRA alone as long as the block runs.

    Then what it has learnt is merged, and what learns is what learnt before. From
    quantized weights it is taken away: they are those of the best model that was saved.

    Args:
        model: A built model without LoRA.
        rank: As in `enable_lora`; None changes nothing.
        targets: As in `enable_lora`.

    Yields:
        A function of no arguments, whose `with` block finds what learns as it was
        before: for a model that is saved in it, LoRA merged, to be as any other.

    Raises:
        ValueError: As `enable_lora` does.

    Example:
        ```python
        from keras_encdec import EncoderDecoder
        from keras_encdec.training.adaptation import adapted, has_lora

        model = EncoderDecoder(1000, 64, 128, num_heads=2, num_layers=1)
        with adapted(model, 4, ["query", "value"]):
            print(has_lora(model))
        ```
    """
    if rank is None:
        yield contextlib.nullcontext
        return
    before = _learning(model)
    enable_lora(model, rank, targets=targets)

    @contextlib.contextmanager
    def as_before() -> Iterator[None]:
        now = _learning(model)
        _set_learning(before)
        try:
            yield
        finally:
            _set_learning(now)

    try:
        yield as_before
    finally:
        _take_away(model, _adapted(model))
        _set_learning(before)


def _learning(model: KerasModel) -> list[tuple[Any, bool]]:
    """Returns which layers and variables learn."""
    # A layer says it to its parts, which say themselves after it.
    layers = sorted(all_layers(model), key=lambda layer: not layers_in(layer))
    return [(x, x.trainable) for x in (*layers, *model.variables)]


def _set_learning(states: Iterable[tuple[Any, bool]]) -> None:
    for each, learns in states:
        each.trainable = learns


def has_lora(model: KerasModel) -> bool:
    """Returns whether a model learns by LoRA.

    Args:
        model: A model.
    """
    return any(layer.lora_enabled for layer in _adaptable(model))


def _forget_programs(model: KerasModel) -> None:
    # TensorFlow has compiled what the model was.
    model.train_function = model.test_function = model.predict_function = None


def _adaptable(model: KerasModel) -> list[Any]:
    return [x for x in all_layers(model) if hasattr(x, "enable_lora")]


def _adapted(model: KerasModel) -> list[Any]:
    layers = [x for x in _adaptable(model) if x.lora_enabled]
    if not layers:
        raise ValueError(
            "A model must have LoRA to be merged or saved alone; received one without. "
            "Call enable_lora first, and train."
        )
    return layers


def _keep_row(table: Any, row: int) -> None:
    """Has LoRA add nothing to a row of a table, which no gradient will change."""
    if table.lora_enabled:
        rows = np.arange(table.input_dim)[:, None]
        factor = table.lora_embeddings_a
        factor.assign(ops.where(rows == row, 0.0, ops.convert_to_tensor(factor)))


def _parts(layer: Any) -> tuple[str, str, str]:
    """Returns the names of a layer's matrix and of the factors that LoRA adds."""
    matrix = "kernel" if hasattr(layer, "_kernel") else "embeddings"
    return matrix, f"lora_{matrix}_a", f"lora_{matrix}_b"


def _targets(layers: Sequence[Any], targets: str | Iterable[str]) -> list[Any]:
    """Returns the layers of some names, each of which must be that of one."""
    targets = (targets,) if isinstance(targets, str) else tuple(targets)
    found = {
        target: [x for x in layers if f"/{x.path}".endswith(f"/{target}")]
        for target in targets
    }
    unknown = [target for target, those in found.items() if not those]
    if unknown or not targets:
        names = sorted({x.path.rpartition("/")[2] for x in layers})
        near = [y for x in unknown for y in difflib.get_close_matches(x, names, 1)]
        meant = f" Did you mean {', '.join(near)}?" if near else ""
        raise ValueError(
            "The targets of LoRA must be names of layers that can have it, which are "
            f"{', '.join(names)}; received {unknown!r}. Give some of those.{meant}"
        )
    chosen = {id(x) for those in found.values() for x in those}
    return [x for x in layers if id(x) in chosen]
