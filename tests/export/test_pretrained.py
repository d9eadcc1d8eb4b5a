"""SavedModels of checkpoints take strings, where neither Keras nor Python is."""

import functools
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from keras_encdec import TextToText, export_saved_model
from keras_encdec.export import fresh_process
from keras_encdec.export.proof import REPORT, decode_tensors, encode_tensors

TEXTS = [
    "A man sleeps on a couch.",
    "",
    "Zwei Hunde, ½ 日本 – né 😀",
    "  a\ttab </s> <s>",
]


def exported(text_to_text, folder):
    """Writes a SavedModel, of which a process without Keras answers as Python does."""
    options = {"signatures": ["serving_default"], "proof_texts": TEXTS}
    folder = export_saved_model(text_to_text, folder / "1", **options)
    report = json.loads((folder / REPORT).read_text())
    assert report["texts"] == len(TEXTS)
    assert report["signatures"]["serving_default"]["rounded"] == 0
    return folder


def texts_of(answer):
    return [text.decode("utf-8", "replace") for text in answer["text"]]


OTHER_FAMILIES = "barthez", "bart", "byt5"


@pytest.mark.slow
def test_a_process_without_keras_under_every_backend(preset, tmp_path):
    text_to_text = TextToText.from_preset(preset)
    assert len({*text_to_text(TEXTS)}) > 2
    exported(text_to_text, tmp_path)


@pytest.fixture(scope="session")
def barthez(shared_data, load_test_module, tmp_path_factory):
    """A small random mBART with the tokenizer of a published one."""
    transformers = pytest.importorskip("transformers")
    module = load_test_module("pretrained/checkpoints.py")
    real = shared_data / "hugging_face" / "barthez"
    folder = tmp_path_factory.mktemp("barthez")
    for name in ("tokenizer.json", "sentencepiece.bpe.model"):
        shutil.copy(real / name, folder)
    published = json.loads((real / "config.json").read_text())
    sizes = {x: v for x, v in module.BART_SIZES.items() if x != "vocab_size"}
    config = transformers.MBartConfig(**{**published, **sizes})
    model = transformers.MBartForConditionalGeneration(config)
    module.draw(model)
    model.save_pretrained(folder)
    told = json.loads((folder / "config.json").read_text())
    kind = {x: published[x] for x in ("tokenizer_class",) if x in published}
    (folder / "config.json").write_text(json.dumps({**told, **kind}))
    said = {"num_beams": 4, "max_length": 12, "early_stopping": True}
    (folder / "generation_config.json").write_text(json.dumps(said))
    return folder


@pytest.mark.once
@pytest.mark.parametrize(
    "name",
    ["marian", *(pytest.param(x, marks=pytest.mark.slow) for x in OTHER_FAMILIES)],
)
def test_a_program_without_python(name, family_preset, request, program, tmp_path):
    if name in ("bart", "byt5"):
        folder = family_preset(name).folder
    else:
        folder = request.getfixturevalue({"marian": "preset"}.get(name, name))
    text_to_text = TextToText.from_preset(folder)
    texts = np.array([text.encode() for text in TEXTS], object)
    folder = exported(text_to_text, tmp_path)
    (answer,) = program.run(folder, [("serving_default", {"text": texts})])
    expected = text_to_text(TEXTS)
    assert len({*expected}) > 1
    assert texts_of(answer) == expected


FURTHER = ["t5 1.1", "umt5", "m2m_100", "mbart50", "nllb", "pegasus", "blenderbot"]


@pytest.fixture(scope="module")
def served(family_preset, tmp_path_factory):
    """The folder of a family's SavedModel, and what Python answers, made once."""
    root = tmp_path_factory.mktemp("served")

    def serve(name):
        preset = family_preset(name)
        folder = shutil.copytree(preset.folder, root / name / "preset")
        if name == "t5 1.1":
            # A word that somebody added, found in normalized text.
            word = {"couch": len(preset.tokenizer)}
            (folder / "added_tokens.json").write_text(json.dumps(word))
        text_to_text = TextToText.from_preset(folder, **preset.options)
        folder = export_saved_model(
            text_to_text, root / name / "1", signatures=["serving_default"]
        )
        return folder, text_to_text(TEXTS)

    return functools.cache(serve)


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize("name", FURTHER)
def test_further_families_in_a_program_without_python(name, served, program):
    folder, expected = served(name)
    texts = np.array([text.encode() for text in TEXTS], object)
    (answer,) = program.run(folder, [("serving_default", {"text": texts})])
    assert texts_of(answer) == expected
    assert len({*expected}) > 1


@pytest.mark.once
@pytest.mark.slow
def test_further_families_in_one_process_without_keras(served, tmp_path):
    request = {"text": np.array([text.encode() for text in TEXTS], object)}
    asked = json.dumps([["serving_default", encode_tensors(request)]])
    works = []
    for name in FURTHER:
        work = tmp_path / name
        work.mkdir()
        (work / "requests").write_text(asked)
        works.append([str(served(name)[0]), str(work)])
    ask = "main = runpy.run_path(sys.argv[1])['main']; works = json.loads(sys.argv[2])"
    lines = f"import json, runpy, sys; {ask}; [main(*work) for work in works]"
    command = [sys.executable, "-c", lines, fresh_process.__file__, json.dumps(works)]
    subprocess.run(command, check=True)
    for name in FURTHER:
        (answer,) = json.loads((tmp_path / name / "answers").read_text())["answers"]
        assert texts_of(decode_tensors(answer)) == served(name)[1]
