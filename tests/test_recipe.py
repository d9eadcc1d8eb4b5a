import types

import keras
import numpy as np
import pytest

from keras_encdec import recipe
from keras_encdec.model import EncoderDecoder
from keras_encdec.recipe import make_tokenizer, train
from keras_encdec.text import (
    ByteTokenizer,
    CharacterTokenizer,
    SentencePieceTokenizer,
    WordTokenizer,
)

WORDS = "one two three four five six seven eight nine ten".split()
SOURCES = WORDS * 4
TARGETS = [word[::-1] for word in SOURCES]
LETTERS = CharacterTokenizer.from_texts(SOURCES)
TINY = {
    "hidden_dim": 16,
    "intermediate_dim": 32,
    "num_heads": 2,
    "num_layers": 1,
    "batch_size": 10,  # a divisor of the number of pairs: one shape to compile
    "bucket_boundaries": (8,),
    "max_length": 8,
    "verbose": 0,
}


def weights_of(text_to_text):
    return [np.array(weights) for weights in text_to_text.model.get_weights()]


def are_equal(left, right):
    return all(np.array_equal(*pair) for pair in zip(left, right, strict=True))


@pytest.fixture
def untrained(monkeypatch):
    """Leaves out `fit`: `train` returns the model before it; gives fit's arguments."""
    given = types.SimpleNamespace()

    def fit(self, dataset, **options):
        given.dataset, given.options = dataset, options
        return "the history"

    monkeypatch.setattr(EncoderDecoder, "fit", fit)
    return given


