"""Training from pairs of texts to the best model."""

import csv

import keras
import numpy as np
import pytest

from keras_encdec import run
from keras_encdec.recipe import build
from keras_encdec.run import train
from keras_encdec.text import CharacterTokenizer, SentencePieceTokenizer
from keras_encdec.text_to_text import TextToText
from keras_encdec.training import RDrop, WordDistillation

WORDS = "one two three four five six seven eight nine ten".split()
SOURCES = WORDS * 4
TARGETS = [word[::-1] for word in SOURCES]
VALIDATION = WORDS, [word[::-1] for word in WORDS]
LETTERS = CharacterTokenizer.from_texts(SOURCES)
SMALL = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 1}
QUICK = {"batch_tokens": 240, "verbose": 0}


def untrained(seed=0, **options):
    return build(LETTERS, LETTERS, max_length=8, seed=seed, **SMALL, **options)


def weights_of(text_to_text):
    return [np.array(weights) for weights in text_to_text.model.get_weights()]


def are_equal(left, right):
    return all(np.array_equal(*pair) for pair in zip(left, right, strict=True))


class StopsIn(keras.callbacks.Callback):
    """Presses the keys in an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture
def compiled(monkeypatch):
    """Leaves out `fit`; gives the model that would be trained, and fit's arguments."""
    given = {}

    def fit(self, dataset, **options):
        given.update(model=self, dataset=dataset, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "fit", fit)
    return given


def test_learns_and_keeps_the_best(tmp_path, capsys):
    text_to_text = untrained()
    logs = train(
        text_to_text,
        SOURCES,
        TARGETS,
        validation=VALIDATION,
        folder=tmp_path,
        epochs=8,
        learning_rate=3e-2,
        warmup=2,
        monitor="chrf",
        average=2,
        ema=0.5,
        **QUICK,
    )
    assert len(logs) == 8 and logs[-1]["loss"] < logs[0]["loss"]
    best = max(log["val_chrf"] for log in logs)
    assert best > 0
    loaded = TextToText.load(tmp_path / "best")
    assert are_equal(weights_of(text_to_text), weights_of(loaded))
    scores = run._scores(loaded, *VALIDATION).measure(None)
    assert scores["val_chrf"] >= best
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_chrf"]) for row in rows] == [log["val_chrf"] for log in logs]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    assert "generated" in capsys.readouterr().out


def test_goes_on_after_an_interruption_with_the_same_end(tmp_path, capsys):
    options = {"epochs": 3, "updates_per_epoch": 1, "seed": 5, **QUICK}
    whole, parts = untrained(dropout=0.3), untrained(dropout=0.3)
    # As in a new process.
    keras.utils.set_random_seed(0)
    expected = train(whole, SOURCES, TARGETS, folder=tmp_path / "whole", **options)
    options["folder"] = tmp_path / "parts"
    keras.utils.set_random_seed(0)
    logs = train(parts, SOURCES, TARGETS, callbacks=[StopsIn(2)], **options)
    assert len(logs) == 2 and "Interrupted" in capsys.readouterr().out
    parts = untrained(seed=7, dropout=0.3)
    assert train(parts, SOURCES, TARGETS, **options) == expected
    assert len(train(parts, SOURCES, TARGETS, **options)) == 3


def test_needs_neither_folder_nor_validation():
    text_to_text = untrained()
    before = weights_of(text_to_text)
    logs = train(text_to_text, SOURCES, TARGETS, epochs=5, average=2, **QUICK)
    assert [set(log) for log in logs] == [{"loss", "token_accuracy"}] * 5
    assert not are_equal(before, weights_of(text_to_text))


def test_stops_when_nothing_gets_better():
    logs = train(
        untrained(),
        SOURCES,
        TARGETS,
        epochs=9,
        schedule="constant",
        learning_rate=1e-12,
        monitor="loss",
        patience=1,
        validation=VALIDATION,
        **QUICK,
    )
    assert len(logs) < 9


