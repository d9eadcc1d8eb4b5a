"""Going on exactly after an interruption, the best epoch, and means of weights."""

import contextlib
import errno
import functools
import itertools
import json
import operator
import re
import resource
import threading

import keras
import numpy as np
import pytest
import safetensors.numpy

from keras_encdec.files import FORMAT
from keras_encdec.interrupts import Terminated, termination_kept
from keras_encdec.model import EncoderDecoder
from keras_encdec.training import Checkpoints, TokenCrossEntropy, average_weights

IDS = np.arange(4, 20).reshape(4, 4)
ROWS = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)


def options():
    """All that an optimizer may keep between updates."""
    return {
        "learning_rate": keras.optimizers.schedules.CosineDecay(1e-2, 9),
        "use_ema": True,
        "ema_momentum": 0.9,
        "gradient_accumulation_steps": 3,
        "global_clipnorm": 1.0,
    }


def transformer(seed=0):
    keras.utils.set_random_seed(seed)
    model = EncoderDecoder(20, 16, 32, 2, 1, dropout=0.3)
    optimizer = keras.optimizers.Adam(**options())
    loss = TokenCrossEntropy(reduction="sum")
    model.compile(optimizer, loss, jit_compile=False)
    return model, ((IDS, IDS[:, ::-1]), IDS)


def dense(seed=0, dtype="float32", units=3, learning_rate=1e-2, **optimizer):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(units, dtype=dtype),
            keras.layers.Dropout(0.5),
        ]
    )
    optimizer = keras.optimizers.Adam(learning_rate, **optimizer)
    model.compile(optimizer, "mse", jit_compile=False)
    return model, (ROWS, ROWS)


def fit(model_and_data, checkpoints, epochs=4, callbacks=()):
    model, data = model_and_data
    model.fit(
        *data,
        batch_size=2,
        shuffle=False,
        epochs=epochs,
        initial_epoch=checkpoints.restore(model),
        callbacks=[*callbacks, checkpoints],
        verbose=0,
    )
    return model


