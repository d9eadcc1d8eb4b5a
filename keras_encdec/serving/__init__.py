"""Requests to TensorFlow Serving, over REST and gRPC, and its answers.

REST needs the standard library and NumPy alone; gRPC needs the extra `serving`.
"""

from keras_encdec.serving.client import ServingClient
from keras_encdec.serving.errors import ServingError
from keras_encdec.serving.grpc import predict_request
from keras_encdec.serving.rest import rest_answer, rest_body
from keras_encdec.serving.tensors import TensorSpec, cast_inputs, find_signature

__all__ = [
    "ServingClient",
    "ServingError",
    "TensorSpec",
    "cast_inputs",
    "find_signature",
    "predict_request",
    "rest_answer",
    "rest_body",
]
