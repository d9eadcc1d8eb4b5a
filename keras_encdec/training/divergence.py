"""The end of a training whose numbers are no longer finite."""

import math
from typing import Any

import keras


class DivergenceError(FloatingPointError):
    """A training diverged: its loss, or what its model answers, is not finite.

    Example:
        ```python
        from keras_encdec.training import DivergenceError

        try:
            raise DivergenceError("The loss is nan in epoch 3.")
        except FloatingPointError as error:
            print(error)
        ```
    """


class StopDivergence(keras.callbacks.Callback):
    """Raises as soon as a loss is nan or infinite.

    The loss that Keras logs is a mean over the batches of the epoch so far, which stays
    nan once it is: none is overlooked, and reading it costs nothing, for Keras hands
    it over in any case. Put it after the callbacks that add losses to the logs, such
    as `HeldOutLoss`, and before those that keep what was learned: `ModelCheckpoint`,
    `Checkpoints`.

    The last update of an epoch shows in no loss of the epoch: with held-out data it
    shows in theirs, else by `example`.

    Args:
        example: None, or what the model takes, a small batch to try it with after each
            epoch.

    Raises:
        DivergenceError: Out of `fit`.

    Example:
        ```python
        import numpy as np
        from keras_encdec import EncoderDecoder, TokenCrossEntropy
        from keras_encdec.training import StopDivergence

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        model.compile("adam", TokenCrossEntropy())
        source, target = np.array([[5, 7, 2]]), np.array([[1, 7, 5]])
        guard = StopDivergence(example=(source, target))
        labels = np.array([[7, 5, 2]])
        model.fit((source, target), labels, callbacks=[guard], verbose=0)
        ```
    """

    # Keras may call it from another thread while the next batch runs.
    async_safe = True

    def __init__(self, example: Any = None) -> None:
        super().__init__()
        self.example = example
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch, to name it."""
        self._epoch = epoch

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Checks the loss."""
        self._check_losses(logs, f"after batch {batch + 1} of epoch {self._epoch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks all losses, and what the model answers."""
        self._check_losses(logs, f"after epoch {epoch + 1}")
        if self.example is None:
            return
        logits = self.model(self.example, training=False)
        if not bool(keras.ops.all(keras.ops.isfinite(logits))):
            raise DivergenceError(
                f"The training diverged: after epoch {epoch + 1} the logits of the "
                "model are no longer finite."
            )

    def _check_losses(self, logs: dict[str, Any] | None, place: str) -> None:
        for name, value in (logs or {}).items():
            if name in ("loss", "val_loss") and not math.isfinite(value):
                raise DivergenceError(
                    f"The training diverged: {place} the {name} is {value}."
                )
