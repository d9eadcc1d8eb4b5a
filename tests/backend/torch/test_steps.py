"""Recorded training steps against those of Keras itself."""

import shutil

import keras
import numpy as np
import pytest

from keras_encdec import EncoderDecoder, TokenCrossEntropy
from keras_encdec.backend import compile_train_step
from keras_encdec.backend.torch import steps as torch_steps
from keras_encdec.training import ProjectedLoss

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch's steps alone are recorded"
)

NEVER = 10**9


@pytest.fixture(autouse=True)
def recorded_at_the_third_step(monkeypatch):
    monkeypatch.setattr(torch_steps, "STEPS_BEFORE_RECORD", 2)


class Regression(keras.Sequential):
    """A network whose steps are recorded; it counts those that Keras takes."""

    def __init__(self, optimizer="sgd", dropout=0.3, steps=2):
        torch_steps.STEPS_BEFORE_RECORD = steps
        keras.utils.set_random_seed(0)
        super().__init__(
            [
                keras.Input((3,)),
                keras.layers.Dense(4, activation="tanh", kernel_constraint="unit_norm"),
                keras.layers.Dropout(dropout),
                keras.layers.Dense(1),
            ]
        )
        self.compile(optimizer, "mse")
        self.optimizer.build(self.trainable_variables)
        self.taken = 0
        self.step = compile_train_step(
            self.take,
            self.mean_square,
            self.log,
            self.optimizer,
            [*self.variables, *self.metrics_variables],
        )

    def train_step(self, data):
        return self.step(data)

    def take(self, data):
        self.taken += 1
        return super().train_step(data)

    def mean_square(self, x, y, sample_weight):
        predicted = self(x, training=True)
        return self.compute_loss(x, y, predicted, sample_weight), keras.ops.max(
            predicted
        )

    def log(self, rows, loss, largest):
        (mean,) = (x for x in self.metrics if x.name == "loss")
        mean.update_state(loss, sample_weight=rows)
        return self.get_metrics_result()


def batches(number, weighted=False, sizes=(4, 5)):
    random = np.random.default_rng(0)
    for i in range(number):
        rows = sizes[i % len(sizes)]
        arrays = [random.normal(size=(rows, n)).astype("float32") for n in (3, 1)]
        if weighted:
            arrays.append(random.uniform(size=rows).astype("float32"))
        yield arrays


def train(model, **options):
    logs = [model.train_on_batch(*each) for each in batches(10, **options)]
    return [
        np.array(logs),
        *model.get_weights(),
        *(x.numpy() for x in model.optimizer.variables),
    ]


def schedule():
    return keras.optimizers.schedules.PolynomialDecay(0.1, 6, 0.01)


def warm_up():
    # Looks whether the warm-up is over.
    return keras.optimizers.schedules.CosineDecay(
        0.01, 6, warmup_target=0.1, warmup_steps=4
    )


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(schedule(), clipnorm=0.5),
    "adamw": lambda: keras.optimizers.AdamW(0.1, global_clipnorm=0.5),
    "adafactor": lambda: keras.optimizers.Adafactor(0.1),
    "lamb": lambda: keras.optimizers.Lamb(0.1),
    "warm-up": lambda: keras.optimizers.Adam(warm_up()),
    "average": lambda: keras.optimizers.Adam(
        0.1, use_ema=True, ema_overwrite_frequency=3
    ),
    "accumulated": lambda: keras.optimizers.Adam(0.1, gradient_accumulation_steps=2),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.1), initial_scale=2.0**10, dynamic_growth_steps=3
    ),
}
# Of these Keras takes the optimizer's part of each step.
VALUES_DECIDE = {"warm-up", "average", "accumulated", "scaled"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_recorded_step_is_the_step(name):
    make = OPTIMIZERS[name]
    expected = train(Regression(make(), steps=NEVER))
    model = Regression(make())
    for found, other in zip(train(model), expected, strict=True):
        np.testing.assert_array_equal(found, other)
    assert model.taken == 2 * 2
    applied = count_calls(model.optimizer, "apply")
    train(model)
    assert applied == ([True] * 10 if name in VALUES_DECIDE else [])


def count_calls(target, name):
    calls, function = [], getattr(target, name)

    def counted(*args, **kwargs):
        calls.append(True)
        return function(*args, **kwargs)

    setattr(target, name, counted)
    return calls


def test_sample_weights_may_come_and_go():
    found = []
    for steps in (NEVER, 2):
        model = Regression(steps=steps)
        found.append([train(model, weighted=i % 2 > 0)[0] for i in range(4)])
    np.testing.assert_array_equal(*found)
    assert model.taken == 2 * 2 * 2


def test_a_frozen_layer_stays_as_it_is():
    model = Regression("adam")
    first, _, last = model.layers
    for trainable in (True, False, True):
        first.trainable = trainable
        before = [layer.get_weights() for layer in (first, last)]
        train(model)
        same = [
            [
                np.array_equal(*pair)
                for pair in zip(old, layer.get_weights(), strict=True)
            ]
            for old, layer in zip(before, (first, last), strict=True)
        ]
        assert same == [[not trainable] * 2, [False] * 2]


def test_a_learning_rate_may_be_assigned():
    model = Regression("adam", dropout=0.0)
    train(model)
    model.optimizer.learning_rate = 0.0
    before = model.get_weights()
    train(model)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)  # The norm is 1 again.


