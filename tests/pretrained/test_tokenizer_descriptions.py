"""Tokenizers made here, in files that transformers reads as they are."""

import json

import pytest

from keras_encdec.pretrained.written_tokenizers import write_tokenizers
from keras_encdec.text import ByteLevelBPETokenizer, SentencePieceTokenizer

pytestmark = pytest.mark.once

TEXTS = ["two men are at the stove", "ein Mann läuft über die Straße", "a man"] * 3
PIECES = SentencePieceTokenizer.train(TEXTS, 32)
PAIRS = SentencePieceTokenizer.train(TEXTS, 40, model_type="bpe", padding_id=4)


def from_folder(folder, family):
    from transformers import AutoTokenizer

    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("tokenizer", [PIECES, PAIRS])
@pytest.mark.parametrize("family", ["t5", "bart"])
def test_pieces_made_here_as_other_families(tokenizer, family, tmp_path):
    write_tokenizers(tmp_path, tokenizer, tokenizer, family)
    theirs = from_folder(tmp_path, family)
    texts = [*TEXTS, "a\u3000b ½ é", ""]
    assert tokenizer.encode(texts).to_list() == [theirs(x)["input_ids"] for x in texts]
    assert (theirs.pad_token_id, theirs.eos_token_id) == (
        tokenizer.padding_id,
        tokenizer.end_id,
    )


def test_byte_pairs_made_here(tmp_path):
    for special in ({}, {"prefix_ids": [1]}, {"padding_id": 5, "end_id": 5000}):
        pairs = ByteLevelBPETokenizer.train(TEXTS, 300, **special)
        folder = tmp_path / str(len(special))
        write_tokenizers(folder, pairs, pairs, "bart")
        theirs = from_folder(folder, "bart")
        assert pairs.encode(TEXTS).to_list() == [theirs(x)["input_ids"] for x in TEXTS]
        assert theirs.decode(
            theirs("a man")["input_ids"], skip_special_tokens=True
        ) == ("a man")
