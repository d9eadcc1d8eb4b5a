"""Models of pieces that are written anew, against SentencePiece and its own model."""

import io

import pytest
import sentencepiece

from keras_encdec.pretrained.piece_models import (
    CONTROL,
    USER_DEFINED,
    PieceModel,
    piece_model_of,
    read_piece_model,
)
from keras_encdec.text import SentencePieceTokenizer

pytestmark = pytest.mark.once

TEXTS = ["two men are at the stove", "a man in a blue shirt", "ein Mann läuft"] * 3


def learned(kind):
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=writer,
        vocab_size=28,
        model_type=kind,
        minloglevel=2,
    )
    return writer.getvalue()


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_the_order_of_pieces_does_not_change_how_a_text_is_split(kind):
    proto = learned(kind)
    model = read_piece_model(proto)
    others = model.of_pieces([*model.pieces[:3], *reversed(model.pieces[3:])])
    others = others.extended({"<language>": 35, "<gap>": 31}, CONTROL)
    assert others.pieces[31][0] == "<gap>" and others.ids["<language>"] == 35
    tokenizer = SentencePieceTokenizer(
        others.serialized(), padding_id=36, start_id=1, end_id=2
    )
    original = sentencepiece.SentencePieceProcessor(model_proto=proto)
    texts = [*TEXTS, "ﬁ Ａ½  <gap> 日\tman"]
    rows = tokenizer.encode(texts).to_list()
    pieces = [[others.pieces[i][0] for i in row[:-1]] for row in rows]
    assert pieces == [
        [original.id_to_piece(i) for i in original.encode(text)] for text in texts
    ]


def test_a_model_of_a_json_file():
    description = {
        "model": {
            "type": "BPE",
            "vocab": {"<unk>": 0, "a": 1, "b": 2, "▁": 3, "ab": 4, "▁ab": 5},
            "merges": ["a b", ["▁", "ab"]],
            "unk_token": "<unk>",
        },
        "added_tokens": [
            {"content": "<gap>", "id": 7, "special": False},
            {"content": "</s>", "id": 6, "special": True},
        ],
    }
    model = piece_model_of(description)
    assert model.kind == "bpe" and model.pieces[4] == ("ab", 0.0, 1)
    assert model.pieces[5] == ("▁ab", -1.0, 1)
    assert [piece[2] for piece in model.pieces[6:]] == [CONTROL, USER_DEFINED]
    assert model.pieces[0][2] == 2


def test_white_space_is_one_space_where_nothing_else_is_normalized():
    pieces = [("<unk>", 0, 2), ("</s>", 0, 3), ("▁a", -1, 1), ("ﬁ", -1, 1)]
    proto = PieceModel(tuple(pieces)).serialized()
    tokenizer = SentencePieceTokenizer(proto, padding_id=4, start_id=4, end_id=1)
    assert tokenizer.encode(["a\u3000\n a\tﬁ"]).to_list() == [[2, 2, 0, 3, 1]]
    assert tokenizer.decode([[2, 0, 2]]).numpy() == [b"a a"]


def test_pieces_that_no_text_spells_are_left_out_above_a_size():
    model = PieceModel((("<unk>", 0, 2), ("a", 0, 1), ("<mask>", 0, 3)))
    assert len(model.shortened(2).pieces) == len(model.shortened(1).pieces) == 2


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="Unigram or BPE.*'WordPiece'"):
        piece_model_of({"model": {"type": "WordPiece", "vocab": {"a": 0}}})
