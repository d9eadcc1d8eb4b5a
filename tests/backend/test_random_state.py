"""Random numbers that a backend keeps to itself."""

import keras
import numpy as np
from keras import ops

from keras_encdec.backend import (
    random_state,
    set_random_state,
)


def test_random_state_brings_back_what_the_backend_draws_by_itself():
    layer = keras.layers.Dropout(0.5)
    ones = keras.ops.ones((4, 8))
    layer.build(ones.shape)
    seed = np.array(ops.convert_to_numpy(layer.seed_generator.state))
    state = random_state()
    first = keras.ops.convert_to_numpy(layer(ones, training=True))
    set_random_state(state)
    layer.seed_generator.state.assign(seed)
    again = keras.ops.convert_to_numpy(layer(ones, training=True))
    np.testing.assert_array_equal(first, again)
