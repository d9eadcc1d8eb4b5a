"""Classes of characters, each character asked of a program that knows Unicode 16."""

import pytest
import tensorflow as tf
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from keras_encdec.text.character_classes import LETTER, NUMBER, SPACE, STRIPPED, WORD

pytestmark = pytest.mark.once

CHARACTERS = [chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000]


def members(inside):
    """The characters of a class."""
    found = tf.strings.regex_full_match(tf.constant(CHARACTERS), f"[{inside}]").numpy()
    return {x for x, is_member in zip(CHARACTERS, found, strict=True) if is_member}


def test_white_space():
    strip = normalizers.Strip()
    assert members(SPACE) == {x for x in CHARACTERS if not strip.normalize_str(x)}
    assert members(STRIPPED) == {x for x in CHARACTERS if not x.strip()}


def test_letters_and_numbers():
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def joined(beside):
        # One word with what is of its kind.
        return {x for x in CHARACTERS if len(split.pre_tokenize_str(beside + x)) == 1}

    assert members(LETTER) == joined("a")
    assert members(NUMBER) == joined("1")


def test_what_words_are_made_of():
    theirs = Tokenizer(models.WordLevel({"": 0}, ""))
    theirs.add_tokens([AddedToken("\ue000", single_word=True)])
    rows = theirs.encode_batch([f"{x}\ue000" for x in CHARACTERS])
    found = {x for x, row in zip(CHARACTERS, rows, strict=True) if 1 not in row.ids}
    assert members(WORD) == found
