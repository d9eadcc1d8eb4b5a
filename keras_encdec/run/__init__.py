"""A training from pairs of texts to the best model, which a kill only interrupts."""

from keras_encdec.run.folder import ADAPTER_FILE, RunFolder
from keras_encdec.run.training import train

__all__ = ["ADAPTER_FILE", "RunFolder", "train"]
