"""What `compile` and `fit` need: losses, metrics and learning rate schedules."""

from keras_encdec.training.losses import TokenCrossEntropy
from keras_encdec.training.metrics import Perplexity, TokenAccuracy
from keras_encdec.training.schedules import InverseSquareRoot

__all__ = [
    "InverseSquareRoot",
    "Perplexity",
    "TokenAccuracy",
    "TokenCrossEntropy",
]
