"""The functions that other formats are made of."""

import pytest
import tensorflow as tf

from keras_encdec.export.id_functions import id_functions, save_function

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def models(load_test_module):
    return load_test_module("export/id_models.py")


def test_names_and_shapes(models):
    functions = id_functions(models.random(), 8)
    shapes = {
        name: {spec.name: spec.shape.as_list() for spec in function.input_signature}
        for name, function in functions.items()
    }
    pair = [None, 2, None, 8]
    assert shapes == {
        "encoder": {"source": [None, None]},
        "step": {
            "tokens": [None],
            "index": [],
            "mask": [None, 1, 1, None],
            "keys_0": pair,
            "values_0": pair,
            "past_keys_0": pair,
            "past_values_0": pair,
        },
        "generate": {"source": [None, None], "max_length": [None], "seed": [None]},
    }


def test_they_do_what_python_does(models):
    text_to_text, number = models.random(), 2
    functions = id_functions(text_to_text, models.MAX_LENGTH, number)

    def run(name):
        names = [spec.name for spec in functions[name].input_signature]

        def call(arrays):
            outputs = functions[name](*(arrays[name] for name in names))
            return {name: tensor.numpy() for name, tensor in outputs.items()}

        return call, names

    models.check_generate(*run("generate"), text_to_text, number)
    step, _ = run("step")
    past = {
        spec.name: spec.shape
        for spec in functions["step"].input_signature
        if spec.name.startswith("past")
    }
    models.check_steps(run("encoder")[0], step, past, text_to_text)


def test_a_row_has_no_more_tokens_than_the_loop(models):
    text_to_text = models.greedy()
    generate = id_functions(text_to_text, max_length=3)["generate"]
    source = models.arrays_of(text_to_text, 2, 4)["source"]
    ids = generate(source, tf.constant([-5, 9]))["ids"].numpy()
    assert ids.shape == (2, 1, 3)
    assert not ids[0].any()
    assert (ids[1] == text_to_text.generator(source[1:], 3)).all()


def test_a_row_begins_with_what_stands_before_all_targets(models):
    text_to_text = models.beams()
    generate = id_functions(text_to_text, max_length=3)["generate"]
    source = models.arrays_of(text_to_text, 3, 4)["source"]
    ids = generate(source, tf.constant([3, 3, 1]))["ids"].numpy()
    assert ids[:, 0, 0].tolist() == [4, 4, 4]


def test_a_saved_function_needs_no_model(models, tmp_path):
    text_to_text = models.greedy()
    functions = id_functions(text_to_text, 8)
    save_function(text_to_text.model, "encode", functions["encoder"], tmp_path)
    source = tf.constant([[5, 7, 2]])
    loaded = tf.saved_model.load(tmp_path).signatures["encode"](source=source)
    expected = functions["encoder"](source)
    assert loaded.keys() == expected.keys()
    tf.debugging.assert_near(loaded["keys_0"], expected["keys_0"])
