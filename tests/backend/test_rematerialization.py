"""The same numbers whether inner results are kept or computed again."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.backend import rematerialized
from keras_encdec.backend.rematerialization import running_draws
from keras_encdec.layers import Dropout
from keras_encdec.model import EncoderDecoder
from keras_encdec.training import ProjectedLoss, TokenCrossEntropy

IDS = np.arange(4, 20).reshape(4, 4) * np.array([[1], [0], [1], [1]]) + np.eye(4, 4)


def trained(remat, updates=3):
    """The variables after some updates with dropout everywhere."""
    keras.utils.set_random_seed(0)
    model = EncoderDecoder(
        *(20, 16, 32, 2, 1),
        dropout=0.3,
        attention_dropout=0.2,
        activation_dropout=0.1,
        positions="relative",
        remat=remat,
    )
    objective = ProjectedLoss(model)
    objective.compile(keras.optimizers.SGD(1.0), TokenCrossEntropy())
    # A row of padding, one of several tokens, so that masks matter.
    ids = (IDS % 20).astype("int32")
    dataset = [((ids, ids), ids[:, ::-1])] * updates
    for (source, target), labels in dataset:
        logs = objective.train_on_batch((source, target), labels, return_dict=True)
    values = [ops.convert_to_numpy(x) for x in model.variables]
    return float(logs["loss"]), values


@pytest.mark.slow
def test_gradients_are_those_without(monkeypatch):
    # The steps of PyTorch are recorded from the third on.
    module = "keras_encdec.backend.torch.steps.STEPS_BEFORE_RECORD"
    monkeypatch.setattr(module, 1)
    loss, kept = trained(False)
    again, computed = trained(True)
    np.testing.assert_allclose(again, loss, rtol=1e-6)
    for left, right in zip(computed, kept, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)


def test_a_call_again_draws_the_same_and_what_follows_goes_on():
    layer = Dropout(0.5)
    ones = ops.ones((64,))

    def two(x):
        return layer(layer(x, training=True), training=True)

    keras.utils.set_random_seed(0)
    state = ops.copy(layer.seed_generator.state.value)
    expected = [ops.convert_to_numpy(two(ones)) for _ in range(2)]
    keras.utils.set_random_seed(0)
    layer.seed_generator.state.assign(state)
    for each in expected:
        x = rematerialized(layer, lambda x, nothing: two(x), ones, None)
        np.testing.assert_array_equal(ops.convert_to_numpy(x), each)
    assert running_draws() is None


def test_what_is_within_is_computed_again():
    layer, calls = Dropout(0.5), []

    def within(x):
        calls.append(x)
        return layer(x * x, training=True)

    def loss(x):
        return ops.sum(rematerialized(layer, within, x))

    x = ops.ones((3,))
    if keras.config.backend() == "jax":
        import jax

        # It is traced once, and computed where its gradient is.
        assert "remat" in str(jax.make_jaxpr(jax.grad(loss))(x))
        return
    if keras.config.backend() == "torch":
        loss(x.requires_grad_()).backward()
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x)
        tape.gradient(value, x)
    assert len(calls) == 2


def test_the_option_is_saved_and_does_nothing_but_in_training():
    model = EncoderDecoder(20, 16, 32, 2, 1, remat=True)
    assert model.get_config()["remat"] is True
    copy = EncoderDecoder.from_config(model.get_config())
    assert copy.encoder.blocks[0].remat and copy.decoder.blocks[0].remat
    assert not EncoderDecoder(20, 16, 32, 2, 1).decoder.blocks[0].remat


@pytest.mark.once
@pytest.mark.parametrize("remat", ["full", None])
def test_the_option_is_true_or_false(remat):
    with pytest.raises(ValueError, match="remat"):
        EncoderDecoder(20, 16, 32, 2, 1, remat=remat)
