"""Training from pairs of texts to the best model."""

import csv
import functools
import json
import os
import signal

import keras
import numpy as np
import pytest
import safetensors.numpy

import keras_encdec.training.checkpoints
from keras_encdec.evaluation import evaluate_texts
from keras_encdec.interrupts import Terminated
from keras_encdec.model import EncoderDecoder, Ensemble
from keras_encdec.recipe import build
from keras_encdec.run import RunFolder, train
from keras_encdec.text import (
    CharacterTokenizer,
    Corpus,
    DeleteTokens,
    InfillSpans,
    MaskTokens,
    MixedPairs,
    SentencePieceTokenizer,
    ShuffleTokens,
    TokenBatches,
    encode_corpus,
)
from keras_encdec.text_to_text import TextToText
from keras_encdec.training import (
    DivergenceError,
    HeldOutLoss,
    InverseSquareRoot,
    RDrop,
    SimCut,
    WordDistillation,
    load_adapter,
    merge_lora,
)

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
    """Presses the keys in an epoch, after its first batch."""

    def __init__(self, epoch, error=KeyboardInterrupt):
        super().__init__()
        self.epoch, self.error = epoch, error

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch:
            raise self.error


class LeftOut(Exception):
    """Raised in place of training."""


def compile_only(*args, **options):
    with pytest.raises(LeftOut):
        train(*args, **options)


