"""The front door: what is public, and what is imported for it."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import keras_encdec

pytestmark = pytest.mark.once


def run(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )


def test_shows_what_is_public_and_where_it_is():
    assert dir(keras_encdec) == sorted([*keras_encdec.__all__, "__version__"])
    for name in keras_encdec.__all__:
        found = getattr(keras_encdec, name)
        place = keras_encdec._places[name]
        if place == "keras_encdec":
            assert found is importlib.import_module(f"keras_encdec.{name}")
        else:
            assert found is getattr(importlib.import_module(place), name)
    # What is read by a pattern is all that Python reads there.
    stub = Path(keras_encdec.__file__).with_suffix(".pyi").read_text("utf-8")
    imports = (x for x in ast.parse(stub).body if isinstance(x, ast.ImportFrom))
    named = {(alias.asname, x.module) for x in imports for alias in x.names}
    assert named == {*keras_encdec._places.items()}
    assert {"train", "build", "TextToText", "BeamSampler"} < {*keras_encdec.__all__}
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        keras_encdec.nothing  # noqa: B018


def test_the_front_door_and_help_import_nothing_heavy():
    program = """
import sys
import keras_encdec
from keras_encdec.cli import main
for words in ["--version"], ["--help"], ["train", "--help"], ["generate", "--sorce"]:
    try:
        main(words)
    except SystemExit:
        pass
heavy = {"absl", "keras", "numpy", "tensorflow", "jax", "torch"}
assert not heavy & {*sys.modules}, heavy & {*sys.modules}
assert "EncoderDecoder" in dir(keras_encdec)
"""
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert "TensorFlow" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "first, second", [("keras", "keras_encdec"), ("keras_encdec.training", "keras")]
)
def test_keras_reads_our_models_once_both_are_imported(first, second):
    # Of any public name, and not of the room that is needed alone.
    program = f"""
import {first}
import {second}
import keras
if "{first}" != "keras":
    from keras_encdec import Perplexity
known = keras.saving.get_custom_objects()
assert "keras_encdec>EncoderDecoder" in known and "keras_encdec>BeamSampler" in known
"""
    done = run(program)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_text_to_text_is_read_with_what_its_model_was_compiled_with():
    # As a command or the child of an export does, of this room alone.
    program = """
import keras_encdec.text_to_text
import keras
known = keras.saving.get_custom_objects()
for name in "EncoderDecoder", "BeamSampler", "WordTokenizer", "InverseSquareRoot":
    assert f"keras_encdec>{name}" in known, name
"""
    done = run(program)
    assert done.returncode == 0, done.stderr
