"""SavedModels of checkpoints take strings, where neither Keras nor Python is."""

import json
import shutil

import numpy as np
import pytest

from keras_encdec import TextToText, export_saved_model
from keras_encdec.export.proof import _ask

TEXTS = [
    "A man sleeps on a couch.",
    "",
    "Zwei Hunde, ½ 日本 – né 😀",
    "  a\ttab </s> <s>",
]


def check(text_to_text, folder, *ways):
    """Compares its answers, by some ways to ask it, with those of Python."""
    options = {"signatures": ["serving_default"], "proof_texts": TEXTS[:1]}
    folder = export_saved_model(text_to_text, folder / "1", **options)
    texts = np.array([text.encode() for text in TEXTS], object)
    expected = text_to_text(TEXTS)
    assert len({*expected}) > 2
    for ask in ways:
        (answer,) = ask(folder, [("serving_default", {"text": texts})])
        found = [text.decode("utf-8", "replace") for text in answer["text"]]
        assert found == expected


def in_fresh_process(folder, requests):
    return _ask(folder, requests)["answers"]


def test_a_published_tokenizer_under_every_backend(preset, tmp_path):
    check(TextToText.from_preset(preset), tmp_path, in_fresh_process)


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
def test_programs_without_python(preset, barthez, program, tmp_path):
    for name, folder in (("marian", preset), ("barthez", barthez)):
        text_to_text = TextToText.from_preset(folder)
        check(text_to_text, tmp_path / name, program.run, in_fresh_process)


@pytest.mark.once
@pytest.mark.parametrize("name", ["bart", "byt5", "mbart50", "m2m_100", "t5 1.1"])
def test_every_kind_of_tokenizer(name, family_preset, program, tmp_path):
    preset = family_preset(name)
    text_to_text = TextToText.from_preset(preset.folder, **preset.options)
    check(text_to_text, tmp_path, program.run)
