"""The model card says what a model is, and survives saving and exports."""

import re

import pytest

from keras_encdec import (
    BeamSampler,
    ByteTokenizer,
    Generator,
    TextToText,
    build,
    train,
)
from keras_encdec.export import export_ctranslate2
from keras_encdec.model_card import CARD_FILE, model_card

pytestmark = pytest.mark.once

FORMS = ("saved", "saved-model", "hugging-face", "ctranslate2", "ids")
SMALL = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 1}


@pytest.fixture
def text_to_text():
    return build(ByteTokenizer(), ByteTokenizer(), max_length=5, **SMALL)


@pytest.mark.parametrize("form", FORMS)
def test_tells_what_a_model_is_and_how_it_is_used(form, text_to_text):
    text_to_text.card |= {"licence": "apache-\n2.0", "scores": ["BLEU = 41"]}
    text = model_card(text_to_text, form)
    assert text.startswith("---\nlibrary_name: keras\n")
    assert "\nlicense: apache- 2.0\n---\n" in text and "BLEU = 41" in text
    assert f"{text_to_text.model.count_params():,} parameters" in text
    assert "size of hidden states: 16\n" in text
    assert "source: ByteTokenizer of 260 ids" in text
    assert "at most 5 tokens" in text and "GreedySampler" in text
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S):
        compile(block, form, "exec")


@pytest.mark.parametrize("licence", ["cc-by-4.0", 'Ours: "x" # y', "no", "- a", ""])
def test_the_head_is_yaml_whatever_the_licence(licence, text_to_text):
    yaml = pytest.importorskip("yaml")
    text_to_text.card["licence"] = licence
    head = yaml.safe_load(model_card(text_to_text).split("---")[1])
    assert head.get("license", "") == licence


def test_ctranslate2_is_told_the_search_that_the_scores_are_of(text_to_text):
    text = model_card(text_to_text, "ctranslate2")
    assert (
        "[tokens], beam_size=1, min_decoding_length=0, max_decoding_length=5)" in text
    )
    beams = text_to_text.with_sampler(BeamSampler(3, length_penalty=0.6))
    assert "beam_size=3, length_penalty=0.6" in model_card(beams, "ctranslate2")
    assert "SEARCH" not in model_card(beams, "ctranslate2")


def test_says_that_nothing_is_told_of_a_model_of_ids(text_to_text):
    text = model_card(Generator(text_to_text.model, BeamSampler(3)), "ids")
    assert "license:" not in text and "Not told." in text and "None were" in text
    assert "BeamSampler(" in text and "Tokenizer" not in text
    text = model_card(text_to_text.model, "hugging-face")
    assert "EncoderDecoder, " in text and "- search" not in text


def test_a_training_tells_its_scores_and_what_is_exported_has_them(
    tmp_path, text_to_text, eagerly
):
    text_to_text.card["licence"] = "mit"
    texts = ["one", "two", "one"]
    more = {
        "validation": (texts[:2], texts[:2]),
        "epochs": 2,
        "average": 2,
        "verbose": 0,
    }
    train(text_to_text, texts, texts, folder=tmp_path / "run", **more)
    best = TextToText.load(tmp_path / "run")
    told = (tmp_path / "run" / "best" / CARD_FILE).read_text("utf-8")
    assert "Trained on 3 pairs of texts; held out: 2 pairs." in told
    # As evaluating gives them, with the signatures.
    report = best.evaluate(texts[:2], texts[:2]).report
    assert all(line in told for line in report) and "version:" in told
    assert told == model_card(best)
    other = best.with_sampler(BeamSampler(2))
    path = export_ctranslate2(other, tmp_path / "exported")
    exported = (path / CARD_FILE).read_text("utf-8")
    assert report[0] in exported and "license: mit" in exported
    assert "ctranslate2.Translator" in exported
    export_ctranslate2(other, path, overwrite=True)  # A card is no obstacle.
    best.save(tmp_path / "run" / "best", overwrite=True)
