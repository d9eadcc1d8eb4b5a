"""Given pairs: how likely the model finds a target, and where it looked.

Both decode the whole target at once by the verb that decodes it step by step. Legend of
shapes: B batch, S source, T target, V vocabulary, G temperatures.
"""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_encdec.annotations import KerasModel, Tensor
from keras_encdec.generation.samplers.interface import log_probabilities
from keras_encdec.option_checks import require_positive


def score(
    model: KerasModel,
    source: Tensor,
    target: Tensor,
    *,
    temperature: float | Sequence[float] = 1.0,
    start_id: int = 1,
    padding_id: int = 0,
) -> Tensor:
    """Returns the log-probability of each target token.

    Args:
        model: Any object with `encode`, `new_cache` and a `step` that takes several
            positions at once, as `EncoderDecoder` has them.
        source: Source ids `(B, S)`, int32.
        target: Target ids `(B, T)`, int32, without the start id, padded.
        temperature: What the logits are divided by, above 0; or several.
        start_id: The id that the target begins with.
        padding_id: The id of padding, which as in generation cannot be predicted.

    Returns:
        `(B, T)`, float32, 0 for padding; of several temperatures `(B, T, G)`.

    Raises:
        ValueError: If a temperature is not above 0, or not finite.

    Example:
        ```python
        from keras import ops
        from keras_encdec import EncoderDecoder
        from keras_encdec.generation import score

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        print(score(model, ops.array([[5, 7, 2]]), ops.array([[9, 8, 2]])))
        ```
    """
    several = isinstance(temperature, Sequence)
    temperatures: Any = temperature if several else [temperature]
    for each in temperatures:
        if not 0 < each < float("inf"):
            raise ValueError(
                "temperature must be above 0 and finite; received "
                f"temperature={temperature!r}. Give 1 for what the model says itself."
            )
    logits, _ = _decode(model, source, target, start_id)
    logits = ops.cast(logits, "float32")
    padding = ops.arange(logits.shape[-1], dtype="int32") == padding_id
    logits = ops.where(padding, -float("inf"), logits)
    tokens = target != padding_id
    scores = [
        ops.where(tokens, log_probabilities(logits / each, target), 0.0)
        for each in temperatures
    ]
    return ops.stack(scores, axis=-1) if several else scores[0]


def align(
    model: KerasModel,
    source: Tensor,
    target: Tensor,
    *,
    layer: int = -1,
    heads: int | None = None,
    start_id: int = 1,
    padding_id: int = 0,
) -> Tensor:
    """Returns the attention to the source with which each target token was predicted.

    Args:
        model: As in `score`; its `step` takes `attention_layer`.
        source: Source ids `(B, S)`, int32.
        target: Target ids `(B, T)`, int32, without the start id, padded.
        layer: The decoder block.
        heads: How many of its heads are averaged, the first ones; by default all.
        start_id: The id that the target begins with.
        padding_id: The id of padding.

    Returns:
        The weights `(B, T, S)`, float32, 0 for padding.

    Raises:
        ValueError: If `heads` is not a positive integer, or there is no such layer.

    Example:
        ```python
        from keras import ops
        from keras_encdec import EncoderDecoder
        from keras_encdec.generation import align

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        print(align(model, ops.array([[5, 7, 2]]), ops.array([[9, 8, 2]])).shape)
        ```
    """
    if heads is not None:
        # The mean of none would be nan, as if the model were.
        require_positive(heads=heads)
    *_, weights = _decode(model, source, target, start_id, attention_layer=layer)
    weights = ops.mean(ops.cast(weights[:, :, :heads], "float32"), axis=2)
    return ops.where((target != padding_id)[..., None], weights, 0.0)


def _decode(
    model: KerasModel, source: Tensor, target: Tensor, start_id: int, **options: Any
) -> tuple[Tensor, ...]:
    rows, length = ops.shape(target)
    start = ops.full((rows, 1), start_id, dtype="int32")
    shifted = ops.concatenate([start, target[:, :-1]], axis=1)
    cache = model.new_cache(rows, length)
    return model.step(shifted, 0, model.encode(source), cache, **options)
