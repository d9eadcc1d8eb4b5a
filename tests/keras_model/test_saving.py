"""A model is saved whole or not at all, and loaded compiled."""

import pathlib

import keras
import numpy as np
import pytest

from keras_encdec import EncoderDecoder, TokenCrossEntropy

SOURCE = np.array([[5, 7, 2], [9, 2, 0]])
LABELS = np.array([[7, 5, 2], [9, 2, 0]])
TARGET = np.array([[1, 7, 5], [1, 9, 0]])


def build(**options):
    return EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1, **options)


@pytest.mark.once
def test_a_checked_model_can_be_saved_and_loaded_compiled(tmp_path):
    model = build()
    model.compile("sgd", TokenCrossEntropy(label_smoothing=0.1))
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert copy.loss.label_smoothing == 0.1
    data = (SOURCE, TARGET), LABELS
    np.testing.assert_allclose(
        copy.test_on_batch(*data), model.test_on_batch(*data), rtol=1e-5
    )


@pytest.mark.once
def test_a_save_that_fails_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    model = EncoderDecoder(20, 16, 32, 2, 1)
    path = tmp_path / "model.keras"
    model.save(path)
    before = path.read_bytes()

    def full(self, filepath, *args, **kwargs):
        pathlib.Path(filepath).write_text("half")
        raise OSError("no space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    with pytest.raises(OSError, match="no space left"):
        model.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
