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
