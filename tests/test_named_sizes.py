"""Sizes by name."""

import pytest

from keras_encdec import build
from keras_encdec.named_sizes import SIZES, size_named
from keras_encdec.text import CharacterTokenizer

pytestmark = pytest.mark.once

LETTERS = CharacterTokenizer.from_texts(["one", "two"])


def test_each_name_gives_sizes_of_its_own():
    size_named("tiny")["hidden_dim"] = 3
    assert size_named("tiny")["hidden_dim"] == SIZES["tiny"]["hidden_dim"] == 128


def test_a_name_that_is_none_names_the_nearest():
    with pytest.raises(ValueError, match="received 'bse'. Did you mean 'base'?"):
        build(LETTERS, LETTERS, size="bse")


def test_options_win_over_sizes():
    options = build(LETTERS, LETTERS, size="tiny-deep-shallow").model.get_config()
    assert (options["num_layers"], options["num_decoder_layers"]) == (8, 1)
    model = build(LETTERS, LETTERS, size="tiny", num_layers=1).model
    assert (len(model.encoder_blocks), len(model.decoder_blocks)) == (1, 1)
    assert model.get_config()["hidden_dim"] == 128
