import importlib
import sys

import keras
import keras_hub
import numpy as np
import pytest

from keras_encdec import (
    BeamSampler,
    ByteTokenizer,
    EncoderDecoder,
    Generator,
    TextToText,
)
from keras_encdec.export import child
from keras_encdec.export.saved_model import write_saved_model
from keras_encdec.generation import NoRepeatNGram

# On TensorFlow there is no child process, and one backend of the others is enough.
with_a_child = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="shown under PyTorch"
)


@pytest.fixture
def text_to_text():
    tokenizer = ByteTokenizer()
    model = EncoderDecoder(tokenizer.vocabulary_size, 8, 16, 2, 1)
    return TextToText(tokenizer, tokenizer, model, max_length=4)


@with_a_child
@pytest.mark.parametrize("in_current_folder", [False, True])
def test_imports_modules_first(text_to_text, tmp_path, monkeypatch, in_current_folder):
    (tmp_path / "module_of_the_user.py").write_text("raise ValueError('imported')")
    monkeypatch.chdir(tmp_path)
    path = "" if in_current_folder else str(tmp_path)
    monkeypatch.setattr(sys, "path", [path, *sys.path])
    with pytest.raises(RuntimeError, match="ValueError: imported"):
        child.run_under_tensorflow(
            write_saved_model, text_to_text, tmp_path, modules=["module_of_the_user"]
        )


@pytest.fixture
def strays(tmp_path, monkeypatch):
    """Files in the current folder that have the names of packages."""
    for name in ("h5py", "keras", "json", "sitecustomize", "keras_encdec"):
        (tmp_path / f"{name}.py").write_text(
            f"import pathlib\npathlib.Path(r'{tmp_path}', 'run').touch()"
        )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    return tmp_path


@with_a_child
def test_runs_nothing_that_lies_in_the_current_folder(text_to_text, strays):
    (strays / "written").mkdir()
    child.run_under_tensorflow(
        write_saved_model,
        text_to_text,
        strays / "written",
        signatures=["encode"],
        max_length=4,
        num_beams=2,
        length_penalty=1.0,
        jit=False,
    )
    assert (strays / "written" / "saved_model.pb").is_file()
    assert not (strays / "run").exists()


@pytest.mark.once
def test_a_process_imports_what_its_parent_does(strays, monkeypatch):
    (strays / "more").mkdir()
    (strays / "more" / "of_the_user.py").write_text("value = 3")
    monkeypatch.setattr(sys, "path", [*sys.path, str(strays / "more")])
    code = """
import os, h5py, keras_encdec, of_the_user
assert of_the_user.value == 3 and os.environ["OF_THE_USER"] == "4"
assert keras_encdec.__file__ == sys.argv[1]
"""
    where = importlib.import_module("keras_encdec").__file__
    child.run_python("It must run.", code, where, OF_THE_USER="4")
    assert not (strays / "run").exists()


@pytest.mark.once
def test_a_process_that_fails_says_why():
    code = "print('é'); sys.exit(3)"
    with pytest.raises(RuntimeError, match="It must run.*with status 3(?s:.)*é"):
        child.run_python("It must run.", code)
    # It cannot wait for what nobody types.
    child.run_python("It must run.", "assert not sys.stdin.read()")


@pytest.mark.once
def test_a_child_process_has_the_generator_that_its_parent_has(text_to_text, tmp_path):
    generator = Generator(
        text_to_text.model,
        BeamSampler(2),
        processors=[NoRepeatNGram(1)],
        start_id=7,
        end_id=[2, 5],
    )
    child._save_generator(generator, tmp_path)
    loaded = child._load(tmp_path, [])
    for name in ("sampler", "processors", "start_id", "end_id", "padding_id"):
        assert getattr(loaded, name) == getattr(generator, name)
    weights = zip(loaded.model.weights, generator.model.weights, strict=True)
    for ours, theirs in weights:
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.once
def test_refuses_samplers_of_keras_hub(text_to_text, tmp_path):
    sampler = keras_hub.samplers.TopKSampler(k=3)
    with pytest.raises(ValueError, match="KerasHub.*with_sampler"):
        child.run_under_tensorflow(
            write_saved_model, text_to_text.with_sampler(sampler), tmp_path
        )
    assert not list(tmp_path.iterdir())
