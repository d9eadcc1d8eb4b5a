"""The command that exports, run in this process, and what it prints and writes."""

import re
import shutil

import ctranslate2
import keras
import pytest
import tensorflow as tf

import keras_encdec.export
from keras_encdec import (
    BeamSampler,
    CharacterTokenizer,
    EncoderDecoder,
    TextToText,
    WordTokenizer,
)
from keras_encdec.cli.export import QUANTIZATIONS, SIGNATURES
from keras_encdec.saved_parts import EXPORT_FILES

pytestmark = pytest.mark.once

TEXTS = ["12", "", "345"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved folder of a model whose answers are nonsense."""
    keras.utils.set_random_seed(0)
    characters = CharacterTokenizer.from_texts(["0123456789"])
    words = WordTokenizer(list("abcdefghij"))
    model = EncoderDecoder(
        characters.vocabulary_size,
        16,
        32,
        num_heads=2,
        num_layers=1,
        target_vocabulary_size=words.vocabulary_size,
        tie_embeddings=False,
    )
    folder = tmp_path_factory.mktemp("cli") / "saved"
    TextToText(characters, words, model, max_length=6).save(folder)
    return folder


@pytest.mark.slow
def test_writes_a_version_that_tensorflow_loads(saved, tmp_path, run, error_of):
    (tmp_path / "texts").write_text("\n".join(TEXTS))
    options = ["--version", 2, "--beams", 3, "--max-length", 4]
    options += ["--signatures", "serving_default", "beam"]
    options += ["--texts", tmp_path / "texts"]
    printed = run("export", saved, tmp_path / "models", *options).out
    path = tmp_path / "models" / "2"
    assert f"Wrote {path}: " in printed
    assert "answers 3 texts as Python does" in printed
    assert "\nbeam: " in printed and "float32 (?, 3)" in printed
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    answers = [x.decode() for x in serve(text=tf.constant(TEXTS))["text"].numpy()]
    searching = TextToText.load(saved).with_sampler(BeamSampler(3), max_length=4)
    assert answers == searching(TEXTS)

    again = "export", saved, tmp_path / "models", *options
    line = error_of(*again)
    assert line.endswith(
        "is there already. Choose another place, or have it replaced with --overwrite."
    )


def test_writes_other_formats(saved, tmp_path, run):
    path = tmp_path / "letters"
    options = ["--format", "ctranslate2", "--quantization", "int8"]
    assert f"Wrote {path}:\n" in run("export", saved, path, *options).out
    assert ctranslate2.contains_model(str(path))
    before = (path / "model.bin").stat().st_mtime_ns
    run("export", saved, path, *options, "--overwrite")
    assert (path / "model.bin").stat().st_mtime_ns > before
    printed = run("export", saved, tmp_path / "onnx", "--format", "onnx", "--beams", 2)
    assert "generate.onnx" in printed.out
    assert (tmp_path / "onnx" / "step.onnx").is_file()


@pytest.mark.parametrize(
    "options",
    [
        ["--format", "onnx", "--jit"],
        ["--format", "litert", "--version", "2"],
        ["--format", "ctranslate2", "--signatures", "beam"],
        ["--quantization", "int8"],
    ],
)
def test_options_of_another_format_are_refused(saved, tmp_path, error_of, options):
    said = error_of("export", saved, tmp_path / "models", *options)
    assert re.search(rf"takes ({'|'.join(options)})", said)
    assert not (tmp_path / "models").exists()


def test_beams_that_are_not_kept_are_refused(saved, tmp_path, error_of):
    options = ["--format", "ctranslate2", "--beams", 3]
    said = error_of("export", saved, tmp_path / "model", *options)
    assert "is told its beam_size where it translates; received --beams 3" in said
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("format", EXPORT_FILES)
def test_something_else_is_not_replaced(saved, tmp_path, error_of, format):
    shutil.copytree(saved, tmp_path / "project" / "1")
    place = tmp_path / "project"
    # Its own model, and a folder of the user's with all that is in it.
    for path in (place,) if format == "saved-model" else (place, place / "1"):
        said = error_of("export", place / "1", path, "--format", format, "--overwrite")
        assert f"holds {EXPORT_FILES[format]} is replaced" in said
    assert TextToText.load(place / "1")(["ab"])


@pytest.mark.parametrize("format", ["saved-model", "onnx"])
def test_a_length_penalty_needs_beams(saved, tmp_path, error_of, format):
    options = ["--format", format, "--length-penalty", 0.5]
    said = error_of("export", saved, tmp_path / "models", *options)
    assert "--length-penalty is an option of --beams" in said


def test_several_models_are_exported_as_one(saved, tmp_path, monkeypatch, error_of):
    given = []

    def export(text_to_text, path, **options):
        given.append((text_to_text.model.options()["weights"], path))
        raise ValueError("That is enough.")

    monkeypatch.setattr(keras_encdec.export, "export_saved_model", export)
    words = [saved, saved, tmp_path / "models", "--weights", 1, 3]
    assert "That is enough." in error_of("export", *words)
    assert given == [([0.25, 0.75], tmp_path / "models" / "1")]


def test_what_can_be_asked_for_is_what_there_is():
    assert SIGNATURES == keras_encdec.export.SIGNATURES
    types = ctranslate2.specs.model_spec.ACCEPTED_MODEL_TYPES
    assert {*QUANTIZATIONS} == {*types}


@pytest.mark.parametrize("format", EXPORT_FILES)
def test_replaces_only_a_folder_of_its_format(saved, tmp_path, error_of, format):
    for folder in (tmp_path, tmp_path / "1"):
        folder.mkdir(exist_ok=True)
        (folder / "mine.txt").write_text("mine")
    options = ["--format", format, "--overwrite"]
    said = error_of("export", saved, tmp_path, *options)
    file = EXPORT_FILES[format]
    assert f"Only a folder that holds {file} is replaced" in said
    assert (tmp_path / "1" / "mine.txt").read_text() == "mine"


def test_bad_options_write_nothing(saved, tmp_path, error_of):
    said = error_of("export", saved, tmp_path / "models", "--signatures", "beams")
    assert "--signatures: invalid choice: 'beams'" in said and "mean beam?" in said
    assert "0" in error_of("export", saved, tmp_path / "models", "--version", "0")
    (tmp_path / "none.txt").touch()
    options = ["--texts", tmp_path / "none.txt"]
    said = error_of("export", saved, tmp_path / "models", *options)
    assert "A proof needs at least one line" in said
    said = error_of("export", saved, tmp_path / "models", "--module", "no_such_module")
    assert "no_such_module" in said
    assert not (tmp_path / "models").exists()
