import keras
import pytest

from keras_encdec import ByteTokenizer, EncoderDecoder, TextToText
from keras_encdec.export import child
from keras_encdec.export.saved_model import write_saved_model

ON_TENSORFLOW = keras.config.backend() == "tensorflow"


@pytest.fixture
def text_to_text():
    tokenizer = ByteTokenizer()
    model = EncoderDecoder(tokenizer.vocabulary_size, 8, 16, 2, 1)
    return TextToText(tokenizer, tokenizer, model, max_length=4)


def test_calls_the_function_with_its_options(text_to_text, tmp_path):
    child.run_under_tensorflow(
        write_saved_model,
        text_to_text,
        tmp_path,
        signatures=["encode"],
        max_length=4,
        num_beams=2,
        length_penalty=1.0,
        jit=False,
    )
    assert (tmp_path / "saved_model.pb").is_file()


@pytest.mark.skipif(ON_TENSORFLOW, reason="there is no child process")
def test_imports_modules_first(text_to_text, tmp_path, monkeypatch):
    (tmp_path / "module_of_the_user.py").write_text("raise ValueError('imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="ValueError: imported"):
        child.run_under_tensorflow(
            write_saved_model, text_to_text, tmp_path, modules=["module_of_the_user"]
        )
