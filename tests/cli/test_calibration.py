"""A temperature is found by a command, kept with a model and used by another."""

import json

import numpy as np
import pytest

from keras_encdec.confidence import calibrate, confidences
from keras_encdec.recipe import build
from keras_encdec.reliability import area_under_curve
from keras_encdec.run import train
from keras_encdec.text import CharacterTokenizer
from keras_encdec.text_to_text import TextToText

pytestmark = pytest.mark.once

LETTERS = CharacterTokenizer(list("abc"))
SOURCES, TRUE = ["ab", "c", "b", "abc"], ["ba", "c", "a", "cba"]


@pytest.fixture
def saved(tmp_path):
    small = {"hidden_dim": 8, "intermediate_dim": 8, "num_layers": 1, "num_heads": 2}
    made = build(LETTERS, LETTERS, max_length=4, seed=1, **small)
    made.model.set_weights([4 * x for x in made.model.get_weights()])
    made.card["name"] = "mine"
    made.save(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{x}\t{y}\n" for x, y in zip(SOURCES, TRUE, strict=True)))
    return path


def test_a_temperature_is_kept_and_used(saved, pairs, run, eagerly):
    before = TextToText.load(saved)
    assert before.temperature == 1
    expected = calibrate(before, SOURCES, TRUE)
    assert abs(expected - 1) > 0.1
    printed = run("calibrate", saved, "--source", pairs).out
    assert printed.startswith(f"temperature = {expected:.4f}; without it the model is")
    after = TextToText.load(saved)
    assert after.temperature == expected and after.card == before.card
    assert after.with_sampler("beam").temperature == expected
    for one, other in zip(
        before.model.get_weights(), after.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    answers = before(SOURCES)
    assert after(SOURCES) == answers
    sure = [
        each.mean_probability
        for each in confidences(before, SOURCES, answers, expected)
    ]
    found = confidences(after, SOURCES, answers)
    assert [each.mean_probability for each in found] == sure
    path = pairs.with_name("some.tsv")
    right = [True, False, True, False]
    path.write_text(
        "".join(
            f"{x}\t{y if z else 'cccc'}\n"
            for x, y, z in zip(SOURCES, answers, right, strict=True)
        )
    )
    told = run("evaluate", saved, "--source", path, "--confidence", "--errors", 9).out
    assert f"ROC curve = {area_under_curve(sure, right):.3f}" in told
    assert f"  confidence  {sure[1]:.3f}\n" in told


def test_what_was_saved_before_has_none(saved):
    path = saved / "text_to_text.json"
    config = json.loads(path.read_text())
    assert config.pop("temperature") == 1
    path.write_text(json.dumps(config))
    assert TextToText.load(saved).temperature == 1


def test_other_weights_have_none(tmp_path, saved, eagerly):
    text_to_text = TextToText.load(saved)
    text_to_text.temperature = 2.0
    options = {"epochs": 1, "batch_tokens": 32, "verbose": 0}
    train(text_to_text, SOURCES, TRUE, folder=tmp_path / "run", **options)
    assert text_to_text.temperature == 1
    assert TextToText.load(tmp_path / "run").temperature == 1


def test_says_what_is_wrong(saved, pairs, tmp_path, error_of):
    several = ("calibrate", saved, saved, "--source", pairs)
    assert "is kept with one model" in error_of(*several)
    checkpoint = ("calibrate", "hf://owner/name", "--source", pairs)
    assert "hf://owner/name" in error_of(*checkpoint)
    weights = ("calibrate", saved, "--source", pairs, "--weights", 2)
    assert "for each of several models" in error_of(*weights)
    (tmp_path / "none.tsv").touch()
    none = ("calibrate", saved, "--source", tmp_path / "none.tsv")
    assert "A calibration needs at least one line" in error_of(*none)
    assert TextToText.load(saved).temperature == 1
