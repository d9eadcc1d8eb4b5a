"""Encoder-decoder Transformers for Keras 3, from `fit` to TF Serving.

What works on text needs TensorFlow and is imported when first used, so that the rest
runs where it is not installed.
"""

import importlib

from keras_encdec import generation, layers, training
from keras_encdec.generation import (
    BeamSampler,
    ContrastiveSampler,
    Generator,
    GreedySampler,
    MinPSampler,
    RandomSampler,
    Sampler,
    TopKSampler,
    TopPSampler,
    TypicalSampler,
)
from keras_encdec.layers import (
    Attention,
    DecoderBlock,
    EncoderBlock,
    FeedForward,
    TokenEmbedding,
)
from keras_encdec.model import EncoderDecoder
from keras_encdec.training import (
    InverseSquareRoot,
    Perplexity,
    TokenAccuracy,
    TokenCrossEntropy,
)

__version__ = "0.2.0"

_NEED_TENSORFLOW = {
    "ByteTokenizer": "keras_encdec.text",
    "CharacterTokenizer": "keras_encdec.text",
    "SentencePieceTokenizer": "keras_encdec.text",
    "TextToText": "keras_encdec.text_to_text",
    "WordTokenizer": "keras_encdec.text",
    "export_saved_model": "keras_encdec.export",
    "read_pairs": "keras_encdec.text",
    "teacher_forcing": "keras_encdec.text",
    "text_dataset": "keras_encdec.text",
}

__all__ = [
    "Attention",
    "BeamSampler",
    "ContrastiveSampler",
    "DecoderBlock",
    "EncoderBlock",
    "EncoderDecoder",
    "FeedForward",
    "Generator",
    "GreedySampler",
    "InverseSquareRoot",
    "MinPSampler",
    "Perplexity",
    "RandomSampler",
    "Sampler",
    "TokenAccuracy",
    "TokenCrossEntropy",
    "TokenEmbedding",
    "TopKSampler",
    "TopPSampler",
    "TypicalSampler",
    "generation",
    "layers",
    "training",
    *_NEED_TENSORFLOW,
]


def __getattr__(name):
    if name not in _NEED_TENSORFLOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_NEED_TENSORFLOW[name]), name)


def __dir__():
    return sorted({*globals(), *__all__})
