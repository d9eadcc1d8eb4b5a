"""What runs here."""

import sys

import keras
import pytest

from keras_encdec.backend import compile_function, import_tensorflow
from keras_encdec.backend.environment import by_tensorflow, by_xla, compiled_by


def test_knows_what_compiles():
    on_jax = keras.config.backend() == "jax"
    on_tensorflow = keras.config.backend() == "tensorflow"
    assert (by_xla(), by_tensorflow()) == (on_jax, False)
    with compiled_by("xla"):
        assert (by_xla(), by_tensorflow()) == (True, False)
    with compiled_by("tensorflow"):
        assert (by_xla(), by_tensorflow()) == (on_jax, True)
    assert (by_xla(), by_tensorflow()) == (on_jax, False)
    seen = []
    for jit in (False, True):
        compiled = compile_function(
            lambda x: seen.append((by_xla(), by_tensorflow())) or x,
            [keras.KerasTensor((1,), "int32")],
            jit=jit,
        )
        compiled(keras.ops.array([1], "int32"))
    assert seen == [(on_jax, on_tensorflow), (on_jax or on_tensorflow, False)]


def test_imports_tensorflow():
    tf = import_tensorflow()
    assert tf.strings.length("text").numpy() == 4
    if keras.config.backend() != "tensorflow":
        assert not tf.config.get_visible_devices("GPU")


def test_says_what_to_do_without_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match="needs TensorFlow.*pip install tensorflow"):
        import_tensorflow()
