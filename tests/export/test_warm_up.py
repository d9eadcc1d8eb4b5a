"""Warm-up records are read, and answered, as TF Serving does it."""

import sys

import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from keras_encdec.export import warm_up
from keras_encdec.export.warm_up import write_warm_up

pytestmark = pytest.mark.once

TEXTS = ["a", b"\xff", "\0"]


@pytest.fixture
def folder(load_test_module, tmp_path):
    return load_test_module("serving/tiny_model.py").save_tiny_model(tmp_path / "1")


def read(path):
    return [
        PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(path))
    ]


def test_tensorflow_answers_every_record(folder):
    requests = [
        ("serving_default", {"text": TEXTS}),
        ("sample", {"text": TEXTS, "seed": [1, 2, 3]}),
        ("sample", {"text": [], "seed": []}),
        ("ranks", {"ids": [[1, 2]]}),
    ]
    path = write_warm_up(str(folder), iter(requests))
    assert path == folder / "assets.extra" / "tf_serving_warmup_requests"
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    signatures = tf.saved_model.load(str(folder)).signatures
    logs = read(path)
    assert len(logs) == len(requests)
    for log, (signature, inputs) in zip(logs, requests, strict=True):
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.signature_name == signature
        assert request.inputs.keys() == inputs.keys()
        arrays = {name: tf.make_ndarray(x) for name, x in request.inputs.items()}
        outputs = signatures[signature](
            **{name: tf.constant(array) for name, array in arrays.items()}
        )
        for output in outputs.values():
            assert len(output) == len(next(iter(inputs.values())))
    texts = tf.make_ndarray(logs[0].predict_log.request.inputs["text"])
    assert texts.tolist() == [b"a", b"\xff", b"\0"]


def test_records_are_replaced(folder):
    write_warm_up(folder, [("echo", {"text": ["a"]})] * 3)
    path = write_warm_up(folder, [("echo", {"text": ["b"]})])
    assert len(read(path)) == 1


def test_the_number_of_records_is_limited(folder, monkeypatch):
    assert warm_up.MAX_RECORDS == 1000
    monkeypatch.setattr(warm_up, "MAX_RECORDS", 2)
    request = ("echo", {"text": ["a"]})
    assert len(read(write_warm_up(folder, [request] * 2))) == 2
    with pytest.raises(ValueError, match="at most 2 warm-up requests; received 3"):
        write_warm_up(folder, [request] * 3)


@pytest.mark.parametrize(
    "request_, error, match",
    [
        (("smaple", {"text": ["a"]}), ValueError, "one of .*; received 'smaple'"),
        (("sample", {"text": ["a"]}), ValueError, "inputs seed, text; received text"),
        (("echo", {"text": [1]}), TypeError, "must hold strings"),
        (("ranks", {"ids": [1]}), ValueError, r"shape \[-1, -1\]"),
    ],
)
def test_a_request_that_would_keep_the_model_from_loading(
    folder, request_, error, match
):
    with pytest.raises(error, match=match):
        write_warm_up(folder, [("echo", {"text": ["a"]}), request_])
    assert not (folder / "assets.extra").exists()


def test_there_must_be_a_saved_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="saved_model.pb.*Save the model first"):
        write_warm_up(tmp_path, [])


def test_a_missing_package_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    for name in [
        name for name in sys.modules if name.startswith("tensorflow_serving.")
    ]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"pip install 'keras-encdec\[serving\]'"):
        write_warm_up(folder, [])
