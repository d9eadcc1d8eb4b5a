"""Tokenizers of pieces that checkpoints of other libraries use."""

import json
import random

import keras
import pytest
import sentencepiece
import tensorflow as tf

from keras_encdec.text import (
    PieceTableTokenizer,
    SentencePieceTokenizer,
    SentinelByteTokenizer,
    SentinelPieceTokenizer,
)

pytestmark = pytest.mark.once

TEXTS = ["two men are at the stove", "a man in a blue shirt is standing"]
GAPS = ["<gap_0>", "<gap_1>"]
PROTO = SentencePieceTokenizer.train(TEXTS, 32, user_defined_symbols=GAPS).proto
PIECES = sentencepiece.SentencePieceProcessor(model_proto=PROTO)
TABLE = {PIECES.id_to_piece(i): 90 - i for i in range(6, 32)}
TABLE = {**TABLE, "日本": 4, ">>fr<<": 5, "</s>": 2, "__fr__": 6}
SENTINEL = SentinelPieceTokenizer(PROTO, sentinels=GAPS)
NORMALIZED = SentinelPieceTokenizer(
    PROTO,
    sentinels=[{"content": "<gap_0>", "normalized": True, "single_word": True}],
    normalizer=[
        {"type": "NFC"},
        {"type": "Precompiled"},
        {"type": "Replace", "pattern": {"String": "#"}, "content": "a"},
    ],
    keep_spaces=True,
)
TABLED = PieceTableTokenizer(PROTO, TABLE, marked=True, control=["__fr__"])
BYTES = SentinelByteTokenizer(
    GAPS, padding_id=0, start_id=0, end_id=1, unknown_id=2, prefix_ids=[300]
)


def decoded(tokenizer, rows):
    return [text.decode() for text in tokenizer.decode(rows).numpy()]


def test_a_text_is_split_at_sentinels():
    number = {gap: PIECES.piece_to_id(gap) for gap in GAPS}
    rows = SENTINEL.encode(["a <gap_0> man<gap_1>in", "<gap_0>", "men"]).to_list()
    a, man, into = (PIECES.encode(text) for text in ("a", "man", "in"))
    assert rows[0] == [*a, number["<gap_0>"], *man, number["<gap_1>"], *into, 2]
    assert rows[1:] == [[number["<gap_0>"], 2], [*PIECES.encode("men"), 2]]
    assert decoded(SENTINEL, rows) == ["a<gap_0> man<gap_1> in", "<gap_0>", "men"]
    # The unknown is nothing, and the space behind it stays.
    assert decoded(SENTINEL, [[PIECES.piece_to_id("▁"), 3, *man]]) == [" man"]
    assert "".join(SENTINEL.split(["a <gap_0>"])[0]) == "▁a<gap_0>"


def test_pieces_take_their_ids_from_a_table():
    rows = TABLED.encode([">>fr<<a man", "日本 日", ">>xx<<", "</s>a __fr__"]).to_list()
    pieces = [TABLE[piece] for piece in PIECES.encode("a man", out_type=str)]
    assert rows[0] == [5, *pieces, 2]
    space = TABLE["▁"]
    assert rows[1] == [space, 4, space, 3, 2]
    assert rows[2] == [3, 2]
    assert 2 not in rows[3][:-1] and 6 not in rows[3]
    assert decoded(TABLED, [rows[0], [6, *pieces], [4, 88]])[:2] == [
        ">>fr<< a man",
        "a man",
    ]
    unmarked = PieceTableTokenizer(PROTO, TABLE)
    assert 5 not in unmarked.encode([">>fr<<a"]).to_list()[0]
    assert TABLED.split([">>fr<<a man"])[0][0] == ">>fr<<"
    assert TABLED.vocabulary_size == 1 + max(TABLE.values())
    assert TABLED.vocabulary == TABLE


def test_bytes_and_sentinels():
    rows = BYTES.encode(["a<gap_1>é"]).to_list()
    assert rows == [[300, 100, 260, 198, 172, 1]]
    assert decoded(BYTES, [*rows, [100, 198]]) == ["a<gap_1>é", "a"]
    assert BYTES.vocabulary_size == 301
    assert BYTES.split(["a<gap_0>"]) == [["a", "<gap_0>"]]


