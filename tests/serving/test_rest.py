"""The forms of the REST API, as its documentation writes them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_encdec.serving import ServingError, TensorSpec, rest_answer, rest_body
from keras_encdec.serving import rest as module

pytestmark = pytest.mark.once

STRINGS = TensorSpec(np.dtype(object), (-1,))
FLOATS = TensorSpec(np.dtype("float32"), (-1, 2))


@pytest.mark.parametrize(
    "inputs, instances",
    [
        # One input: its values alone. Those of the documentation are tensors of any
        # rank.
        ({"text": ["foo", "bar", "baz"]}, ["foo", "bar", "baz"]),
        ({"x": [1.0, 2.0, 5.0]}, [1.0, 2.0, 5.0]),
        ({"ids": [[1, 2], [3, 4]]}, [[1, 2], [3, 4]]),
        ({"text": ["é\0", b"\xff", b"ok"]}, ["é\0", {"b64": "/w=="}, "ok"]),
        (
            {"tag": ["foo", "bar"], "signal": [[1, 2], [3, 4]], "sensor": [0.5, 1]},
            [
                {"tag": "foo", "signal": [1, 2], "sensor": 0.5},
                {"tag": "bar", "signal": [3, 4], "sensor": 1.0},
            ],
        ),
    ],
)
def test_rows(inputs, instances):
    body = rest_body(inputs, "some")
    assert body == {"signature_name": "some", "instances": instances}
    assert json.loads(json.dumps(body)) == body


@pytest.mark.parametrize(
    "inputs, columns",
    [
        ({"text": ["foo"]}, {"text": ["foo"]}),
        ({"text": []}, {"text": []}),
        ({"text": [["a", b"\xff"]]}, {"text": [["a", {"b64": "/w=="}]]}),
        ({"tag": ["a", "b"], "seed": np.int32([1])}, {"tag": ["a", "b"], "seed": [1]}),
    ],
)
def test_columns(inputs, columns):
    body = rest_body(inputs, row_format=False)
    assert body == {"signature_name": "serving_default", "inputs": columns}
    assert json.loads(json.dumps(body)) == body


@pytest.mark.parametrize(
    "inputs", [{"a": []}, {"a": "one"}, {"a": [1], "b": [1, 2]}, {}]
)
def test_rows_need_one_batch_size(inputs):
    with pytest.raises(
        ValueError, match="one batch size, at least 1.*row_format=False"
    ):
        rest_body(inputs)


def test_json_cannot_write_every_empty_array():
    assert rest_body({"ids": [[], []]})["instances"] == [[], []]
    with pytest.raises(ValueError, match=r"shape \(0, 5\).*gRPC"):
        rest_body({"ids": np.zeros((0, 5))}, row_format=False)


@pytest.mark.parametrize(
    "answer",
    [
        {
            "predictions": [
                {"text": "a", "score": [1, 2]},
                {"text": "b", "score": [3, 4]},
            ]
        },
        {"outputs": {"text": ["a", "b"], "score": [[1, 2], [3, 4]]}},
    ],
)
def test_answers_of_several_outputs(answer):
    outputs = rest_answer(answer, {"text": STRINGS, "score": FLOATS})
    assert outputs["text"].tolist() == ["a", "b"]
    assert outputs["score"].tolist() == [[1, 2], [3, 4]]
    assert outputs["score"].dtype == "float32"


@pytest.mark.parametrize("key", ["predictions", "outputs"])
@pytest.mark.parametrize("name", ["text", "text_bytes"])
def test_answers_of_one_output(key, name):
    answer = {key: ["a\0", {"b64": "/w=="}]}
    texts = rest_answer(answer, {name: STRINGS})[name].tolist()
    assert texts == (["a\0", "\ufffd"] if name == "text" else [b"a\0", b"\xff"])


@pytest.mark.parametrize(
    "answer, shape",
    [
        ({"outputs": []}, (0, 0, 3)),
        ({"predictions": []}, (0, 0, 3)),
        ({"outputs": [[], []]}, (2, 0, 3)),
    ],
)
def test_empty_answers_keep_their_rank(answer, shape):
    spec = TensorSpec(np.dtype("float32"), (-1, -1, 3))
    array = rest_answer(answer, {"hidden": spec})["hidden"]
    assert (array.shape, array.dtype) == (shape, "float32")


@pytest.mark.parametrize(
    "answer",
    [{}, {"outputs": ["a"]}, {"predictions": [{"text": "a"}]}, {"predictions": [1, 2]}],
    ids=str,
)
def test_answers_without_the_outputs(answer):
    with pytest.raises(ServingError, match="text, score; received.*make a new client"):
        rest_answer(answer, {"text": STRINGS, "score": FLOATS})


# The packages are there, and must not be needed.
ALONE = """
import sys, types
for name in ("keras", "tensorflow", "grpc", "tensorflow_serving"):
    sys.modules[name] = None
package = sys.modules["keras_encdec"] = types.ModuleType("keras_encdec")
package.__path__ = sys.argv[1:]
from keras_encdec.serving import ServingClient
ServingClient("localhost:8501", "model")
try:
    ServingClient("localhost:8500", "model", protocol="grpc")
except ImportError as error:
    print(error)
"""


def test_rest_needs_neither_tensorflow_nor_keras():
    package = Path(module.__file__).parents[1]
    child = subprocess.run(
        [sys.executable, "-c", ALONE, package], capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    assert "pip install 'keras-encdec[serving]'" in child.stdout
