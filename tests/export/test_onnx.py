"""What onnxruntime makes of the ONNX models is what Python makes of the model."""

import json
import sys

import keras
import onnx
import onnxruntime
import pytest

from keras_encdec import TextToText
from keras_encdec.export.onnx import export_onnx


@pytest.fixture(scope="module")
def models(load_test_module):
    return load_test_module("export/id_models.py")


def load(path):
    """An ONNX model as a function from a dict of arrays to one, and its inputs."""
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]

    def run(arrays):
        return dict(zip(names, session.run(names, arrays), strict=True))

    return run, {entry.name: entry.shape for entry in session.get_inputs()}


def check_all(models, text_to_text, path, number=1):
    encode, inputs = load(path / "encoder.onnx")
    assert list(inputs) == ["source"]
    step, inputs = load(path / "step.onnx")
    past = {name: inputs[name] for name in inputs if name.startswith("past")}
    models.check_steps(encode, step, past, text_to_text)
    run, inputs = load(path / "generate.onnx")
    models.check_generate(run, list(inputs), text_to_text, number)
    return list(inputs)


@pytest.mark.once
def test_greedy(models, tmp_path):
    text_to_text = models.greedy()
    (tmp_path / "onnx").mkdir()
    for name in ("old", "ids.json"):
        (tmp_path / "onnx" / name).write_text("old")
    path = export_onnx(text_to_text, str(tmp_path / "onnx"), overwrite=True)
    assert path == tmp_path / "onnx"
    assert sorted(file.name for file in path.iterdir()) == [
        "README.md",
        "encoder.onnx",
        "generate.onnx",
        "ids.json",
        "source.model",
        "step.onnx",
        "target.model",
    ]
    assert check_all(models, text_to_text, path) == ["source", "max_length"]
    assert json.loads((path / "ids.json").read_text()) == {
        "format": 2,
        "source_prefix_ids": [],
        "source_suffix_ids": [2],
        "start_id": 1,
        "end_id": 2,
        "padding_id": 0,
        "max_length": models.MAX_LENGTH,
    }
    proto = text_to_text.source_tokenizer.proto
    assert (path / "source.model").read_bytes() == proto


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() == "jax", reason="shown under PyTorch, by a child process"
)
def test_beams(models, tmp_path):
    text_to_text = models.beams()
    path = export_onnx(text_to_text, tmp_path / "onnx", num_return_sequences=2)
    assert not (path / "target.model").exists()
    assert check_all(models, text_to_text, path, 2) == ["source", "max_length"]


@pytest.mark.slow
@pytest.mark.once
def test_random(models, tmp_path):
    text_to_text = models.random()
    path = export_onnx(text_to_text, tmp_path / "onnx", num_return_sequences=2)
    inputs = ["source", "max_length", "seed"]
    assert check_all(models, text_to_text, path, 2) == inputs
    loops = onnx.load(path / "generate.onnx").graph.node
    assert [node.op_type for node in loops].count("Loop") == 1


# What is refused


@pytest.mark.once
def test_names_the_op_that_cannot_be_converted(models, tmp_path):
    greedy = models.greedy()
    tokenizer = greedy.source_tokenizer
    failing = TextToText(tokenizer, tokenizer, greedy.model, models.PythonSampler())
    with pytest.raises(RuntimeError, match="TensorFlow's PyFunc could not"):
        export_onnx(failing, tmp_path / "onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.once
@pytest.mark.parametrize("package", ["onnx", "tf2onnx"])
def test_names_the_extra_that_is_missing(models, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"keras-encdec\[onnx\]"):
        export_onnx(models.greedy(), tmp_path / "onnx")
    assert not list(tmp_path.iterdir())