class StopsAfter(keras.callbacks.Callback):
    """Presses the keys after some batches."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches
        self.weights = None

    def on_train_begin(self, logs=None):
        self.first_weights = self.model.get_weights()

    def on_train_batch_end(self, batch, logs=None):
        self.weights = self.model.get_weights()
        if batch + 1 == self.batches:
            raise KeyboardInterrupt


def test_learns_and_is_deterministic_for_a_seed():
    options = {**TINY, "epochs": 3, "seed": 5, "learning_rate": 1e-2}
    first, second = (
        train(SOURCES, TARGETS, LETTERS, LETTERS, **options) for _ in range(2)
    )
    losses = first.history.history["loss"]
    assert len(losses) == 3 and losses[-1] < losses[0]
    assert second.history.history["loss"] == losses
    assert are_equal(weights_of(first), weights_of(second))
    assert first.training_seconds > 0


def test_an_interruption_leaves_what_was_learned(capsys):
    stop = StopsAfter(2)
    text_to_text = train(
        SOURCES, TARGETS, LETTERS, LETTERS, **TINY, epochs=100, callbacks=[stop]
    )
    assert text_to_text.history is None
    assert text_to_text.training_seconds > 0
    assert are_equal(weights_of(text_to_text), stop.weights)
    assert not are_equal(stop.first_weights, stop.weights)
    assert len(text_to_text(["one", "two"])) == 2
    assert "Interrupted" in capsys.readouterr().out


def test_another_seed_gives_other_weights_and_order(untrained):
    first, again, other = (
        (weights_of(train(SOURCES, TARGETS, LETTERS, LETTERS, **TINY, seed=seed)),)
        + tuple(source.numpy() for (source, _), _, _ in untrained.dataset)
        for seed in (1, 1, 2)
    )
    assert are_equal(first[0], again[0]) and are_equal(first[1:], again[1:])
    assert not are_equal(first[0], other[0]) and not are_equal(first[1:], other[1:])


def test_one_tokenizer_makes_one_table(untrained):
    model = train(SOURCES, TARGETS, LETTERS, LETTERS, **TINY).model
    assert model.source_embedding.table is model.target_embedding.table


def test_two_tokenizers_make_two_tables_even_if_equal(untrained):
    other = CharacterTokenizer(LETTERS.vocabulary)
    model = train(SOURCES, TARGETS, LETTERS, other, **TINY).model
    assert model.source_embedding.table is not model.target_embedding.table


def test_builds_the_model_and_the_data_that_were_asked_for(untrained):
    callback = keras.callbacks.TerminateOnNaN()
    text_to_text = train(
        SOURCES,
        TARGETS,
        LETTERS,
        ByteTokenizer(),
        **{**TINY, "num_layers": 3, "max_length": 5, "verbose": 2},
        num_decoder_layers=2,
        dropout=0.25,
        label_smoothing=0.3,
        epochs=7,
        validation=(["one", "seven"], ["eno", "neves"]),
        callbacks=(callback,),
    )
    model, options = text_to_text.model, untrained.options
    assert text_to_text.history == "the history"
    assert text_to_text.max_length == 5
    assert (len(model.encoder_blocks), len(model.decoder_blocks)) == (3, 2)
    assert model.encoder_blocks[0].dropout == 0.25
    assert model.loss.label_smoothing == 0.3
    assert options["epochs"] == 7 and options["verbose"] == 2
    assert options["callbacks"] == [callback]
    batches = list(untrained.dataset)
    assert sum(len(labels) for _, labels, _ in batches) == len(SOURCES)
    assert {labels.shape[1] for _, labels, _ in batches} == {5}
    [((source, _), labels, _)] = options["validation_data"]
    letters = LETTERS.decode(source).numpy().tolist()
    assert letters == [b"one", b"seve"], "cut, but not shuffled"
    assert ByteTokenizer().decode(labels).numpy().tolist() == [b"eno", b"neve"]


@pytest.mark.once
@pytest.mark.parametrize("epochs, warmup", [(1, 1), (20, 5)])
def test_the_rate_rises_and_falls_within_the_updates(untrained, epochs, warmup):
    options = {**TINY, "epochs": epochs, "learning_rate": 0.5}
    text_to_text = train(SOURCES, TARGETS, LETTERS, LETTERS, **options)
    updates = epochs * int(untrained.dataset.cardinality())
    assert updates == epochs * 4
    # The optimizer keeps the schedule to itself but shows its config.
    rate = keras.optimizers.schedules.deserialize(
        text_to_text.model.optimizer.get_config()["learning_rate"]
    )
    rates = [float(rate(step)) for step in range(updates + 1)]
    assert rates[0] == pytest.approx(0.005)
    assert max(rates) == rates[warmup] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.005)
    assert rates[: warmup + 1] == sorted(rates[: warmup + 1])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


@pytest.mark.once
def test_no_pairs_are_an_error():
    with pytest.raises(ValueError, match="at least one pair"):
        train([], [], LETTERS, LETTERS, **TINY)


@pytest.mark.once
@pytest.mark.parametrize(
    "kind, expected, size",
    [
        ("byte", ByteTokenizer, 260),
        ("character", CharacterTokenizer, 4 + 14),
        ("word", WordTokenizer, 4 + 10),
    ],
)
def test_makes_each_kind_of_tokenizer(kind, expected, size):
    tokenizer = make_tokenizer(kind, SOURCES)
    assert type(tokenizer) is expected
    assert tokenizer.vocabulary_size == size
    decoded = tokenizer.decode(tokenizer.encode(WORDS)).numpy()
    assert [text.decode() for text in decoded] == WORDS


@pytest.mark.once
@pytest.mark.parametrize("kind", ["character", "word"])
def test_a_vocabulary_is_as_small_as_asked(kind):
    assert make_tokenizer(kind, SOURCES, 8).vocabulary_size == 8


@pytest.mark.once
def test_sentence_pieces_are_as_many_as_asked_or_fewer():
    texts = [f"{a} and {b}" for a in WORDS for b in WORDS]
    tokenizer = make_tokenizer("sentencepiece", texts, 30)
    assert type(tokenizer) is SentencePieceTokenizer
    assert tokenizer.vocabulary_size == 30
    few = make_tokenizer("sentencepiece", ["one", "two"], 8000)
    assert 4 < few.vocabulary_size < 30
    assert few.decode(few.encode(["two"])).numpy().tolist() == [b"two"]


@pytest.mark.once
def test_sentence_pieces_cover_every_character():
    texts = ["a" * 50] * 1000 + ["ж"]
    tokenizer = make_tokenizer("sentencepiece", texts, 100)
    assert tokenizer.unknown_id not in tokenizer.encode(["ж"]).to_list()[0]


@pytest.mark.once
def test_an_unknown_kind_is_an_error_that_names_the_kinds():
    with pytest.raises(ValueError, match="sentencepiece.*'letters'"):
        make_tokenizer("letters", SOURCES)


@pytest.mark.once
@pytest.mark.parametrize("kind", recipe.TOKENIZERS)
def test_texts_without_tokens_are_an_error(kind):
    if kind == "byte":
        assert make_tokenizer(kind, []).vocabulary_size == 260
    else:
        with pytest.raises((ValueError, RuntimeError)):
            make_tokenizer(kind, [])
