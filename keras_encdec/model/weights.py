"""The weights of a model by canonical names, which other formats are mapped to.

`encoder.embedding`, `decoder.blocks.0.cross_attention.query.kernel`,
`decoder.blocks.0.feed_forward.norm.scale`, `logits.bias`: what a weight is in a
Transformer, whatever Keras's layers are called.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_encdec.annotations import KerasModel
from keras_encdec.backend import set_value
from keras_encdec.layers import LearnedPosition
from keras_encdec.model.decoder import Decoder
from keras_encdec.model.encoder import Encoder

# A layer, and the attribute of it that is the weight.
Place: TypeAlias = tuple[Any, str]


def canonical_weights(model: KerasModel) -> dict[str, np.ndarray]:
    """Returns the weights of a model by their canonical names.

    Adapters of LoRA are merged into the matrices they adapt; weights that are int8 are
    multiplied out.

    Args:
        model: An `EncoderDecoder`, an `Encoder` or a `Decoder`.

    Returns:
        A dict from names to NumPy arrays, float32, copies: matrices `(inputs,
        outputs)`, tables `(ids, D)`. A table that source and target share is there
        under both of its names; logits that are tied to a table have no kernel.

    Raises:
        ValueError: If weights have less than eight bits, or the encoder is of another
            kind.

    Example:
        ```python
        from keras_encdec import EncoderDecoder
        from keras_encdec.model.weights import canonical_weights

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        print(list(canonical_weights(model)))
        ```
    """
    return {k: _floats(k, *place) for k, place in _places(model).items()}


def set_canonical_weights(model: KerasModel, weights: Mapping[str, np.ndarray]) -> None:
    """Sets all weights of a model, given by their canonical names.

    Args:
        model: As in `canonical_weights`.
        weights: A dict from names to arrays, as `canonical_weights` returns it, or
            another mapping: with `shapes`, a dict by the same names, each weight is
            looked up when it is set. Of two names of one table, one may lack.

    Raises:
        ValueError: If a weight is missing, unknown, of another shape, adapted by LoRA,
            or given twice with different values; before any is set.

    Example:
        ```python
        from keras_encdec import EncoderDecoder
        from keras_encdec.model.weights import canonical_weights, set_canonical_weights

        model, other = (
            EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1) for _ in range(2)
        )
        set_canonical_weights(other, canonical_weights(model))
        ```
    """
    places = _places(model)
    for name, (layer, kind) in places.items():
        if not _is_float(getattr(layer, kind)):
            raise ValueError(
                "Weights are set while they are floats; received a model whose "
                f"{name} is quantized. Take the model before `quantize`."
            )
    ours = {name: getattr(layer, kind) for name, (layer, kind) in places.items()}
    shapes = getattr(weights, "shapes", None)
    if shapes is None:
        shapes = {name: np.shape(weights[name]) for name in weights}
    adapted = [
        name
        for name, (layer, _) in places.items()
        if getattr(layer, "lora_enabled", False)
    ]
    given = {id(ours[name]) for name in ours if name in shapes}
    problems = [f"{name} is missing" for name in ours if id(ours[name]) not in given]
    problems += [f"{name} is unknown" for name in shapes if name not in ours]
    problems += [f"{name} is adapted by LoRA" for name in adapted]
    variables: dict[int, tuple[Any, str]] = {}
    for name in (name for name in ours if name in shapes):
        expected, received = tuple(ours[name].shape), tuple(shapes[name])
        if expected != received:
            problems.append(f"{name} is {received}, not {expected}")
        _, first = variables.setdefault(id(ours[name]), (ours[name], name))
        if name != first and not np.array_equal(weights[first], weights[name]):
            problems.append(f"{name} is not {first}, which it shares its place with")
    if problems:
        raise ValueError(
            "Weights must be those of the model; received weights of which "
            f"{'; '.join(sorted(problems))}. Build the model with their options."
        )
    # The largest first, so that there is room for another copy of each.
    for variable, name in sorted(
        variables.values(), key=lambda x: -math.prod(x[0].shape)
    ):
        # No backend knows all the dtypes that a file may have.
        set_value(variable, np.asarray(weights[name], "float32"))


def canonical_shapes(model: KerasModel) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the weights of a model by their canonical names.

    Args:
        model: As in `canonical_weights`.

    Returns:
        A dict from names to tuples. A table that source and target share is there
        once, as the source's.

    Raises:
        ValueError: As in `canonical_weights`.

    Example:
        ```python
        from keras_encdec import EncoderDecoder
        from keras_encdec.model.weights import canonical_shapes

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        print(canonical_shapes(model)["encoder.embedding"])
        ```
    """
    names: dict[tuple[int, str], tuple[str, tuple[int, ...]]] = {}
    for name, (layer, kind) in _places(model).items():
        shape = tuple(getattr(layer, kind).shape)
        names.setdefault((id(layer), kind), (name, shape))
    return dict(names.values())


