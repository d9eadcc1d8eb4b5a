"""TF Serving's REST API: the forms of requests and answers, and their transport."""

import base64
import http.client
import json
import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_encdec.annotations import KerasModel
from keras_encdec.serving.errors import ServingError, refused, timed_out, unreachable
from keras_encdec.serving.tensors import (
    TensorSpec,
    as_array,
    as_strings,
    complete_shape,
)


def rest_body(
    inputs: Mapping[str, Any],
    signature: str = "serving_default",
    *,
    row_format: bool = True,
) -> dict[str, Any]:
    r"""Writes a request as the REST API takes it.

    Args:
        inputs: A dict from input names to lists or arrays, the batch first.
        signature: The signature's name.
        row_format: Whether to write `instances`, one for each row of the batch, or
            `inputs`, one for each name.

    Returns:
        The JSON object, a dict. Strings are written as text, and as `{"b64": ...}` if
        they are not UTF-8.

    Raises:
        TypeError: If values are neither strings nor numbers.
        ValueError: If the rows differ in shape, or the form cannot hold the batch.

    Example:
        ```python
        from keras_encdec.serving import rest_body

        print(rest_body({"text": ["one", b"\xff"], "seed": [1, 2]}, "sample"))
        ```

    References:
        - [TensorFlow Serving's RESTful
          API](https://www.tensorflow.org/tfx/serving/api_rest)
    """
    arrays = {name: as_array(value, name) for name, value in inputs.items()}
    for name, array in arrays.items():
        if 0 in array.shape[:-1]:
            raise ValueError(
                f"JSON cannot write the shape of an empty array; {name} has the shape "
                f"{array.shape}. Leave such a batch out, or use gRPC."
            )
    columns = {name: _json_values(array) for name, array in arrays.items()}
    if not row_format:
        return {"signature_name": signature, "inputs": columns}
    sizes = {name: array.shape[:1] for name, array in arrays.items()}
    if len(set(sizes.values())) != 1 or {(), (0,)} & set(sizes.values()):
        raise ValueError(
            "Rows need inputs of one batch size, at least 1; received the shapes "
            f"{ {name: array.shape for name, array in arrays.items()} }. Give each "
            "input a value for each row, or use row_format=False."
        )
    if len(columns) == 1:
        (instances,) = columns.values()
    else:
        instances = [
            dict(zip(columns, row, strict=True))
            for row in zip(*columns.values(), strict=True)
        ]
    return {"signature_name": signature, "instances": instances}


def rest_answer(
    answer: Mapping[str, Any], outputs: Mapping[str, TensorSpec]
) -> dict[str, np.ndarray]:
    """Reads an answer of the REST API, by rows or by columns.

    Args:
        answer: The JSON object, a dict.
        outputs: A dict from the signature's output names to `TensorSpec`s.

    Returns:
        A dict from names to arrays, as `ServingClient.predict` returns it.

    Raises:
        ServingError: If the answer does not hold these outputs.

    Example:
        ```python
        import numpy as np
        from keras_encdec.serving import TensorSpec, rest_answer

        outputs = {"text": TensorSpec(np.dtype(object), (-1,))}
        print(rest_answer({"predictions": ["one", "two"]}, outputs))
        ```

    References:
        - [TensorFlow Serving's RESTful
          API](https://www.tensorflow.org/tfx/serving/api_rest)
    """
    try:
        if "predictions" in answer:
            columns = rows = answer["predictions"]
            if len(outputs) > 1:
                columns = {name: [row[name] for row in rows] for name in outputs}
        else:
            columns = answer["outputs"]
        if len(outputs) == 1:
            # A single output comes without its name.
            columns = dict.fromkeys(outputs, columns)
        return {
            name: _read(columns[name], name, spec) for name, spec in outputs.items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ServingError(
            "An answer must hold 'predictions' or 'outputs' with "
            f"{', '.join(outputs)}; received {answer!r:.200}. If the server has "
            "changed its model, make a new client."
        ) from error


def _json_values(array: np.ndarray) -> Any:
    if array.dtype != object:
        return array.tolist()
    values = np.empty(array.size, object)
    values[:] = [_json_string(item) for item in array.flat]
    return values.reshape(array.shape).tolist()


def _json_string(item: Any) -> Any:
    try:
        return item.decode("utf-8")
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(item).decode("ascii")}


def _read(values: Any, name: str, spec: TensorSpec) -> Any:
    array = complete_shape(np.array(values, spec.dtype), spec)
    if array.dtype == object:
        items = np.empty(array.size, object)
        items[:] = [_received_bytes(item) for item in array.flat]
        array = as_strings(items.reshape(array.shape), name)
    return array


def _received_bytes(item: Any) -> Any:
    return base64.b64decode(item["b64"]) if isinstance(item, dict) else item.encode()


class RestConnection:
    """Speaks REST with one server about one model."""

    def __init__(
        self, address: str, model: KerasModel, version: int | None, timeout: float
    ) -> None:
        self.address = address
        self.timeout = timeout
        self.path = f"/v1/models/{urllib.parse.quote(model, safe='')}"
        if version is not None:
            self.path += f"/versions/{version}"

    def signatures(self) -> Any:
        """Returns the model's signatures, the JSON of `SignatureDef`s by name."""
        metadata = self._exchange("GET", "/metadata")["metadata"]
        return metadata["signature_def"]["signature_def"]

    def predict(
        self,
        inputs: Mapping[str, Any],
        signature: str,
        outputs: Mapping[str, TensorSpec],
    ) -> dict[str, np.ndarray]:
        """Returns the outputs for inputs that fit the signature."""
        # By columns, the one form that also has an empty batch.
        body = json.dumps(rest_body(inputs, signature, row_format=False))
        return rest_answer(self._exchange("POST", ":predict", body), outputs)

    def _exchange(self, method: Any, suffix: str, body: Any = None) -> Any:
        # A connection for each exchange: threads share nothing.
        connection = http.client.HTTPConnection(self.address, timeout=self.timeout)
        headers = {"Content-Type": "application/json"}
        try:
            connection.request(method, self.path + suffix, body, headers)
            response = connection.getresponse()
            # The server writes strings as they are, even those that are not UTF-8.
            content = response.read().decode("utf-8", "replace")
        except TimeoutError as error:
            raise timed_out(self.address, self.timeout) from error
        except (OSError, http.client.HTTPException) as error:
            raise unreachable(self.address, error) from error
        finally:
            connection.close()
        try:
            answer = json.loads(content)
        except ValueError:
            answer = content
        readable = isinstance(answer, dict)
        if readable and response.status == 200 and "error" not in answer:
            return answer
        message = answer.get("error", content) if readable else content
        raise refused(self.address, response.status, str(message))
