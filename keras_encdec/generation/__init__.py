"""Generation: loops over any object with `encode`, `new_cache` and `step`."""

from keras_encdec.generation.generator import Generator
from keras_encdec.generation.processors.repetition import (
    EncoderNoRepeatNGram,
    NoRepeatNGram,
    RepetitionPenalty,
)
from keras_encdec.generation.processors.tokens import (
    BadWords,
    ForcedFirst,
    ForcedLast,
    LogProbabilities,
    MaximumLength,
    MinimumLength,
    Processor,
    SuppressTokens,
)
from keras_encdec.generation.random_numbers import row_seeds, uniform
from keras_encdec.generation.samplers.beam_search import BeamSampler
from keras_encdec.generation.samplers.combined import CombinedSampler
from keras_encdec.generation.samplers.contrastive import ContrastiveSampler
from keras_encdec.generation.samplers.interface import Sampler
from keras_encdec.generation.samplers.lookup import LookupSampler
from keras_encdec.generation.samplers.token_samplers import (
    GreedySampler,
    MinPSampler,
    PerRowSampler,
    RandomSampler,
    TopKSampler,
    TopPSampler,
    TypicalSampler,
)
from keras_encdec.generation.scoring import align, score
from keras_encdec.generation.shortlist import Shortlist
from keras_encdec.generation.task import Generated, Step, generate

__all__ = [
    "BadWords",
    "BeamSampler",
    "CombinedSampler",
    "ContrastiveSampler",
    "EncoderNoRepeatNGram",
    "ForcedFirst",
    "ForcedLast",
    "Generated",
    "Generator",
    "GreedySampler",
    "LogProbabilities",
    "LookupSampler",
    "MaximumLength",
    "MinPSampler",
    "MinimumLength",
    "NoRepeatNGram",
    "PerRowSampler",
    "Processor",
    "RandomSampler",
    "RepetitionPenalty",
    "Sampler",
    "Shortlist",
    "Step",
    "SuppressTokens",
    "TopKSampler",
    "TopPSampler",
    "TypicalSampler",
    "align",
    "generate",
    "row_seeds",
    "score",
    "uniform",
]
