"""The ways out: a SavedModel for TF Serving, and other formats."""

from keras_encdec.export.ctranslate2 import export_ctranslate2
from keras_encdec.export.litert import export_litert
from keras_encdec.export.onnx import export_onnx
from keras_encdec.export.openvino import export_openvino
from keras_encdec.export.saved_model import export_saved_model
from keras_encdec.export.signatures import SIGNATURES
from keras_encdec.export.warm_up import write_warm_up

__all__ = [
    "SIGNATURES",
    "export_ctranslate2",
    "export_litert",
    "export_onnx",
    "export_openvino",
    "export_saved_model",
    "write_warm_up",
]
