"""Tokenizers of KerasHub, wrapped."""

import keras_hub
import pytest
import tensorflow as tf

from keras_encdec.text import (
    ByteLevelBPETokenizer,
    KerasHubTokenizer,
    SentencePieceTokenizer,
)

pytestmark = pytest.mark.once

TEXTS = ["a man isn't in  a hat", "ein Mann läuft", ""] * 2
PAIRS = ByteLevelBPETokenizer.train(TEXTS * 3, 290)


def byte_pairs():
    vocabulary = {**PAIRS.vocabulary, "<s>": 1, "<pad>": 0, "</s>": 2, "<mask>": 3}
    merges = [" ".join(pair) for pair in PAIRS.merges]
    return keras_hub.models.BartTokenizer(vocabulary, merges)


def test_ids_and_texts_are_those_of_keras_hub():
    tokenizer = KerasHubTokenizer(byte_pairs(), unknown_id=4000)
    rows = tokenizer.encode(TEXTS).to_list()
    assert rows == PAIRS.encode(TEXTS).to_list()
    assert tokenizer.decode(rows).numpy().tolist() == [t.encode() for t in TEXTS]
    assert (tokenizer.padding_id, tokenizer.start_id, tokenizer.end_id) == (0, 1, 2)
    assert "BartTokenizer" in repr(tokenizer)


def test_it_runs_in_a_dataset():
    of_bytes = KerasHubTokenizer(keras_hub.tokenizers.ByteTokenizer())
    for tokenizer in (of_bytes, KerasHubTokenizer(byte_pairs())):
        dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(3).map(tokenizer)
        rows = [row for batch in dataset for row in batch.to_list()]
        assert rows == tokenizer.encode(TEXTS).to_list()
        # KerasHub's bytes are in lower case.
        assert tokenizer.decode(rows).numpy()[1].decode().lower() == TEXTS[1].lower()


def test_pieces_of_sentencepiece(tmp_path):
    pieces = SentencePieceTokenizer.train(TEXTS, 22)
    theirs = keras_hub.tokenizers.SentencePieceTokenizer(pieces.proto)
    special = {"padding_id": 0, "start_id": 1, "end_id": 2, "unknown_id": 3}
    tokenizer = KerasHubTokenizer(theirs, **special)
    assert tokenizer.encode(TEXTS).to_list() == pieces.encode(TEXTS).to_list()


def test_it_is_not_saved():
    import copy

    tokenizer = KerasHubTokenizer(keras_hub.tokenizers.ByteTokenizer())
    for action in (tokenizer.get_config, lambda: copy.deepcopy(tokenizer)):
        with pytest.raises(TypeError, match="not copied, saved or exported.*BPE"):
            action()


def test_what_is_no_tokenizer_of_keras_hub_is_refused():
    with pytest.raises(TypeError, match="received int"):
        KerasHubTokenizer(3)
    with pytest.raises(ValueError, match="sequence_length=4"):
        KerasHubTokenizer(keras_hub.tokenizers.ByteTokenizer(sequence_length=4))