def _is_float(tensor: Any) -> bool:
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return bool(keras.backend.is_float_dtype(dtype))


def _floats(name: str, layer: Any, kind: str) -> np.ndarray:
    """Returns a copy of a weight, multiplied out if it is int8."""
    tensor = getattr(layer, kind)
    # Copies whatever the backend gives.
    values = np.array(ops.convert_to_numpy(ops.cast(tensor, "float32")))
    # Not by its dtype: with LoRA Keras adds the adapter to whole numbers.
    mode = layer.quantization_mode
    if kind not in ("kernel", "embeddings") or mode in (None, "float8"):
        return values
    if mode != "int8" or layer.lora_enabled:
        adapted = " with LoRA" if layer.lora_enabled else ""
        raise ValueError(
            "Weights have canonical names while they are floats or int8, without LoRA; "
            f"received a model whose {name} is {mode}{adapted}. Take the model before "
            "`quantize`, or of int8 with LoRA save and load it, which merges."
        )
    scale = ops.convert_to_numpy(ops.cast(getattr(layer, f"{kind}_scale"), "float32"))
    # Keras scales a matrix by column, and a table by row.
    return values / (scale[:, None] if kind == "embeddings" else scale)


def _places(model: KerasModel) -> dict[str, Place]:
    """Returns the layer and the attribute of every weight by its name."""
    stacks = [model] if isinstance(model, Encoder | Decoder) else _stacks(model)
    places: dict[str, Place] = {}
    for stack in stacks:
        side = "encoder" if isinstance(stack, Encoder) else "decoder"
        places |= {f"{side}.{name}": place for name, place in _of_stack(stack)}
        if isinstance(stack, Decoder):
            places |= dict(_of_logits(stack))
    return places


def _stacks(model: KerasModel) -> tuple[KerasModel, KerasModel]:
    if not isinstance(model.encoder, Encoder):
        raise ValueError(
            "Weights have canonical names in an Encoder and a Decoder; received "
            f"encoder={model.encoder!r}. Give model.decoder alone."
        )
    return model.encoder, model.decoder


def _of_stack(stack: KerasModel) -> Iterator[tuple[str, Place]]:
    yield "embedding", (stack.embedding.table, "embeddings")
    if isinstance(stack.embedding.position_layer, LearnedPosition):
        yield "positions", (stack.embedding.position_layer, "position_vectors")
    if stack.embedding.norm is not None:
        yield from _of_norm("embedding_norm", stack.embedding.norm)
    biases = stack.relative_biases
    for i, layer in enumerate(biases):
        name = f"blocks.{i}.relative_bias" if len(biases) > 1 else "relative_bias"
        yield name, (layer, "bucket_biases")
    crossing = ["cross_attention"] if isinstance(stack, Decoder) else []
    for i, block in enumerate(stack.blocks):
        for part in ("self_attention", *crossing):
            attention = getattr(block, part)
            for name in ("query", "key", "value", "output"):
                dense = getattr(attention, f"{name}_dense")
                yield from _of_dense(f"blocks.{i}.{part}.{name}", dense)
            norm = getattr(block, f"{part}_norm")
            yield from _of_norm(f"blocks.{i}.{part}.norm", norm)
        feed_forward = block.feed_forward
        for name in ("intermediate", *(["gate"] if block.gated else []), "output"):
            dense = getattr(feed_forward, f"{name}_dense")
            yield from _of_dense(f"blocks.{i}.feed_forward.{name}", dense)
        yield from _of_norm(f"blocks.{i}.feed_forward.norm", block.feed_forward_norm)
    if stack.norm is not None:
        yield from _of_norm("norm", stack.norm)


def _of_logits(decoder: KerasModel) -> Iterator[tuple[str, Place]]:
    if decoder.logits_dense is not None:
        yield from _of_dense("logits", decoder.logits_dense)
    elif decoder.embedding.output_bias:
        yield "logits.bias", (decoder.embedding, "bias")


def _of_dense(name: str, dense: Any) -> Iterator[tuple[str, Place]]:
    yield f"{name}.kernel", (dense, "kernel")
    if dense.use_bias:
        yield f"{name}.bias", (dense, "bias")


def _of_norm(name: str, norm: Any) -> Iterator[tuple[str, Place]]:
    # RMS normalization has a scale alone, under another name.
    attributes = {"scale": "gamma", "bias": "beta"}
    if isinstance(norm, keras.layers.RMSNormalization):
        attributes = {"scale": "scale"}
    for kind, attribute in attributes.items():
        yield f"{name}.{kind}", (norm, attribute)
