"""The loss from hidden states, against PyTorch's from logits."""

import keras
import numpy as np
import pytest
import torch
from keras import ops

from keras_encdec.training.projected_loss import projected_cross_entropy

RNG = np.random.default_rng(0)
HIDDEN = RNG.normal(size=(7, 4)).astype("float32")
TABLE = RNG.normal(size=(11, 4)).astype("float32")
LABELS = RNG.integers(0, 11, size=7).astype("int32")
WEIGHTS = np.array([1, 0, 0.5, 2, 1, 0, 1], "float32")


def by_torch(smoothing, scale=1.0):
    hidden, table = (
        torch.tensor(x * scale, requires_grad=True) for x in (HIDDEN, TABLE)
    )
    logits = hidden @ table.T
    labels, weights = torch.tensor(LABELS).long(), torch.tensor(WEIGHTS)
    nats = torch.nn.functional.cross_entropy(
        logits, labels, label_smoothing=smoothing, reduction="none"
    )
    loss = (nats * weights).sum()
    hits = ((logits.argmax(-1) == labels) * weights).sum()
    gradients = torch.autograd.grad(3 * loss, (hidden, table))
    return [x.detach().numpy() for x in (loss, hits, *gradients)]


def gradients(hidden, table, **options):
    """The sums, and the gradients of three times the loss, by the running backend."""
    hidden, table = keras.Variable(hidden), keras.Variable(table)

    def cost():
        arrays = ops.convert_to_tensor(LABELS), ops.convert_to_tensor(WEIGHTS)
        return projected_cross_entropy(hidden.value, table.value, *arrays, **options)

    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            sums = cost()
            loss = 3 * sums[0]
        found = tape.gradient(loss, [hidden.value, table.value])
    elif keras.config.backend() == "jax":
        import jax

        def loss(hidden, table):
            arrays = ops.convert_to_tensor(LABELS), ops.convert_to_tensor(WEIGHTS)
            return 3 * projected_cross_entropy(hidden, table, *arrays, **options)[0]

        sums = cost()
        found = jax.jit(jax.grad(loss, (0, 1)))(hidden.value, table.value)
    else:
        sums = cost()
        found = torch.autograd.grad(3 * sums[0], (hidden.value, table.value))
    return [*ops.convert_to_numpy(ops.stop_gradient(sums)), *map(np.asarray, found)]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("chunk_size", [1, 3, 7, 256, None])
def test_is_pytorchs_cross_entropy_and_its_gradient(smoothing, chunk_size):
    options = {"label_smoothing": smoothing, "chunk_size": chunk_size}
    found = gradients(HIDDEN, TABLE, **options)
    for one, other in zip(found, by_torch(smoothing), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_large_logits_do_not_overflow():
    found = gradients(HIDDEN * 30, TABLE * 30)
    for one, other in zip(found, by_torch(0.0, 30.0), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


def test_a_label_that_is_ignored_may_be_no_id_of_the_vocabulary():
    labels = np.where(WEIGHTS == 0, -100, LABELS)
    arrays = map(ops.convert_to_tensor, (HIDDEN, TABLE, labels, WEIGHTS))
    sums = ops.convert_to_numpy(projected_cross_entropy(*arrays))
    np.testing.assert_allclose(sums, by_torch(0.0)[:2], rtol=1e-5)


@pytest.mark.slow
def test_no_tokens_cost_nothing():
    arrays = HIDDEN[:0], TABLE, LABELS[:0], WEIGHTS[:0]
    sums = projected_cross_entropy(*map(ops.convert_to_tensor, arrays))
    np.testing.assert_array_equal(ops.convert_to_numpy(sums), [0, 0])
