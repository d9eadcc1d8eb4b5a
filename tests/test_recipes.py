"""The files in recipes/ are what `train` takes, from the first to the last option."""

import tomllib
from pathlib import Path

import pytest

from keras_encdec.cli import main
from keras_encdec.recipe import build, learn_subwords
from keras_encdec.text import WordTokenizer

pytestmark = pytest.mark.once

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
TEXTS = "ein kleines m@@ äd@@ chen\nzwei kleine hunde\nein hund\nzwei m@@ äd@@ chen\n"
SIZES = {"hidden-dim": 8, "intermediate-dim": 8, "num-heads": 2, "num-layers": 1}
SHORT = {
    "epochs": 1,
    "average": 1,
    "updates-per-epoch": 1,
    "batch-tokens": 64,
    "max-length": 3,
}
NAMES = ("multi30k", "multi30k-back", "multi30k-more", "words-to-phonemes")


@pytest.fixture
def folder(tmp_path):
    """A folder with all files that recipes name, four lines each."""
    for path in RECIPES.glob("*.toml"):
        options = tomllib.loads(path.read_text("utf-8"))
        for name in ("source", "target", "validation-source", "validation-target"):
            if name in options:
                lines = TEXTS.splitlines()
                if "target" not in options:
                    lines = [f"{line}\t{line}" for line in lines]
                (tmp_path / options[name]).write_text("\n".join(lines))
    tokenizer = learn_subwords(TEXTS.splitlines(), 30)
    (tmp_path / "bpe.model").write_bytes(tokenizer.proto)
    return tmp_path


def test_all_are_tried():
    assert {path.stem for path in RECIPES.glob("*.toml")} == {*NAMES}


def train(name):
    """Trains by a recipe, very small, and checks what the run tells of it."""
    options = tomllib.loads((RECIPES / f"{name}.toml").read_text("utf-8"))
    other = SHORT if "initial" in options else SHORT | SIZES
    if "num-decoder-layers" in options:
        other = {**other, "num-decoder-layers": 1}
    words = [f"--{key}={value}" for key, value in other.items()]
    command = ["train", "--config", str(RECIPES / f"{name}.toml"), "--quiet", *words]
    assert main(command) == 0
    kept = tomllib.loads(Path(options["output"], "options.toml").read_text("utf-8"))
    assert kept == options | other


# Pipelines of tf.data are compiled all the same, and say so.
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains(name, folder, eagerly, monkeypatch):
    monkeypatch.chdir(folder)
    if name == "multi30k-more":
        words = WordTokenizer.from_texts(TEXTS.splitlines())
        sizes = {name.replace("-", "_"): size for name, size in SIZES.items()}
        build(words, words, max_length=3, **sizes).save("runs/multi30k/best")
    train(name)
