"""What is refused for all formats of ids; what they answer is in their own tests."""

import pytest

from keras_encdec import (
    ByteTokenizer,
    EncoderDecoder,
    Generator,
    GreedySampler,
    TextToText,
)
from keras_encdec.export.id_formats import export_ids
from keras_encdec.protocol import GenerationModel

pytestmark = pytest.mark.once


def write_nothing(model, name, function, folder):
    raise AssertionError("must be refused before")


def byte_to_byte(**options):
    tokenizer = ByteTokenizer()
    model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1, **options)
    return TextToText(tokenizer, tokenizer, model, GreedySampler(), max_length=8)


@pytest.mark.parametrize(
    ("options", "max_length", "number", "says"),
    [
        ({"dtype": "mixed_bfloat16"}, None, 1, "float32.*received bfloat16.*dtype="),
        ({}, None, 2, "num_return_sequences=2"),
        (
            {"positions": "learned", "max_length": 4},
            None,
            1,
            "max_length=4; received 8",
        ),
        ({}, 0, 1, "positive integer; received max_length=0"),
    ],
)
def test_refuses(options, max_length, number, says, tmp_path):
    text_to_text = byte_to_byte(**options)
    with pytest.raises(ValueError, match=says):
        export_ids(
            write_nothing,
            text_to_text,
            tmp_path / "a",
            max_length=max_length,
            num_return_sequences=number,
        )
    assert not list(tmp_path.iterdir())


def test_refuses_a_folder_that_is_there(tmp_path):
    with pytest.raises(FileExistsError, match="there already"):
        export_ids(write_nothing, byte_to_byte(), tmp_path)


class Table(GenerationModel):
    """A model that is not Keras's."""


def test_refuses_a_draft_a_table_and_no_length(tmp_path):
    model = byte_to_byte().model
    with pytest.raises(ValueError, match="A draft model cannot be exported"):
        export_ids(write_nothing, Generator(model, draft_model=model), tmp_path / "a")
    with pytest.raises(TypeError, match="Only an EncoderDecoder can be exported"):
        export_ids(write_nothing, Generator(Table()), tmp_path / "a")
    with pytest.raises(ValueError, match="received max_length=None"):
        export_ids(write_nothing, Generator(model), tmp_path / "a")
    assert not list(tmp_path.iterdir())
