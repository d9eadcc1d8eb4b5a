"""A model is saved whole or not at all, and loaded compiled."""

import logging
import os
import pathlib
from concurrent.futures import ThreadPoolExecutor

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


VERBS = {"model.keras": "save", "model.h5": "save", "a.weights.h5": "save_weights"}


@pytest.fixture(params=VERBS)
def saving(request, tmp_path):
    """A verb that saves, and the place of what it has saved."""
    logging.getLogger("absl").setLevel("ERROR")  # Keras advises against .h5.
    model = EncoderDecoder(20, 16, 32, 2, 1)
    save = getattr(model, VERBS[request.param])
    save(tmp_path / request.param)
    return save, tmp_path / request.param


@pytest.mark.once
def test_a_save_that_fails_leaves_the_file_that_was_there(saving, monkeypatch):
    save, path = saving
    before = path.read_bytes()

    def full(self, filepath, *args, **kwargs):
        pathlib.Path(filepath).write_text("half")
        raise OSError("no space left on device")

    monkeypatch.setattr(keras.Model, save.__name__, full)
    with pytest.raises(OSError, match="no space left"):
        save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.once
def test_what_is_there_is_not_replaced_unasked(saving):
    save, path = saving
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="overwrite=False"):
        save(path, overwrite=False)
    assert path.read_bytes() == b"mine"
    save(path)
    assert path.read_bytes() != b"mine"


@pytest.mark.once
def test_a_pipe_and_a_link_stay_what_they_are(saving):
    save, path = saving
    link, pipe = (path.with_name(f"{kind}.{path.name}") for kind in ("link", "pipe"))
    link.symlink_to(path)
    path.write_bytes(b"")
    save(link)
    assert link.is_symlink() and path.stat().st_size
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as executor:
        read = executor.submit(pipe.read_bytes)
        save(pipe)
        assert len(read.result()) > 10_000
    assert pipe.is_fifo()
