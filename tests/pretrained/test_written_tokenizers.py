"""Tokenizers that are written, read by transformers and here again."""

import itertools
import json

import pytest

from keras_encdec.pretrained.tokenizers import tokenizers_from
from keras_encdec.pretrained.written_tokenizers import write_tokenizers
from keras_encdec.text import (
    ByteTokenizer,
    CharacterTokenizer,
    SentencePieceTokenizer,
    SentinelPieceTokenizer,
    WordTokenizer,
)

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses"),
]

TEXTS = ["two men are at the stove", "ein Mann läuft über die Straße", "a man"] * 3
WORDS = WordTokenizer.from_texts(TEXTS, continuation="@@")
OTHER_WORDS = WordTokenizer.from_texts(TEXTS[1:2])
PIECES = SentencePieceTokenizer.train(TEXTS, 32)
PAIRS = SentencePieceTokenizer.train(TEXTS, 40, model_type="bpe", padding_id=4)
GAP = SentencePieceTokenizer.train(TEXTS, 32, user_defined_symbols=["<gap>"]).proto
BYTES = ByteTokenizer(padding_id=0, start_id=0, end_id=1, unknown_id=2)


def from_folder(folder, family):
    from transformers import AutoTokenizer

    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    "name",
    ["t5", "mbart", "mbart50", "nllb", "pegasus", "m2m_100", "bart", "blenderbot"]
    + ["byt5", "marian"],
)
def test_what_was_read_is_written(
    name, family_folder, shared_data, read, fuzzed, tmp_path
):
    from transformers import AutoTokenizer

    folder = shared_data / "hugging_face" / "opus-mt-en-mg"
    if name != "marian":
        folder = family_folder(name)
    config = json.loads((folder / "config.json").read_text())
    source, target, start = read(folder, name)
    write_tokenizers(tmp_path, source, target, config["model_type"])
    theirs = from_folder(tmp_path, config["model_type"])
    texts = [f"{text}.".strip() for text in fuzzed(100)]
    if name == "mbart":
        texts = [text for text in texts if text.isascii()]
    written = [theirs(text)["input_ids"] for text in texts]
    rows = source.encode(texts).to_list()
    assert [sorted(row) for row in rows] == [sorted(row) for row in written]
    assert len(theirs) == target.vocabulary_size
    decoded = [text.decode("utf-8", "replace") for text in target.decode(rows).numpy()]
    assert decoded == [theirs.decode(row, skip_special_tokens=True) for row in rows]
    again = tokenizers_from(tmp_path, config)
    assert again[0].encode(texts).to_list() == rows
    assert again[1].encode(texts).to_list() == target.encode(texts).to_list()
    assert again[2] == start
    if name == "marian":
        for file in ("source.spm", "target.spm"):
            assert (tmp_path / file).read_bytes() == (folder / file).read_bytes()
        table = json.loads((folder / "vocab.json").read_text("utf-8"))
        assert json.loads((tmp_path / "vocab.json").read_text("utf-8")) == table
        assert AutoTokenizer.from_pretrained(folder).get_vocab() == theirs.get_vocab()


@pytest.mark.parametrize(
    "source, target",
    [
        (WORDS, WORDS),
        (OTHER_WORDS, WORDS),
        (CharacterTokenizer.from_texts(TEXTS), CharacterTokenizer.from_texts(TEXTS)),
        (PIECES, PIECES),
        (PIECES, SentencePieceTokenizer.train(TEXTS, 40, model_type="bpe")),
        (PAIRS, PAIRS),
    ],
)
def test_vocabularies_made_here_as_marian(source, target, tmp_path):
    write_tokenizers(tmp_path, source, target, "marian")
    theirs = from_folder(tmp_path, "marian")
    texts = [*TEXTS, "two\tunknown  läuft  é", "", "a@@ man"]

    def ids(tokenizer, text):
        # SentencePiece makes one unknown token of several in a row.
        runs = itertools.groupby(tokenizer.encode([text]).to_list()[0])
        return [
            number
            for i, run in runs
            for number in ([i] if i == tokenizer.unknown_id else run)
        ]

    for text in texts:
        assert ids(source, text) == theirs(text)["input_ids"]
        assert ids(target, text) == theirs(text_target=text)["input_ids"]
    rows = target.encode(texts).to_list()
    known = [row for row in rows if target.unknown_id not in row]
    decoded = [text.decode() for text in target.decode(known).numpy()]
    spelled = [theirs.decode(row, skip_special_tokens=True) for row in known]
    assert decoded == [text.replace("@@ ", "") for text in spelled]
    for name, number in (
        ("pad_token_id", source.padding_id),
        ("eos_token_id", source.end_id),
        ("unk_token_id", source.unknown_id),
    ):
        assert getattr(theirs, name) == number


def test_bytes_made_here(tmp_path):
    write_tokenizers(tmp_path / "bytes", BYTES, BYTES, "t5")
    theirs = from_folder(tmp_path / "bytes", "t5")
    assert BYTES.encode(["aé"]).to_list() == [theirs("aé")["input_ids"]]


def test_what_transformers_cannot_say_is_refused_before_anything_is_written(tmp_path):
    folder = tmp_path / "out"
    alone, stripped = (
        SentinelPieceTokenizer(GAP, sentinels=[{"content": "<gap>", flag: True}])
        for flag in ("single_word", "lstrip")
    )
    stepwise = SentinelPieceTokenizer(GAP, normalizer=[{"type": "NFC"}])
    for source, target, family, why in (
        (WORDS, WORDS, "t5", "of another kind"),
        (BYTES, BYTES, "marian", "of another kind"),
        (ByteTokenizer(), ByteTokenizer(), "t5", "other ids than ByT5's"),
        (PIECES, PAIRS, "t5", "another one than that of sources"),
        (PIECES, PAIRS, "marian", "other special ids"),
        (alone, alone, "bart", "'<gap>', found alone, whose id is not behind"),
        (alone, alone, "marian", "found normalized, or alone"),
        (stripped, stripped, "marian", "take the spaces beside"),
        (stepwise, stepwise, "marian", "steps of normalization beside"),
        (WORDS, WordTokenizer(["a"], suffix_ids=[2, 2]), "marian", "before or behind"),
    ):
        with pytest.raises(ValueError, match=f"{why}.*'marian'"):
            write_tokenizers(folder, source, target, family)
    assert not folder.exists()
