import keras
import numpy as np
import pytest
import torch
from keras import ops

from keras_encdec.training import Perplexity, TokenAccuracy, TokenCrossEntropy

VOCABULARY = 6
METRICS = [TokenAccuracy, Perplexity]


def make_batches(padding=0):
    """Two batches of different sizes and lengths, with weights and padding."""
    rng = np.random.default_rng(1)
    batches = []
    for batch_size, length in [(2, 3), (3, 11)]:
        labels = rng.integers(1, VOCABULARY, size=(batch_size, length))
        labels[0, length // 2 :] = padding
        logits = rng.normal(size=(batch_size, length, VOCABULARY)).astype("float32")
        weights = rng.uniform(size=labels.shape).astype("float32")
        batches.append((labels, logits, weights))
    return batches


def expected_result(metric_class, batches, weighted=True, padding=0):
    """The metric of all tokens at once, by torch and NumPy."""
    labels = np.concatenate([labels.ravel() for labels, _, _ in batches])
    logits = np.concatenate([x.reshape(-1, VOCABULARY) for _, x, _ in batches])
    weights = np.concatenate([weights.ravel() for _, _, weights in batches])
    weights = (weights if weighted else 1.0) * (labels != padding)
    if metric_class is TokenAccuracy:
        return np.average(logits.argmax(-1) == labels, weights=weights)
    nll = torch.nn.functional.cross_entropy(
        torch.tensor(logits),
        torch.tensor(labels),
        reduction="none",
        ignore_index=padding,
    )
    return np.exp(np.average(nll, weights=weights))


def make_model():
    inputs = keras.Input((None,), dtype="int32")
    hidden = keras.layers.Embedding(VOCABULARY, 4, mask_zero=True)(inputs)
    return keras.Model(inputs, keras.layers.Dense(VOCABULARY)(hidden))


@pytest.mark.parametrize("metric_class", METRICS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("padding", [0, -100])
def test_is_the_mean_over_all_tokens(metric_class, weighted, padding):
    metric = metric_class(ignore_class=padding)
    batches = make_batches(padding)
    for labels, logits, weights in batches:
        metric.update_state(labels, logits, weights if weighted else None)
    np.testing.assert_allclose(
        float(metric.result()),
        expected_result(metric_class, batches, weighted, padding),
        rtol=1e-5,
    )


@pytest.mark.parametrize("metric_class", METRICS)
def test_one_weight_a_sentence(metric_class):
    metric = metric_class()
    batches = [
        (labels, logits, np.arange(1.0, 1.0 + len(labels)))
        for labels, logits, _ in make_batches()
    ]
    for labels, logits, weights in batches:
        metric.update_state(labels, logits, weights)
    spread = [
        (labels, logits, np.broadcast_to(weights[:, None], labels.shape))
        for labels, logits, weights in batches
    ]
    np.testing.assert_allclose(
        float(metric.result()), expected_result(metric_class, spread), rtol=1e-5
    )


@pytest.mark.slow
def test_fit_and_evaluate_over_batches_of_different_lengths():
    model = make_model()
    # At a rate of 0, fit computes the metrics of the very weights evaluate sees.
    model.compile(
        keras.optimizers.SGD(0.0),
        TokenCrossEntropy(),
        metrics=[metric_class() for metric_class in METRICS],
        weighted_metrics=[
            metric_class(name=f"weighted_{metric_class.__name__}")
            for metric_class in METRICS
        ],
    )
    # Labels are the inputs moved by one, as in training: the mask and the padding of
    # the labels differ at the last token of each sentence.
    data = Batches(
        (ids[:, :-1], ids[:, 1:], weights[:, 1:]) for ids, _, weights in make_batches()
    )
    tokens = [
        (np.where(inputs == 0, 0, labels), model.predict_on_batch(inputs), weights)
        for inputs, labels, weights in data.batches
    ]
    expected = {
        "token_accuracy": expected_result(TokenAccuracy, tokens, weighted=False),
        "perplexity": expected_result(Perplexity, tokens, weighted=False),
        "weighted_TokenAccuracy": expected_result(TokenAccuracy, tokens),
        "weighted_Perplexity": expected_result(Perplexity, tokens),
    }
    history = model.fit(data, verbose=0, shuffle=False).history
    evaluated = model.evaluate(data, verbose=0, return_dict=True)
    for name, value in expected.items():
        np.testing.assert_allclose(history[name][0], value, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(evaluated[name], value, rtol=1e-5, err_msg=name)


class Batches(keras.utils.PyDataset):
    """Gives ready-made batches in order."""

    def __init__(self, batches):
        super().__init__()
        self.batches = list(batches)

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


@pytest.mark.parametrize("metric_class", METRICS)
def test_keras_mask_of_the_logits_leaves_tokens_out(metric_class):
    sources = np.array([[5, 0, 5], [5, 5, 0]])
    labels = np.array([[1, 2, 3], [4, 5, 0]])
    logits = keras.layers.Embedding(6, VOCABULARY, mask_zero=True)(sources)
    metric = metric_class()
    metric.update_state(labels, logits)
    batch = np.where(sources, labels, 0), ops.convert_to_numpy(logits), np.ones((2, 3))
    np.testing.assert_allclose(
        float(metric.result()), expected_result(metric_class, [batch]), rtol=1e-5
    )


@pytest.mark.parametrize("metric_class, empty", [(TokenAccuracy, 0.0), (Perplexity, 1)])
def test_reset_and_batches_of_padding_leave_no_trace(metric_class, empty):
    metric = metric_class()
    labels, logits, _ = make_batches()[1]
    assert float(metric.result()) == empty
    metric.update_state(np.zeros_like(labels), logits)
    assert float(metric.result()) == empty
    metric.update_state(labels, logits)
    assert float(metric.result()) != empty
    metric.reset_state()
    assert float(metric.result()) == empty


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("metric_class", METRICS)
def test_half_precision_logits(metric_class, dtype):
    metric = metric_class()
    labels, logits, weights = make_batches()[1]
    halved = ops.cast(logits, dtype)
    metric.update_state(labels, halved, weights)
    batch = labels, ops.convert_to_numpy(ops.cast(halved, "float32")), weights
    np.testing.assert_allclose(
        float(metric.result()), expected_result(metric_class, [batch]), rtol=1e-5
    )


@pytest.mark.parametrize("metric_class", METRICS)
def test_early_stopping_knows_which_way_is_better(metric_class):
    ids = make_batches()[0][0]
    model = make_model()
    model.compile(
        keras.optimizers.Adam(0.1),
        TokenCrossEntropy(),
        metrics=[metric_class(name="metric")],
    )
    # Trained on its own inputs, the model gets better every epoch: were the direction
    # wrong, this would stop after the second.
    stopping = keras.callbacks.EarlyStopping("metric", patience=0)
    history = model.fit(ids, ids, epochs=3, verbose=0, callbacks=[stopping]).history
    rising = metric_class is TokenAccuracy
    assert stopping.best == (max if rising else min)(history["metric"])


@pytest.mark.parametrize("metric_class", METRICS)
def test_survives_serialization(metric_class):
    metric = metric_class(ignore_class=-1, name="metric", dtype="float16")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert isinstance(copy, metric_class)
    assert copy.get_config() == metric.get_config()
    assert copy.get_config() == {
        "ignore_class": -1,
        "name": "metric",
        "dtype": "float16",
    }