def test_weights_may_be_assigned():
    model = Regression(keras.optimizers.SGD(0.0), dropout=0.0)
    (batch,) = batches(1)
    losses = [model.train_on_batch(*batch) for _ in range(4)]
    model.set_weights([x * 0 for x in model.get_weights()])
    losses.append(model.train_on_batch(*batch))
    assert losses[2] == losses[3] != losses[4]
    np.testing.assert_allclose(losses[4], np.mean(batch[1] ** 2), rtol=1e-6)


def test_a_loss_that_looks_at_values_stays_as_it_is():
    class Signed(Regression):
        def mean_square(self, x, y, sample_weight):
            sign = 1 if float(keras.ops.sum(x)) > 1e9 else 1.0
            loss, *others = super().mean_square(x, y, sample_weight)
            return sign * loss, *others

    found = [train(Signed(steps=steps)) for steps in (NEVER, 2)]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    model = Signed()
    train(model)
    assert model.taken == 10


def test_many_shapes_are_not_all_recorded(monkeypatch):
    monkeypatch.setattr(torch_steps, "MOST_RECORDED", 2)
    model = Regression()
    for rows in range(1, 5):
        for batch in batches(4, sizes=(rows,)):
            model.train_on_batch(*batch)
    assert model.taken == 2 + 2 + 4 + 4


def test_an_epoch_logs_what_keras_logs():
    found = []
    for steps in (NEVER, 2):
        model = Regression("adam", steps=steps)
        x, y = next(batches(1, sizes=(22,)))
        history = model.fit(x, y, batch_size=4, epochs=3, verbose=0)
        found.append(history.history["loss"])
    np.testing.assert_array_equal(*found)


def test_the_steps_of_a_model_are_recorded():
    model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1, dropout=0.1)
    trained = ProjectedLoss(model)
    trained.compile("adam", TokenCrossEntropy())
    ids = np.random.default_rng(0).integers(1, 20, (3, 8, 5))
    applied = count_calls(trained.optimizer, "apply")
    trained.fit((ids[0], ids[1]), ids[2], batch_size=2, epochs=3, verbose=0)
    # Two of Keras's steps, and the trace.
    assert len(applied) == 2 + 1


def trained(jit_compile):
    torch_steps.STEPS_BEFORE_RECORD = 0
    keras.utils.set_random_seed(0)
    model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1, dropout=0.0)
    trained = ProjectedLoss(model)
    trained.compile("adam", TokenCrossEntropy(), jit_compile=jit_compile)
    ids = np.random.default_rng(0).integers(1, 20, (3, 4, 5))
    data = (ids[0], ids[1]), ids[2]
    logs = [trained.train_on_batch(*data) for _ in range(5)]
    logs.append(trained.test_on_batch(*data))
    return np.array(logs), model.get_weights()


def test_a_compiled_step_is_the_step():
    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    found = [trained(jit_compile) for jit_compile in (False, True)]
    for one, other in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4)
