"""Keras's model where it is one of token ids: its verbs checked, saved to train on."""

from keras_encdec.keras_model.checks import CheckedModel
from keras_encdec.keras_model.data import as_array
from keras_encdec.keras_model.saving import RestoredModel

__all__ = ["CheckedModel", "RestoredModel", "as_array"]
