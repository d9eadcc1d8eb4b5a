"""A shortlist is learned by a command and used by another."""

import numpy as np
import pytest

from keras_encdec.generation import Shortlist
from keras_encdec.lexicon import learn_shortlist
from keras_encdec.recipe import build
from keras_encdec.text import CharacterTokenizer
from keras_encdec.text_to_text import TextToText

pytestmark = pytest.mark.once

LETTERS = CharacterTokenizer(list("abcdefgh"))
PAIRS = [("ab", "ba"), ("cd", "dc"), ("ef", "fe"), ("a", "a"), ("gh", "hg")]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    small = {"hidden_dim": 8, "intermediate_dim": 8, "num_layers": 1, "num_heads": 2}
    made = build(LETTERS, LETTERS, max_length=6, **small)
    random = np.random.default_rng(0)
    shapes = [weight.shape for weight in made.model.get_weights()]
    made.model.set_weights([random.normal(size=shape) for shape in shapes])
    folder = tmp_path_factory.mktemp("models") / "saved"
    made.save(folder)
    return folder


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{x}\t{y}\n" for x, y in PAIRS))
    return path


def test_it_is_learned_and_used(saved, pairs, tmp_path, run, eagerly):
    output = tmp_path / "shortlist.safetensors"
    printed = run(
        *("shortlist", saved, "--source", pairs, "--output", output),
        *("--validation-source", pairs, "--per-token", 1, "--of-all", 1),
    ).out
    text_to_text = TextToText.load(saved)
    sources, targets = zip(*PAIRS, strict=True)
    ids = text_to_text.encode(sources), text_to_text.encode(targets, "target")
    size = LETTERS.vocabulary_size
    shortlist = learn_shortlist(*ids, size, size, per_token=1, of_all=1)
    loaded = Shortlist.load(output)
    np.testing.assert_array_equal(loaded.candidates, shortlist.candidates)
    before = text_to_text([*sources])
    text_to_text.generator.shortlist = shortlist
    after = text_to_text([*sources])
    assert before != after
    same = sum(x == y for x, y in zip(before, after, strict=True)) / len(PAIRS)
    assert f"{same:.1%} of 5 texts are as without it\nBLEU " in printed
    used = run("generate", saved, "--source", pairs, "--shortlist", output).out
    assert used.splitlines() == after


def test_one_of_another_model_is_refused(saved, pairs, tmp_path, error_of):
    path = tmp_path / "other"
    Shortlist([[1], [2]], [1], 3).save(path)
    use = ("generate", saved, "--source", pairs, "--shortlist")
    assert "of 2 source ids for a model with" in error_of(*use, path)
    path.write_text("nothing of the kind")
    assert "keras-encdec shortlist" in error_of(*use, path)
