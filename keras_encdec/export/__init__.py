"""The ways out: a SavedModel for TF Serving, and other formats."""

from keras_encdec.export.saved_model import export_saved_model

__all__ = ["export_saved_model"]
