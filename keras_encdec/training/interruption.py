"""An interrupt that waits for the end of a batch."""

from typing import Any

import keras

from keras_encdec.backend import any_process
from keras_encdec.interrupts import interrupt_came


class InterruptBetweenBatches(keras.callbacks.Callback):
    """Raises an interrupt that came in a block of `interrupts_kept` between batches.

    Of a model that trains every update is then whole. Give it to `fit`, to `evaluate`
    or to `predict` within such a block. Processes that share a training raise it
    together.

    Raises:
        KeyboardInterrupt: Out of them, if an interrupt came.

    Example:
        ```python
        import numpy as np
        from keras_encdec import EncoderDecoder, TokenCrossEntropy
        from keras_encdec.interrupts import interrupts_kept
        from keras_encdec.training import InterruptBetweenBatches

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        model.compile("adam", TokenCrossEntropy())
        ids, shifted = np.array([[5, 7, 2]]), np.array([[1, 5, 7]])
        options = {"callbacks": [InterruptBetweenBatches()], "verbose": 0}
        with interrupts_kept(until_checked=True):
            model.fit((ids, shifted), ids, **options)
        ```
    """

    # At the beginning of a batch: its end Keras may leave to another thread, and waits
    # for the device to tell the logs to a callback that must not be called from there.

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Raises it."""
        _raise_together()

    def on_test_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Raises it."""
        _raise_together()

    def on_predict_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Raises it."""
        _raise_together()


def _raise_together() -> None:
    """Raises an interrupt that came to any process."""
    if any_process(interrupt_came())[0]:
        raise KeyboardInterrupt
