import copy

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.model.functional import FunctionalModel


@keras.saving.register_keras_serializable(package="tests_of_functional")
class Doubled(FunctionalModel):
    def __init__(self, units, activation="relu", name="doubled"):
        dense = keras.layers.Dense(units, activation, name="dense")
        x = keras.Input((3,))
        config = {"units": units, "activation": activation, "name": name}
        self._build_graph({"dense": dense}, x, lambda: 2 * dense(x), config)

    def halved(self, x):
        return self(x) / 2


@pytest.mark.parametrize("again", [copy.deepcopy, "saved"])
def test_keeps_its_verbs_weights_and_what_is_frozen(again, tmp_path):
    model, x = Doubled(2), np.ones((1, 3), "float32")
    model.dense.trainable = False
    if again == "saved":
        model.save(tmp_path / "model.keras")
        other = keras.models.load_model(tmp_path / "model.keras")
    else:
        other = again(model)
    assert not other.trainable_variables
    expected, found = (ops.convert_to_numpy(m.halved(x)) for m in (model, other))
    np.testing.assert_allclose(found, expected)


def test_says_how_it_is_cloned():
    with pytest.raises(TypeError, match="Doubled.from_config"):
        keras.models.clone_model(Doubled(2))


def test_refuses_to_save_an_activation_that_cannot_be_loaded():
    with pytest.raises(ValueError, match="activation"):
        Doubled(2, activation=lambda x: x).get_config()


@pytest.mark.once
def test_quantizes_what_has_weights_and_says_what_else_has():
    def made():
        x = keras.Input((3,), dtype="int32")
        parts = {
            "table": keras.layers.Embedding(4, 2, name="table"),
            "norm": keras.layers.LayerNormalization(name="norm"),
            "dense": keras.layers.Dense(2, name="dense"),
        }
        model = FunctionalModel.__new__(FunctionalModel)

        def outputs():
            return model.dense(model.norm(model.table(x)))

        model._build_graph(parts, x, outputs, {"name": "made"})
        return model

    def modes(model):
        return model.table.quantization_mode, model.dense.quantization_mode

    for filters, expected in (
        (None, ("int8", "int8")),
        ("^d", (None, "int8")),
        (["table", "norm"], ("int8", None)),
        (lambda layer: layer.name == "dense", (None, "int8")),
    ):
        model = made()
        model.quantize("int8", filters=filters)
        assert modes(model) == expected
    with pytest.raises(ValueError, match="already quantized"):
        model.quantize("int8")
    with pytest.raises(ValueError, match="`filters`"):
        made().quantize("int8", filters=5)
    model = made()
    with pytest.warns(UserWarning, match=r"no float8 .*\['table'\] stay") as told:
        model.quantize(config=keras.quantizers.Float8QuantizationConfig())
    assert len(told) == 1 and modes(model) == (None, "float8")
    model.quantize("int8", filters="table")
    assert modes(model) == ("int8", "float8")


def test_keeps_the_parts_of_its_graph():
    model = Doubled(2)
    model.dense = model.dense
    with pytest.raises(AttributeError, match="another dense for Doubled"):
        model.dense = keras.layers.Dense(2)
