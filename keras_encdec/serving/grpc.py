"""TF Serving's gRPC API, which needs the extra `serving`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_encdec.annotations import KerasModel
from keras_encdec.serving.errors import refused, timed_out, unreachable
from keras_encdec.serving.tensors import TensorSpec, as_strings


def predict_request(
    inputs: Mapping[str, Any], signature: str, model: str, version: int | None = None
) -> Any:
    """Writes a request as the gRPC API takes it.

    Args:
        inputs: A dict from input names to arrays of the signature's dtypes; strings
            are arrays of `object`.
        signature: The signature's name.
        model: The model's name.
        version: Its version, an int; by default the latest.

    Returns:
        A `tensorflow_serving.apis.predict_pb2.PredictRequest`.

    Raises:
        ImportError: If the extra `serving` is not installed.

    Example:
        ```python
        import numpy as np
        from keras_encdec.serving import predict_request

        text = np.array([b"one", b"two"], object)
        print(predict_request({"text": text}, "serving_default", "g2p"))
        ```

    References:
        - [predict.proto](https://github.com/tensorflow/serving/blob/master/tensorflow_serving/apis/predict.proto)
    """
    import_serving_api()
    from tensorflow import make_tensor_proto
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    request = PredictRequest()
    _set_model(request.model_spec, model, version)
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(make_tensor_proto(array))
    return request


def import_serving_api() -> Any:
    """Imports what gRPC and warm-up records need, or says how to install it."""
    try:
        import tensorflow_serving.apis.prediction_service_pb2_grpc  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "gRPC and warm-up records need tensorflow-serving-api; it could not be "
            f"imported ({error}). Install it with `pip install "
            "'keras-encdec[serving]'`; REST does without."
        ) from error


def _set_model(model_spec: Any, model: str, version: int | None) -> None:
    model_spec.name = model
    if version is not None:
        model_spec.version.value = version


class GrpcConnection:
    """Speaks gRPC with one server about one model."""

    def __init__(
        self, address: str, model: KerasModel, version: int | None, timeout: float
    ) -> None:
        import_serving_api()
        import grpc
        from tensorflow_serving.apis.prediction_service_pb2_grpc import (
            PredictionServiceStub,
        )

        self.address = address
        self.model = model
        self.version = version
        self.timeout = timeout
        options = [
            # Logits easily exceed the 4 MiB that gRPC accepts by default.
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.enable_http_proxy", 0),
        ]
        self.stub = PredictionServiceStub(grpc.insecure_channel(address, options))

    def signatures(self) -> Any:
        """Returns the model's signatures, the JSON of `SignatureDef`s by name."""
        from google.protobuf.json_format import MessageToDict
        from tensorflow_serving.apis import get_model_metadata_pb2 as metadata_pb2

        request = metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        _set_model(request.model_spec, self.model, self.version)
        response = self._call(self.stub.GetModelMetadata, request)
        signatures = metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        signatures = MessageToDict(signatures, preserving_proto_field_name=True)
        return signatures["signature_def"]

    def predict(
        self,
        inputs: Mapping[str, Any],
        signature: str,
        outputs: Mapping[str, TensorSpec],
    ) -> dict[str, np.ndarray]:
        """Returns the outputs for inputs that fit the signature."""
        from tensorflow import make_ndarray

        request = predict_request(inputs, signature, self.model, self.version)
        response = self._call(self.stub.Predict, request)
        return {
            name: as_strings(array, name) if array.dtype == object else array
            for name, array in (
                (name, make_ndarray(response.outputs[name])) for name in outputs
            )
        }

    def _call(self, method: Any, request: Any) -> Any:
        import grpc

        try:
            return method(request, timeout=self.timeout)
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise timed_out(self.address, self.timeout) from error
            if code == grpc.StatusCode.UNAVAILABLE:
                raise unreachable(self.address, details) from error
            raise refused(self.address, code.name, details) from error
