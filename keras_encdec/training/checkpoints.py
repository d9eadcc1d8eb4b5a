"""All of a training's state on disk, so that it goes on exactly where it was."""

import contextlib
import json
import math
import pathlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import keras
import numpy as np
from safetensors.numpy import save_file

from keras_encdec.annotations import AnyPath, KerasModel
from keras_encdec.backend import (
    any_process,
    assign,
    from_first,
    in_first_alone,
    inner_optimizer,
    own_random_state,
    random_state_of_all,
    set_random_state,
    share_variables,
)
from keras_encdec.files import FORMAT, new_file, recover
from keras_encdec.interrupts import Terminated, termination_came
from keras_encdec.option_checks import require_one_of, require_positive
from keras_encdec.training.background import Background
from keras_encdec.training.checkpoint_files import (
    DamagedError,
    checkpoints_in,
    positions_in,
    read_checkpoint,
)

_RANDOM, _METRIC = "random/", "metric/"
# What `stop_training` is where an epoch ends that was begun before an interruption.
_REST_IS_DONE = "the rest of the epoch is done"


class Checkpoints(keras.callbacks.Callback):
    """Writes all of a training's state after each epoch, and goes on from it exactly.

    The state is that of the model (weights, and the seeds of dropout) and of the
    optimizer (moments, step, moving averages, accumulated gradients, loss scale), with
    the logs of all epochs so far. Together with data that begin at the right batch,
    such as `TokenBatches.dataset(first=...)`, a training that is killed and started
    again ends with the same weights as one that is not.

    Within an epoch it writes one too, with what the metrics have summed: every so many
    minutes if asked for; and after SIGTERM in a block of `termination_kept`, when the
    batch is done. A training goes on from there likewise, with data that begin
    `batches_done` batches later. For those by time it does not wait: their state is
    copied, and written while it goes on. If that fails, the next one raises the error,
    or the end: that of an epoch when its own is written. After SIGTERM, or if another
    error ends the training, a warning tells of it.

    Of processes that share a training the first one writes and reads, the random
    numbers of all of them too, and calls `save_best`; SIGTERM in any of them ends all.
    With another number of processes a training goes on too, but draws other dropout.

    It also tells which epoch was the best, calls `save_best` then, and stops the
    training when there was no better one for some time; both are known again after an
    interruption. It should come last in the list of callbacks, for it keeps the logs
    that others add to.

    Args:
        folder: The folder of the checkpoints, made if missing. They are `safetensors`
            files, written beside their place and renamed.
        keep: The number of checkpoints to keep, the newest ones, and of those at the
            ends of epochs. With more than one, a training can go on if the last is
            damaged.
        minutes: After how many minutes to write one within an epoch, or None.
        monitor: The log to judge an epoch by, such as `"val_bleu"`.
        mode: `"max"` if more of it is better, or `"min"`.
        patience: The number of epochs in a row without a better one after which to
            stop, or None to go on to the end.
        save_best: A function without arguments, called after each epoch that is the
            best so far.

    Attributes:
        batches_done: Of the epoch that goes on, the number of batches that were done
            when the checkpoint was written that was restored; else 0.

    Raises:
        Terminated: Out of `fit` after SIGTERM, with all written.
        ValueError: If a number is not positive, the mode is unknown, the log to judge
            by is missing at the end of an epoch, or a training begins where there are
            checkpoints that were not restored.

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
        minutes: float | None = None,
        monitor: str = "val_loss",
        mode: Literal["min", "max"] = "min",
        patience: int | None = None,
        save_best: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__()
        require_positive(keep=keep, patience=1 if patience is None else patience)
        require_one_of(("min", "max"), mode=mode)
        if minutes is not None and not minutes > 0:
            raise ValueError(
                f"`minutes` must be a number above 0; received {minutes!r}. Leave it "
                "out to write none within an epoch."
            )
        self.folder = pathlib.Path(folder)
        self.keep = keep
        self.minutes = minutes
        self.monitor = monitor
        self.mode = mode
        self.patience = patience
        self.save_best = save_best
        self.history: list[dict[str, Any]] = []
        self.batches_done = 0
        self._epoch = 0
        self._first = 0  # Batches of the running epoch done before `fit`.
        self._random: dict[str, Any] = {}
        self._metrics: list[np.ndarray] = []
        self._written_at = time.monotonic()
        self._knows = False  # What is in the folder.
        self._background = Background()

    @property
    def paths(self) -> list[pathlib.Path]:
        """The checkpoints at the ends of epochs that are there, the oldest first."""
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
            checkpoint. Of the next epoch `batches_done` are done too. If the last is
            damaged it is that of the one before, and a warning names both.

        Raises:
            ValueError: If the checkpoint is of another model or optimizer or of a later
                version, or none of those that are there can be read.
        """
        self._tell_failure()  # What is still being written may be the last.
        self._knows = True
        variables = _state(model)
        found = from_first(lambda: self._restored(variables))
        self.history, self.batches_done, random, self._metrics = found
        share_variables(variables.values())
        self._random = own_random_state(random)
        return len(self.history)

    def _restored(self, variables: dict[str, Any]) -> Any:
        """Brings variables to the last checkpoint; returns what else there is in it."""
        damaged = []
        positions = sorted(positions_in(self.folder).items(), reverse=True)
        for position, path in positions:
            try:
                history, arrays = read_checkpoint(path)
                batches_done = position[1]
                break
            except DamagedError as error:
                damaged.append(str(error))
        else:
            if not damaged:
                return [], 0, {}, []
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
        random, metrics = (
            {
                name.removeprefix(kind): arrays.pop(name)
                for name in list(arrays)
                if name.startswith(kind)
            }
            for kind in (_RANDOM, _METRIC)
        )
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
            assign(variable, arrays[name])
        summed = [metrics[str(i)] for i in range(len(metrics))]
        return history, batches_done, random, summed

    def _path(self, epochs: int, batches: int = 0) -> pathlib.Path:
        within = f"-batch-{batches:07d}" if batches else ""
        return self.folder / f"epoch-{epochs:05d}{within}.safetensors"

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Makes sure that no other training is written over."""
        self._tell_failure()
        if not self._knows and from_first(lambda: positions_in(self.folder)):
            raise ValueError(
                "A training goes on from the checkpoints in its folder, or has a "
                f"folder of its own; {str(self.folder)!r} holds some that were not "
                "restored. Call restore(model) and give fit what it returns as "
                "initial_epoch, or choose another folder."
            )
        self._written_at = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self._epoch, self._first, self.batches_done = epoch, self.batches_done, 0

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Lets each epoch but the first begin with the random numbers written down.

        And writes a checkpoint where it is time to.
        """
        # Not before its first batch: beginning with the data draws some too, and how
        # many depends on whether the training was interrupted.
        if batch == 0:
            set_random_state(self._random)
            if self._first:
                self._restore_metrics()
        done = self._first + batch
        ends, is_due = any_process(termination_came(), self._is_due())
        if ends:
            with self.settled():
                if batch:
                    self._write(self._epoch, done)
                raise Terminated
        if batch and is_due:
            self._write(self._epoch, done, waits=False)
        # What is left of an epoch Keras cannot be told; but after its last batch to
        # stop. `on_epoch_end` tells it to go on.
        if self._first and done == self.params["steps"] - 1:
            self.model.stop_training = _REST_IS_DONE

    def _is_due(self) -> bool:
        waited = time.monotonic() - self._written_at
        return self.minutes is not None and waited >= 60 * self.minutes

    def _restore_metrics(self) -> None:
        variables = self.model.metrics_variables
        if len(variables) != len(self._metrics):
            raise ValueError(
                "An epoch goes on with the metrics that it was begun with; of the "
                f"checkpoint there are {len(self._metrics)} numbers of metrics, of the "
                f"model {len(variables)}. Compile it with the same."
            )
        for variable, value in zip(variables, self._metrics, strict=True):
            variable.assign(value)

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
            in_first_alone(self.save_best)()
        self._write(epoch + 1)
        self._wait()
        if self._first and self.model.stop_training == _REST_IS_DONE:
            self.model.stop_training = False
        if self.is_over:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Waits for what is still being written."""
        self._wait()

    @contextlib.contextmanager
    def settled(self) -> Iterator[None]:
        """Waits for what is still being written, however a block ends.

        Raises:
            Exception: If that failed. Where the block raises another, that is raised,
                and a warning tells of this one.
        """
        try:
            yield
        except BaseException:
            self._tell_failure()
            raise
        self._background.wait()

    def _wait(self) -> None:
        """Waits, and raises the error of what was written, in all processes."""
        from_first(self._background.wait)

    def _tell_failure(self) -> None:
        """Waits, and warns of the error of what was written."""
        try:
            self._background.wait()
        except Exception as error:
            warnings.warn(
                f"A checkpoint within an epoch could not be written in "
                f"{str(self.folder)!r} ({type(error).__name__}: {error}). Those before "
                "it are as they were.",
                stacklevel=3,
            )

    def _write(self, epochs: int, batches: int = 0, *, waits: bool = True) -> None:
        """Writes a checkpoint after some epochs and some batches of the next.

        Args:
            epochs: The number of epochs.
            batches: The number of batches.
            waits: Whether the training waits until it is on the disk, and not only
                until its state is copied.
        """
        random = random_state_of_all()

        def write() -> None:
            self._background.settle()
            written = self._path(epochs, batches), *self._copied(batches, random)
            if waits:  # Also after one that failed: its error is raised later.
                self._write_file(*written)
            else:
                self._background.begin(lambda: self._write_file(*written))

        from_first(write)  # If it fails, no process waits for the first.
        if not batches:
            self._random = own_random_state(random)
        self._knows, self._written_at = True, time.monotonic()

    def _copied(self, batches: int, random: dict[str, Any]) -> Any:
        """All that is written, which the training then changes no more."""
        variables = _state(self.model)
        if batches:
            variables |= numbered("metric", self.model.metrics_variables)
        arrays = {
            name: np.array(keras.ops.convert_to_numpy(variable), order="C")
            for name, variable in variables.items()
        }
        for name, state in random.items():
            arrays[_RANDOM + name] = state
        return arrays, {"format": str(FORMAT), "history": json.dumps(self.history)}

    def _write_file(
        self, path: pathlib.Path, arrays: dict[str, Any], metadata: dict[str, str]
    ) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        recover(path)  # From what a kill left of it.
        with new_file(path) as file:
            save_file(arrays, file, metadata)
        # Later ones are of epochs that are done again, or damaged.
        positions = sorted(positions_in(self.folder).items())
        before = positions[: [each for _, each in positions].index(path) + 1]
        ends = [each for each in before if each[0][1] == 0]
        kept = [*before[-self.keep :], *ends[-self.keep :]]
        for each in positions:
            if each not in kept:
                each[1].unlink()


def _state(model: KerasModel) -> dict[str, Any]:
    optimizer = model.optimizer
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    # Of the last batch, and of none before.
    norm = getattr(inner_optimizer(optimizer), "gradient_norm", None)
    return {
        **numbered("model", model.variables),
        **numbered("optimizer", [x for x in optimizer.variables if x is not norm]),
    }


def numbered(part: str, variables: Sequence[Any]) -> dict[str, Any]:
    """Returns variables by the names that they have in a checkpoint.

    Args:
        part: What they are of: "model", "optimizer" or "metric".
        variables: The variables, a list.

    Example:
        ```python
        import keras
        from keras_encdec.training.checkpoints import numbered

        print(list(numbered("model", [keras.Variable([1.0])])))  # ["model/0"]
        ```
    """
    # Not by their paths, which tell how many layers there were in the process before.
    return {f"{part}/{i}": variable for i, variable in enumerate(variables)}