def assert_same(left, right):
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one, other)


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    """Leaves in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch == self.epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now:
            raise Killed


class Logs(keras.callbacks.Callback):
    """Adds values of its own to the logs."""

    def __init__(self, **values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs.update({name: values[epoch] for name, values in self.values.items()})


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        transformer,
        dense,
        lambda seed=0: dense(seed, "mixed_float16"),
        lambda seed=0: dense(seed, **options()),
    ],
    ids=["transformer", "dense", "mixed_float16", "all options"],
)
def test_goes_on_exactly(tmp_path, make):
    straight = Checkpoints(tmp_path / "straight", monitor="loss")
    whole = fit(make(), straight)
    for epoch in (0, 2):
        with pytest.raises(Killed):
            # As in a new process: all is as at the start, but for the folder.
            killed = Checkpoints(tmp_path / "killed", monitor="loss")
            fit(make(), killed, callbacks=[Kill(epoch)])
    # Restored over whatever else was drawn.
    gone_on = Checkpoints(tmp_path / "killed", monitor="loss")
    model = fit(make(seed=5), gone_on)
    assert gone_on.history == straight.history and len(gone_on.history) == 4
    for left, right in (
        (model.variables, whole.variables),
        (model.optimizer.variables, whole.optimizer.variables),
    ):
        assert_same(*(map(keras.ops.convert_to_numpy, part) for part in (left, right)))


class TerminatedIn(keras.callbacks.Callback):
    """Has SIGTERM come in a batch of an epoch."""

    def __init__(self, terminate, epoch, batch):
        super().__init__()
        self.terminate, self.at = terminate, (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            self.terminate()


def fit_on(model_and_data, checkpoints, callbacks=()):
    """Trains for three epochs of five batches, from where checkpoints are."""
    model, (x, y) = model_and_data
    done = checkpoints.restore(model)
    first = 5 * done + checkpoints.batches_done

    def batches():
        for number in itertools.count(first):
            rows = np.arange(number, number + 2) % len(y)
            yield keras.tree.map_structure(operator.itemgetter(rows), (x, y))

    model.fit(
        batches(),
        steps_per_epoch=5,
        epochs=3,
        shuffle=False,
        initial_epoch=done,
        callbacks=[*callbacks, checkpoints],
        verbose=0,
    )
    return model


@pytest.mark.slow
def test_goes_on_exactly_within_an_epoch(tmp_path, terminate):
    straight = Checkpoints(tmp_path / "straight", monitor="loss")
    whole = fit_on(transformer(), straight)
    folder = tmp_path / "terminated"
    for epoch, batch in ((0, 1), (1, 3)):
        with pytest.raises(Terminated), termination_kept():
            checkpoints = Checkpoints(folder, monitor="loss")
            fit_on(transformer(), checkpoints, [TerminatedIn(terminate, epoch, batch)])
        name = f"epoch-{epoch:05d}-batch-{batch:07d}.safetensors"
        assert (folder / name).is_file()
    gone_on = Checkpoints(folder, monitor="loss")
    model = fit_on(transformer(seed=5), gone_on)
    # The logs of an epoch are those of all its batches.
    assert gone_on.history == straight.history and len(gone_on.history) == 3
    for left, right in (
        (model.variables, whole.variables),
        (model.optimizer.variables, whole.optimizer.variables),
    ):
        assert_same(*(map(keras.ops.convert_to_numpy, part) for part in (left, right)))
    assert [x.name for x in folder.iterdir()] == ["epoch-00003.safetensors"]


@pytest.mark.once
def test_writes_by_time_and_passes_over_what_is_cut(tmp_path, terminate):
    options = {"monitor": "loss", "minutes": 1e-9, "keep": 2}
    with pytest.raises(Terminated), termination_kept():
        fit_on(
            dense(), Checkpoints(tmp_path, **options), [TerminatedIn(terminate, 1, 2)]
        )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "epoch-00001-batch-0000001.safetensors",
        "epoch-00001-batch-0000002.safetensors",
        "epoch-00001.safetensors",
    ]
    (tmp_path / names[1]).write_bytes(b"")
    checkpoints = Checkpoints(tmp_path, **options)
    with pytest.warns(match=f"{names[1]}.*is empty.*{names[0]}"):
        assert checkpoints.restore(dense()[0]) == 1
    assert checkpoints.batches_done == 1


class AtBatch(keras.callbacks.Callback):
    """Calls a function after a batch of the first epoch."""

    def __init__(self, batch, function):
        super().__init__()
        self.batch, self.function = batch, function

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (0, self.batch):
            self.function()


def fit_eagerly(checkpoints, callbacks):
    """An epoch of four batches, each of which is over when callbacks are called."""
    model, data = dense()
    model.run_eagerly = True
    model.fit(*data, batch_size=1, shuffle=False, verbose=0, callbacks=callbacks)
    return model


def test_the_training_goes_on_while_a_checkpoint_by_time_is_written(
    tmp_path, monkeypatch
):
    checkpoints = Checkpoints(tmp_path, monitor="loss", minutes=1e-9, keep=9)
    may_write = threading.Event()
    weights, seen = [], []
    save_file = safetensors.numpy.save_file

    def saved_later(*args):
        assert may_write.wait(60)
        save_file(*args)

    def look():
        weights.append(checkpoints.model.get_weights())
        seen.append(len(checkpoints_within(tmp_path)))
        if len(weights) == 2:
            may_write.set()

    monkeypatch.setattr("keras_encdec.training.checkpoints.save_file", saved_later)
    looks = [AtBatch(batch, look) for batch in (0, 1)]
    model = fit_eagerly(checkpoints, [*looks, checkpoints])
    assert seen == [0, 0], "a batch is trained before the file is there"
    written = safetensors.numpy.load_file(checkpoints_within(tmp_path)[0])
    # What was when it was begun, whatever was trained meanwhile.
    np.testing.assert_array_equal(written["model/0"], weights[0][0])
    assert not np.array_equal(weights[0][0], model.get_weights()[0])


def checkpoints_within(folder):
    return sorted(folder.glob("*-batch-*.safetensors"))


@pytest.mark.once
@pytest.mark.parametrize("last", [False, True])
def test_a_checkpoint_by_time_that_fails_is_told_by_the_next(tmp_path, last):
    checkpoints = Checkpoints(tmp_path, monitor="loss", minutes=1e-9)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    full = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (64, limits[1]))
    callbacks = [AtBatch(0, full), checkpoints]
    if last:  # Another callback ends the epoch, and the training.
        callbacks.insert(1, AtBatch(1, lambda: checkpoints.on_train_end()))
    try:
        with pytest.raises(Exception, match="File too large"):
            fit_eagerly(checkpoints, callbacks)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [*tmp_path.iterdir()]


@pytest.fixture
def full_once(monkeypatch):
    """Gives a function after which the disk is full in one of the writes, by number."""
    save_file = safetensors.numpy.save_file

    def fails_at(number):
        numbers = itertools.count()

        def save(*args):
            if next(numbers) == number:
                raise OSError(errno.ENOSPC, "full")
            save_file(*args)

        monkeypatch.setattr("keras_encdec.training.checkpoints.save_file", save)

    return fails_at


@pytest.mark.once
def test_one_that_fails_costs_not_that_of_a_termination(tmp_path, terminate, full_once):
    full_once(0)
    checkpoints = Checkpoints(tmp_path, monitor="loss", minutes=1e-9)
    with pytest.raises(Terminated), termination_kept():
        with pytest.warns(UserWarning, match="could not be written.*OSError.*full"):
            fit_eagerly(checkpoints, [AtBatch(1, terminate), checkpoints])
    names = [path.name for path in tmp_path.iterdir()]
    assert names == ["epoch-00000-batch-0000002.safetensors"]


@pytest.mark.once
def test_one_that_fails_costs_not_that_of_the_epoch(tmp_path, full_once):
    full_once(2)  # That before the last batch.
    checkpoints = Checkpoints(tmp_path, monitor="loss", minutes=1e-9)
    with pytest.raises(OSError, match="full"):
        fit_eagerly(checkpoints, [checkpoints])
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-00001.safetensors"]
    assert Checkpoints(tmp_path, monitor="loss").restore(dense()[0]) == 1


@pytest.mark.once
def test_one_that_fails_is_told_beside_another_error(tmp_path, full_once):
    options = {"monitor": "loss", "minutes": 1e-9}

    def killed(checkpoints):
        full_once(0)
        fit_eagerly(checkpoints, [AtBatch(1, throw), checkpoints])

    def throw():
        raise Killed

    checkpoints = Checkpoints(tmp_path, **options)
    with pytest.raises(Killed), pytest.warns(UserWarning, match="OSError.*full"):
        with checkpoints.settled():
            killed(checkpoints)
    with pytest.raises(OSError, match="full"), checkpoints.settled():
        with pytest.raises(Killed):
            killed(checkpoints)
    with pytest.raises(Killed):
        killed(checkpoints)
    with pytest.warns(UserWarning, match="OSError.*full"):
        assert checkpoints.restore(dense()[0]) == 0


@pytest.mark.once
def test_restores_what_was_still_being_written(tmp_path, monkeypatch):
    may_write, save_file = threading.Event(), safetensors.numpy.save_file

    def saved_later(*args):
        assert may_write.wait(60)
        save_file(*args)

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_encdec.training.checkpoints.save_file", saved_later)
    checkpoints = Checkpoints(tmp_path, monitor="loss", minutes=1e-9)
    with pytest.raises(KeyboardInterrupt):
        fit_eagerly(checkpoints, [AtBatch(1, interrupt), checkpoints])
    threading.Timer(0.1, may_write.set).start()
    assert checkpoints.restore(dense()[0]) == 0 and checkpoints.batches_done == 1


@pytest.mark.once
def test_the_first_process_tells_the_others_of_what_it_cannot_write(
    tmp_path, monkeypatch, full_once
):
    told = []

    class First:  # Of two.
        index = staticmethod(lambda: 0)
        alone = contextlib.nullcontext
        gathered = staticmethod(lambda value: [value, value])
        of_first = told.append

    full_once(0)
    model, _ = dense()
    checkpoints = Checkpoints(tmp_path, monitor="loss")
    checkpoints.set_model(model)
    monkeypatch.setattr("keras_encdec.backend.processes._engine", First)
    with pytest.raises(OSError, match="full"):
        checkpoints.on_epoch_end(0, {"loss": 1.0})
    assert [type(error) for _, error in told] == [OSError]
    checkpoints.on_epoch_end(0, {"loss": 1.0})
    assert [error for _, error in told[1:]] == [None, None]


@pytest.mark.once
def test_keeps_the_newest(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2, monitor="loss")
    fit(dense(), checkpoints)
    names = ["epoch-00003.safetensors", "epoch-00004.safetensors"]
    assert [path.name for path in checkpoints.paths] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    with safetensors.safe_open(checkpoints.paths[-1], "numpy") as file:
        history = json.loads(file.metadata()["history"])
    assert history == checkpoints.history


@pytest.mark.once
@pytest.mark.parametrize("mode, best, saved", [("max", 2, [0, 1, 2]), ("min", 0, [0])])
def test_saves_the_best_and_knows_it_again(tmp_path, mode, best, saved):
    seen = []
    options = {"monitor": "val_bleu", "mode": mode}
    checkpoints = Checkpoints(
        tmp_path, save_best=lambda: seen.append(len(checkpoints.history) - 1), **options
    )
    fit(dense(), checkpoints, callbacks=[Logs(val_bleu=[3.0, 4.0, 9.0, 5.0])])
    assert checkpoints.best_epoch == best and seen == saved
    again = Checkpoints(tmp_path, **options)
    assert again.best_epoch is None
    assert again.restore(dense()[0]) == 4 and again.best_epoch == best


@pytest.mark.once
def test_a_loss_that_is_no_number_is_never_the_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, monitor="x")
    losses = [5.0, float("nan"), 4.0, float("inf")]
    fit(dense(), checkpoints, callbacks=[Logs(x=losses)])
    assert checkpoints.best_epoch == 2


@pytest.mark.once
def test_of_logs_that_are_no_numbers_none_is_the_best(tmp_path):
    seen = []
    options = {"monitor": "x", "patience": 2, "save_best": lambda: seen.append(1)}
    checkpoints = Checkpoints(tmp_path, **options)
    assert not checkpoints.is_over and checkpoints.is_better(1.0)
    fit(dense(), checkpoints, callbacks=[Logs(x=4 * [float("nan")])])
    assert checkpoints.best_epoch is None and checkpoints.is_over and not seen
    assert len(checkpoints.history) == 2
    assert checkpoints.is_better(1e9)
    for value in ("nan", "inf", "-inf"):
        assert not checkpoints.is_better(float(value))


@pytest.mark.once
def test_patience_counts_over_an_interruption(tmp_path):
    logs = Logs(x=[1.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    options = {"monitor": "x", "patience": 3}
    fit(dense(), Checkpoints(tmp_path, **options), epochs=2, callbacks=[logs])
    checkpoints = Checkpoints(tmp_path, **options)
    fit(dense(), checkpoints, epochs=6, callbacks=[logs])
    assert len(checkpoints.history) == 4 and checkpoints.is_over
    again = Checkpoints(tmp_path, **options)
    again.restore(dense()[0])
    assert again.is_over


@pytest.mark.slow
def test_mean_of_weights(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3, monitor="loss")
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(self.model.get_weights())

    fit(dense(), checkpoints, callbacks=[Look()])
    model, _ = dense(seed=8)
    average_weights(checkpoints.paths, model)
    for mean, *weights in zip(model.get_weights(), *seen[1:], strict=True):
        np.testing.assert_allclose(mean, np.mean(weights, axis=0), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")
def test_the_mean_has_the_precision_of_the_weights(tmp_path, dtype):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, dtype=dtype)])
    model.compile("sgd", "mse")
    kernel = model.trainable_variables[0]
    before = keras.ops.convert_to_numpy(kernel).dtype
    checkpoints = Checkpoints(tmp_path, keep=2, monitor="loss")
    checkpoints.set_model(model)
    for epoch, value in enumerate((1 + 2e-9, 1 + 4e-9)):
        kernel.assign([[value]])
        checkpoints.on_epoch_end(epoch, {"loss": 1.0})
    average_weights(checkpoints.paths, model)
    mean = keras.ops.convert_to_numpy(kernel)
    assert mean.dtype == before
    if before == "float64":  # JAX has none, unless it is told to.
        np.testing.assert_allclose(mean, 1 + 3e-9, rtol=1e-15)


@pytest.mark.once
def test_refuses_what_does_not_fit(tmp_path):
    fit(dense(), Checkpoints(tmp_path, monitor="loss"), epochs=1)
    checkpoints = Checkpoints(tmp_path, monitor="loss")
    for other, _ in (dense(use_ema=True), dense(units=1)):
        with pytest.raises(ValueError, match="the model and the optimizer it began"):
            checkpoints.restore(other)
    with pytest.raises(ValueError, match="at least one checkpoint"):
        average_weights([], other)


@pytest.mark.once
@pytest.mark.parametrize("number", [0, -1, 1.5, "2", True, float("nan")])
@pytest.mark.parametrize("name", ["keep", "patience"])
def test_refuses_numbers_that_count_nothing(tmp_path, name, number):
    with pytest.raises(ValueError, match=f"{name} must be a positive integer"):
        Checkpoints(tmp_path, **{name: number})


@pytest.mark.once
def test_refuses_options_that_mean_nothing(tmp_path):
    for wrong in ({"keep": None}, {"mode": "best"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Checkpoints(tmp_path, **wrong)
    Checkpoints(tmp_path, keep=np.int64(2), patience=np.int64(3))


# ---- Damaged files


DAMAGES = {
    "empty": lambda data: b"",
    "its header cut": lambda data: data[:50],
    "its end cut": lambda data: data[:-1],
    "zeros": lambda data: bytes(len(data)),
    "of others": lambda data: safetensors.numpy.save({"x": ROWS}),
    "with no logs": lambda data: safetensors.numpy.save({"x": ROWS}, {"history": "["}),
}


def damage(path, how="empty"):
    path.write_bytes(DAMAGES[how](path.read_bytes()))


@pytest.mark.once
@pytest.mark.parametrize("how", DAMAGES)
def test_goes_on_from_the_one_before_a_damaged_one(tmp_path, how):
    options = {"monitor": "loss", "keep": 2}
    whole = Checkpoints(tmp_path / "whole", **options)
    expected = fit(dense(), whole).get_weights()
    first = Checkpoints(tmp_path / "damaged", **options)
    fit(dense(), first, epochs=3)
    damage(first.paths[-1], how)
    names = [str(path) for path in reversed(first.paths)]
    with pytest.warns(UserWarning, match=".*".join(map(re.escape, names))) as warned:
        model = fit(dense(seed=5), Checkpoints(tmp_path / "damaged", **options))
    assert len([x for x in warned if "goes on" in str(x.message)]) == 1
    assert_same(model.get_weights(), expected)
    again = Checkpoints(tmp_path / "damaged", **options)
    assert again.restore(dense()[0]) == 4 and again.history == whole.history
    assert [path.name for path in again.paths] == [path.name for path in whole.paths]


@pytest.mark.once
def test_what_is_damaged_is_not_kept_for_what_is_whole(tmp_path):
    first = Checkpoints(tmp_path, monitor="loss", keep=3)
    fit(dense(), first)
    for path in first.paths[1:]:
        damage(path)
    checkpoints = Checkpoints(tmp_path, monitor="loss")
    with pytest.warns(UserWarning, match="goes on from the one before"):
        fit(dense(), checkpoints, epochs=3)
    assert [path.name for path in checkpoints.paths] == ["epoch-00003.safetensors"]
    assert Checkpoints(tmp_path, monitor="loss").restore(dense()[0]) == 3


@pytest.mark.once
def test_names_all_damaged_ones_where_there_is_no_other(tmp_path):
    checkpoints = Checkpoints(tmp_path, monitor="loss", keep=2)
    model = fit(dense(), checkpoints, epochs=2)
    for path in checkpoints.paths:
        damage(path)
    with pytest.raises(ValueError, match="none before to go on from") as caught:
        Checkpoints(tmp_path, monitor="loss").restore(model)
    assert all(str(path) in str(caught.value) for path in checkpoints.paths)
    for path in (checkpoints.paths[0], tmp_path / "missing.safetensors"):
        with pytest.raises(ValueError, match=f"{re.escape(str(path))}' cannot be read"):
            average_weights([path], model)


# ---- Other versions, other trainings


def with_metadata(path, **changes):
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
    metadata = {**metadata, **changes}
    metadata = {name: value for name, value in metadata.items() if value is not None}
    arrays = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file(arrays, path, metadata)


@pytest.mark.once
def test_knows_the_format_of_a_file(tmp_path):
    checkpoints = Checkpoints(tmp_path, monitor="loss")
    model = fit(dense(), checkpoints, epochs=2)
    (path,) = checkpoints.paths
    with_metadata(path, format=None)  # As version 0.1.0 wrote it.
    assert Checkpoints(tmp_path, monitor="loss").restore(model) == 2
    with_metadata(path, format=str(FORMAT + 1))
    for read in (
        lambda: Checkpoints(tmp_path, monitor="loss").restore(model),
        lambda: average_weights([path], model),
    ):
        with pytest.raises(ValueError, match=f"of format {FORMAT + 1}. Install"):
            read()


@pytest.mark.once
def test_writes_over_no_other_training(tmp_path):
    model = fit(dense(), Checkpoints(tmp_path, monitor="loss"), epochs=2)
    before = [path.read_bytes() for path in tmp_path.iterdir()]
    forgotten = Checkpoints(tmp_path, monitor="loss")
    with pytest.raises(ValueError, match=r"Call restore\(model\)"):
        model.fit(ROWS, ROWS, callbacks=[forgotten], verbose=0)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == before


@pytest.mark.once
def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path):
    for name in (
        ".epoch-00001.safetensors.0123abcd.part",
        ".epoch-00001.safetensors.mine",
        "epoch-last.safetensors",
    ):
        (tmp_path / name).write_text("x")
    fit(dense(), Checkpoints(tmp_path, monitor="loss"), epochs=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".epoch-00001.safetensors.mine",
        "epoch-00001.safetensors",
        "epoch-last.safetensors",
    ]


@pytest.mark.once
def test_refuses_a_log_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="monitor='val_bleu' and the logs loss"):
        fit(dense(), Checkpoints(tmp_path, monitor="val_bleu"), epochs=1)
