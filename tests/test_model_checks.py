"""What a model refuses before anything runs, and what a pipeline's bad ids give."""

import pathlib
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_encdec import EncoderDecoder, TokenAccuracy, TokenCrossEntropy
from keras_encdec.model_checks import as_array
from keras_encdec.training import Perplexity, ProjectedLoss, RDrop, WordDistillation

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
    if not isinstance(trained, RDrop):
        np.testing.assert_allclose(losses[::2], losses[0], rtol=1e-5)
    np.testing.assert_allclose(losses[1::2], losses[1], rtol=1e-2)


@pytest.mark.parametrize("shape", [(3,), (2, 2), (3, 2), (1, 3), (2, 3, 1), (1,)])
def test_refuses_weights_of_other_shapes(trained, shape):
    weights = np.ones(shape, "float32")
    with pytest.raises(ValueError, match="sample_weight must have a weight for each"):
        trained.fit((SOURCE, TARGET), LABELS, sample_weight=weights, verbose=0)
    with pytest.raises(ValueError, match="sample_weight must have a weight for each"):
        trained.evaluate((SOURCE, TARGET), LABELS, sample_weight=weights, verbose=0)


@pytest.mark.once
@pytest.mark.parametrize(
    "loss, metrics, match",
    [
        ("sparse_categorical_crossentropy", [], "logits, not probabilities; .*loss='s"),
        ("crossentropy", [], "logits, not probabilities; received loss='crossentropy"),
        ("ce", [], "logits, not probabilities; received loss='ce'"),
        (keras.losses.SparseCategoricalCrossentropy(), [], "from_logits=True"),
        (keras.losses.sparse_categorical_crossentropy, [], "from_logits=True"),
        (TokenCrossEntropy(), ["sparse_categorical_crossentropy"], "metrics='sparse_"),
        (TokenCrossEntropy(ignore_class=3), [], "loss with ignore_class=3 .*id=0"),
        (
            keras.losses.SparseCategoricalCrossentropy(True, ignore_class=3),
            [],
            "loss with ignore_class=3 .*padding_id=0",
        ),
        (TokenCrossEntropy(), [TokenAccuracy(ignore_class=3)], "metrics with ignore"),
        (TokenCrossEntropy(), [Perplexity(ignore_class=3)], "metrics with ignore_cl"),
    ],
)
def test_refuses_to_compile_what_cannot_be_meant(loss, metrics, match):
    for name in ("metrics", "weighted_metrics"):
        with pytest.raises(ValueError, match=match):
            build().compile("sgd", loss, **{name: metrics})
        with pytest.raises(ValueError, match=match):
            RDrop(build()).compile("sgd", loss, **{name: metrics})


@pytest.mark.once
def test_compiles_what_keras_takes():
    logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for loss in (logits, "mse", None, TokenCrossEntropy(ignore_class=-100)):
        build().compile("sgd", loss, None, ["accuracy", TokenAccuracy()])
    build(padding_id=3).compile("sgd", TokenCrossEntropy(ignore_class=3))
    build().compile("sgd", TokenCrossEntropy(ignore_class=None))


@pytest.mark.once
def test_as_array_takes_what_has_values():
    assert as_array(None) is None
    assert as_array(keras.KerasTensor((2, 3))) is None
    assert as_array(iter([1])) is None
    for x in (SOURCE, SOURCE.tolist(), keras.ops.convert_to_tensor(SOURCE)):
        np.testing.assert_array_equal(as_array(x), SOURCE)


@pytest.mark.once
def test_a_checked_model_can_be_saved_and_loaded_compiled(tmp_path):
    model = build()
    model.compile("sgd", TokenCrossEntropy(label_smoothing=0.1))
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert copy.loss.label_smoothing == 0.1
    data = (SOURCE, TARGET), LABELS
    np.testing.assert_allclose(
        copy.test_on_batch(*data), model.test_on_batch(*data), rtol=1e-5
    )


@pytest.mark.once
@pytest.mark.parametrize("make", [OBJECTIVES["model"], ProjectedLoss])
def test_a_step_is_traced_once(make):
    """Twice, TensorFlow would take twice as long to begin."""
    trained, steps = make(build(dropout=0.0)), []
    step = trained.train_step
    trained.train_step = lambda data: steps.append(1) or step(data)
    trained.compile("adam", TokenCrossEntropy())
    for _ in range(2):
        trained.fit((SOURCE, TARGET), LABELS, verbose=0)
    assert len(steps) == 1


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


def test_a_model_saved_with_what_is_refused_is_loaded(tmp_path):
    model = build()
    adam = keras.optimizers.Adam(gradient_accumulation_steps=4)
    model.compile(adam, TokenCrossEntropy())
    adam.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    data = (SOURCE, TARGET), LABELS
    loaded.evaluate(*data, verbose=0)
    for verb in (loaded.fit, loaded.train_on_batch):
        with pytest.raises(ValueError, match=r'"sum".*dataset\(accumulate=4\)'):
            verb(*data)


def test_accumulates_sums_over_tokens_exactly():
    changed = []
    labels = np.array([[7, 5, 2], [6, 2, 0]])
    for steps in (None, 2):
        keras.utils.set_random_seed(0)
        model = build(dropout=0.0)
        rate = 0.02 if steps else 0.01  # Keras takes the mean of two sums.
        model.compile(
            keras.optimizers.SGD(rate, gradient_accumulation_steps=steps),
            TokenCrossEntropy(reduction="sum"),
            jit_compile=False,
        )
        for rows in [[0], [1]] if steps else [[0, 1]]:
            model.train_on_batch((SOURCE[rows], TARGET[rows]), labels[rows])
        changed.append(model.get_weights())
    for one, other in zip(*changed, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


# JAX has no float64 unless it is told to; it computes in float32 then.
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


@pytest.mark.once
def test_a_save_that_fails_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    model = EncoderDecoder(20, 16, 32, 2, 1)
    path = tmp_path / "model.keras"
    model.save(path)
    before = path.read_bytes()

    def full(self, filepath, *args, **kwargs):
        pathlib.Path(filepath).write_text("half")
        raise OSError("no space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    with pytest.raises(OSError, match="no space left"):
        model.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
