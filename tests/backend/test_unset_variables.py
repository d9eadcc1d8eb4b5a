import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.backend import build_unset, draw_unset, set_value


@keras.saving.register_keras_serializable(package="tests_of_unset_variables")
class NeverDrawn(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        raise AssertionError(f"{shape} is drawn.")


def model_of(**options):
    dense = keras.layers.Dense(2, name="dense", **options)
    return keras.Sequential([keras.Input((3,)), dense, keras.layers.Dropout(0.5)])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_values_are_set_and_none_is_drawn(dtype):
    model = build_unset(lambda: model_of(dtype=dtype))
    kernel = np.arange(6, dtype="float32").reshape(3, 2)
    set_value(model.layers[0].kernel, kernel)
    draw_unset(model)
    assert keras.backend.standardize_dtype(model.layers[0].kernel.dtype) == dtype
    x = np.ones((9, 3), "float32")
    found = ops.convert_to_numpy(ops.cast(model(x), "float32"))
    np.testing.assert_array_equal(found, x @ kernel)
    # It learns as any other does.
    set_value(model.layers[0].kernel, kernel * 2)
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((9, 2)), verbose=0)
    after = ops.convert_to_numpy(ops.cast(model.layers[0].kernel, "float32"))
    assert not np.array_equal(after, kernel * 2)


def test_nothing_of_it_is_left_to_keras():
    model = build_unset(lambda: model_of(kernel_initializer=NeverDrawn()))
    other = keras.layers.Dense(2)
    with keras.StatelessScope():
        # At its end Keras draws what was made in it, and nothing else.
        other.build((None, 3))
    assert ops.convert_to_numpy(other.kernel).std() > 0
    set_value(model.layers[0].kernel, np.ones((3, 2)))
    draw_unset(model)
    assert ops.convert_to_numpy(model(np.ones((1, 3)))).tolist() == [[3, 3]]


def test_nothing_is_left_where_it_fails():
    def fail():
        model_of()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        build_unset(fail)
    with keras.StatelessScope():
        keras.layers.Dense(2).build((None, 3))


@pytest.mark.skipif(keras.config.backend() != "torch", reason="of PyTorch's modules")
def test_pytorch_knows_the_parameters():
    model = build_unset(model_of)
    set_value(model.layers[0].kernel, np.ones((3, 2)))
    draw_unset(model)
    shapes = [
        sorted(map(str, (x.shape for x in each.parameters())))
        for each in (model, model_of())
    ]
    assert shapes[0] == shapes[1]
    assert any("dense/kernel" in name for name in model.state_dict())
