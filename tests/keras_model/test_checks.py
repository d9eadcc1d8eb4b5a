"""What a model refuses before anything runs, and what a pipeline's bad ids give."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_encdec import EncoderDecoder, TokenAccuracy, TokenCrossEntropy
from keras_encdec.training import (
    Perplexity,
    ProjectedLoss,
    RDrop,
    SimCut,
    WordDistillation,
)

SOURCE = np.array([[5, 7, 2], [9, 2, 0]])
LABELS = np.array([[7, 5, 2], [9, 2, 0]])
TARGET = np.array([[1, 7, 5], [1, 9, 0]])


def build(**options):
    return EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1, **options)


def distilled(model):
    return WordDistillation(model, build())


OBJECTIVES = {
    "model": lambda model: model,
    "projected": ProjectedLoss,
    "r_drop": RDrop,
    "simcut": SimCut,
    "distilled": distilled,
}


@pytest.fixture(scope="module", params=OBJECTIVES)
def trained(request):
    trained = OBJECTIVES[request.param](build(dropout=0.0))
    trained.compile("sgd", TokenCrossEntropy())
    return trained


VERBS = {
    "fit": lambda model, x, y: model.fit(x, y, verbose=0),
    "validation": lambda model, x, y: model.fit(
        (SOURCE, TARGET), LABELS, validation_data=(x, y), verbose=0
    ),
    "evaluate": lambda model, x, y: model.evaluate(x, y, verbose=0),
    "train_on_batch": lambda model, x, y: model.train_on_batch(x, y),
    "test_on_batch": lambda model, x, y: model.test_on_batch(x, y),
    "predict": lambda model, x, y: model.predict(x, verbose=0),
    "predict_on_batch": lambda model, x, y: model.predict_on_batch(x),
    "call": lambda model, x, y: model(x),
}
OF_LABELS = ["fit", "validation", "evaluate", "train_on_batch", "test_on_batch"]


@pytest.mark.parametrize("verb", VERBS)
def test_refuses_ids_out_of_the_vocabulary(trained, verb):
    for x, side in (((SOURCE + 15, TARGET), "source"), ((SOURCE, -TARGET), "target")):
        with pytest.raises(ValueError, match=f"{side} ids must be from 0 to 19"):
            VERBS[verb](trained, x, LABELS)


@pytest.mark.parametrize("verb", OF_LABELS)
def test_refuses_labels_that_are_no_ids(trained, verb):
    before = trained.get_weights()
    for labels, match in (
        (LABELS + 15, "label ids must be from 0 to 19.* ids from 15 to 24"),
        (np.where(LABELS == 0, -100, LABELS), r"received -100.*id 0.*class=-100\)"),
        (LABELS[:, :1], r"label for each position.*\(2, 1\) and \(2, 3\)"),
        (LABELS.T, "a row each for every pair"),
        (LABELS / 1, "label must be integer token ids"),
        (LABELS > 5, "label must be integer token ids"),
        (LABELS.astype(str), "label must be integer token ids"),
    ):
        with pytest.raises(ValueError, match=match):
            VERBS[verb](trained, (SOURCE, TARGET), labels)
    if verb != "validation":
        for old, new in zip(before, trained.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


def test_looks_at_lists_names_and_tensors(trained):
    bad = SOURCE + 15
    for x in (
        (bad.tolist(), TARGET),
        {"source": bad, "target": TARGET},
        [keras.ops.convert_to_tensor(bad), TARGET],
    ):
        with pytest.raises(ValueError, match="source ids must be from 0 to 19"):
            trained.test_on_batch(x, LABELS)
    with pytest.raises(ValueError, match="must have one length"):
        trained.predict_on_batch(([[5, 7], [2]], TARGET))


@pytest.mark.slow
def test_a_label_may_be_the_one_that_the_loss_leaves_out():
    found = []
    for ignored in (0, -100):
        model = OBJECTIVES["model"](build(dropout=0.0))
        keras.utils.set_random_seed(0)
        model.set_weights([0.1 + 0 * w for w in model.get_weights()])
        model.compile(
            "sgd",
            TokenCrossEntropy(ignore_class=ignored),
            metrics=[TokenAccuracy(ignore_class=ignored)],
        )
        labels = np.where(LABELS == 0, ignored, LABELS)
        found.append(model.evaluate((SOURCE, TARGET), labels, verbose=0))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
    assert np.isfinite(found).all()


def with_bad_id(ids, bad):
    ids = ids.copy()
    ids[0, 1] = bad
    return ids


class Batches(keras.utils.PyDataset):
    """A pipeline of a user's own."""

    def __init__(self, *arrays):
        super().__init__()
        self.source, self.target, self.labels = arrays

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return (self.source, self.target), self.labels


@pytest.mark.slow
@pytest.mark.parametrize("bad", [20, -1, -100, 10**6])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_loss_of_a_bad_id_in_a_pipeline_is_nan(trained, which, bad):
    arrays = [SOURCE, TARGET, LABELS]
    arrays[which] = with_bad_id(arrays[which], bad)
    before = trained.get_weights()
    assert np.isnan(
        trained.evaluate(Batches(*arrays), verbose=0, return_dict=True)["loss"]
    )
    assert np.isnan(trained.fit(Batches(*arrays), verbose=0).history["loss"][0])
    trained.set_weights(before)
    good = Batches(SOURCE, TARGET, LABELS)
    assert np.isfinite(trained.evaluate(good, verbose=0, return_dict=True)["loss"])