@pytest.mark.once
def test_compiles_what_was_asked_for(compiled):
    text_to_text = untrained()
    train(
        text_to_text,
        SOURCES,
        TARGETS,
        epochs=7,
        clip_norm=25.0,
        weight_decay=0.01,
        accumulate=3,
        ema=0.9,
        label_smoothing=0.3,
        updates_per_epoch=11,
        **QUICK,
    )
    model = compiled["model"]
    assert model.model is text_to_text.model and model.loss.label_smoothing == 0.3
    config = model.optimizer.get_config()
    expected = {
        "global_clipnorm": 25.0,
        "weight_decay": 0.01,
        "gradient_accumulation_steps": 3,
        "use_ema": True,
        "ema_momentum": 0.9,
        "beta_2": 0.98,
    }
    assert {name: config[name] for name in expected} == expected
    assert (compiled["epochs"], compiled["steps_per_epoch"]) == (7, 11)


@pytest.mark.once
def test_trains_by_r_drop_or_a_teacher(compiled):
    text_to_text, teacher = untrained(), untrained(1).model
    train(text_to_text, SOURCES, TARGETS, r_drop=3.0, **QUICK)
    assert type(compiled["model"]) is RDrop and compiled["model"].weight == 3.0
    options = {"teacher_weight": 0.3, "temperature": 2.0}
    train(text_to_text, SOURCES, TARGETS, teacher=teacher, **options, **QUICK)
    trained = compiled["model"]
    assert type(trained) is WordDistillation
    assert (trained.teacher, trained.model) == (teacher, text_to_text.model)
    assert (trained.weight, trained.temperature) == (0.3, 2.0)


@pytest.mark.once
@pytest.mark.parametrize(
    "name, expected",
    [
        ("cosine", {0: 0, 5: 0.25, 10: 0.5, 55: 0.25, 100: 0}),
        ("inverse-square-root", {0: 0, 5: 0.25, 10: 0.5, 40: 0.25}),
        ("noam", {0: 0, 10: 160**-0.5, 40: 160**-0.5 / 2}),
    ],
)
def test_the_rate_rises_and_falls(compiled, name, expected):
    rate = None if name == "noam" else 0.5
    options = {"schedule": name, "learning_rate": rate, "warmup": 10}
    options.update(epochs=10, updates_per_epoch=10)
    train(untrained(), SOURCES, TARGETS, **options, **QUICK)
    # The optimizer keeps the schedule to itself but shows its config.
    schedule = keras.optimizers.schedules.deserialize(
        compiled["model"].optimizer.get_config()["learning_rate"],
        {"InverseSquareRoot": run.InverseSquareRoot},
    )
    for step, value in expected.items():
        assert float(schedule(step)) == pytest.approx(value, abs=1e-6)


@pytest.mark.once
def test_samples_subwords(compiled):
    tokenizer = SentencePieceTokenizer.train(SOURCES, 24, model_type="bpe")
    text_to_text = build(tokenizer, tokenizer, max_length=12, **SMALL)
    train(text_to_text, SOURCES, SOURCES, sampling=0.5, **QUICK)
    rows = [
        row
        for (source, _), _, _ in compiled["dataset"].take(4)
        for row in source.numpy()
        if row.any()
    ]
    texts = [text.decode() for text in tokenizer.decode(np.array(rows)).numpy()]
    assert set(texts) == set(WORDS)
    assert len({row.tobytes() for row in rows}) > len(WORDS)


@pytest.mark.once
@pytest.mark.parametrize(
    "options, message",
    [
        ({"schedule": "linear"}, "schedule must be one of cosine.*'linear'"),
        ({"monitor": "ter"}, "monitor must be one of loss.*'ter'"),
        ({"monitor": "bleu"}, "needs validation"),
        ({"schedule": "noam", "learning_rate": 0.1}, "Noam's learning rate follows"),
        ({"r_drop": 1.0, "teacher": object()}, "not both"),
        ({"average": 0}, "keep must be at least 1"),
        ({"sampling": 0.1}, "Only a SentencePieceTokenizer"),
    ],
)
def test_says_what_is_wrong_before_training(compiled, options, message):
    error = NotImplementedError if "sampling" in options else ValueError
    with pytest.raises(error, match=message):
        train(untrained(), SOURCES, TARGETS, **options, **QUICK)
    assert not compiled


@pytest.mark.once
def test_no_pairs_are_an_error():
    with pytest.raises(ValueError, match="at least one pair"):
        train(untrained(), [], [], **QUICK)