def test_it_learns_how_long_targets_are(compiled):
    text_to_text, long = untrained(), [*TARGETS[:-1], "x" * 19]
    compile_only(text_to_text, SOURCES, long, max_length=24, **QUICK)
    factor, more = text_to_text.generator.longest_targets
    # A source has an end id too, if its tokenizer says so.
    tokens = len(LETTERS.encode([SOURCES[-1]])[0])
    assert (factor, more) == (-(-100 * (20 - 10) // tokens) / 100, 10)


@pytest.fixture
def compiled(monkeypatch):
    """Leaves out `fit`; gives the model that would be trained, and fit's arguments."""
    given = {}

    def fit(
        self, x, steps_per_epoch, epochs, initial_epoch, callbacks, shuffle, verbose
    ):
        given.update(model=self, dataset=x, steps=steps_per_epoch, epochs=epochs)
        raise LeftOut

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
    scores = evaluate_texts(VALIDATION[0], loaded(VALIDATION[0]), VALIDATION[1])
    assert scores.chrf >= best
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_chrf"]) for row in rows] == [log["val_chrf"] for log in logs]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    # Told to say nothing.
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_with_more_epochs_it_trains_longer_unless_a_schedule_ended(tmp_path, capsys):
    options = {"updates_per_epoch": 12, "schedule": "inverse-square-root", **QUICK}
    parts, whole = untrained(), untrained()
    keras.utils.set_random_seed(0)
    train(parts, SOURCES, TARGETS, folder=tmp_path / "parts", epochs=1, **options)
    # The warm-up stays a tenth of what it was begun for.
    more = {**options, "verbose": 2}
    logs = train(parts, SOURCES, TARGETS, folder=tmp_path / "parts", epochs=2, **more)
    assert "parts after epoch 1 of 2" in capsys.readouterr().out
    keras.utils.set_random_seed(0)
    expected = train(whole, SOURCES, TARGETS, epochs=2, warmup=2, **options)
    np.testing.assert_allclose(logs[1]["loss"], expected[1]["loss"], rtol=1e-5)
    for epochs in (1, 2):
        folder = tmp_path / "parts"
        train(parts, SOURCES, TARGETS, folder=folder, epochs=epochs, **more)
        said = f"Nothing is left to train in {folder} after epoch 2.\n"
        assert said in capsys.readouterr().out
    # That of the cosine is 0 at its end.
    options["schedule"] = "cosine"
    train(parts, SOURCES, TARGETS, folder=tmp_path / "ended", epochs=1, **options)
    with pytest.raises(ValueError, match="1 and is 2, where a cosine .* as `initial`"):
        train(parts, SOURCES, TARGETS, folder=tmp_path / "ended", epochs=2, **options)


@pytest.mark.slow
def test_goes_on_after_an_interruption_with_the_same_end(tmp_path):
    options = {"epochs": 3, "updates_per_epoch": 1, "seed": 5, **QUICK}
    whole, parts = untrained(dropout=0.3), untrained(dropout=0.3)
    # As in a new process.
    keras.utils.set_random_seed(0)
    expected = train(whole, SOURCES, TARGETS, folder=tmp_path / "whole", **options)
    options["folder"] = tmp_path / "parts"
    keras.utils.set_random_seed(0)
    with pytest.raises(KeyboardInterrupt, match="up to epoch 2 of 3.*the same again"):
        train(parts, SOURCES, TARGETS, callbacks=[StopsIn(2)], **options)
    best = TextToText.load(tmp_path / "parts" / "best")
    assert are_equal(weights_of(parts), weights_of(best))
    parts = untrained(seed=7, dropout=0.3)
    assert train(parts, SOURCES, TARGETS, **options) == expected
    assert len(train(parts, SOURCES, TARGETS, **options)) == 3


def sampled_of_a_mixture(folder):
    """Corpora, one of them taken three times, and what builds a model for them."""
    tokenizer = SentencePieceTokenizer.train(SOURCES, 24, model_type="bpe")
    for name, words in {"a": SOURCES[:10], "b": SOURCES}.items():
        pairs = ((word, word[::-1]) for word in words)
        encode_corpus(pairs, tokenizer, tokenizer, folder / name)
    parts = [Corpus(folder / name) for name in "ab"]

    def untrained(seed=0):
        return build(tokenizer, tokenizer, max_length=12, seed=seed, **SMALL)

    return (MixedPairs(parts, [3, 1]),), untrained, {"sampling": 0.5}


@pytest.mark.once
@pytest.mark.parametrize("sampled", [False, True])
def test_goes_on_within_an_epoch_after_sigterm(tmp_path, terminate, sampled):
    class Terminates(keras.callbacks.Callback):
        def __init__(self, after):
            super().__init__()
            self.left = after

        def on_train_batch_begin(self, batch, logs=None):
            if self.left == 0:
                terminate()
            self.left -= 1

    options = {"epochs": 2, "updates_per_epoch": 3, "accumulate": 2, "ema": 0.9}
    options |= {"folder": tmp_path / "parts", **QUICK}
    pairs, made, more = (SOURCES, TARGETS), untrained, {}
    if sampled:
        pairs, made, more = sampled_of_a_mixture(tmp_path)
    options |= more
    keras.utils.set_random_seed(0)
    whole = made()
    expected = train(whole, *pairs, **{**options, "folder": None})
    keras.utils.set_random_seed(0)
    words = "up to batch 1 of epoch 1: the same again goes on"
    with pytest.raises(Terminated, match=words):
        more = {**options, "callbacks": [Terminates(1)], "keep_checkpoints": 2}
        train(made(), *pairs, **more)
    options["checkpoint_minutes"] = 5.0  # These may be others.
    parts = made(seed=7)
    assert train(parts, *pairs, **options) == expected
    assert are_equal(weights_of(parts), weights_of(whole))


@pytest.mark.slow
def test_needs_neither_folder_nor_validation():
    text_to_text = untrained()
    before = weights_of(text_to_text)
    logs = train(text_to_text, SOURCES, TARGETS, epochs=5, average=2, **QUICK)
    assert [set(log) for log in logs] == [{"loss", "token_accuracy"}] * 5
    assert not are_equal(before, weights_of(text_to_text))


@pytest.mark.once
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
    compile_only(
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
    assert (compiled["epochs"], compiled["steps"]) == (7, 11)


@pytest.mark.once
def test_trains_by_r_drop_simcut_or_a_teacher(compiled):
    text_to_text, teacher = untrained(), untrained(1).model
    compile_only(text_to_text, SOURCES, TARGETS, r_drop=3.0, **QUICK)
    assert type(compiled["model"]) is RDrop and compiled["model"].weight == 3.0
    options = {"simcut": 2.0, "cutoff": 0.1}
    compile_only(text_to_text, SOURCES, TARGETS, **options, **QUICK)
    trained = compiled["model"]
    assert type(trained) is SimCut and (trained.weight, trained.cutoff) == (2.0, 0.1)
    options = {"teacher_weight": 0.3, "temperature": 2.0}
    compile_only(text_to_text, SOURCES, TARGETS, teacher=teacher, **options, **QUICK)
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
    compile_only(untrained(), SOURCES, TARGETS, **options, **QUICK)
    # The optimizer keeps the schedule to itself but shows its config.
    schedule = keras.optimizers.schedules.deserialize(
        compiled["model"].optimizer.get_config()["learning_rate"],
        {"InverseSquareRoot": InverseSquareRoot},
    )
    for step, value in expected.items():
        assert float(schedule(step)) == pytest.approx(value, abs=1e-6)


@pytest.mark.once
def test_samples_subwords(compiled):
    tokenizer = SentencePieceTokenizer.train(SOURCES, 24, model_type="bpe")
    text_to_text = build(tokenizer, tokenizer, max_length=12, **SMALL)
    compile_only(text_to_text, SOURCES, SOURCES, sampling=0.5, **QUICK)
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
def test_sources_are_noisy_and_validation_is_not(compiled, monkeypatch):
    judged = []

    class Noted(HeldOutLoss):
        def __init__(self, dataset):
            judged.append(dataset)
            super().__init__(dataset)

    monkeypatch.setattr("keras_encdec.run.training.HeldOutLoss", Noted)
    options = {"source_shuffle": 2, "source_deletion": 0.1, "source_infilling": 0.2}
    options.update(source_dropout=0.3, validation=VALIDATION, seed=4, **QUICK)
    compile_only(untrained(), SOURCES, TARGETS, **options)
    unknown = LETTERS.unknown_id
    noise = [ShuffleTokens(2), DeleteTokens(0.1), InfillSpans(0.2, unknown)]
    noise.append(MaskTokens(0.3, unknown))
    limits = {"max_source_length": 8, "max_target_length": 8}
    expected = TokenBatches(
        SOURCES, TARGETS, LETTERS, LETTERS, 240, noise=noise, seed=4, **limits
    )
    for one, other in zip(compiled["dataset"], expected.dataset(count=3), strict=False):
        np.testing.assert_array_equal(one[0][0], other[0][0])
        assert np.any(one[0][0] == unknown)
    for (source, _), _, _ in judged[0]:
        assert not np.any(source == unknown)


@pytest.mark.once
@pytest.mark.parametrize(
    "options, message",
    [
        ({"schedule": "linear"}, "`schedule` must be one of cosine.*'linear'"),
        ({"monitor": "ter"}, "`monitor` must be one of loss.*'ter'"),
        ({"monitor": "bleu"}, "judged on validation texts"),
        ({"schedule": "noam", "learning_rate": 0.1}, "Noam's learning rate follows"),
        ({"r_drop": 1.0, "teacher": object()}, "one of them"),
        ({"average": 0}, "`average` must be a whole number of at least 1"),
        ({"learning_rate": -1}, "`learning_rate` must be a number above 0.*-1"),
        ({"sampling": 0.1}, "Only a SentencePieceTokenizer"),
        ({"batch_tokens": 2}, "at least one pair"),
        ({"accumulate": 41, "updates_per_epoch": 4}, "have 40 batches"),
        ({"validation": (WORDS, WORDS[1:])}, "`validation` must be a pair"),
        ({"validation": ([], [])}, "`validation` must be a pair"),
        ({"validation": WORDS}, "`validation` must be a pair"),
        ({"teacher": 3}, "`teacher` must be a model"),
    ],
)
def test_says_what_is_wrong_before_training(compiled, options, message, tmp_path):
    error = {"sampling": NotImplementedError, "teacher": TypeError}
    error = ValueError if len(options) > 1 else error.get(*options, ValueError)
    old = {"texts": "old"}
    write_run(tmp_path / "run", old)
    for folder, overwrite in (("run", True), ("new", False)):
        with pytest.raises(error, match=message):
            train(
                untrained(),
                SOURCES,
                TARGETS,
                folder=tmp_path / folder,
                overwrite=overwrite,
                **{**QUICK, **options},
            )
    assert not compiled
    assert os.listdir(tmp_path) == ["run"]
    assert json.loads((tmp_path / "run" / "options.json").read_text()) == old


def write_run(folder, record):
    folder.mkdir()
    (folder / "options.json").write_text(json.dumps(record))


@pytest.mark.once
def test_a_model_is_not_its_own_teacher_nor_longer_than_its_positions(compiled):
    text_to_text = untrained()
    with pytest.raises(ValueError, match="its own `teacher`"):
        train(text_to_text, SOURCES, TARGETS, teacher=text_to_text.model, **QUICK)
    several = Ensemble([untrained(1).model, text_to_text.model])
    with pytest.raises(ValueError, match="or among several"):
        train(text_to_text, SOURCES, TARGETS, teacher=several, **QUICK)
    size = LETTERS.vocabulary_size
    model = EncoderDecoder(size, 16, 32, 2, 1, positions="learned", max_length=4)
    short = TextToText(LETTERS, LETTERS, model)
    with pytest.raises(ValueError, match="positions, 4; received 6 in text 3 of 40"):
        train(short, SOURCES, TARGETS, **{**QUICK, "max_length": 8})
    assert not compiled


@pytest.mark.once
def test_no_pairs_are_an_error():
    with pytest.raises(ValueError, match="at least one pair"):
        train(untrained(), [], [], **QUICK)


@pytest.mark.once
def test_texts_that_are_cut_are_told(compiled, capsys):
    options = {**QUICK, "max_length": 4, "validation": VALIDATION, "verbose": 1}
    compile_only(untrained(), SOURCES, TARGETS, **options)
    # With the end id.
    long = sum(len(text) > 3 for text in SOURCES)
    said = f"{long} of the {len(SOURCES)} sources are longer than max_length, 4 tokens"
    assert f"{said}, and cut.\n" in capsys.readouterr().out


@pytest.mark.once
def test_padding_is_the_models(compiled):
    ids = {"padding_id": 5, "start_id": 0, "end_id": 1, "unknown_id": 2}
    letters = CharacterTokenizer.from_texts(SOURCES, **ids)
    text_to_text = build(letters, letters, max_length=8, **SMALL)
    options = {**QUICK, "validation": VALIDATION}
    compile_only(text_to_text, SOURCES, TARGETS, r_drop=1.0, **options)
    model = compiled["model"]
    assert model.loss.ignore_class == 5
    (source, target), labels, weights = next(iter(compiled["dataset"]))
    assert not np.any(weights[labels == 5]) and np.all(weights[labels != 5] == 1)
    logits = np.zeros((*labels.shape, letters.vocabulary_size), "float32")
    logits[..., 1] = 1.0
    accuracy = model._compile_metrics
    accuracy.update_state(labels, logits)
    expected = np.mean(labels[labels != 5] == 1)
    assert float(accuracy.result()["token_accuracy"]) == pytest.approx(expected)


@pytest.mark.once
def test_says_how_much_of_the_texts_is_unknown(compiled, capsys):
    options = {**QUICK, "verbose": 2}
    upper = [word.upper() for word in TARGETS]
    compile_only(untrained(), SOURCES, upper, validation=VALIDATION, **options)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" tokens")[0] for line in lines[1:]] == [
        "0.0% of the source",
        "100.0% of the target",
        "0.0% of the validation source",
        "0.0% of the validation target",
    ]
    assert "such as 'E'" in lines[2] and "lower case" in lines[2]


# ---- the end of a training that did not come to its end


@pytest.mark.once
@pytest.mark.parametrize("error", [DivergenceError, KeyboardInterrupt])
def test_what_is_overwritten_is_there_until_an_epoch_is_finished(error, tmp_path):
    place = tmp_path / "run"
    first = untrained()
    train(first, SOURCES, TARGETS, epochs=1, folder=place, **QUICK)
    options = {"epochs": 2, "folder": place, "overwrite": True, **QUICK}
    words = "No epoch was finished; .*run is as it was before"
    with pytest.raises(error, match=words):
        train(untrained(1), SOURCES, TARGETS, callbacks=[StopsIn(0, error)], **options)
    assert are_equal(weights_of(TextToText.load(place / "best")), weights_of(first))
    again = untrained(2)
    train(again, SOURCES, TARGETS, epochs=1, folder=place, **QUICK)
    assert are_equal(weights_of(again), weights_of(first))
    train(untrained(1), SOURCES, TARGETS, **options)
    assert sorted(path.name for path in place.iterdir()) == [
        "best",
        "checkpoints",
        "log.csv",
        "log.jsonl",
        "options.json",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "validated", [False, pytest.param(True, marks=pytest.mark.once)]
)
def test_a_training_that_diverges_is_no_success(validated, tmp_path):
    text_to_text = untrained()
    before = weights_of(text_to_text)
    options = {"validation": VALIDATION} if validated else {}
    # With one update, no loss of the training tells.
    options.update(epochs=2, updates_per_epoch=1, schedule="constant", **QUICK)
    with pytest.raises(DivergenceError, match="epoch 1 .*No epoch was fin.*clip_norm"):
        train(
            text_to_text,
            SOURCES,
            TARGETS,
            folder=tmp_path / "run",
            learning_rate=1e30,
            **options,
        )
    assert are_equal(before, weights_of(text_to_text))
    # The same place serves, for nothing is left there.
    assert not os.listdir(tmp_path)


class Spoils(keras.callbacks.Callback):
    """Makes the weights nan within an epoch."""

    def __init__(self, text_to_text, epoch):
        super().__init__()
        self.text_to_text, self.epoch = text_to_text, epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            model = self.text_to_text.model
            model.set_weights([x * np.nan for x in model.get_weights()])


@pytest.mark.slow
def test_what_was_good_is_kept_when_a_training_diverges(tmp_path):
    text_to_text = untrained()
    options = {"epochs": 4, "updates_per_epoch": 2, **QUICK}
    with pytest.raises(DivergenceError, match="batch [12] of epoch 3.*up to epoch 2"):
        train(
            text_to_text,
            SOURCES,
            TARGETS,
            folder=tmp_path / "run",
            callbacks=[Spoils(text_to_text, 2)],
            **options,
        )
    best = TextToText.load(tmp_path / "run" / "best")
    assert are_equal(weights_of(text_to_text), weights_of(best))
    assert all(np.isfinite(x).all() for x in weights_of(best))
    logs = train(text_to_text, SOURCES, TARGETS, folder=tmp_path / "run", **options)
    assert len(logs) == 4 and all(np.isfinite(log["loss"]) for log in logs)


@pytest.mark.slow
@pytest.mark.parametrize("folder", [None, "run"])
def test_interrupted_in_its_first_epoch_a_training_leaves_nothing(tmp_path, folder):
    text_to_text = untrained()
    before = weights_of(text_to_text)
    place = folder and tmp_path / folder
    options = {"folder": place, "updates_per_epoch": 2, **QUICK}
    with pytest.raises(KeyboardInterrupt) as interrupt:
        train(text_to_text, SOURCES, TARGETS, callbacks=[StopsIn(0)], **options)
    assert str(interrupt.value) == (
        "Interrupted. No epoch was finished; there is no model yet, and nothing is "
        "kept."
    )
    assert are_equal(before, weights_of(text_to_text))
    assert not os.listdir(tmp_path)
    text_to_text(["one"])


@pytest.mark.slow
def test_without_a_folder_an_interrupted_training_does_not_promise_to_go_on():
    text_to_text = untrained()
    before = weights_of(text_to_text)
    with pytest.raises(
        KeyboardInterrupt, match="^Interrupted. The best of 1 finished "
    ):
        train(
            text_to_text,
            SOURCES,
            TARGETS,
            updates_per_epoch=2,
            callbacks=[StopsIn(1)],
            **QUICK,
        )
    assert not are_equal(before, weights_of(text_to_text))


@pytest.mark.once
@pytest.mark.parametrize("verb", ["evaluate", "generate"])
def test_an_interruption_while_it_judges_loses_only_the_epoch(
    tmp_path, verb, monkeypatch, interrupt
):
    options = {"validation": VALIDATION, "folder": tmp_path / "run", **QUICK}
    place = {"evaluate": keras.Model, "generate": TextToText}[verb]
    name = {"evaluate": "evaluate", "generate": "_decode"}[verb]
    work, calls = getattr(place, name), []

    @functools.wraps(work)
    def interrupted(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            interrupt()
        return work(*args, **kwargs)

    monkeypatch.setattr(place, name, interrupted)
    text_to_text = untrained()
    with pytest.raises(KeyboardInterrupt, match="up to epoch 1 of 3"):
        train(text_to_text, SOURCES, TARGETS, epochs=3, **options)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    best = TextToText.load(tmp_path / "run" / "best")
    assert are_equal(weights_of(text_to_text), weights_of(best))


@pytest.mark.once
@pytest.mark.parametrize(
    "place, name, kept",
    [
        (EncoderDecoder, "save", "[12]"),
        (keras_encdec.training.checkpoints, "save_file", 1),
        (csv.DictWriter, "writeheader", 2),
    ],
)
def test_an_interruption_while_writing_loses_at_most_the_epoch(
    tmp_path, place, name, kept, monkeypatch
):
    options = {"epochs": 3, "learning_rate": 1e-2, "warmup": 1, **QUICK}
    options["folder"] = tmp_path / "run"
    write, calls = getattr(place, name), []

    def interrupted(*args, **kwargs):
        written = write(*args, **kwargs)
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return written

    monkeypatch.setattr(place, name, interrupted)
    with pytest.raises(KeyboardInterrupt, match=f"up to epoch {kept} of 3"):
        train(untrained(), SOURCES, TARGETS, **options)
    monkeypatch.undo()
    TextToText.load(tmp_path / "run" / "best")
    assert len(train(untrained(), SOURCES, TARGETS, **options)) == 3


@pytest.mark.once
def test_another_error_in_the_first_epoch_leaves_no_folder(tmp_path):
    options = {"folder": tmp_path / "run", "updates_per_epoch": 2, **QUICK}
    with pytest.raises(OSError):
        train(untrained(), SOURCES, TARGETS, callbacks=[StopsIn(0, OSError)], **options)
    assert not os.listdir(tmp_path)


# ---- a folder that was used


@pytest.mark.slow
@pytest.mark.parametrize("begin", [0, 1])
def test_trains_what_lora_adds(begin, tmp_path):
    text_to_text = untrained()
    for layer in text_to_text.model._flatten_layers():
        if isinstance(layer, keras.layers.Dense | keras.layers.EinsumDense):
            layer.enable_lora(2)
    options = {"epochs": 2, "folder": tmp_path / "run", **QUICK}
    if begin:
        with pytest.raises(KeyboardInterrupt, match="up to epoch 1 of 2"):
            train(text_to_text, SOURCES, TARGETS, callbacks=[StopsIn(1)], **options)
    else:
        train(text_to_text, SOURCES, TARGETS, **options)
    best = TextToText.load(tmp_path / "run" / "best")
    ids = np.array([[5, 6, 2]]), np.array([[1, 6, 5]])
    found, expected = (
        keras.ops.convert_to_numpy(each.model(ids)) for each in (text_to_text, best)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.once
def test_goes_on_only_with_what_it_was_begun_with(tmp_path):
    options = {"epochs": 1, "updates_per_epoch": 1, **QUICK}
    place = tmp_path / "run"
    train(untrained(), SOURCES, TARGETS, folder=place, **options)
    kept = {path: path.read_bytes() for path in place.rglob("*.*") if path.is_file()}
    others = CharacterTokenizer(LETTERS.vocabulary[::-1])
    for words, text_to_text, targets, changed in (
        (
            "`learning_rate` was None and is 0.5",
            untrained(),
            TARGETS,
            {"learning_rate"},
        ),
        ("the texts are others", untrained(), TARGETS[::-1], set()),
        ("the validation texts are others", untrained(), TARGETS, {"validation"}),
        ("the teacher is another", untrained(), TARGETS, {"teacher"}),
        ("the model's dropout was 0.1 and is 0.3", untrained(dropout=0.3), TARGETS, ()),
        (
            "the source tokenizer is another; the target tokenizer is another",
            build(others, others, max_length=8, **SMALL),
            TARGETS,
            (),
        ),
    ):
        values = {
            "learning_rate": 0.5,
            "validation": VALIDATION,
            "teacher": untrained().model,
        }
        changes = {name: values[name] for name in changed}
        with pytest.raises(ValueError, match=words):
            train(text_to_text, SOURCES, targets, folder=place, **options, **changes)
    assert kept == {
        path: path.read_bytes() for path in place.rglob("*.*") if path.is_file()
    }
    # The same goes on, whatever it is called.
    same = untrained(name="another")
    assert len(train(same, tuple(SOURCES), TARGETS, folder=place, **options)) == 1
    options["learning_rate"] = 0.5
    train(untrained(), SOURCES, TARGETS, folder=place, overwrite=True, **options)
    record = json.loads((place / "options.json").read_text())
    assert record["format"] == 2 and record["options"]["learning_rate"] == 0.5


@pytest.mark.once
def test_two_trainings_in_one_folder_are_refused(tmp_path):
    with RunFolder(tmp_path).held():
        with pytest.raises(BlockingIOError, match="another one is writing"):
            train(untrained(), SOURCES, TARGETS, folder=tmp_path, **QUICK)
    assert not os.listdir(tmp_path)


@pytest.mark.once
def test_overwriting_with_what_was_begun_before_keeps_it_until_then(tmp_path):
    place = tmp_path / "run"
    options = {"folder": place, "epochs": 1, "updates_per_epoch": 1, **QUICK}
    train(untrained(), SOURCES, TARGETS, **options)
    first = TextToText.load(place / "best")
    teacher = TextToText.load(place / "best").model
    logs = train(first, SOURCES, TARGETS, teacher=teacher, overwrite=True, **options)
    assert "word_distillation" in logs[0]


@pytest.mark.once
def test_goes_on_where_version_0_1_0_wrote_no_record(tmp_path):
    place = tmp_path / "run"
    options = {"epochs": 2, "updates_per_epoch": 1, **QUICK}
    with pytest.raises(KeyboardInterrupt):
        train(
            untrained(),
            SOURCES,
            TARGETS,
            folder=place,
            callbacks=[StopsIn(1)],
            **options,
        )
    (place / "options.json").unlink()
    with pytest.raises(ValueError, match="dropout"):
        train(untrained(dropout=0.3), SOURCES, TARGETS, folder=place, **options)
    assert len(train(untrained(), SOURCES, TARGETS, folder=place, **options)) == 2
    assert (place / "options.json").is_file()


@pytest.mark.slow
def test_an_adapter_goes_on_to_the_bit(tmp_path):
    options = {"epochs": 3, "lora": 2, "lora_targets": ["query", "intermediate"]}
    options |= {"updates_per_epoch": 3, "learning_rate": 3e-2, **QUICK}
    base = weights_of(untrained())

    def trained(name, *callbacks):
        text_to_text = untrained()
        text_to_text.model.set_weights(base)
        keras.utils.set_random_seed(1)
        more = {"folder": tmp_path / name, "callbacks": callbacks}
        train(text_to_text, SOURCES, TARGETS, **options, **more)
        return text_to_text

    whole = trained("whole")
    with pytest.raises(KeyboardInterrupt, match="up to epoch 1 of 3"):
        trained("parts", StopsIn(1))
    parts = trained("parts")
    assert are_equal(weights_of(whole), weights_of(parts))
    for file in ("adapter.safetensors", "checkpoints/epoch-00003.safetensors"):
        one, other = ((tmp_path / name / file) for name in ("whole", "parts"))
        # What the checkpoints say of the epochs' logs may differ in no array.
        one, other = (safetensors.numpy.load_file(path) for path in (one, other))
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)
    # What was not to learn is what it was, and the model is as one without LoRA.
    changed = [
        variable.path.rpartition("/")[0].rpartition("/")[2]
        for variable, before in zip(whole.model.weights, base, strict=True)
        if not np.array_equal(variable, before)
    ]
    assert {*changed} == {"query", "intermediate"}
    assert len(whole.model.trainable_variables) == len(untrained().model.weights)
    saved = TextToText.load(tmp_path / "whole").model
    assert len(saved.trainable_variables) == len(whole.model.trainable_variables)
    # The adapter alone is what was learnt.
    alone = untrained()
    alone.model.set_weights(base)
    load_adapter(alone.model, tmp_path / "whole" / "adapter.safetensors")
    merge_lora(alone.model)
    for one, other in zip(weights_of(alone), weights_of(whole), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    with pytest.raises(ValueError, match="`lora` was 2 and is None"):
        train(untrained(), SOURCES, TARGETS, folder=tmp_path / "whole", **QUICK)


def test_an_adapter_that_cannot_be_leaves_all_as_it_was(tmp_path, compiled):
    text_to_text = untrained()
    before = weights_of(text_to_text)
    options = {"lora": 2, "folder": tmp_path / "run", **QUICK}
    with pytest.raises(ValueError, match="received .'qery'.*Did you mean query"):
        train(text_to_text, SOURCES, TARGETS, lora_targets=["qery"], **options)
    compile_only(text_to_text, SOURCES, TARGETS, **options)
    assert not (tmp_path / "run").exists()
    assert are_equal(weights_of(text_to_text), before)
    with pytest.raises(ValueError, match="`lora_targets` are .*without its rank"):
        train(text_to_text, SOURCES, TARGETS, lora_targets=["key"])
