"""Samplers: each picks the next token from its logits and one random number."""

import dataclasses
import math

import keras
from keras import ops

from keras_encdec.annotations import Tensor
from keras_encdec.backend import first_true, take_of_each
from keras_encdec.generation.samplers.interface import Sampler
from keras_encdec.generation.samplers.top_k import argmax, largest, top_k
from keras_encdec.option_checks import require_positive, require_share


@keras.saving.register_keras_serializable(package="keras_encdec")
@dataclasses.dataclass(frozen=True)
class GreedySampler(Sampler):
    """Picks the most likely token, the first of equals; one sequence for a source.

    Example:
        ```python
        from keras import ops
        from keras_encdec import GreedySampler

        print(GreedySampler()(ops.array([[0.1, 0.7, 0.2]]), ops.array([0.5])))
        ```
    """

    def __call__(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Returns the ids picked, `(B,)`, int32."""
        return argmax(logits)

    def rows_per_source(self, num_return_sequences: int) -> int:
        """Returns 1, for all rows would be alike."""
        if num_return_sequences > 1:
            raise ValueError(
                "GreedySampler gives one sequence for a source; received "
                f"num_return_sequences={num_return_sequences}. Use a RandomSampler, or "
                "a BeamSampler for the n best."
            )
        return 1


@keras.saving.register_keras_serializable(package="keras_encdec")
@dataclasses.dataclass(frozen=True)
class RandomSampler(Sampler):
    """Draws a token from the distribution that the logits give.

    Subclasses narrow the distribution with `truncate`.

    Args:
        temperature: What the logits are divided by, above 0: below 1 the draw is
            nearer to the greedy one, above 1 nearer to chance.

    Raises:
        ValueError: If the temperature is not above 0, or not finite.

    Example:
        ```python
        from keras import ops
        from keras_encdec import RandomSampler

        sampler = RandomSampler(temperature=0.7)
        print(sampler(ops.array([[0.1, 0.7, 0.2]]), ops.array([0.5])))
        ```
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ValueError(
                "temperature must be above 0 and finite; received "
                f"{self.temperature!r}. For the most likely token at each step use "
                "GreedySampler."
            )

    def truncate(self, logits: Tensor) -> Tensor:
        """Returns the logits with -inf for tokens that are not to be drawn.

        Args:
            logits: `(B, V)`, float32, divided by the temperature.
        """
        return logits

    def __call__(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Returns the ids picked, `(B,)`, int32."""
        # Below 0 before the division, which then cannot overflow to +inf.
        logits = logits - largest(logits)[..., None]
        weights = ops.exp(self.truncate(logits / self.temperature))
        # The inverse of the cumulative distribution, at one number for each row. Sums
        # done in parallel can grow by rounding where nothing is added, and a token of
        # no probability must not be picked.
        cumulative = ops.where(weights > 0, ops.cumsum(weights, axis=-1), 0.0)
        threshold = ops.expand_dims(uniform, -1) * ops.max(
            cumulative, axis=-1, keepdims=True
        )
        return first_true(cumulative > threshold)


@keras.saving.register_keras_serializable(package="keras_encdec")
@dataclasses.dataclass(frozen=True)
class TopKSampler(RandomSampler):
    """Draws a token among the k most likely (and those equal to the kth).

    Args:
        temperature: As in `RandomSampler`.
        k: The number of tokens, at least 1; above the vocabulary all are kept.

    Raises:
        ValueError: If `k` is not a positive integer or the temperature not above 0.

    Example:
        ```python
        from keras import ops
        from keras_encdec import TopKSampler

        print(TopKSampler(k=2)(ops.array([[0.1, 0.7, 0.2]]), ops.array([0.5])))
        ```

    Reference:
        Fan et al. 2018, Hierarchical Neural Story Generation.
    """

    k: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(k=self.k)

    def truncate(self, logits: Tensor) -> Tensor:
        """Returns the logits with -inf below the kth largest."""
        size = logits.shape[-1]  # None of a shortlist within a graph.
        k = ops.minimum(self.k, ops.shape(logits)[-1]) if size is None else self.k
        largest = top_k(logits, k if size is None else min(k, size))[0]
        return ops.where(logits < largest[:, -1:], -float("inf"), logits)


@keras.saving.register_keras_serializable(package="keras_encdec")
@dataclasses.dataclass(frozen=True)
class TopPSampler(RandomSampler):
    """Draws a token from the fewest likely ones whose probabilities reach p.

    Args:
        temperature: As in `RandomSampler`.
        p: The probability to reach, above 0 and up to 1.

    Raises:
        ValueError: If `p` is out of its range or the temperature not above 0.

    Example:
        ```python
        from keras import ops
        from keras_encdec import TopPSampler

        print(TopPSampler(p=0.9)(ops.array([[0.1, 0.7, 0.2]]), ops.array([0.5])))
        ```

    Reference:
        Holtzman et al. 2020, The Curious Case of Neural Text Degeneration.
    """

    p: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(p=self.p)

    def truncate(self, logits: Tensor) -> Tensor:
        """Returns the logits with -inf below the last one needed to reach p."""
        ordered = ops.flip(ops.sort(logits, axis=-1), axis=-1)
        last = _last_to_reach(self.p, ordered)
        return ops.where(logits < last, -float("inf"), logits)


@keras.saving.register_keras_serializable(package="keras_encdec")
@dataclasses.dataclass(frozen=True)
class MinPSampler(RandomSampler):
    """Draws a token among those at least p times as likely as the likeliest.

    Args:
        temperature: As in `RandomSampler`.
        p: The share of the likeliest token's probability, above 0 and up to 1.

    Raises:
        ValueError: If `p` is out of its range or the temperature not above 0.

    Example:
        ```python
        from keras import ops
        from keras_encdec import MinPSampler

        print(MinPSampler(p=0.1)(ops.array([[0.1, 0.7, 0.2]]), ops.array([0.5])))
        ```

    Reference:
        Nguyen et al. 2024, Turning Up the Heat: Min-p Sampling.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(p=self.p)

    def truncate(self, logits: Tensor) -> Tensor:
        """Returns the logits with -inf below the bar."""
        bar = ops.max(logits, axis=-1, keepdims=True) + math.log(self.p)
        return ops.where(logits < bar, -float("inf"), logits)


@keras.saving.register_keras_serializable(package="keras_encdec")
@dataclasses.dataclass(frozen=True)
class TypicalSampler(RandomSampler):
    """Draws a token among the most typical ones whose probabilities reach p.

    A token is typical if its information, -log of its probability, is near what is
    expected, the entropy.

    Args:
        temperature: As in `RandomSampler`.
        p: The probability to reach, above 0 and up to 1.

    Raises:
        ValueError: If `p` is out of its range or the temperature not above 0.

    Example:
        ```python
        from keras import ops
        from keras_encdec import TypicalSampler

        print(TypicalSampler(p=0.9)(ops.array([[0.1, 0.7, 0.2]]), ops.array([0.5])))
        ```

    Reference:
        Meister et al. 2023, Locally Typical Sampling.
    """

    p: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(p=self.p)

    def truncate(self, logits: Tensor) -> Tensor:
        """Returns the logits with -inf for what is less typical than needed."""
        log_probabilities = ops.log_softmax(logits)
        probabilities = ops.exp(log_probabilities)
        terms = ops.where(probabilities > 0, probabilities * log_probabilities, 0.0)
        entropy = -ops.sum(terms, axis=-1, keepdims=True)
        distance = ops.abs(-log_probabilities - entropy)
        order = ops.argsort(distance, axis=-1)
        ordered = take_of_each(probabilities, order)
        before = ops.cumsum(ordered, axis=-1) - ordered
        farthest = ops.where(before < self.p, take_of_each(distance, order), -1.0)
        farthest = ops.max(farthest, axis=-1, keepdims=True)
        return ops.where(distance > farthest, -float("inf"), logits)


@dataclasses.dataclass(frozen=True, eq=False)
class PerRowSampler(Sampler):
    """Draws with a temperature, k and p of its own for each row, which are tensors.

    It serves inside a graph that takes them as inputs, and is neither compared nor
    saved. With the same options for all rows it draws what `RandomSampler`,
    `TopKSampler` or `TopPSampler` draw; with both k and p, p is reached among the k.

    Args:
        temperature: `(R,)`, float32; a row with 0 or less takes the most likely token.
        k: `(R,)`, int32; a row with 0 or less has no such limit.
        p: `(R,)`, float32; a row with 0 or less, or 1 or more, has no such limit.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation import PerRowSampler

        temperature, k, p = ops.array([0.0, 1.0]), ops.array([0, 2]), ops.ones(2)
        logits = ops.array([[0.1, 0.7, 0.2], [0.1, 0.7, 0.2]])
        print(PerRowSampler(temperature, k, p)(logits, ops.array([0.5, 0.9])))
        ```
    """

    temperature: Tensor
    k: Tensor
    p: Tensor

    @property
    def rows_may_leave(self) -> bool:
        """False: the options are those of all rows."""
        return False

    def __call__(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Returns the ids picked, `(R,)`, int32."""
        temperature, k, p = (x[:, None] for x in (self.temperature, self.k, self.p))
        hot = temperature > 0
        likely = argmax(logits)
        logits = logits - ops.max(logits, axis=-1, keepdims=True)
        logits = logits / ops.where(hot, temperature, 1.0)
        size = ops.shape(logits)[-1]
        ordered = ops.flip(ops.sort(logits, axis=-1), axis=-1)
        places = ops.where(k > 0, ops.minimum(k, size), size) - 1
        kth = take_of_each(ordered, places)
        among = ops.where(ordered < kth, -float("inf"), ordered)
        share = ops.where(ops.logical_and(p > 0, p < 1), p, float("inf"))
        last = ops.maximum(kth, _last_to_reach(share, among))
        kept = ops.where(logits < last, -float("inf"), logits)
        drawn = RandomSampler()(kept, uniform)
        return ops.where(hot[:, 0], drawn, likely)


def _last_to_reach(p: float | Tensor, ordered: Tensor) -> Tensor:
    """The logit `(R, 1)` of the last token needed to reach p, the largest first."""
    probabilities = ops.softmax(ordered, axis=-1)
    before = ops.cumsum(probabilities, axis=-1) - probabilities
    needed = ops.where(before < p, ordered, float("inf"))
    return ops.min(needed, axis=-1, keepdims=True)