def test_what_stands_between_is_normalized_first():
    gap = PIECES.piece_to_id("<gap_0>")
    a, man = (PIECES.encode(text) for text in ("a", "man"))
    rows = NORMALIZED.encode(
        ["a  ｍａｎ <gap_0>", "a <ｇａｐ_0>  man", "a <gap_0>s"]
    ).to_list()
    space = PIECES.piece_to_id("▁")
    assert rows[0] == [*a, space, *man, space, gap, 2]
    assert rows[1] == [*a, space, gap, space, *man, 2]
    assert gap not in rows[2]
    assert decoded(NORMALIZED, rows[1:2]) == ["a <gap_0>  man"]
    at_spaces = SentinelPieceTokenizer(PROTO, normalizer=[])
    texts = ["a \n man ", "", "▁a ▁man", "  "]
    assert at_spaces.encode(texts).to_list() == SENTINEL.encode(texts).to_list()


def test_a_sample_has_the_sentinels_of_its_text():
    rows = NORMALIZED.sample(["a <gap_0> man"], alpha=0.5, seed=1).to_list()
    assert PIECES.piece_to_id("<gap_0>") in rows[0]


@pytest.mark.parametrize("tokenizer", [SENTINEL, NORMALIZED, TABLED, BYTES])
def test_they_are_saved_loaded_and_exported(tokenizer, tmp_path):
    texts = ["a <gap_0> man", "", ">>fr<< 日本 man"]
    rows = tokenizer.encode(texts)
    saved = json.dumps(keras.saving.serialize_keras_object(tokenizer))
    loaded = keras.saving.deserialize_keras_object(json.loads(saved))
    assert loaded.encode(texts).to_list() == rows.to_list()
    assert repr(loaded) == repr(tokenizer)
    module = tf.Module()
    module.tokenizer = tokenizer.module()
    module.there = tf.function(
        lambda texts: tokenizer(texts).to_tensor(), [tf.TensorSpec([None], tf.string)]
    )
    module.back = tf.function(tokenizer.decode, [tf.TensorSpec([None, None], tf.int32)])
    tf.saved_model.save(module, str(tmp_path))
    served = tf.saved_model.load(str(tmp_path))
    ids = served.there(tf.constant(texts))
    assert ids.numpy().tolist() == rows.to_tensor().numpy().tolist()
    assert served.back(ids).numpy().tolist() == tokenizer.decode(rows).numpy().tolist()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="must be pieces.*<gap_7>"):
        SentinelPieceTokenizer(PROTO, sentinels=["<gap_7>"])
    with pytest.raises(ValueError, match="NFC, Precompiled.*received.*Lowercase"):
        SentinelPieceTokenizer(PROTO, normalizer=[{"type": "Lowercase"}])
    with pytest.raises(TypeError, match="dict from `str` to `int`"):
        PieceTableTokenizer(PROTO, ["a"])
    with pytest.raises(ValueError, match="an id of its own"):
        PieceTableTokenizer(PROTO, {"a": 4, "b": 4})
    with pytest.raises(ValueError, match="SentencePiece refuses"):
        PieceTableTokenizer(b"none", {"a": 4})


@pytest.mark.parametrize("close_up", [False, True])
def test_python_gives_what_the_graph_gives(close_up):
    tokenizer = PieceTableTokenizer(
        PROTO, TABLE, marked=True, control=["__fr__"], close_up=close_up
    )
    generator = random.Random(0)
    parts = [
        ">>fr<<",
        ">>",
        "<<",
        " ",
        "two men",
        "é",
        "日",
        "\n",
        "▁",
        "a",
        " n't",
        " .",
    ]
    texts = ["".join(generator.choices(parts, k=6)) for _ in range(200)]
    texts += [generator.randbytes(generator.randrange(9)) for _ in range(200)]
    texts += [b">>\xff<<a", b">>fr<<\xff", "", " \x1f"]
    ids = tokenizer.encode(texts).to_list()
    assert [row.tolist() for row in tokenizer.ids_of(texts)] == ids
    numbers = range(-2, tokenizer.vocabulary_size + 3)
    rows = ids + [generator.choices(numbers, k=8) for _ in range(200)]
    assert tokenizer.texts_of(rows) == decoded(tokenizer, rows)


def test_sentinels_are_found_in_python_too():
    for tokenizer, text in ((SENTINEL, "a <gap_0> man"), (BYTES, "a<gap_1>é")):
        ids = tokenizer.encode([text]).to_list()
        assert [row.tolist() for row in tokenizer.ids_of([text])] == ids
        assert tokenizer.texts_of(ids) == decoded(tokenizer, ids)
