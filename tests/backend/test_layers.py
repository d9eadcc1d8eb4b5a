"""The layers that are found, against those that Keras has in its lists."""

import keras
import pytest

from keras_encdec import EncoderDecoder, TokenCrossEntropy
from keras_encdec.backend import all_layers, layers_in
from keras_encdec.training import ProjectedLoss

pytestmark = pytest.mark.once


def trained():
    model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=2)
    trained = ProjectedLoss(model)
    trained.compile("adam", TokenCrossEntropy(), jit_compile=False)
    return trained


def sequential():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


def functional():
    x = keras.Input((5, 2))
    y = keras.layers.Bidirectional(keras.layers.LSTM(3))(x)
    return keras.Model(x, sequential()(keras.layers.Dense(2)(y)))


class InContainers(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        dense = keras.layers.Dense(1)
        self.parts = {"a": [keras.layers.Dense(2), dense], "b": dense}
        self.itself = self


@pytest.mark.parametrize("make", [trained, sequential, functional, InContainers])
def test_are_those_of_keras_in_its_order(make):
    layer = make()
    found = all_layers(layer)
    assert found[0] is layer
    assert {*map(id, found)} == {*map(id, layer._flatten_layers())}
    assert len({*map(id, found)}) == len(found)
    for each in found:
        theirs = each._flatten_layers(include_self=False, recursive=False)
        assert [x.name for x in layers_in(each)] == [
            x.name for x in theirs if x is not each
        ]
