"""Confidences against the model's own logits, and the temperature against a search."""

import numpy as np
import pytest
from keras import ops

from keras_encdec import CharacterTokenizer, Ensemble, TextToText, build
from keras_encdec.confidence import calibrate, confidences, score_tokens
from keras_encdec.protocol import GenerationModel

LETTERS = CharacterTokenizer(["a", "b", "c", "d"])


class Biased(GenerationModel):
    """A model that knows how often each letter follows another, times a factor."""

    padding_id, target_vocabulary_size = 0, LETTERS.vocabulary_size

    def __init__(self, table, factor=1.0):
        self.table = np.log(table).astype("float32") * factor

    def encode(self, source):
        return source

    def new_cache(self, batch_size, length):
        return ()

    def step(self, tokens, index, memory, cache):
        return ops.take(ops.convert_to_tensor(self.table), tokens, axis=0), cache


def tables(seed=0):
    size = LETTERS.vocabulary_size
    table = np.random.default_rng(seed).dirichlet(np.ones(size), size)
    # Padding, and the start of another text, follow nothing.
    table[:, [LETTERS.padding_id, LETTERS.start_id]] = 1e-12
    return table / table.sum(1, keepdims=True)


def drawn(table, number, seed=1):
    """Texts of the table's own distribution."""
    random, texts = np.random.default_rng(seed), []
    for _ in range(number):
        last, ids = LETTERS.start_id, []
        while (last := random.choice(len(table), p=table[last])) != LETTERS.end_id:
            ids.append(int(last))
        texts.append(LETTERS.decode([ids]).numpy()[0].decode())
    return texts


def text_to_text(factor=1.0):
    return TextToText(LETTERS, LETTERS, Biased(tables(), factor))


def test_confidences_are_the_probabilities_of_the_tokens():
    found = confidences(text_to_text(), ["a", "b", "c"], ["ab", "", "dca"], 2.0)
    probabilities = tables()[:, 1:] ** 0.5
    probabilities /= probabilities.sum(1, keepdims=True)
    for text, each in zip(["ab", "", "dca"], found, strict=True):
        ids = [LETTERS.start_id, *LETTERS([text]).to_list()[0]]
        expected = [probabilities[i, j - 1] for i, j in zip(ids, ids[1:], strict=False)]
        assert each.tokens == [*text, "</s>"]
        assert each.token_probabilities.dtype == "float32"
        np.testing.assert_allclose(each.token_probabilities, expected, rtol=1e-4)
        mean = np.prod(expected) ** (1 / len(expected))
        assert each.mean_probability == pytest.approx(mean, rel=1e-4)
        assert each.probability == pytest.approx(np.prod(expected), rel=1e-4)


@pytest.mark.once
def test_the_temperature_is_what_made_a_model_too_sure():
    texts = drawn(tables(), 500)
    for factor in (0.4, 2.5):
        found = calibrate(text_to_text(factor), texts, texts, batch_size=500)
        assert found == pytest.approx(factor, rel=0.1)


def test_the_temperature_has_the_least_loss_of_a_fine_grid():
    model, texts = text_to_text(1.7), drawn(tables(), 40)
    found = calibrate(model, texts, texts)
    grid = tuple(found * step for step in (0.5, 0.97, 0.985, 1.0, 1.015, 1.03, 2.0))
    scores = score_tokens(model, texts, texts, grid)
    assert np.concatenate(scores).mean(0).argmax() == 3


@pytest.mark.once
def test_the_worst_texts_are_the_least_confident():
    texts = drawn(tables(), 200)
    wrong = drawn(tables(9), 10)
    found = confidences(text_to_text(), texts + wrong, texts + wrong, batch_size=300)
    order = np.argsort([each.mean_probability for each in found])
    assert sum(place >= 200 for place in order[:20]) >= 5


@pytest.mark.once
def test_a_model_that_is_always_right_has_the_least_temperature():
    table = np.full((7, 7), 1e-3)
    table[:, LETTERS.end_id] = 1
    sure = TextToText(LETTERS, LETTERS, Biased(table))
    assert calibrate(sure, ["a"], [""]) == 0.125


@pytest.mark.once
def test_of_an_ensemble(eagerly):
    small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
    models = [build(LETTERS, LETTERS, seed=seed, **small).model for seed in (1, 2)]
    both = TextToText(LETTERS, LETTERS, Ensemble(models))
    alone = [TextToText(LETTERS, LETTERS, model) for model in models]
    (found,) = confidences(both, ["abc"], ["ab"])
    expected = [confidences(x, ["abc"], ["ab"])[0].token_probabilities for x in alone]
    # That padding has no probability is known of their mean alone.
    np.testing.assert_allclose(found.token_probabilities, np.mean(expected, 0), 0.1)


@pytest.mark.once
def test_what_is_impossible_says_nothing_of_the_temperature():
    table = tables()
    table[:, 5] = 0.0
    with np.errstate(divide="ignore"):
        model = TextToText(LETTERS, LETTERS, Biased(table, 2.0))
    letter = LETTERS.decode([[5]]).numpy()[0].decode()
    texts = [text for text in drawn(tables(), 60) if letter not in text]
    expected = calibrate(model, texts, texts)
    with np.errstate(all="ignore"):
        found = calibrate(model, [*texts, letter], [*texts, letter])
    assert found == pytest.approx(expected, rel=0.05)
    (one,) = confidences(model, [letter], [letter])
    assert one.mean_probability == one.probability == 0


@pytest.mark.once
def test_says_what_is_wrong():
    model = text_to_text()
    assert confidences(model, [], []) == []
    with pytest.raises(ValueError, match="received 0 pairs of texts"):
        calibrate(model, [], [])
    with pytest.raises(ValueError, match="a target for each source"):
        calibrate(model, ["a"], [])
    with pytest.raises(TypeError, match="'abc'"):
        confidences(model, "abc", ["a"])
    for temperature in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="temperature must be above 0 and finite"):
            confidences(model, ["a"], ["a"], temperature)
    broken = TextToText(LETTERS, LETTERS, Biased(tables() * np.nan))
    with pytest.raises(FloatingPointError, match="nan or infinite"):
        confidences(broken, ["a"], ["a"])
    with pytest.raises(FloatingPointError, match="nan or infinite"):
        calibrate(broken, ["a"], ["a"])
