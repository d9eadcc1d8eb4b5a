"""An interrupt within a batch, of training and of evaluation."""

import keras
import numpy as np
import pytest

from keras_encdec.interrupts import interrupts_kept
from keras_encdec.training import InterruptBetweenBatches


class InterruptsIn(keras.callbacks.Callback):
    """Interrupts within a batch, once; counts the updates, which ends with each."""

    def __init__(self, interrupt):
        super().__init__()
        self.interrupt, self.ended = interrupt, 0

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 1:
            self.interrupt()

    def on_train_batch_end(self, batch, logs=None):
        self.ended += 1

    on_test_batch_begin = on_predict_batch_begin = on_train_batch_begin
    on_test_batch_end = on_predict_batch_end = on_train_batch_end


@pytest.mark.parametrize("verb", ["fit", "evaluate", "predict"])
def test_the_batch_is_finished_first(verb, interrupt):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((8, 1))
    y = () if verb == "predict" else (x,)
    counts = InterruptsIn(interrupt)
    callbacks = [InterruptBetweenBatches(), counts]
    with pytest.raises(KeyboardInterrupt):
        with interrupts_kept(until_checked=True):
            getattr(model, verb)(x, *y, batch_size=2, callbacks=callbacks, verbose=0)
    assert counts.ended == 2
    if verb == "fit":
        assert int(model.optimizer.iterations) == 2


def test_costs_no_wait_for_the_device():
    # Keras waits for the logs of each batch if a callback is called at its end.
    callback = InterruptBetweenBatches()
    for verb in ("train", "test", "predict"):
        name = f"on_{verb}_batch_end"
        assert getattr(type(callback), name) is getattr(keras.callbacks.Callback, name)
