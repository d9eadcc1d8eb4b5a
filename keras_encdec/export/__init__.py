"""The ways out: a SavedModel for TF Serving, and other formats."""

from keras_encdec.export.saved_model import export_saved_model
from keras_encdec.export.signatures import SIGNATURES
from keras_encdec.export.warm_up import write_warm_up

__all__ = ["SIGNATURES", "export_saved_model", "write_warm_up"]
