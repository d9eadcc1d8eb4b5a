"""What OpenVINO makes of its models is what Python makes of the model."""

import sys

import openvino
import pytest

from keras_encdec import TextToText
from keras_encdec.export.openvino import export_openvino

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def models(load_test_module):
    return load_test_module("export/id_models.py")


def load(path):
    """A model as a function from a dict of arrays to one, and its inputs."""
    # On some machines the default is bfloat16.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", options)

    def run(arrays):
        outputs = compiled(arrays)
        return {
            output.get_any_name(): outputs[output].copy() for output in compiled.outputs
        }

    return run, {
        entry.get_any_name(): [
            size.get_length() if size.is_static else None
            for size in entry.get_partial_shape()
        ]
        for entry in compiled.inputs
    }


# Beams answer the same, but OpenVINO takes a minute to convert their loop.
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["greedy", "random"])
def test_answers_are_those_of_python(models, kind, tmp_path):
    text_to_text = getattr(models, kind)()
    number = 1 if kind == "greedy" else 2
    path = export_openvino(
        text_to_text, tmp_path / "openvino", num_return_sequences=number
    )
    files = {file.name for file in path.iterdir()}
    assert {"encoder.xml", "encoder.bin", "ids.json"} < files
    assert ("source.model" in files) == (kind != "random")
    encode, _ = load(path / "encoder.xml")
    step, inputs = load(path / "step.xml")
    past = {name: inputs[name] for name in inputs if name.startswith("past")}
    models.check_steps(encode, step, past, text_to_text)
    run, inputs = load(path / "generate.xml")
    expected = {"source", "max_length"} | ({"seed"} if kind == "random" else set())
    assert set(inputs) == expected
    models.check_generate(run, list(inputs), text_to_text, number)


# What is refused


@pytest.mark.slow
def test_names_the_op_that_cannot_be_converted(models, tmp_path):
    greedy = models.greedy()
    tokenizer = greedy.source_tokenizer
    failing = TextToText(tokenizer, tokenizer, greedy.model, models.PythonSampler())
    with pytest.raises(RuntimeError, match="ops that OpenVINO has(?s:.)*PyFunc"):
        export_openvino(failing, tmp_path / "openvino")
    assert not list(tmp_path.iterdir())


def test_names_the_extra_that_is_missing(models, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ImportError, match=r"keras-encdec\[openvino\]"):
        export_openvino(models.greedy(), tmp_path / "openvino")
    assert not list(tmp_path.iterdir())
