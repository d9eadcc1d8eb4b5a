"""Recorded losses against PyTorch's own autograd."""

import keras
import numpy as np
import pytest

from keras_encdec import EncoderDecoder, TokenCrossEntropy
from keras_encdec.backend import compile_loss, torch_losses
from keras_encdec.training import ProjectedLoss

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch's steps alone are recorded"
)

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def recorded_at_the_third_call(monkeypatch):
    monkeypatch.setattr(torch_losses, "CALLS_BEFORE_RECORD", 2)


@pytest.fixture
def network():
    layers = [keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)]
    model = keras.Sequential([layers[0], keras.layers.Dropout(0.3), layers[1]])
    model.build((None, 3))
    return model


class Cost:
    """The mean square of what a network returns, counting its calls."""

    def __init__(self, network, training=False):
        self.network, self.training, self.calls = network, training, 0
        self.compiled = compile_loss(self, network.variables)

    def __call__(self, x, y, weights=None):
        self.calls += 1
        off = keras.ops.square(self.network(x, training=self.training) - y)
        if weights is not None:
            off = off * weights
        return keras.ops.mean(off), keras.ops.stop_gradient(keras.ops.max(off))


def batch(rows=5):
    return [torch.tensor(RNG.normal(size=(rows, n)).astype("float32")) for n in (3, 1)]


def gradients(loss, network):
    values = [x.value for x in network.trainable_variables]
    return [x.numpy() for x in torch.autograd.grad(loss, values)]


def assert_same(found, expected, network, factor=1.0):
    np.testing.assert_array_equal(found[0].detach(), expected[0].detach())
    np.testing.assert_array_equal(found[1], expected[1])
    assert not found[1].requires_grad
    pairs = zip(
        gradients(factor * found[0], network),
        gradients(factor * expected[0], network),
        strict=True,
    )
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_recorded_loss_is_the_loss(network):
    cost = Cost(network)
    for number in range(8):
        arrays = batch(rows=4 + number % 2)
        expected = cost(*arrays)
        assert_same(cost.compiled(*arrays), expected, network, factor=1.0 + number)
        for variable in network.trainable_variables:
            variable.assign(variable + 0.1)
    # Two calls of each shape, and its record.
    assert cost.calls - 8 == 2 * 3


def test_arrays_are_no_constants(network):
    cost = Cost(network)
    for _ in range(5):
        tensors = batch()
        arrays = [x.numpy() for x in tensors]
        assert_same(cost.compiled(*arrays), cost(*tensors), network)


def test_what_is_left_out_may_be_given_later(network):
    cost = Cost(network)
    for number in range(8):
        arrays = [*batch(), torch.rand(5, 1) if number % 2 else None]
        assert_same(cost.compiled(*arrays), cost(*arrays), network)
    assert cost.calls - 8 == 2 * 3


def test_dropout_draws_what_it_would_have_drawn(network, monkeypatch):
    arrays, found = batch(), []
    for calls in (0, 2, 10):
        monkeypatch.setattr(torch_losses, "CALLS_BEFORE_RECORD", calls)
        cost = Cost(network, training=True)
        torch.manual_seed(1)
        losses = [cost.compiled(*arrays)[0] for _ in range(6)]
        found.append([[float(x.detach()), *gradients(x, network)] for x in losses])
    assert len({values[0] for values in found[0]}) == 6
    for values in zip(*found, strict=True):
        for one, *others in zip(*values, strict=True):
            for other in others:
                np.testing.assert_allclose(other, one, rtol=1e-6)


def test_losses_can_be_added_before_they_are_differentiated(network):
    cost = Cost(network)
    arrays = [batch() for _ in range(6)]
    for each in arrays[:3]:
        cost.compiled(*each)
    found = sum(n * cost.compiled(*x)[0] for n, x in enumerate(arrays))
    expected = sum(n * cost(*x)[0] for n, x in enumerate(arrays))
    for one, other in zip(
        gradients(found, network), gradients(expected, network), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_frozen_layer_is_left_out(network):
    cost = Cost(network)
    for trainable in (True, False, True):
        network.layers[0].trainable = trainable
        assert len(network.trainable_variables) == (4 if trainable else 2)
        for _ in range(4):
            arrays = batch()
            assert_same(cost.compiled(*arrays), cost(*arrays), network)


def test_a_variable_without_influence_has_no_gradient():
    used, unused = keras.Variable([1.0, 2.0]), keras.Variable([3.0])
    loss = compile_loss(lambda x: (keras.ops.sum(x * used),), [used, unused])
    for _ in range(4):
        used.value.grad = unused.value.grad = None
        loss(np.array([5.0, 7.0], "float32"))[0].backward()
        np.testing.assert_array_equal(used.value.grad, [5.0, 7.0])
        assert unused.value.grad is None


def test_a_scaled_loss_keeps_small_gradients_of_half_precision():
    scale = keras.Variable(1e-4)

    def tiny(x):
        # The gradient goes through float16, in which 1e-8 is zero.
        half = keras.ops.cast(scale * x, "float16")
        return (keras.ops.cast(half, "float32") * 1e-8,)

    loss = compile_loss(tiny, [scale])
    for _ in range(6):
        found = torch.autograd.grad(loss(np.float32(1))[0] * 2.0**15, scale.value)[0]
    np.testing.assert_allclose(float(found), 2.0**15 * 1e-8, rtol=1e-3)
    for factor in (0.0, float("inf"), 2.0**14, 2.0**14):
        value = loss(np.float32(1))[0]
        found = torch.autograd.grad(value * factor, scale.value)[0]
    np.testing.assert_allclose(float(found), 2.0**14 * 1e-8, rtol=1e-3)


def test_what_looks_at_values_stays_as_it_is(network):
    def cost(x, y):
        sign = 1 if float(keras.ops.sum(x)) > 0 else -1
        return sign * keras.ops.mean(network(x) - y), keras.ops.max(x)

    compiled = compile_loss(cost, network.variables)
    for _ in range(6):
        arrays = batch()
        assert_same(compiled(*arrays), cost(*arrays), network)


def test_without_gradients_nothing_is_recorded(network):
    cost = Cost(network)
    arrays = batch()
    with torch.no_grad():
        for _ in range(5):
            cost.compiled(*arrays)
    assert cost.calls == 5
    network.trainable = False
    for _ in range(5):
        cost.compiled(*arrays)
    assert cost.calls == 10


def test_the_loss_of_a_model_is_recorded():
    model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1, dropout=0.1)
    trained = ProjectedLoss(model)
    trained.compile("sgd", TokenCrossEntropy())
    ids = RNG.integers(1, 20, (3, 8, 5))
    trained.fit((ids[0], ids[1]), ids[2], batch_size=2, verbose=0)
    (records,) = trained._training_loss._recorded.values()
    (record,) = records._records.values()
    assert isinstance(record, torch.fx.GraphModule)


def test_many_shapes_are_not_all_recorded(network, monkeypatch):
    monkeypatch.setattr(torch_losses, "MOST_RECORDED", 2)
    cost = Cost(network)
    for rows in range(1, 5):
        for _ in range(4):
            cost.compiled(*batch(rows))
    assert cost.calls == 3 + 3 + 4 + 4
