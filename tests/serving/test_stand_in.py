"""The stand-in refuses what TF Serving refuses, in its words."""

import http.client
import json

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from keras_encdec.serving import TensorSpec, predict_request, rest_answer, rest_body

pytestmark = pytest.mark.once

STRINGS = TensorSpec(np.dtype(object), (-1,))
TEXT = np.array([b"a"], object)


@pytest.fixture(scope="module")
def server(load_test_module, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "1"
    load_test_module("serving/tiny_model.py").save_tiny_model(path)
    with load_test_module("serving/stand_in.py").StandIn(path, "tiny") as server:
        yield server


@pytest.fixture
def ask(server):
    """Sends a body as it is and returns the status and the answer."""

    def ask(body=None, path="/v1/models/tiny:predict"):
        connection = http.client.HTTPConnection(server.rest_address, timeout=30)
        body = json.dumps(body) if isinstance(body, dict) else body
        connection.request("GET" if body is None else "POST", path, body)
        response = connection.getresponse()
        answer = json.loads(response.read().decode("utf-8", "replace"))
        connection.close()
        return response.status, answer

    return ask


def test_status_and_metadata(ask):
    status, answer = ask(path="/v1/models/tiny")
    assert status == 200
    (version,) = answer["model_version_status"]
    assert (version["version"], version["state"]) == ("1", "AVAILABLE")
    status, answer = ask(path="/v1/models/tiny/versions/1/metadata")
    assert status == 200
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert signatures["ranks"]["inputs"]["ids"]["dtype"] == "DT_INT32"


def test_rows_are_answered_by_rows(ask):
    texts = [b"caf\xe9", "é\0", ""]
    status, answer = ask(rest_body({"text": texts}, "echo"))
    assert status == 200
    assert answer["predictions"][1] == {"text": "é\0", "text_bytes": {"b64": "w6kA"}}
    outputs = rest_answer(answer, {"text": STRINGS, "text_bytes": STRINGS})
    assert outputs["text"].tolist() == ["caf\ufffd", "é\0", ""]
    assert outputs["text_bytes"].tolist() == [b"caf\xe9", "é\0".encode(), b""]
    status, answer = ask(rest_body({"text": texts[1:]}))
    assert (status, answer) == (200, {"predictions": ["é\0", ""]})


def test_a_path_with_the_version(ask):
    path = "/v1/models/tiny/versions/{}:predict"
    assert ask({"instances": ["a"]}, path.format(1)) == (200, {"predictions": ["A"]})
    assert ask({"instances": ["a"]}, path.format(2))[0] == 404


@pytest.mark.parametrize(
    "body, error",
    [
        (b"", "JSON Parse error"),
        (b"{", "JSON Parse error"),
        (b"[]", "Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"inputs": [], "instances": []}, "only one of 'inputs' or 'instances'"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": "a"}, "Excepting 'instances' to be an list/array"),
        ({"instances": [1]}, "not of expected type: string"),
        ({"instances": [{"txt": "a"}]}, "keys must be equal to: text"),
        ({"instances": ["a", {"text": "a"}]}, "got object at item 1"),
        ({"instances": [{"text": "a"}, "a"]}, "got list at item 1"),
        ({"instances": ["a", ["a"]]}, "not of expected type: string"),
        ({"instances": [["a"], "a"]}, "incorrect level"),
        ({"instances": [{"b64": "%"}]}, "base64"),
        ({"instances": ["a"], "signature_name": "sample"}, "expecting list of objects"),
        ({"inputs": ["a"], "signature_name": "sample"}, "expecting an object"),
        ({"inputs": {"text": []}, "signature_name": "sample"}, "named input: seed"),
        ({"inputs": [], "signature_name": "smaple"}, '"smaple" not found'),
        ({"inputs": [True], "signature_name": "positive"}, "expected type: int32"),
        ({"inputs": [1.0], "signature_name": "positive"}, "expected type: int32"),
        ({"inputs": [2**31], "signature_name": "positive"}, "expected type: int32"),
        ({"inputs": [[1], [1, 2]], "signature_name": "ranks"}, "incorrect level"),
        ({"inputs": [1], "signature_name": "ranks"}, "shape"),
        (
            {"instances": ["a", "b"], "signature_name": "uneven"},
            "Tensor name: twice has inconsistent batch size: 4 expecting: 2",
        ),
    ],
    ids=str,
)
def test_rest_refuses(ask, body, error):
    status, answer = ask(body)
    assert status == 400
    assert list(answer) == ["error"]
    assert error in answer["error"]


def test_by_columns_outputs_may_differ_in_size(ask):
    status, answer = ask({"inputs": ["a", "b"], "signature_name": "uneven"})
    assert status == 200
    assert answer["outputs"]["twice"] == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    "path, status", [("/v1/models/other", 404), ("/v1/models", 400), ("/", 400)]
)
def test_other_paths(ask, path, status):
    assert ask(path=path)[0] == status


@pytest.mark.parametrize(
    "inputs, signature, code, details",
    [
        ({}, "echo", "INVALID_ARGUMENT", "Missing but required: {text}"),
        ({"txt": TEXT}, "echo", "INVALID_ARGUMENT", "not found in signature: txt"),
        ({"text": np.zeros(1)}, "echo", "INVALID_ARGUMENT", "double|float64"),
        ({"text": TEXT[0:1, None]}, "echo", "INVALID_ARGUMENT", "shape"),
        ({"text": TEXT}, "smaple", "FAILED_PRECONDITION", "smaple"),
    ],
)
def test_grpc_refuses(server, inputs, signature, code, details):
    with grpc.insecure_channel(server.grpc_address) as channel:
        predict = PredictionServiceStub(channel).Predict
        with pytest.raises(grpc.RpcError, match=details) as error:
            predict(predict_request(inputs, signature, "tiny"), timeout=30)
    assert error.value.code().name == code
