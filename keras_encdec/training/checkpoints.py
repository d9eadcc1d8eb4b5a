"""All of a training's state on disk, so that it goes on exactly where it was."""

import json
import pathlib

import keras
import numpy as np
import safetensors
from safetensors.numpy import save_file

from keras_encdec.backend import random_state, set_random_state
from keras_encdec.files import new_file

_RANDOM = "random/"


class Checkpoints(keras.callbacks.Callback):
    """Writes all of a training's state after each epoch, and goes on from it exactly.

    The state is that of the model (weights, and the seeds of dropout) and of the
    optimizer (moments, step, moving averages, accumulated gradients, loss scale), with
    the logs of all epochs so far. Together with data that begin at the right batch,
    such as `TokenBatches.dataset(first=...)`, a training that is killed and started
    again ends with the same weights as one that is not.

    It also tells which epoch was the best, calls `save_best` then, and stops the
    training when there was no better one for some time; both are known again after an
    interruption. It should come last in the list of callbacks, for it keeps the logs
    that others add to.

    Args:
        folder: The folder of the checkpoints, made if missing. They are `safetensors`
            files, written beside their place and renamed.
        keep: The number of checkpoints to keep, the newest ones.
        monitor: The log to judge an epoch by, such as `"val_bleu"`.
        mode: `"max"` if more of it is better, or `"min"`.
        patience: The number of epochs in a row without a better one after which to
            stop, or None to go on to the end.
        save_best: A function without arguments, called after each epoch that is the
            best so far.

    Raises:
        ValueError: If a number is not positive, the mode is unknown, the log to judge
            by is missing at the end of an epoch, or, in `restore`, the checkpoint is
            of another model or optimizer.

    Example:
        ```python
        import tempfile
        import numpy as np
        from keras_encdec import EncoderDecoder, TokenCrossEntropy
        from keras_encdec.training import Checkpoints

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        model.compile("adam", TokenCrossEntropy())
        checkpoints = Checkpoints(tempfile.mkdtemp(), monitor="loss", mode="min")
        ids = np.array([[5, 7, 2]])
        options = {"epochs": 3, "callbacks": [checkpoints], "verbose": 0}
        # In a new process, with the same lines, this goes on after the last epoch.
        done = checkpoints.restore(model)
        model.fit((ids, ids), ids, initial_epoch=done, **options)
        print(checkpoints.best_epoch, len(checkpoints.history))
        ```
    """

    def __init__(
        self,
        folder,
        *,
        keep=1,
        monitor="val_loss",
        mode="min",
        patience=None,
        save_best=None,
    ):
        super().__init__()
        for name, number in (("keep", keep), ("patience", patience)):
            if number is not None and number < 1:
                raise ValueError(
                    f"{name} must be at least 1; received {number}. Raise it."
                )
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max'; received {mode!r}.")
        self.folder = pathlib.Path(folder)
        self.keep = keep
        self.monitor = monitor
        self.mode = mode
        self.patience = patience
        self.save_best = save_best
        self.history = []
        self._random = {}

    @property
    def paths(self):
        """The checkpoints that are there, the oldest first."""
        return sorted(self.folder.glob("epoch-*.safetensors"))

    @property
    def best_epoch(self):
        """The epoch with the best log, counted from 0; None before any."""
        if not self.history:
            return None
        values = np.array([logs[self.monitor] for logs in self.history])
        values = values if self.mode == "min" else -values
        return int(np.nanargmin(values)) if np.isfinite(values).any() else 0

    @property
    def is_over(self):
        """Whether there was no better epoch for as long as `patience`."""
        if self.patience is None or not self.history:
            return False
        return len(self.history) - 1 - self.best_epoch >= self.patience

    def is_better(self, value):
        """Whether a value of the log to judge by is better than the best so far."""
        best = self.history[self.best_epoch][self.monitor]
        return value < best if self.mode == "min" else value > best

    def restore(self, model):
        """Brings a compiled model, and this object, to the last checkpoint.

        Args:
            model: The model, built and compiled as for the interrupted training.

        Returns:
            The number of epochs done: `initial_epoch` of `fit`. 0 if there is no
            checkpoint.
        """
        paths = self.paths
        if not paths:
            return 0
        variables = _state(model)
        with safetensors.safe_open(paths[-1], "numpy") as file:
            self.history = json.loads(file.metadata()["history"])
            found = {
                name: file.get_slice(name).get_shape()
                for name in file.keys()
                if not name.startswith(_RANDOM)
            }
            expected = {name: list(v.shape) for name, v in variables.items()}
            if found != expected:
                name = next(
                    name
                    for name in sorted({*found, *expected})
                    if found.get(name) != expected.get(name)
                )
                raise ValueError(
                    "A training goes on with the model and the optimizer it began "
                    f"with; in {str(paths[-1])!r} the shape of {name} is "
                    f"{found.get(name)}, here it is {expected.get(name)}. Give the "
                    "same options, or another folder."
                )
            for name, variable in variables.items():
                variable.assign(file.get_tensor(name))
            names = [name for name in file.keys() if name.startswith(_RANDOM)]
            self._random = {
                name.removeprefix(_RANDOM): file.get_tensor(name) for name in names
            }
        return len(self.history)

    def on_train_batch_begin(self, batch, logs=None):
        """Lets each epoch but the first begin with the random numbers written down."""
        # Not before its first batch: beginning with the data draws some too, and how
        # many depends on whether the training was interrupted.
        if batch == 0:
            set_random_state(self._random)

    def on_epoch_end(self, epoch, logs=None):
        """Writes a checkpoint."""
        logs = {name: float(value) for name, value in (logs or {}).items()}
        if self.monitor not in logs:
            raise ValueError(
                f"The log to judge epochs by must be among those of the epoch; "
                f"received monitor={self.monitor!r} and the logs "
                f"{', '.join(logs)}. Choose one of them, or put the callback that "
                "adds it before this one."
            )
        self.history = [*self.history[:epoch], logs]
        # Before the checkpoint: if this is killed in between, the epoch is done again.
        if self.save_best is not None and self.best_epoch == epoch:
            self.save_best()
        self.folder.mkdir(parents=True, exist_ok=True)
        with new_file(self.folder / f"epoch-{epoch + 1:05d}.safetensors") as path:
            arrays = {
                name: np.array(keras.ops.convert_to_numpy(variable), order="C")
                for name, variable in _state(self.model).items()
            }
            self._random = random_state()
            for name, state in self._random.items():
                arrays[_RANDOM + name] = state
            save_file(arrays, path, {"history": json.dumps(self.history)})
        for path in self.paths[: -self.keep]:
            path.unlink()
        if self.is_over:
            self.model.stop_training = True


