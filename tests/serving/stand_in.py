"""A server that speaks TF Serving's REST and gRPC, as strictly, over one SavedModel.

It runs the model as TF Serving does, in a session of TensorFlow 1.
"""

import base64
import http.server
import json
import re
import threading
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc as service_pb2_grpc
from tensorflow_serving.apis.model_pb2 import ModelSpec

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "FAILED_PRECONDITION": 412,
    "INTERNAL": 500,
}
PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:predict")
STATUS = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata)?")


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, message, code="INVALID_ARGUMENT"):
        super().__init__(message)
        self.code = code


class StandIn:
    """A model server at `rest_address` and `grpc_address`; a context manager.

    Args:
        folder: The SavedModel. Its custom ops, such as those of `tensorflow_text`, must
            be imported.
        name: The name under which it serves the model.
        version: The model's version.
    """

    def __init__(self, folder, name="model", version=1):
        self.model = Model(folder, name, version)
        self.http = HttpServer(
            ("127.0.0.1", 0), type("_", (Rest,), {"model": self.model})
        )
        self.grpc = grpc.server(
            futures.ThreadPoolExecutor(16),
            options=[("grpc.max_receive_message_length", -1)],
        )
        service_pb2_grpc.add_PredictionServiceServicer_to_server(
            Grpc(self.model), self.grpc
        )
        self.rest_address = f"127.0.0.1:{self.http.server_port}"
        self.grpc_address = f"127.0.0.1:{self.grpc.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,))
        self.thread.start()
        self.grpc.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()
        self.grpc.stop(None).wait()
        self.model.session.close()


class Model:
    """A loaded SavedModel and its signatures."""

    def __init__(self, folder, name, version):
        self.spec = ModelSpec(name=name, version={"value": version})
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            tf.compat.v1.saved_model.load(self.session, ["serve"], str(folder))
        saved = SavedModel.FromString((Path(folder) / "saved_model.pb").read_bytes())
        self.signatures = saved.meta_graphs[0].signature_def

    def check(self, name, version):
        """Refuses requests for another model, or another version than this or None."""
        if name != self.spec.name or version not in (None, self.spec.version.value):
            asked = "Latest" if version is None else "Specific"
            servable = name if version is None else f"{name}, {version}"
            message = f"Servable not found for request: {asked}({servable})"
            raise Refused(message, "NOT_FOUND")

    def run(self, signature, inputs):
        """Returns a dict of arrays for a dict of arrays of the right names."""
        feeds = {}
        for name, array in inputs.items():
            info = signature.inputs[name]
            takes, sent = tf.as_dtype(info.dtype), tf.as_dtype(array.dtype)
            if takes != sent:
                raise Refused(
                    f"Expects {name} to be {takes.name} but {sent.name} is provided"
                )
            feeds[info.name] = array
        fetches = {name: info.name for name, info in signature.outputs.items()}
        try:
            return self.session.run(fetches, feeds)
        except (tf.errors.InvalidArgumentError, ValueError) as error:
            raise Refused(str(error)) from error
        except tf.errors.OpError as error:
            raise Refused(str(error), "INTERNAL") from error


