"""Samplers: each picks the next token from its logits and one random number."""

import dataclasses

import keras
from keras import ops


@dataclasses.dataclass(frozen=True)
class Sampler:
    """The base of samplers: subclass it and write `__call__`.

    A sampler is a frozen dataclass of its options and a pure function: the random
    number comes from outside, so that it compiles into a loop and gives the same ids
    on every backend.

    Call arguments:
        logits: `(B, V)`, float32; -inf for a token that is not to be picked.
        uniform: `(B,)`, float32, from 0 up to, not including, 1.

    Returns:
        The ids picked, `(B,)`, int32.

    Example:
        ```python
        import dataclasses
        import keras
        from keras import ops
        from keras_encdec import Sampler

        @keras.saving.register_keras_serializable(package="mine")
        @dataclasses.dataclass(frozen=True)
        class SecondBestSampler(Sampler):
            def __call__(self, logits, uniform):
                return ops.cast(ops.top_k(logits, 2)[1][:, 1], "int32")

        print(SecondBestSampler()(ops.array([[0.1, 0.7, 0.2]]), ops.array([0.5])))
        ```
    """

    def __call__(self, logits, uniform):
        """Returns the ids picked, `(B,)`, int32."""
        raise NotImplementedError(
            f"{type(self).__name__} must define __call__(logits, uniform), which "
            "returns the ids picked, (B,) int32."
        )

    def get_config(self):
        """Returns the options."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        """Builds a sampler from its options."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_encdec")
@dataclasses.dataclass(frozen=True)
class GreedySampler(Sampler):
    """Picks the most likely token, the first of equals.

    Example:
        ```python
        from keras import ops
        from keras_encdec import GreedySampler

        print(GreedySampler()(ops.array([[0.1, 0.7, 0.2]]), ops.array([0.5])))
        ```
    """

    def __call__(self, logits, uniform):
        """Returns the ids picked, `(B,)`, int32."""
        return ops.cast(ops.argmax(logits, axis=-1), "int32")


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

    def __post_init__(self):
        if not 0 < self.temperature < float("inf"):
            raise ValueError(
                "temperature must be above 0 and finite; received "
                f"{self.temperature!r}. For the most likely token at each step use "
                "GreedySampler."
            )

    def truncate(self, logits):
        """Returns the logits with -inf for tokens that are not to be drawn.

        Args:
            logits: `(B, V)`, float32, divided by the temperature.
        """
        return logits

    def __call__(self, logits, uniform):
        """Returns the ids picked, `(B,)`, int32."""
        # Below 0 before the division, which then cannot overflow to +inf.
        logits = logits - ops.max(logits, axis=-1, keepdims=True)
        weights = ops.exp(self.truncate(logits / self.temperature))
        # The inverse of the cumulative distribution, at one number for each row. Sums
        # done in parallel can grow by rounding where nothing is added, and a token of
        # no probability must not be picked.
        cumulative = ops.where(weights > 0, ops.cumsum(weights, axis=-1), 0.0)
        threshold = ops.expand_dims(uniform, -1) * ops.max(
            cumulative, axis=-1, keepdims=True
        )
        return ops.cast(ops.argmax(cumulative > threshold, axis=-1), "int32")


@keras.saving.register_keras_serializable(package="keras_encdec")
@dataclasses.dataclass(frozen=True)
class TopKSampler(RandomSampler):
    """Draws a token among the k most likely (and those equal to the kth).

    Args:
        temperature: As of `RandomSampler`.
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

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            raise ValueError(
                f"k must be an integer of at least 1; received {self.k!r}."
            )

    def truncate(self, logits):
        """Returns the logits with -inf below the kth largest."""
        largest = ops.top_k(logits, min(self.k, logits.shape[-1]))[0]
        return ops.where(logits < largest[:, -1:], -float("inf"), logits)


@keras.saving.register_keras_serializable(package="keras_encdec")
@dataclasses.dataclass(frozen=True)
class TopPSampler(RandomSampler):
    """Draws a token from the fewest likely ones whose probabilities reach p.

    Args:
        temperature: As of `RandomSampler`.
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

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.p <= 1:
            raise ValueError(f"p must be above 0 and at most 1; received {self.p!r}.")

    def truncate(self, logits):
        """Returns the logits with -inf below the last one needed to reach p."""
        ordered = ops.flip(ops.sort(logits, axis=-1), axis=-1)
        probabilities = ops.softmax(ordered, axis=-1)
        before = ops.cumsum(probabilities, axis=-1) - probabilities
        needed = ops.where(before < self.p, ordered, float("inf"))
        last = ops.min(needed, axis=-1, keepdims=True)
        return ops.where(logits < last, -float("inf"), logits)
