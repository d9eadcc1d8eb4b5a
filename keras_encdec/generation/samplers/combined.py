"""A sampler that narrows a distribution in several ways, one after the other."""

import dataclasses
from typing import Any

import keras

from keras_encdec.annotations import Tensor
from keras_encdec.generation.samplers.token_samplers import (
    MinPSampler,
    RandomSampler,
    TopKSampler,
    TopPSampler,
    TypicalSampler,
)


@keras.saving.register_keras_serializable(package="keras_encdec")
@dataclasses.dataclass(frozen=True)
class CombinedSampler(RandomSampler):
    """Draws among the tokens that several limits leave, each reached among the last's.

    Args:
        temperature: As in `RandomSampler`.
        k: As in `TopKSampler`, the first limit; None for none.
        p: As in `TopPSampler`, the next.
        min_p: As in `MinPSampler`, the next.
        typical_p: As in `TypicalSampler`, the last.

    Raises:
        ValueError: As those do.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation import CombinedSampler

        sampler = CombinedSampler(temperature=0.7, k=2, p=0.9)
        print(sampler(ops.array([[0.1, 0.7, 0.2]]), ops.array([0.5])))
        ```
    """

    k: int | None = None
    p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.limits()

    def limits(self) -> list[RandomSampler]:
        """Returns the sampler of each limit, in turn."""
        limits: tuple[tuple[type[RandomSampler], str, Any], ...] = (
            (TopKSampler, "k", self.k),
            (TopPSampler, "p", self.p),
            (MinPSampler, "p", self.min_p),
            (TypicalSampler, "p", self.typical_p),
        )
        return [kind(**{name: x}) for kind, name, x in limits if x is not None]

    def truncate(self, logits: Tensor) -> Tensor:
        """Returns the logits with -inf for tokens that a limit leaves out."""
        for sampler in self.limits():
            logits = sampler.truncate(logits)
        return logits