class Grpc(service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model):
        self.model = model

    def Predict(self, request, context):
        return self._answer(self._predict, request, context)

    def GetModelMetadata(self, request, context):
        return self._answer(self._metadata, request, context)

    def _answer(self, method, request, context):
        version = request.model_spec.version
        version = version.value if request.model_spec.HasField("version") else None
        try:
            self.model.check(request.model_spec.name, version)
            return method(request)
        except Refused as error:
            context.abort(getattr(grpc.StatusCode, error.code), str(error))

    def _predict(self, request):
        name = request.model_spec.signature_name or "serving_default"
        if name not in self.model.signatures:
            message = f'Serving signature key "{name}" not found.'
            raise Refused(message, "FAILED_PRECONDITION")
        signature = self.model.signatures[name]
        sent, takes = set(request.inputs), set(signature.inputs)
        if len(sent) != len(takes):
            raise Refused(
                f"input size does not match signature: {len(sent)}!={len(takes)} "
                f"len({braced(sent)}) != len({braced(takes)}). Sent extra: "
                f"{braced(sent - takes)}. Missing but required: "
                f"{braced(takes - sent)}."
            )
        for alias in sorted(sent - takes):
            raise Refused(
                f"input tensor alias not found in signature: {alias}. Inputs expected "
                f"to be in the set {braced(takes)}."
            )
        inputs = {alias: tf.make_ndarray(request.inputs[alias]) for alias in sent}
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(self.model.spec)
        response.model_spec.signature_name = name
        for alias, array in self.model.run(signature, inputs).items():
            response.outputs[alias].CopyFrom(tf.make_tensor_proto(array))
        return response

    def _metadata(self, request):
        if not request.metadata_field:
            raise Refused(f"{type(request).__name__} must specify a metadata_field")
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in self.model.signatures.items():
            signatures.signature_def[name].CopyFrom(definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.CopyFrom(self.model.spec)
        response.metadata["signature_def"].Pack(signatures)
        return response


class HttpServer(http.server.ThreadingHTTPServer):
    # Python's 5 would let some of many clients wait for a second.
    request_queue_size = 128
    # `server_close` waits for the threads.
    daemon_threads = False


class Rest(http.server.BaseHTTPRequestHandler):
    model: Model

    def do_GET(self):
        self._answer(self._status)

    def do_POST(self):
        self._answer(self._predict)

    def log_message(self, *_):
        pass

    def _answer(self, method):
        try:
            status, answer = 200, method()
        except Refused as error:
            status, answer = HTTP_STATUS[error.code], {"error": str(error)}
        # Strings that are not UTF-8 are written as they are.
        content = json.dumps(answer, ensure_ascii=False, indent=4)
        content = content.encode("utf-8", "surrogateescape")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _match(self, pattern):
        match = pattern.fullmatch(self.path)
        if match is None:
            raise Refused(f"Malformed request: {self.command} {self.path}")
        version = match[2] and int(match[2])
        self.model.check(match[1], version)
        return match

    def _status(self):
        wants_metadata = self._match(STATUS)[3]
        version = str(self.model.spec.version.value)
        if not wants_metadata:
            status = {"error_code": "OK", "error_message": ""}
            state = {"version": version, "state": "AVAILABLE", "status": status}
            return {"model_version_status": [state]}
        signatures = {
            name: MessageToDict(
                definition,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            for name, definition in self.model.signatures.items()
        }
        spec = {"name": self.model.spec.name, "version": version}
        metadata = {"signature_def": {"signature_def": signatures}}
        return {"model_spec": {**spec, "signature_name": ""}, "metadata": metadata}

    def _predict(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self._match(PREDICT)
        try:
            body = json.loads(content.decode("utf-8", "surrogateescape"))
        except ValueError as error:
            raise Refused(f"JSON Parse error: {error}") from error
        if not isinstance(body, dict):
            raise Refused(f"JSON Value: {body} Is not object")
        name = body.get("signature_name", "serving_default")
        if name not in self.model.signatures:
            quoted = f'"{name}" not found in signature def'
            raise Refused(f"Serving signature name: {quoted}")
        signature = self.model.signatures[name]
        by_rows = "instances" in body
        if not by_rows and "inputs" not in body:
            raise Refused("Missing 'inputs' or 'instances' key")
        if by_rows and "inputs" in body:
            raise Refused("expecting only one of 'inputs' or 'instances' keys to exist")
        read = columns_of_instances if by_rows else columns_of_inputs
        columns = read(body["instances" if by_rows else "inputs"], signature)
        types = {
            name: tf.as_dtype(info.dtype) for name, info in signature.inputs.items()
        }
        try:
            inputs = {name: to_array(columns[name], types[name]) for name in columns}
        except (TypeError, ValueError) as error:
            # Neither text nor Base64.
            raise Refused(str(error)) from error
        outputs = self.model.run(signature, inputs)
        if by_rows:
            check_batch_sizes(outputs)
        answer = {name: to_json(array, name) for name, array in outputs.items()}
        if by_rows and len(answer) > 1:
            rows = zip(*answer.values(), strict=True)
            answer = [dict(zip(answer, row, strict=True)) for row in rows]
        elif len(answer) == 1:
            (answer,) = answer.values()
        return {"predictions" if by_rows else "outputs": answer}


def columns_of_instances(instances, signature):
    takes = set(signature.inputs)
    if not isinstance(instances, list):
        raise Refused("Excepting 'instances' to be an list/array")
    if not instances:
        raise Refused("No values in 'instances' array")
    if not isinstance(instances[0], dict) and len(takes) > 1:
        raise Refused(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    as_objects = is_object(instances[0])
    for i, instance in enumerate(instances):
        if is_object(instance) != as_objects:
            raise Refused(
                f"Expecting object but got list at item {i} of input list"
                if as_objects
                else f"Expecting value/list but got object at item {i} of input list"
            )
        if as_objects and set(instance) != takes:
            raise Refused(
                f"Failed to process element: {i} of 'instances' list. JSON object: "
                f"{instance} keys must be equal to: {','.join(sorted(takes))}"
            )
    if not as_objects:
        return dict.fromkeys(takes, instances)
    return {name: [instance[name] for instance in instances] for name in takes}


def columns_of_inputs(inputs, signature):
    takes = sorted(signature.inputs)
    if is_object(inputs):
        for name in takes:
            if name not in inputs:
                raise Refused(f"Missing named input: {name} in 'inputs' object.")
        # Those of other names are overlooked.
        return {name: inputs[name] for name in takes}
    if len(takes) > 1:
        raise Refused(
            "inputs is a plain value/list, but expecting an object as multiple input "
            "tensors required as per tensorinfo_map"
        )
    return dict.fromkeys(takes, inputs)


def to_array(value, dtype):
    """Makes an array of JSON in the shape of its first elements, or refuses it."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    leaves = [value]
    for level, size in enumerate(shape):
        for list_ in leaves:
            if not isinstance(list_, list) or len(list_) != size:
                raise Refused(
                    f"JSON Value: {list_} found at incorrect level: {level}, expected "
                    f"a list of size {size}"
                )
        leaves = [item for list_ in leaves for item in list_]
    array = np.empty(len(leaves), dtype.as_numpy_dtype)
    array[:] = [to_value(leaf, dtype) for leaf in leaves]
    return array.reshape(shape)


def to_value(value, dtype):
    # JSON gives no subclasses; a bool is no number there.
    kind = type(value)
    if dtype == tf.string and kind is str:
        return value.encode("utf-8", "surrogateescape")
    if dtype == tf.string and kind is dict and not is_object(value):
        return base64.b64decode(value["b64"], validate=True)
    if (
        (dtype == tf.bool and kind is bool)
        or (dtype.is_floating and kind in (int, float))
        or (dtype.is_integer and kind is int and dtype.min <= value <= dtype.max)
    ):
        return value
    raise Refused(
        f"JSON Value: {value} Type: {kind.__name__} is not of expected type: "
        f"{dtype.name}"
    )


def check_batch_sizes(outputs):
    expected = None
    for name, array in sorted(outputs.items()):
        if not array.ndim:
            raise Refused(f"Tensor name: {name} has no shape information ")
        if expected not in (None, len(array)):
            raise Refused(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} "
                f"expecting: {expected}"
            )
        expected = len(array)


def to_json(array, name):
    if array.dtype == object:
        values = [
            {"b64": base64.b64encode(item).decode()}
            if name.endswith("_bytes")
            else item.decode("utf-8", "surrogateescape")
            for item in array.flat
        ]
    elif array.dtype == np.float32:
        # In as few digits as tell it from other floats of 32 bits.
        values = [float(str(item)) for item in array.flat]
    else:
        return array.tolist()
    cells = np.empty(len(values), object)
    cells[:] = values
    return cells.reshape(array.shape).tolist()


def is_object(value):
    return isinstance(value, dict) and value.keys() != {"b64"}


def braced(names):
    return "{" + ",".join(sorted(names)) + "}"
