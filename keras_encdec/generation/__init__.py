"""Generation: loops over any object with `encode`, `new_cache` and `step`."""

from keras_encdec.generation.generator import Generator, generate
from keras_encdec.generation.random_numbers import row_seeds, uniform
from keras_encdec.generation.samplers import (
    GreedySampler,
    RandomSampler,
    Sampler,
    TopKSampler,
    TopPSampler,
)

__all__ = [
    "Generator",
    "GreedySampler",
    "RandomSampler",
    "Sampler",
    "TopKSampler",
    "TopPSampler",
    "generate",
    "row_seeds",
    "uniform",
]
