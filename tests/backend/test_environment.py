"""What runs here."""

import sys

import keras
import pytest

from keras_encdec.backend import (
    import_tensorflow,
)


def test_imports_tensorflow():
    tf = import_tensorflow()
    assert tf.strings.length("text").numpy() == 4
    if keras.config.backend() != "tensorflow":
        assert not tf.config.get_visible_devices("GPU")


def test_says_what_to_do_without_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match="needs TensorFlow.*pip install tensorflow"):
        import_tensorflow()
