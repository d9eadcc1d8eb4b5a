"""Requests in TF Serving's own messages."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_encdec.serving import ServingClient, predict_request

pytestmark = pytest.mark.once


def test_a_request_names_model_version_and_signature():
    inputs = {
        "text": np.array([b"a", b"\xff\0"], object),
        "seed": np.array([1, -1], "int32"),
        "top_p": np.array([0.1, 1], "float32"),
    }
    request = predict_request(inputs, "sample", "g2p", 7)
    request = type(request).FromString(request.SerializeToString())
    assert request.model_spec.name == "g2p"
    assert request.model_spec.version.value == 7
    assert request.model_spec.signature_name == "sample"
    assert request.inputs.keys() == inputs.keys()
    for name, array in inputs.items():
        received = tf.make_ndarray(request.inputs[name])
        assert received.dtype == array.dtype
        assert received.tolist() == array.tolist()


def test_without_a_version_the_server_chooses():
    request = predict_request({}, "serving_default", "g2p")
    assert not request.model_spec.HasField("version")


@pytest.mark.parametrize("shape", [(0,), (0, 5), (2, 0)])
@pytest.mark.parametrize("dtype", [object, "int32", "float32"])
def test_empty_arrays_keep_shape_and_dtype(shape, dtype):
    request = predict_request({"x": np.zeros(shape, dtype)}, "serving_default", "g2p")
    received = tf.make_ndarray(request.inputs["x"])
    assert (received.shape, received.dtype) == (shape, dtype)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    for name in [
        name for name in sys.modules if name.startswith("tensorflow_serving.")
    ]:
        monkeypatch.delitem(sys.modules, name)
    for call in (
        lambda: ServingClient("localhost:8500", "g2p", protocol="grpc"),
        lambda: predict_request({}, "serving_default", "g2p"),
    ):
        with pytest.raises(ImportError, match=r"pip install 'keras-encdec\[serving\]'"):
            call()
