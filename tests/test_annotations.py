"""What a type checker tells those who use the library."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]

RIGHT = """
from pathlib import Path

import numpy as np
from keras_encdec import (
    BeamSampler, Generator, TextToText, export_saved_model, train
)
from keras_encdec.cli import main
from keras_encdec.export import export_onnx, write_warm_up
from keras_encdec.export.hugging_face import export_hugging_face
from keras_encdec.generation import BadWords, Generated
from keras_encdec.model.pretrained import load_pretrained
from keras_encdec.pretrained.tokenizers import tokenizers_from

text_to_text = TextToText.load("folder", modules=["my_layers"])
texts: list[str] = text_to_text(["one", b"two"], max_length=8)
pairs: list[tuple[str, float]] = text_to_text(["one"], return_scores=True)
other = text_to_text.with_sampler("beam", jit_compile=False)
score: float = other.evaluate(["one"], ["eins"]).bleu
text_to_text.align(["one"], ["eins"], heads=4)
generator = Generator(text_to_text.model, BeamSampler(4), start_id=1, end_id=2)
mine = lambda ids, logits, step: logits / step.padding_id
generator = Generator(generator.model, processors=[BadWords([[5, 6]]), mine])
generator([[5], [7]], np.array([4, 6]), seed=np.array([0, 1]))
generator.align([[5]], [[7]], heads=4)
ids: np.ndarray = generator([[5]], 4)
best: Generated = generator([[5]], 4, return_scores=True)
score = best.scores[0, 0]
generator([[5], [7]], 4, phrases=[[[5, 6], [[7], [8, 9]]], []])
several: list[list[str]] = text_to_text(["one"], num_return_sequences=2)
scored: list[list[tuple[str, float]]] = text_to_text(
    ["one"], num_return_sequences=2, return_scores=True, seed=3
)
def asked(scores: bool, number: int | None) -> None:
    unknown: np.ndarray | Generated = generator([[5]], 4, return_scores=scores)
    text_to_text(["one"], num_return_sequences=number, return_scores=scores)
path: Path = export_saved_model(
    text_to_text, "saved/1", signatures=["beam"], proof_texts=[b"one"]
)
path = export_onnx(generator, "onnx", max_length=8, modules=["my_layers"])
path = export_hugging_face(text_to_text, path, overwrite=True)
path = write_warm_up(path, [("serving_default", {"text": ["a", "b"]})])
source, target, start = tokenizers_from(path, {"model_type": "t5"})
id_of_start: int = start.start_id
folder: Path = load_pretrained(path).folder
status: int = main(["--help"])
logs = train(text_to_text, ["one"], ["eins"], epochs=2, validation=(["a"], ["b"]))
"""
WRONG = {
    'TextToText.load(["folder"])': "arg-type",
    'TextToText.load("folder").stream(["a text"])': "arg-type",
    'TextToText.load("folder")(["one"], max_len=8)': "call-overload",
    'text_to_text.evaluate(["a"], ["b"], max_len=8)': "call-arg",
    'TextToText.load("folder").encode(["one"], side="left")': "arg-type",
    'train(TextToText.load("folder"), ["one"], None)': "arg-type",
    'BeamSampler(4, length_normalization="googol")': "arg-type",
    "Generator(text_to_text.model, processors=[len])": "list-item",
    "generator([[5]], 4).scores": "attr-defined",
    "generator([[5]], 4, return_scores=True).argmax()": "attr-defined",
    'text_to_text(["one"], return_scores=True)[0].upper()': "attr-defined",
    'text_to_text(["one"], num_return_sequences=2)[0].upper()': "attr-defined",
    'export_onnx(text_to_text, "onnx", max_len=8)': "call-arg",
    'export_saved_model(generator, "saved/1")': "arg-type",
    "write_warm_up(3, [])": "arg-type",
    'tokenizers_from(path, {}, ["en"])': "arg-type",
    "load_pretrained(3)": "arg-type",
    'main("--help --version")[0]': "index",
}


def test_right_use_passes_and_wrong_use_is_told(tmp_path):
    program = tmp_path / "program.py"
    lines = [*RIGHT.splitlines(), *WRONG]
    program.write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        # With the settings of the house, for which it knows the library already.
        [sys.executable, "-m", "mypy", str(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    told = {}
    for line in done.stdout.splitlines():
        if found := re.search(r":(\d+): error: .*\[([a-z-]+)\]$", line):
            told[lines[int(found[1]) - 1]] = found[2]
    assert told == WRONG, done.stdout + done.stderr


# Keras's own kinds of things, written as Keras's are.
OF_KERAS = (
    "layers",
    "model.decoder",
    "model.encoder",
    "model.encoder_decoder",
    "model.ensemble",
    "model.functional",
    "model.stack",
    "keras_model.checks",
    "keras_model.saving",
    "training.losses",
    "training.metrics",
    "training.objectives",
    "training.projected_loss",
    "training.schedules",
)


def test_all_that_is_no_layer_is_held_to_hints():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    overrides = settings["tool"]["mypy"]["overrides"]
    (strict,) = (x["module"] for x in overrides if x.get("disallow_untyped_defs"))
    for file in sorted((ROOT / "keras_encdec").rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        held = any(
            f"{module}.".startswith(each.removesuffix("*"))
            if each.endswith("*")
            else module == each
            for each in strict
        )
        of_keras = any(f"{module}.".startswith(f"keras_encdec.{x}.") for x in OF_KERAS)
        empty = not any(
            isinstance(node, ast.FunctionDef)
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
        )
        assert held != of_keras or empty, module
