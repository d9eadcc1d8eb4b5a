"""How sure a model is of a text and of its tokens, calibrated by a temperature.

Legend of shapes: T target, G temperatures.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_encdec.annotations import Text
from keras_encdec.generation.inputs.batches import batches_by_length
from keras_encdec.option_checks import require_positive
from keras_encdec.text.interface import tokens_of_rows
from keras_encdec.text_checks import check_pairs
from keras_encdec.text_to_text import TextToText

# From 1/8 to 8, five to each doubling: between them a parabola tells the least loss.
_TEMPERATURES = tuple(2.0 ** (step / 5) for step in range(-15, 16))


class Confidence(NamedTuple):
    """How sure a model is of a target text of a source.

    Example:
        ```python
        import numpy as np
        from keras_encdec.confidence import Confidence

        found = Confidence(0.6, ["a", "</s>"], np.array([0.4, 0.9], "float32"))
        print(found.mean_probability, found.probability)
        ```
    """

    # The geometric mean of its tokens' probabilities, which is e to their mean
    # log-probability: other than their product it does not fall with the length.
    mean_probability: float
    tokens: list[str]  # T, those around the text too
    token_probabilities: np.ndarray  # (T,), float32

    @property
    def probability(self) -> float:
        """That of the whole text: the product of its tokens'."""
        return float(np.prod(self.token_probabilities, dtype="float64"))


def score_tokens(
    text_to_text: TextToText,
    sources: Sequence[Text],
    targets: Sequence[Text],
    temperature: float | tuple[float, ...] = 1.0,
    batch_size: int = 64,
) -> list[np.ndarray]:
    """Returns how likely a model finds each token of each target text.

    Args:
        text_to_text: A `TextToText`.
        sources: The source texts, a list of `str` or UTF-8 `bytes`.
        targets: The target texts, as many.
        temperature: What the logits are divided by, above 0; or a tuple of G.
        batch_size: The number of pairs scored at once.

    Returns:
        For each target the log-probabilities of its T tokens, those around it too, a
        NumPy array `(T,)`, or of several temperatures `(T, G)`, of float32.

    Raises:
        TypeError: As in `confidences`.
        ValueError: Likewise.
        FloatingPointError: Likewise.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, build
        from keras_encdec.confidence import score_tokens

        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
        translate = build(ByteTokenizer(), ByteTokenizer(), **small)
        print(score_tokens(translate, ["one"], ["eins"])[0].shape)  # (5,)
        ```
    """
    require_positive(batch_size=batch_size)
    rows, true = text_to_text.encode(sources), text_to_text.encode(targets, "target")
    check_pairs(rows, true)
    scores: list[np.ndarray] = [np.zeros(0)] * len(true)
    for batch in batches_by_length([*map(len, true)], batch_size):
        some = [rows[i] for i in batch], [true[i] for i in batch]
        _, found = text_to_text.generator.score(*some, temperature=temperature)
        for i, row in zip(batch, found, strict=True):
            scores[i] = row[: len(true[i])]
    return scores


def confidences(
    text_to_text: TextToText,
    sources: Sequence[Text],
    targets: Sequence[Text],
    temperature: float | None = None,
    *,
    batch_size: int = 64,
) -> list[Confidence]:
    """Returns how sure a model is of target texts, generated or given, and why.

    Those it is least sure of are where errors are to be looked for; in them, at the
    tokens of the lowest probabilities. Processors of the search do not count.

    Args:
        text_to_text: A `TextToText`.
        sources: The source texts, a list of `str` or UTF-8 `bytes`.
        targets: The target texts, as many.
        temperature: What the logits are divided by, above 0: what `calibrate` returned,
            or 1 for what the model says itself; by default the `TextToText`'s own.
        batch_size: The number of pairs scored at once.

    Returns:
        A `Confidence` for each: `mean_probability`, `tokens`, `token_probabilities`, a
        NumPy array `(T,)` of float32, and `probability`.

    Raises:
        TypeError: If sources or targets are a single text.
        ValueError: If there are not as many, a text is longer than the model's
            positions, or the temperature is not above 0.
        FloatingPointError: If the model's logits are nan or infinite.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, build, confidences

        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
        translate = build(ByteTokenizer(), ByteTokenizer(), **small)
        sources = ["one", "two", "three"]
        targets = translate(sources, max_length=4)
        found = confidences(translate, sources, targets)
        worst = min(range(3), key=lambda place: found[place].mean_probability)
        print(sources[worst], targets[worst], found[worst])
        ```
    """
    if temperature is None:
        temperature = text_to_text.temperature
    scores = score_tokens(text_to_text, sources, targets, temperature, batch_size)
    tokens = tokens_of_rows(text_to_text.target_tokenizer, targets)
    return [
        # Of no token, which no end makes possible, nothing is uncertain.
        Confidence(float(np.exp(row.mean(dtype="float64") if row.size else 0)), *rest)
        for row, rest in zip(
            scores, zip(tokens, map(np.exp, scores), strict=True), strict=True
        )
    ]


def calibrate(
    text_to_text: TextToText,
    sources: Sequence[Text],
    targets: Sequence[Text],
    *,
    batch_size: int = 64,
) -> float:
    """Returns the temperature at which a model's probabilities are nearest to true.

    It is that of the least negative log-likelihood of the true texts' tokens, each
    given those before it, under `softmax(logits / temperature)`: above 1 of a model
    that is too sure. No text that is generated greedily changes by it.

    Args:
        text_to_text: A `TextToText`.
        sources: The source texts of a validation set, a list of `str` or UTF-8 `bytes`.
            Of texts that it was trained on a model is too sure.
        targets: Their true target texts, as many.
        batch_size: The number of pairs scored at once.

    Returns:
        The temperature, a float from 1/8 to 8.

    Raises:
        TypeError: If sources or targets are a single text.
        ValueError: If there are not as many, there are none, a text is longer than the
            model's positions, or the model finds all of their tokens impossible.
        FloatingPointError: If the model's logits are nan or infinite.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, build, calibrate, confidences

        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
        translate = build(ByteTokenizer(), ByteTokenizer(), **small)
        translate.temperature = calibrate(translate, ["one", "two"], ["eins", "zwei"])
        print(confidences(translate, ["three"], ["drei"]))
        ```

    Reference:
        Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2.
    """
    scores = score_tokens(text_to_text, sources, targets, _TEMPERATURES, batch_size)
    tokens = np.concatenate([np.zeros((0, len(_TEMPERATURES))), *scores])
    # What is impossible is so at each temperature.
    possible = tokens[np.isfinite(tokens).all(axis=1)]
    if not len(possible):
        raise ValueError(
            "A temperature is chosen on texts whose tokens the model finds possible; "
            f"received {len(scores)} pairs of texts with {len(tokens)} tokens, none of "
            "them possible. Give pairs of a validation set."
        )
    losses = -possible.mean(axis=0)
    best = int(losses.argmin())
    if 0 < best < len(losses) - 1:
        left, here, right = losses[best - 1 : best + 2]
        bend = left - 2 * here + right
        steps = best + ((left - right) / (2 * bend) if bend > 0 else 0)
    else:
        steps = best
    return float(_TEMPERATURES[0] * 2 ** (steps / 5))
