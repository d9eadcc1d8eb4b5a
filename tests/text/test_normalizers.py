"""Steps of a normalizer against those of the `tokenizers` package."""

import base64
import json

import pytest
import tensorflow as tf
import tokenizers
from tokenizers import Regex, normalizers

from keras_encdec.text.normalizers import Normalizer

pytestmark = pytest.mark.once

TEXTS = [
    "", " a  b ", "e\u0301\u0327 \u00e9\u3000\u00a0", "\t\n \x0b", "a.b\\1 ..",
    "\ufb01 \uff57", "\u1112\u1161\u11ab \u212b \u0958",
]  # fmt: skip


@pytest.mark.parametrize(
    "steps",
    [
        [normalizers.NFC()],
        [normalizers.Strip()],
        [normalizers.Strip(left=False)],
        [normalizers.Strip(right=False)],
        [normalizers.Replace(Regex(" {2,}"), " ")],
        [normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "), normalizers.NFC()],
        [normalizers.Replace(".", "\\1")],
    ],
)
def test_steps_are_those_of_tokenizers(steps):
    theirs = normalizers.Sequence(steps)
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.normalizer = theirs
    said = json.loads(model.to_str())["normalizer"]["normalizers"]
    found = Normalizer(said)(tf.constant(TEXTS)).numpy()
    assert [x.decode() for x in found] == [*map(theirs.normalize_str, TEXTS)]


def test_a_normalization_of_a_model(shared_data):
    path = shared_data / "hugging_face" / "barthez" / "tokenizer.json"
    said = json.loads(path.read_text("utf-8"))["normalizer"]["precompiled_charsmap"]
    charsmap = base64.b64decode(said)
    theirs = normalizers.Precompiled(charsmap)
    # Each character alone.
    texts = [chr(i) for i in range(0x30000) if not 0xD800 <= i < 0xE000]
    found = Normalizer([{"type": "Precompiled"}], charsmap)(tf.constant(texts)).numpy()
    assert [x.decode() for x in found] == [*map(theirs.normalize_str, texts)]
    # Nothing is done where a model has none.
    ligature = tf.constant(["\ufb01"])
    assert Normalizer([{"type": "Precompiled"}])(ligature).numpy() == ligature.numpy()


def test_another_step_is_refused():
    with pytest.raises(ValueError, match="NFC, Precompiled.*Lowercase"):
        Normalizer([{"type": "Lowercase"}])
