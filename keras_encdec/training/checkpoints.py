"""All of a training's state on disk, so that it goes on exactly where it was."""

import json
import math
import pathlib
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import numpy as np
import safetensors
from safetensors.numpy import save_file

from keras_encdec.annotations import AnyPath, KerasModel
from keras_encdec.backend import random_state, set_random_state
from keras_encdec.files import FORMAT, check_format, new_file, recover
from keras_encdec.option_checks import require_one_of, require_positive

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
        keep: The number of checkpoints to keep, the newest ones. With more than one, a
            training can go on if the last is damaged.
        monitor: The log to judge an epoch by, such as `"val_bleu"`.
        mode: `"max"` if more of it is better, or `"min"`.
        patience: The number of epochs in a row without a better one after which to
            stop, or None to go on to the end.
        save_best: A function without arguments, called after each epoch that is the
            best so far.

    Raises:
        ValueError: If a number is not a positive integer, the mode is unknown, the log
            to judge by is missing at the end of an epoch, or a training begins where
            there are checkpoints that were not restored.

    Example:
        ```python
        import tempfile
        import numpy as np
        from keras_encdec import EncoderDecoder, TokenCrossEntropy
        from keras_encdec.training import Checkpoints

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        model.compile("adam", TokenCrossEntropy())
        checkpoints = Checkpoints(tempfile.mkdtemp(), monitor="loss", mode="min")
        ids, shifted = np.array([[5, 7, 2]]), np.array([[1, 5, 7]])
        options = {"epochs": 3, "callbacks": [checkpoints], "verbose": 0}
        # In a new process, with the same lines, this goes on after the last epoch.
        done = checkpoints.restore(model)
        model.fit((ids, shifted), ids, initial_epoch=done, **options)
        print(checkpoints.best_epoch, len(checkpoints.history))
        ```
    """

    def __init__(
        self,
        folder: AnyPath,
        *,
        keep: int = 1,
        monitor: str = "val_loss",
        mode: Literal["min", "max"] = "min",
        patience: int | None = None,
        save_best: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__()
        require_positive(keep=keep, patience=1 if patience is None else patience)
        require_one_of(("min", "max"), mode=mode)
        self.folder = pathlib.Path(folder)
        self.keep = keep
        self.monitor = monitor
        self.mode = mode
        self.patience = patience
        self.save_best = save_best
        self.history: list[dict[str, Any]] = []
        self._random: dict[str, Any] = {}
        self._knows = False  # What is in the folder.

    @property
    def paths(self) -> list[pathlib.Path]:
        """The checkpoints that are there, the oldest first."""
        epochs = checkpoints_in(self.folder)
        return [epochs[epoch] for epoch in sorted(epochs)]

    @property
    def best_epoch(self) -> int | None:
        """The epoch with the best log, counted from 0; None if none is a number."""
        sign = 1 if self.mode == "min" else -1
        # Of an earlier training that was judged by something else it may be missing.
        values = [sign * logs.get(self.monitor, math.nan) for logs in self.history]
        epochs = [i for i, value in enumerate(values) if math.isfinite(value)]
        return min(epochs, key=values.__getitem__, default=None)

    @property
    def is_over(self) -> bool:
        """Whether there was no better epoch for as long as `patience`."""
        best = -1 if self.best_epoch is None else self.best_epoch
        return self.patience is not None and (
            len(self.history) - 1 - best >= self.patience
        )

    def is_better(self, value: Any) -> bool:
        """Whether a value of the log to judge by is better than the best so far."""
        if not math.isfinite(value) or self.best_epoch is None:
            return math.isfinite(value)
        best = self.history[self.best_epoch][self.monitor]
        return value < best if self.mode == "min" else value > best

    def restore(self, model: KerasModel) -> int:
        """Brings a compiled model, and this object, to the last checkpoint.

        Args:
            model: The model, built and compiled as for the interrupted training.

        Returns:
            The number of epochs done: `initial_epoch` of `fit`. 0 if there is no
            checkpoint. If the last is damaged it is that of the one before, and a
            warning names both.

        Raises:
            ValueError: If the checkpoint is of another model or optimizer or of a later
                version, or none of those that are there can be read.
        """
        self._knows = True
        damaged = []
        for path in reversed(self.paths):
            try:
                history, arrays = _read(path)
                break
            except _DamagedError as error:
                damaged.append(str(error))
        else:
            if not damaged:
                return 0
            raise ValueError(
                f"{' '.join(damaged)} There is none before to go on from. Bring one "
                "back from a copy, or remove them to begin anew."
            )
        if damaged:
            warnings.warn(
                f"{' '.join(damaged)} The training goes on from the one before, "
                f"{str(path)!r}: what came after it is done again.",
                stacklevel=2,
            )
        random = {
            name.removeprefix(_RANDOM): arrays.pop(name)
            for name in list(arrays)
            if name.startswith(_RANDOM)
        }
        variables = _state(model)
        found = {name: list(array.shape) for name, array in arrays.items()}
        expected = {name: list(v.shape) for name, v in variables.items()}
        if found != expected:
            name = next(
                name
                for name in sorted({*found, *expected})
                if found.get(name) != expected.get(name)
            )
            raise ValueError(
                "A training goes on with the model and the optimizer it began with; in "
                f"{str(path)!r} the shape of {name} is {found.get(name)}, here it is "
                f"{expected.get(name)}. Give the same options, or another folder."
            )
        for name, variable in variables.items():
            variable.assign(arrays[name])
        self.history, self._random = history, random
        return len(self.history)

    def _path(self, number: int) -> pathlib.Path:
        return self.folder / f"epoch-{number:05d}.safetensors"

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Makes sure that no other training is written over."""
        if not self._knows and self.paths:
            raise ValueError(
                "A training goes on from the checkpoints in its folder, or has a "
                f"folder of its own; {str(self.folder)!r} holds some that were not "
                "restored. Call restore(model) and give fit what it returns as "
                "initial_epoch, or choose another folder."
            )

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Lets each epoch but the first begin with the random numbers written down."""
        # Not before its first batch: beginning with the data draws some too, and how
        # many depends on whether the training was interrupted.
        if batch == 0:
            set_random_state(self._random)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
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
        recover(self._path(epoch + 1))  # From what a kill left of it.
        with new_file(self._path(epoch + 1)) as path:
            arrays = {
                name: np.array(keras.ops.convert_to_numpy(variable), order="C")
                for name, variable in _state(self.model).items()
            }
            self._random = random_state()
            for name, state in self._random.items():
                arrays[_RANDOM + name] = state
            metadata = {"format": str(FORMAT), "history": json.dumps(self.history)}
            save_file(arrays, path, metadata)
        self._knows = True
        # Later ones are of epochs that are done again, or damaged.
        number = self.paths.index(self._path(epoch + 1)) + 1
        for path in [*self.paths[: max(0, number - self.keep)], *self.paths[number:]]:
            path.unlink()
        if self.is_over:
            self.model.stop_training = True


def checkpoints_in(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """Returns the checkpoints in a folder by the number of epochs they tell of, a dict.

    Args:
        folder: The folder; it need not be there yet.

    Example:
        ```python
        import pathlib
        import tempfile
        from keras_encdec.training.checkpoints import checkpoints_in

        print(checkpoints_in(pathlib.Path(tempfile.mkdtemp())))  # {}
        ```
    """
    return {
        int(found[1]): path
        for path in folder.glob("*")
        if (found := re.fullmatch(r"epoch-(\d+)\.safetensors", path.name))
    }


def average_weights(paths: Sequence[AnyPath], model: KerasModel) -> None:
    """Sets what a model learned to its mean over some checkpoints.

    Args:
        paths: Checkpoints of `Checkpoints`, of the training of this model.
        model: The model that was trained with `fit`, or one built alike.

    Raises:
        ValueError: If there is no checkpoint, or one is damaged, or of another model.

    Example:
        ```python
        import tempfile
        import numpy as np
        from keras_encdec import EncoderDecoder, TokenCrossEntropy
        from keras_encdec.training import Checkpoints, average_weights

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        model.compile("adam", TokenCrossEntropy())
        checkpoints = Checkpoints(tempfile.mkdtemp(), keep=2, monitor="loss")
        ids, shifted = np.array([[5, 7, 2]]), np.array([[1, 5, 7]])
        options = {"callbacks": [checkpoints], "verbose": 0}
        model.fit((ids, shifted), ids, epochs=3, **options)
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
    sums: dict[str, Any] = dict.fromkeys(names, 0.0)
    for path in paths:
        _, arrays = _read(path)
        for name, variable in names.items():
            if name not in arrays or arrays[name].shape != tuple(variable.shape):
                raise ValueError(
                    "Checkpoints must be of the training of this model; "
                    f"{str(path)!r} has no {name} of shape {tuple(variable.shape)}. "
                    "Build the model as it was trained."
                )
            sums[name] = sums[name] + arrays[name].astype("float64")
    for name, variable in names.items():
        # Summed in float64, which JAX has not.
        variable.assign((sums[name] / len(paths)).astype(arrays[name].dtype))


class _DamagedError(ValueError):
    """A checkpoint that cannot be read."""


def _read(path: AnyPath) -> Any:
    """The logs of all epochs and the arrays of a checkpoint."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        history = json.loads(metadata["history"])
        number = json.loads(metadata.get("format", "1"))
    except (KeyError, OSError, ValueError, safetensors.SafetensorError) as error:
        raise _DamagedError(
            f"The checkpoint {str(path)!r} cannot be read; it is empty, cut or "
            f"something else ({type(error).__name__}: {error})."
        ) from error
    check_format(number, path)
    return history, arrays


def _state(model: KerasModel) -> dict[str, Any]:
    optimizer = model.optimizer
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    return {
        **_numbered("model", model.variables),
        **_numbered("optimizer", optimizer.variables),
    }


def _numbered(part: Any, variables: Sequence[Any]) -> dict[str, Any]:
    # Not by their paths, which tell how many layers there were in the process before.
    return {f"{part}/{i}": variable for i, variable in enumerate(variables)}
