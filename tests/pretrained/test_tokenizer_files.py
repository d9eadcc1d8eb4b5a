"""What the files beside a checkpoint say of its tokenizer."""

import json

import pytest

from keras_encdec.pretrained.tokenizer_files import TokenizerFiles

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "config, settings, kind",
    [
        ({"model_type": "bart"}, {}, "BartTokenizer"),
        ({"model_type": "mbart"}, {"tokenizer_class": "MBart50TokenizerFast"}, None),
        ({"model_type": "mbart", "tokenizer_class": "MBart50Tokenizer"}, {}, None),
        ({"model_type": "m2m_100"}, {}, "NllbTokenizer"),
        (
            {"model_type": "umt5"},
            {"tokenizer_class": "TokenizersBackend"},
            "T5Tokenizer",
        ),
        ({"model_type": "other"}, {}, "other"),
    ],
)
def test_the_kind_of_a_tokenizer(config, settings, kind, tmp_path):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert TokenizerFiles(tmp_path, config).kind == (kind or "MBart50Tokenizer")


def test_tokens_are_spelled_as_the_files_say(tmp_path):
    settings = {"pad_token": {"content": "[P]"}, "eos_token": None, "x": 0}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    more = {"additional_special_tokens": ["a", {"content": "b"}], "pad_token": "[Q]"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(more))
    (tmp_path / "added_tokens.json").write_text('{"c": 9}')
    files = TokenizerFiles(tmp_path, {"model_type": "t5"})
    assert [files.token(x) for x in ("pad_token", "eos_token")] == ["[P]", "</s>"]
    assert files.more_tokens == ["a", "b"]
    assert {"a", "[P]", "</s>"} <= files.special_tokens
    assert files.added_tokens == {"c": 9}
    assert (files.setting("x", 3), files.setting("y", 3)) == (0, 3)


def test_files_that_are_missing_or_broken_are_named(tmp_path):
    files = TokenizerFiles(tmp_path, {"model_type": "t5"})
    assert files.description is None
    with pytest.raises(FileNotFoundError, match="T5Tokenizer.*spiece.model is missing"):
        files.read_bytes("spiece.model")
    (tmp_path / "vocab.json").write_text("[")
    with pytest.raises(ValueError, match="vocab.json.*JSON.*Copy"):
        files.read_json("vocab.json")
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(ValueError, match="tokenizer_config.json.*object.*list"):
        TokenizerFiles(tmp_path, {})
