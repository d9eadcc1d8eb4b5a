import sys

import keras
import pytest
import sentencepiece
import tensorflow as tf

from keras_encdec import SentencePieceTokenizer
from keras_encdec.text.piece_models import load_pieces

pytestmark = pytest.mark.once

TEXTS = ["a cat sat", "a hat sat", "a cat has a hat"]
PROTOS = [SentencePieceTokenizer.train(TEXTS, size).proto for size in (12, 13)]


def test_ids_and_pieces_are_those_of_sentencepiece():
    processor = sentencepiece.SentencePieceProcessor(model_proto=PROTOS[0])
    ids = load_pieces(PROTOS[0]).tokenize(TEXTS).to_list()
    assert ids == processor.encode(TEXTS, out_type=int)
    pieces = load_pieces(PROTOS[0], tf.string).tokenize(["a cat"]).to_list()
    assert [x.decode() for x in pieces[0]] == processor.encode("a cat", out_type=str)


def test_two_models_outlive_cleared_caches_and_stay_two():
    models = [load_pieces(proto) for proto in PROTOS]
    before = [model.tokenize(TEXTS).to_list() for model in models]
    keras.utils.set_random_seed(1)
    keras.backend.clear_session()
    assert [model.tokenize(TEXTS).to_list() for model in models] == before


def test_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    with pytest.raises(ImportError, match="pip install tensorflow-text"):
        load_pieces(PROTOS[0])
