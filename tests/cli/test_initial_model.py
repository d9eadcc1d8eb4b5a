"""What is refused of a trained model; what a command says, `test_learn.py` shows."""

import pytest

from keras_encdec.cli.initial_model import check_initial
from keras_encdec.recipe import build
from keras_encdec.text import ByteTokenizer

pytestmark = pytest.mark.once


def test_what_it_has_is_not_asked_of_it_otherwise():
    tokenizer = ByteTokenizer()
    small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1, "num_heads": 2}
    text_to_text = build(tokenizer, tokenizer, positions="rotary", **small)
    has = {**small, "num_decoder_layers": 1, "positions": "rotary", "dtype": "float32"}
    check_initial(text_to_text, has)
    for name, value in has.items():
        other = "relative" if isinstance(value, str) else 3
        with pytest.raises(
            ValueError, match=f"{name}={other!r} where it has {value!r}"
        ):
            check_initial(text_to_text, {name: other})
