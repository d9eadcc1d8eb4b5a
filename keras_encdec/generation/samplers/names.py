"""What is taken for a sampler: one, its name, or one of KerasHub's."""

import difflib
from typing import Any

from keras_encdec.generation.samplers.beam_search import BeamSampler
from keras_encdec.generation.samplers.contrastive import ContrastiveSampler
from keras_encdec.generation.samplers.interface import Sampler
from keras_encdec.generation.samplers.keras_hub import KerasHubSampler, is_keras_hub
from keras_encdec.generation.samplers.lookup import LookupSampler
from keras_encdec.generation.samplers.token_samplers import (
    GreedySampler,
    MinPSampler,
    RandomSampler,
    TopKSampler,
    TopPSampler,
    TypicalSampler,
)

SAMPLERS = {
    "greedy": GreedySampler,
    "beam": BeamSampler,
    "random": RandomSampler,
    "top_k": TopKSampler,
    "top_p": TopPSampler,
    "min_p": MinPSampler,
    "typical": TypicalSampler,
    "contrastive": ContrastiveSampler,
    "lookup": LookupSampler,
}


def sampler_of(sampler: Any = None, **options: Any) -> Any:
    """Returns the sampler that is meant.

    Args:
        sampler: A `Sampler`; or a name, such as `"beam"` or `"top_k"`; or one of
            `keras_hub.samplers`; None is greedy.
        **options: With a name, arguments of its class.

    Returns:
        A `Sampler`.

    Raises:
        ValueError: If there is no sampler of the name.
        TypeError: If it is something else.

    Example:
        ```python
        from keras_encdec.generation.samplers.names import sampler_of

        print(sampler_of("top_k", k=3))  # TopKSampler(temperature=1.0, k=3)
        ```
    """
    if sampler is None:
        sampler = "greedy"
    if isinstance(sampler, str):
        name = sampler.replace("-", "_")
        if name not in SAMPLERS:
            near = difflib.get_close_matches(name, SAMPLERS, 1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"The name of a sampler must be one of {', '.join(SAMPLERS)}; received "
                f"{sampler!r}.{meant}"
            )
        return SAMPLERS[name](**options)
    if is_keras_hub(sampler):
        return KerasHubSampler(sampler)
    if not isinstance(sampler, Sampler):
        raise TypeError(
            "A sampler must be an object such as TopKSampler(k=5), a name such as "
            f"'top_k', or one of keras_hub.samplers; received {sampler!r}."
        )
    return sampler
