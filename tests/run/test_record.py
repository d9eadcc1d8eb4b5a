"""What a training is begun with."""

import hashlib
import json

import keras
import pytest

from keras_encdec.model import Decoder, EncoderDecoder
from keras_encdec.run.record import make_record, other_parts
from keras_encdec.text import ByteTokenizer
from keras_encdec.text_to_text import TextToText
from keras_encdec.training import TrainingOptions

pytestmark = pytest.mark.once

PAIRS = ["one", 'z\u00e9 "\n', "\U0001f600"], ["eno", "", "b"]


def record(pairs=PAIRS, validation=None):
    return make_record(TrainingOptions(), pairs, validation)


def test_digests_are_those_of_version_0_1_0():
    for pairs in (PAIRS, ([], []), (["a"], ["b"])):
        expected = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
        assert record(pairs)["texts"] == record(validation=pairs)["validation"]
        assert record(pairs)["texts"] == expected
    as_bytes = [[text.encode() for text in texts] for texts in PAIRS]
    assert record(as_bytes)["texts"] == record(PAIRS)["texts"]
    latin = [([b"caf" + last], [b""]) for last in (b"\xe9", b"\xe8")]
    assert record(latin[0])["texts"] != record(latin[1])["texts"]


def test_an_encoder_of_another_kind_is_the_same_when_it_is_loaded(tmp_path):
    encoder = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(260, 8, mask_zero=True, dtype="mixed_bfloat16"),
        ]
    )
    model = EncoderDecoder(encoder, Decoder(260, 8, 12, 2, 1))
    text_to_text = TextToText(ByteTokenizer(), ByteTokenizer(), model)
    text_to_text.save(tmp_path / "saved")
    loaded = TextToText.load(tmp_path / "saved")
    assert other_parts(text_to_text, loaded) == []
