"""What LiteRT makes of its models is what Python makes of the model."""

import json

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from keras_encdec import Decoder, EncoderDecoder, Generator, TextToText
from keras_encdec.export.litert import export_litert
from keras_encdec.generation import NoRepeatNGram

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def models(load_test_module):
    return load_test_module("export/id_models.py")


def load(path):
    """A model as a function from a dict of arrays to one, and its inputs."""
    runner = Interpreter(str(path)).get_signature_runner(path.stem)
    inputs = {
        name: details["shape_signature"]
        for name, details in runner.get_input_details().items()
    }
    return lambda arrays: runner(**arrays), inputs


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["greedy", "beams"])
def test_answers_are_those_of_python(models, kind, tmp_path):
    text_to_text = getattr(models, kind)()
    number = 1 if kind == "greedy" else 2
    path = export_litert(text_to_text, tmp_path / "litert", num_return_sequences=number)
    assert {"ids.json", "source.model"} < {file.name for file in path.iterdir()}
    encode, _ = load(path / "encoder.tflite")
    step, inputs = load(path / "step.tflite")
    past = {name: inputs[name] for name in inputs if name.startswith("past")}
    models.check_steps(encode, step, past, text_to_text)
    run, inputs = load(path / "generate.tflite")
    assert set(inputs) == {"source", "max_length"}
    models.check_generate(run, list(inputs), text_to_text, number)


def test_a_generator_of_features(tmp_path):
    encoder = keras.Sequential([keras.Input((None, 5)), keras.layers.Dense(8)])
    model = EncoderDecoder(encoder, Decoder(11, 8, 16, 2, 1, tie_embeddings=False))
    processors = [NoRepeatNGram(1)]
    generator = Generator(model, processors=processors, start_id=3, end_id=[2, 4])
    path = export_litert(generator, tmp_path / "litert", max_length=6)
    assert json.loads((path / "ids.json").read_text()) == {
        "format": 2,
        "start_id": 3,
        "end_id": [2, 4],
        "padding_id": 0,
        "max_length": 6,
    }
    source = np.random.default_rng(0).normal(size=(3, 7, 5)).astype("float32")
    source[1, 4:] = 0.0
    run, inputs = load(path / "generate.tflite")
    assert list(inputs["source"]) == [-1, -1, 5]
    found = run({"source": source, "max_length": np.array([6, 6, 2], "int32")})
    expected = generator(source, [6, 6, 2])
    np.testing.assert_array_equal(found["ids"][:, 0], expected)
    assert len(set(map(tuple, expected.tolist()))) == 3


# What is refused


@pytest.mark.slow
def test_names_the_op_that_cannot_be_converted(models, tmp_path):
    greedy = models.greedy()
    tokenizer = greedy.source_tokenizer
    failing = TextToText(tokenizer, tokenizer, greedy.model, models.PythonSampler())
    with pytest.raises(RuntimeError, match="ops that LiteRT has(?s:.)*PyFunc"):
        export_litert(failing, tmp_path / "litert")
    assert not list(tmp_path.iterdir())


def test_refuses_random_samplers(models, tmp_path):
    with pytest.raises(ValueError, match="no bitwise operators.*TopKSampler"):
        export_litert(models.random(), tmp_path / "litert")
    assert not list(tmp_path.iterdir())
