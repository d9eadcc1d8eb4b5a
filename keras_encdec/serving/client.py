"""A client of model servers: lists in, arrays out, over either protocol."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from keras_encdec.annotations import KerasModel
from keras_encdec.serving.grpc import GrpcConnection
from keras_encdec.serving.rest import RestConnection
from keras_encdec.serving.tensors import cast_inputs, find_signature

PROTOCOLS = {"rest": RestConnection, "grpc": GrpcConnection}


class ServingClient:
    """Asks a model server for predictions.

    The names and types of the model's signatures are read from the server at the first
    call, hence lists are enough: numbers are sent with the dtypes it takes. A client
    may be shared among threads. It speaks without TLS and through no proxy.

    Args:
        address: Host and port, such as `"localhost:8501"`; TF Serving's ports are by
            default 8501 for REST and 8500 for gRPC.
        model: The model's name.
        version: Its version, an int; by default the latest.
        protocol: `"rest"`, or `"grpc"`, which needs the extra `serving`.
        timeout: The seconds to wait for the server.

    Raises:
        ImportError: If gRPC is asked for and not installed.
        ValueError: If `address` or `protocol` is not of this form.

    Example:
        ```python
        from keras_encdec.serving import ServingClient, ServingError

        client = ServingClient("localhost:8501", "g2p", timeout=5)
        try:
            print(client.predict({"text": ["hello", "world"]})["text"])
        except (ConnectionError, ServingError) as error:  # Where no server runs.
            print(error)
        ```

    References:
        - [TensorFlow Serving's RESTful
          API](https://www.tensorflow.org/tfx/serving/api_rest)
    """

    def __init__(
        self,
        address: str,
        model: KerasModel,
        *,
        version: int | None = None,
        protocol: Literal["rest", "grpc"] = "rest",
        timeout: float = 60.0,
    ) -> None:
        host, _, port = address.rpartition(":")
        if not host or "/" in host or not port.isdecimal():
            raise ValueError(
                "address must be a host and a port without a scheme; received "
                f"{address!r}. Write it like 'localhost:8501'."
            )
        if protocol not in PROTOCOLS:
            raise ValueError(
                f"protocol must be one of {', '.join(PROTOCOLS)}; received "
                f"{protocol!r}."
            )
        self._connection: Any = PROTOCOLS[protocol](address, model, version, timeout)
        self._signatures = None

    def predict(
        self, inputs: Mapping[str, Any], signature: str = "serving_default"
    ) -> dict[str, np.ndarray]:
        """Returns what a signature answers.

        Args:
            inputs: A dict from the signature's input names to lists or arrays, the
                batch first; strings are `str` or `bytes`.
            signature: The signature's name.

        Returns:
            A dict from its output names to arrays. Strings are `bytes` where a name
            ends in `_bytes`, and elsewhere `str`, in which bytes that are not UTF-8
            are U+FFFD.

        Raises:
            ConnectionError: If the server cannot be reached.
            ServingError: If the server refuses the request.
            TimeoutError: If it does not answer in time.
            TypeError: If values are not of the type that the signature takes.
            ValueError: If there is no such signature, or names or values do not fit.
        """
        if self._signatures is None:
            self._signatures = self._connection.signatures()
        takes, gives = find_signature(self._signatures, signature)
        inputs = cast_inputs(inputs, takes, signature)
        return self._connection.predict(inputs, signature, gives)