def test_metrics_of_a_bad_label_are_nan():
    model = build()
    model.compile("sgd", TokenCrossEntropy(), metrics=[TokenAccuracy(), Perplexity()])
    data = Batches(SOURCE, TARGET, with_bad_id(LABELS, -100))
    logs = model.evaluate(data, verbose=0, return_dict=True)
    assert logs.keys() == {"loss", "token_accuracy", "perplexity"}
    assert np.isnan([float(value) for value in logs.values()]).all()


def test_says_once_that_the_shift_was_forgotten(trained):
    with pytest.warns(UserWarning, match="target equals the labels.*teacher_forcing"):
        trained.fit((SOURCE, LABELS), LABELS, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained.fit((SOURCE, TARGET), LABELS, verbose=0)
        trained.evaluate((SOURCE, LABELS), LABELS, verbose=0)


def test_refuses_weights_of_classes(trained):
    with pytest.raises(ValueError, match="class_weight.*sample_weight"):
        trained.fit((SOURCE, TARGET), LABELS, class_weight={0: 2.0}, verbose=0)
    with pytest.raises(ValueError, match="class_weight.*sample_weight"):
        trained.train_on_batch((SOURCE, TARGET), LABELS, class_weight={0: 2.0})


@pytest.mark.slow
def test_takes_weights_of_rows_and_of_tokens_in_turn(trained):
    rows = np.array([1.0, 0.5], "float32")
    tokens = rows[:, None] * np.ones((2, 3), "float32")
    data = (SOURCE, TARGET), LABELS
    before = trained.get_weights()
    losses = []
    for weights in (rows, tokens, rows[:, None], tokens.tolist()):
        trained.set_weights(before)
        losses.append(trained.train_on_batch(*data, weights, return_dict=True)["loss"])
        losses.append(trained.test_on_batch(*data, weights, return_dict=True)["loss"])
    if not isinstance(trained, RDrop | SimCut):
        np.testing.assert_allclose(losses[::2], losses[0], rtol=1e-5)
    np.testing.assert_allclose(losses[1::2], losses[1], rtol=1e-2)


@pytest.mark.parametrize("shape", [(3,), (2, 2), (3, 2), (1, 3), (2, 3, 1), (1,)])
def test_refuses_weights_of_other_shapes(trained, shape):
    weights = np.ones(shape, "float32")
    with pytest.raises(ValueError, match="sample_weight must have a weight for each"):
        trained.fit((SOURCE, TARGET), LABELS, sample_weight=weights, verbose=0)
    with pytest.raises(ValueError, match="sample_weight must have a weight for each"):
        trained.evaluate((SOURCE, TARGET), LABELS, sample_weight=weights, verbose=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, "x"])
def test_refuses_weights_that_are_no_numbers(trained, bad):
    weights = np.array([1.0, bad])
    with pytest.raises(ValueError, match="sample_weight must be finite numbers"):
        trained.fit((SOURCE, TARGET), LABELS, sample_weight=weights, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("make", OBJECTIVES.values())
def test_trains_on_with_moving_averages(make, tmp_path):
    model = build()
    trained = make(model)
    sgd = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    trained.compile(sgd, TokenCrossEntropy())
    data = (SOURCE, TARGET), LABELS
    for _ in range(2):
        trained.fit(*data, verbose=0)
        trained.evaluate(*data, verbose=0)
        trained.train_on_batch(*data)
    model.save(tmp_path / "model.keras")
    assert all(np.isfinite(w).all() for w in trained.get_weights())


@pytest.mark.parametrize(
    "verb, with_labels",
    [
        ("fit", True),
        ("evaluate", True),
        ("predict", False),
        ("train_on_batch", True),
        ("test_on_batch", True),
        ("predict_on_batch", False),
    ],
)
def test_refuses_no_rows(trained, verb, with_labels):
    data = [(SOURCE[:0], TARGET[:0]), LABELS[:0]][: 1 + with_labels]
    with pytest.raises(ValueError, match=r"at least one row.*\(0, 3\)"):
        getattr(trained, verb)(*data)


def test_refuses_a_pipeline_of_nothing(trained):
    data = (SOURCE, TARGET), LABELS
    empty = tf.data.Dataset.from_tensor_slices(data).take(0).batch(2)
    with pytest.raises(ValueError, match="at least one batch; received .*Dataset"):
        trained.fit(empty, verbose=0)
    for nothing in (empty, ((SOURCE[:0], TARGET[:0]), LABELS[:0])):
        with pytest.raises(ValueError, match="at least one (row|batch)"):
            trained.fit(*data, validation_data=nothing, verbose=0)


# JAX has no float64 unless it is told to; it computes in float32 then.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")
@pytest.mark.parametrize("floatx", ["float64", "float16"])
@pytest.mark.parametrize("make", [OBJECTIVES["model"], ProjectedLoss, RDrop])
def test_trains_whatever_keras_floats_are(make, floatx):
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(floatx)
    try:
        trained = make(build())
        trained.compile("sgd", TokenCrossEntropy(label_smoothing=0.1))
        loss = trained.fit((SOURCE, TARGET), LABELS, verbose=0).history["loss"][0]
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])
    assert 1 < float(loss) < 6