def average_weights(paths, model):
    """Sets what a model learned to its mean over some checkpoints.

    Args:
        paths: Checkpoints of `Checkpoints`, of the training of this model.
        model: The model that was trained with `fit`, or one built alike.

    Raises:
        ValueError: If there is no checkpoint, or it is of another model.

    Example:
        ```python
        import tempfile
        import numpy as np
        from keras_encdec import EncoderDecoder, TokenCrossEntropy
        from keras_encdec.training import Checkpoints, average_weights

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        model.compile("adam", TokenCrossEntropy())
        checkpoints = Checkpoints(tempfile.mkdtemp(), keep=2, monitor="loss")
        ids = np.array([[5, 7, 2]])
        options = {"callbacks": [checkpoints], "verbose": 0}
        model.fit((ids, ids), ids, epochs=3, **options)
        average_weights(checkpoints.paths, model)
        ```

    Reference:
        Vaswani et al. 2017, Attention Is All You Need, section 6.1.
    """
    trained = {id(variable) for variable in model.trainable_variables}
    state = _numbered("model", model.variables)
    names = {name: v for name, v in state.items() if id(v) in trained}
    paths = list(paths)
    if not paths:
        raise ValueError(
            "A mean needs at least one checkpoint; received none. Train first."
        )
    sums = dict.fromkeys(names, 0.0)
    for path in paths:
        with safetensors.safe_open(path, "numpy") as file:
            missing = names.keys() - set(file.keys())
            if missing:
                raise ValueError(
                    "Checkpoints must be of the training of this model; "
                    f"{str(path)!r} lacks {min(missing)}. Build the model as it was "
                    "trained."
                )
            for name in names:
                sums[name] = sums[name] + file.get_tensor(name).astype("float64")
    for name, variable in names.items():
        variable.assign((sums[name] / len(paths)).astype("float32"))


def _state(model):
    optimizer = model.optimizer
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    return {
        **_numbered("model", model.variables),
        **_numbered("optimizer", optimizer.variables),
    }


def _numbered(part, variables):
    # Not by their paths, which tell how many layers there were in the process before.
    return {f"{part}/{i}": variable for i, variable in enumerate(variables)}
