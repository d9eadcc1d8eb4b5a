"""What is told of a training while it runs: to people, other tools and TensorBoard."""

import datetime
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import keras

from keras_encdec.annotations import AnyPath
from keras_encdec.backend import inner_optimizer
from keras_encdec.files import new_file
from keras_encdec.printing import tell


class RunningLog(keras.callbacks.Callback):
    """Logs every so many seconds, and after each epoch, how a training goes.

    A log is a dict: the epoch and the batches of it that are done; the metrics since
    its beginning; and since the last log `tokens_per_second`, those of sources and
    targets without padding, and `padding`, its share; `gradient_norm` before clipping
    in the last batch, if the optimizer is a `MeasuredAdam`; `learning_rate`;
    `seconds_left`; and `time`, seconds since 1970. After an epoch it has the logs of
    all callbacks before this one, without `batch`.

    Args:
        counts: Iterates over the numbers of tokens of each batch, and of all ids of it,
            padding included: `TokenBatches.counts(first=...)`.
        epochs: How many epochs there are in all.
        seconds: How often, at least.
        file: Where to write a line of JSON for each, or None. What a file there tells
            of before the training goes on stays.
        board: The folder of TensorBoard's files, or None.
        printed: Whether to print a line for each that is not of a whole epoch.
        start: Where the training goes on: the epochs done, and batches of the next.

    Raises:
        ImportError: If TensorBoard is missing and asked for.
        ValueError: If `seconds` is not positive.

    Example:
        ```python
        import pathlib
        import tempfile
        from keras_encdec import ByteTokenizer, EncoderDecoder, TokenBatches
        from keras_encdec import ProjectedLoss, TokenCrossEntropy
        from keras_encdec.training import MeasuredAdam, RunningLog

        tokenizer = ByteTokenizer()
        batches = TokenBatches(["a", "bc"], ["A", "BC"], tokenizer, tokenizer, 32)
        model = ProjectedLoss(EncoderDecoder(260, 16, 32, num_heads=2, num_layers=1))
        model.compile(MeasuredAdam(), TokenCrossEntropy())
        file = pathlib.Path(tempfile.mkdtemp(), "log.jsonl")
        log = RunningLog(batches.counts(), 1, file=file)
        dataset = batches.dataset()
        model.fit(dataset, steps_per_epoch=2, callbacks=[log], verbose=0)
        print(file.read_text())
        ```
    """

    # What Keras gives to the end of a batch it has to wait for: here nothing is done
    # with a batch but where the time has come.

    def __init__(
        self,
        counts: Iterator[tuple[int, int]],
        epochs: int,
        *,
        seconds: float = 60.0,
        file: AnyPath | None = None,
        board: AnyPath | None = None,
        printed: bool = False,
        start: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        if not seconds > 0:
            raise ValueError(
                f"`seconds` must be a number above 0; received {seconds!r}. Raise it."
            )
        self.epochs, self.seconds, self.printed = epochs, seconds, printed
        self._counts, self._start = iter(counts), start
        self._file = None if file is None else pathlib.Path(file)
        self._writer: Any = None
        if board is not None:
            from tensorboard.summary import Writer

            self._writer = Writer(str(board))
        self._epoch = self._first = self._done = 0
        self._tokens = self._ids = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Keeps what was logged of what is not done again."""
        if self._file is not None:
            lines = _lines_until(self._file, self._start)
            with new_file(self._file) as file:
                file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        self._begun = self._last = time.monotonic()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes TensorBoard's file."""
        if self._writer is not None:
            self._writer.close()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch
        self._first = self._start[1] if epoch == self._start[0] else 0

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Logs the batches before this one, where it is time to."""
        now = time.monotonic()
        if batch and now - self._last >= self.seconds:
            values = {
                name: float(value)
                for name, value in self.model.get_metrics_result().items()
            }
            log = self._log(values, self._first + batch, now)
            if self.printed:
                tell(self._line(log))
        self._count_batch()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs the epoch."""
        values = {name: float(value) for name, value in (logs or {}).items()}
        self._log(values, None, time.monotonic())

    def _count_batch(self) -> None:
        tokens, ids = next(self._counts)
        self._tokens, self._ids = self._tokens + tokens, self._ids + ids
        self._done += 1

    def _log(
        self, values: dict[str, float], batch: int | None, now: float
    ) -> dict[str, Any]:
        steps = self.params["steps"]
        before = self._start[0] * steps + self._start[1]
        left = self.epochs * steps - before - self._done
        measured = {
            "tokens_per_second": self._tokens / max(now - self._last, 1e-9),
            "padding": 1 - self._tokens / max(self._ids, 1),
            "learning_rate": _number(self.model.optimizer.learning_rate),
            "seconds_left": (now - self._begun) / max(self._done, 1) * left,
        }
        norm = getattr(inner_optimizer(self.model.optimizer), "gradient_norm", None)
        if norm is not None:
            measured["gradient_norm"] = _number(norm)
        where = {"epoch": self._epoch + 1} | ({} if batch is None else {"batch": batch})
        log = {"time": time.time(), **where, **values, **measured}
        if self._file is not None:
            # A line that a kill cuts is left out when the training goes on.
            with open(self._file, "a", encoding="utf-8") as file:
                file.write(f"{json.dumps(log)}\n")
        if self._writer is not None:
            step = before + self._done
            kind = "epoch" if batch is None else "batch"
            for name, value in {**values, **measured}.items():
                self._writer.add_scalar(f"{kind}_{name}", value, step)
            self._writer.flush()
        self._tokens = self._ids = 0
        self._last = now
        return log

    def _line(self, log: dict[str, Any]) -> str:
        told = "loss", "r_drop", "simcut"
        losses = (f"{k} {v:.4f}" for k, v in log.items() if k in told)
        parts = [
            *losses,
            f"{log['tokens_per_second']:,.0f} tokens/s",
            f"{log['padding']:.1%} padding",
            f"learning rate {log['learning_rate']:.2e}",
            f"{datetime.timedelta(seconds=round(log['seconds_left']))} left",
        ]
        if "gradient_norm" in log:
            parts.insert(-1, f"gradient norm {log['gradient_norm']:.3g}")
        where = f"Epoch {log['epoch']}/{self.epochs}, batch {log['batch']:,}"
        return f"{where}/{self.params['steps']:,}: {', '.join(parts)}"


def _number(value: Any) -> float:
    return float(keras.ops.convert_to_numpy(value))


def _lines_until(file: pathlib.Path, start: tuple[int, int]) -> list[str]:
    """The lines of a file that tell of nothing after a place in the training."""
    lines = []
    for line in file.read_text("utf-8").splitlines() if file.is_file() else ():
        try:
            log = json.loads(line)
        except ValueError:  # Cut.
            continue
        # Of a whole epoch if it names no batch.
        done = log["epoch"] - 1, log.get("batch")
        if (done[0] + 1, 0) <= start if done[1] is None else done <= start:
            lines.append(line)
    return lines
