"""What is logged of a training while it runs."""

import json

import keras
import numpy as np
import pytest

from keras_encdec.training import MeasuredAdam, RunningLog

pytestmark = pytest.mark.once

ROWS = np.ones((4, 2), "float32")
# Tokens and ids of batches.
COUNTS = [(10, 16), (12, 16), (4, 8), (30, 32)]


class Clock:
    """Goes on by a second each time it is read."""

    def __init__(self):
        self.now = 0

    def monotonic(self):
        self.now += 1
        return self.now

    def time(self):
        return 1e9


def fit(log, epochs=1, initial_epoch=0):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(MeasuredAdam(1e-3), "mse")
    options = {"epochs": epochs, "initial_epoch": initial_epoch, "shuffle": False}
    model.fit(ROWS, ROWS[:, :1], batch_size=1, callbacks=[log], verbose=0, **options)
    return model


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_logs_what_passed_since_the_last_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("keras_encdec.training.watching.time", Clock())
    file = tmp_path / "log.jsonl"
    log = RunningLog(iter(COUNTS), 1, seconds=2, file=file, printed=True)
    model = fit(log)
    first, second, whole = lines_of(file)
    # The clock shows 1 when it begins, and 2, 3, 4, 5 before the batches.
    assert (first["epoch"], first["batch"], first["seconds_left"]) == (1, 1, 6)
    assert first["tokens_per_second"] == 10 / 2 and first["padding"] == 6 / 16
    assert second["batch"] == 3 and second["tokens_per_second"] == (12 + 4) / 2
    assert first["learning_rate"] == pytest.approx(1e-3) and first["time"] == 1e9
    assert "batch" not in whole and whole["seconds_left"] == 0
    assert whole["gradient_norm"] == float(model.optimizer.gradient_norm.numpy())
    printed = capsys.readouterr().out
    assert "Epoch 1/1, batch 1/4: loss " in printed
    assert "5 tokens/s, 37.5% padding, learning rate 1.00e-03, " in printed
    assert printed.splitlines()[0].endswith("0:00:06 left")


def test_what_is_done_again_is_logged_once(tmp_path):
    file = tmp_path / "log.jsonl"
    told = [
        {"epoch": 1, "batch": 2},
        {"epoch": 1},
        {"epoch": 2, "batch": 3},
        {"epoch": 2, "batch": 5},
        {"epoch": 2},
    ]
    cut = '{"epoch": 2, "ba'
    file.write_text("".join(f"{json.dumps(log)}\n" for log in told) + cut)
    log = RunningLog(iter(COUNTS), 2, file=file, start=(1, 4))
    log.set_params({"steps": 8})
    log.on_train_begin()
    assert lines_of(file) == told[:3]


def test_seconds_are_positive():
    with pytest.raises(ValueError, match="above 0; received 0"):
        RunningLog(iter(COUNTS), 1, seconds=0)
