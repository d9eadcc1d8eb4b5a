import keras
import numpy as np
import pytest
import torch
from keras import ops

from keras_encdec.training import TokenCrossEntropy
from keras_encdec.training.losses import token_cross_entropy, token_weights

LABELS = np.array([[3, 1, 4, 0, 0], [2, 6, 5, 3, 5]])
WEIGHTS = np.array([[1.0, 2.0, 0.5, 1.0, 1.0], [0.0, 1.0, 3.0, 1.0, 0.25]], "float32")
VOCABULARY = 7


@pytest.fixture
def logits():
    rng = np.random.default_rng(0)
    return 3 * rng.normal(size=(*LABELS.shape, VOCABULARY)).astype("float32")


def torch_loss(logits, labels=LABELS, label_smoothing=0.0, reduction="mean"):
    return torch.nn.functional.cross_entropy(
        torch.as_tensor(logits).reshape(-1, VOCABULARY),
        torch.as_tensor(labels).reshape(-1),
        label_smoothing=label_smoothing,
        ignore_index=0,
        reduction=reduction,
    )


def gradient(function, x):
    """The gradient of a scalar function, by the means of the backend."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x).numpy()
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(x))
    x = torch.tensor(x, requires_grad=True)
    return torch.autograd.grad(function(x), x)[0].numpy()


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.9])
def test_is_torchs_cross_entropy(logits, label_smoothing):
    loss = TokenCrossEntropy(label_smoothing=label_smoothing)(LABELS, logits)
    expected = torch_loss(logits, label_smoothing=label_smoothing)
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-5)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_has_torchs_gradient(logits, label_smoothing):
    loss = TokenCrossEntropy(label_smoothing=label_smoothing)
    expected = torch.tensor(logits, requires_grad=True)
    torch_loss(expected, label_smoothing=label_smoothing).backward()
    np.testing.assert_allclose(
        gradient(lambda x: loss(LABELS, x), logits), expected.grad, rtol=1e-4, atol=1e-7
    )


def test_sample_weights_give_the_weighted_mean(logits):
    loss = TokenCrossEntropy()(LABELS, logits, sample_weight=WEIGHTS)
    nll = torch_loss(logits, reduction="none").numpy()
    weights = (WEIGHTS * (LABELS != 0)).reshape(-1)
    expected = np.average(nll, weights=weights)
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(2,), (2, 1)])
@pytest.mark.parametrize("length", [5, 2])  # 2: a length equal to the batch size
def test_weights_of_sentences(logits, shape, length):
    labels, logits = LABELS[:, :length], logits[:, :length]
    per_sentence = np.array([0.5, 2.0], "float32")
    loss = TokenCrossEntropy()(labels, logits, per_sentence.reshape(shape))
    nll = torch_loss(logits, labels, reduction="none").numpy().reshape(2, length)
    expected = np.average(nll, weights=per_sentence[:, None] * (labels != 0))
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-5)


def test_keras_mask_of_the_logits_leaves_tokens_out(logits):
    sources = np.array([[5, 0, 5, 5, 5], [5, 5, 5, 5, 0]])
    table = keras.layers.Embedding(6, VOCABULARY, mask_zero=True)
    masked_logits = table(sources)
    loss = TokenCrossEntropy()(LABELS, masked_logits)
    expected = torch_loss(
        ops.convert_to_numpy(masked_logits), np.where(sources, LABELS, 0)
    )
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected.detach(), rtol=1e-5)


def test_the_weight_is_what_the_mean_is_taken_over(logits):
    sources = np.array([[5, 0, 5, 5, 5], [5, 5, 5, 5, 0]])
    masked = keras.layers.Embedding(6, VOCABULARY, mask_zero=True)(sources)
    for given in (masked, logits):
        call = LABELS, given, WEIGHTS
        mean, total = (
            TokenCrossEntropy(reduction=reduction)(*call)
            for reduction in ("mean_with_sample_weight", "sum")
        )
        weight = TokenCrossEntropy().weight_of(*call)
        given, wanted = map(ops.convert_to_numpy, (mean * weight, total))
        np.testing.assert_allclose(given, wanted, rtol=1e-5)


@pytest.mark.slow
def test_padding_never_matters(logits):
    loss = TokenCrossEntropy(label_smoothing=0.1)
    padded = np.concatenate([logits, 1e4 * np.ones((2, 3, VOCABULARY))], axis=1)
    padded[0, 3:] = -1e4
    np.testing.assert_allclose(
        ops.convert_to_numpy(loss(np.pad(LABELS, ((0, 0), (0, 3))), padded)),
        ops.convert_to_numpy(loss(LABELS, logits)),
        rtol=1e-6,
    )


def test_ignored_label_may_lie_outside_the_vocabulary(logits):
    loss = TokenCrossEntropy(ignore_class=-100, label_smoothing=0.1)
    labels = np.where(LABELS == 0, -100, LABELS)
    expected = torch_loss(logits, label_smoothing=0.1)
    np.testing.assert_allclose(
        ops.convert_to_numpy(loss(labels, logits)), expected, rtol=1e-5
    )


def test_no_ignored_label_counts_all(logits):
    loss = TokenCrossEntropy(ignore_class=None)(LABELS, logits)
    expected = torch.nn.functional.cross_entropy(
        torch.as_tensor(logits).reshape(-1, VOCABULARY), torch.tensor(LABELS.ravel())
    )
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-5)


@pytest.mark.slow
def test_batch_of_padding_gives_zero_and_no_gradient(logits):
    loss = TokenCrossEntropy()
    labels = np.zeros_like(LABELS)
    assert float(loss(labels, logits)) == 0.0
    assert np.all(gradient(lambda x: loss(labels, x), logits) == 0.0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits_are_raised_to_float32(logits, dtype):
    halved = ops.cast(logits, dtype)
    loss = TokenCrossEntropy()(LABELS, halved)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    expected = torch_loss(ops.convert_to_numpy(ops.cast(halved, "float32")))
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-5)


def test_large_logits_do_not_overflow():
    logits = np.full((1, 2, 3), 5e4, "float16")
    nll = token_cross_entropy(np.array([[1, 2]]), logits)
    # 2**-8 is the spacing of float32 at 5e4.
    np.testing.assert_allclose(ops.convert_to_numpy(nll), np.log(3), atol=2**-8)


def test_reduction_none_gives_each_token(logits):
    loss = TokenCrossEntropy(reduction="none")(LABELS, logits)
    expected = torch_loss(logits, reduction="none").reshape(LABELS.shape)
    np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-5)


def test_token_weights_default_to_one_for_every_real_token():
    weights = ops.convert_to_numpy(token_weights(LABELS))
    np.testing.assert_array_equal(weights, (LABELS != 0).astype("float32"))
    assert np.all(ops.convert_to_numpy(token_weights(LABELS, ignore_class=None)) == 1)


@pytest.mark.parametrize("label_smoothing", [-0.1, 1.0, 2.0])
def test_refuses_smoothing_out_of_range(label_smoothing):
    with pytest.raises(ValueError, match=rf"\[0, 1\).*{label_smoothing}"):
        TokenCrossEntropy(label_smoothing=label_smoothing)


def test_survives_serialization():
    loss = TokenCrossEntropy(
        label_smoothing=0.1, ignore_class=-1, reduction="sum", name="nll"
    )
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert isinstance(copy, TokenCrossEntropy)
    assert copy.get_config() == loss.get_config()
    assert copy.get_config() == {
        "label_smoothing": 0.1,
        "ignore_class": -1,
        "reduction": "sum",
        "name": "nll",
    }


def test_fit_lowers_the_loss_of_a_saved_and_reloaded_model(tmp_path):
    ids = np.array([[1, 2, 3, 0], [4, 5, 0, 0]])
    inputs = keras.Input((None,), dtype="int32")
    hidden = keras.layers.Embedding(VOCABULARY, 8, mask_zero=True)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(VOCABULARY)(hidden))
    model.compile(keras.optimizers.Adam(0.1), TokenCrossEntropy(label_smoothing=0.1))
    before = model.evaluate(ids, ids, verbose=0)
    model.fit(ids, ids, epochs=3, verbose=0)
    after = model.evaluate(ids, ids, verbose=0)
    assert after < before
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(copy.evaluate(ids, ids, verbose=0), after, rtol=1e-5)
    np.testing.assert_allclose(
        after,
        torch.nn.functional.cross_entropy(
            torch.tensor(model.predict(ids, verbose=0)).reshape(-1, VOCABULARY),
            torch.tensor(ids).reshape(-1),
            ignore_index=0,
            label_smoothing=0.1,
        ),
        rtol=1e-5,
    )
