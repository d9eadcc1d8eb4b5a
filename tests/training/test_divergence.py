"""The end of a training whose numbers are no longer finite."""

import keras
import numpy as np
import pytest

from keras_encdec.model import EncoderDecoder
from keras_encdec.training import DivergenceError, StopDivergence, TokenCrossEntropy

IDS = np.arange(4, 20).reshape(4, 4)


def fit(rate, *callbacks, batch_size=1, epochs=2, **options):
    keras.utils.set_random_seed(0)
    model = EncoderDecoder(20, 16, 32, 2, 1)
    optimizer = keras.optimizers.SGD(rate)
    model.compile(optimizer, TokenCrossEntropy(), jit_compile=False)
    options.update(epochs=epochs, batch_size=batch_size, shuffle=False, verbose=0)
    return model.fit((IDS, IDS[:, ::-1]), IDS, callbacks=list(callbacks), **options)


@pytest.mark.slow
def test_a_loss_of_nan_ends_the_training_in_its_epoch():
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(epoch)

    with pytest.raises(DivergenceError, match="after batch [234] of epoch 1.* is nan"):
        fit(1e30, StopDivergence(), Look())
    assert not seen
    assert len(fit(1e-3, StopDivergence()).history["loss"]) == 2


@pytest.mark.slow
def test_the_last_update_shows_in_held_out_data_or_an_example():
    data = (IDS, IDS[:, ::-1]), IDS
    one = {"batch_size": 4, "epochs": 1}
    assert np.isfinite(fit(1e30, StopDivergence(), **one).history["loss"]).all()
    with pytest.raises(DivergenceError, match="after epoch 1 the val_loss is nan"):
        fit(1e30, StopDivergence(), validation_data=data, **one)
    with pytest.raises(DivergenceError, match="after epoch 1 the logits"):
        fit(1e30, StopDivergence((IDS[:1], IDS[:1])), **one)


@pytest.mark.once
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_every_loss_must_be_finite_and_nothing_else(value):
    guard = StopDivergence()
    guard.on_epoch_begin(4)
    guard.on_train_batch_end(0, {"loss": 1.0, "bleu": value})
    guard.on_train_batch_end(1)
    with pytest.raises(
        DivergenceError, match=f"batch 3 of epoch 5 the loss is {value}"
    ):
        guard.on_train_batch_end(2, {"loss": value})
    with pytest.raises(DivergenceError, match=f"after epoch 5 the val_loss is {value}"):
        guard.on_epoch_end(4, {"loss": 1.0, "val_loss": value})
