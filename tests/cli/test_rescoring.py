"""Weights are tuned by a command and used by another."""

import functools
import json

import numpy as np
import pytest

import keras_encdec.rescoring
from keras_encdec.generation import BeamSampler
from keras_encdec.recipe import build
from keras_encdec.rescoring import ModelScorer, rescore, tune_rescoring
from keras_encdec.text import CharacterTokenizer
from keras_encdec.text_to_text import TextToText

pytestmark = pytest.mark.once

LETTERS = CharacterTokenizer(list("ab c"))
SOURCES, TRUE = ["ab", "c a", "b"], ["b a", "c", "a b"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    small = {"hidden_dim": 8, "intermediate_dim": 8, "num_layers": 1, "num_heads": 2}
    for name, seed in (("forward", 1), ("other", 2), ("back", 3)):
        made = build(LETTERS, LETTERS, max_length=4, seed=seed, **small)
        # Large ones, so that answers differ, and the same under every backend.
        random = np.random.default_rng(seed)
        shapes = [weight.shape for weight in made.model.get_weights()]
        made.model.set_weights([random.normal(size=shape) for shape in shapes])
        made.save(root / name)
    return root


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{x}\t{y}\n" for x, y in zip(SOURCES, TRUE, strict=True)))
    return path


def scorers_of(models):
    other, back = (TextToText.load(models / name) for name in ("other", "back"))
    return [ModelScorer(other), ModelScorer(back, reverse=True)]


def test_weights_are_tuned_and_used(models, pairs, tmp_path, run, monkeypatch, eagerly):
    lists = [
        [("a b", -1.0), ("b a", -1.5), ("", -2.0)],
        [("c c", -0.5), ("c", -3.0), ("", -float("inf"))],
        [("b", -1.0), ("a", -1.25), ("ab", -2.0)],
    ]
    asked = []

    def generate(self, texts, **call):
        asked.append((self.sampler, len([*texts]), call))
        return iter(lists)

    monkeypatch.setattr(TextToText, "generate", generate)
    # Each is read once, for all of this.
    load = functools.cache(TextToText.load)
    monkeypatch.setattr(TextToText, "load", lambda place, modules=(): load(str(place)))
    output = tmp_path / "weights.json"
    given = ("--scorer", models / "other", "--reverse-scorer", models / "back")
    printed = run(
        *("tune-rescoring", models / "forward", "--source", pairs, *given),
        *("--output", output, "--candidates", 3, "--metric", "chrf", "--trials", 20),
    ).out
    scorers = scorers_of(models)
    tuned = tune_rescoring(SOURCES, lists, TRUE, scorers, metric="chrf", trials=20)
    found = json.loads(output.read_text())
    assert found["weights"] == pytest.approx(tuned.weights)
    assert found["score"] == tuned.score >= tuned.score_before
    assert [x["reverse"] for x in found["scorers"]] == [False, True]
    first = f"chrF2 = {tuned.score:.2f}, {tuned.score_before:.2f} without rescoring"
    assert printed.startswith(first) and f" {models / 'back'}\n" in printed

    # Of weights that make a difference, whatever was tuned.
    output.write_text(json.dumps({**found, "weights": [0.05, 0.5, 2.0]}))
    ranked = rescore(SOURCES, lists, scorers, [0.05, 0.5, 2.0])
    assert [x[0][0] for x in ranked] != [x[0][0] for x in lists]
    use = ("generate", models / "forward", "--source", pairs, "--rescore", output)
    answers = tmp_path / "answers.txt"
    run(*use, "--output", answers)
    assert answers.read_text().splitlines() == [x[0][0] for x in ranked]
    for sampler, number, call in asked:
        assert sampler == BeamSampler(3) and number == 3
        assert call["num_return_sequences"] == 3 and call["return_scores"]
    lines = run(*use, "--n-best", 2).out.splitlines()
    assert lines == [
        f"{number}\t{score:.4f}\t{text}"
        for number, some in enumerate(ranked, start=1)
        for text, score in some[:2]
    ]


def test_scorers_are_loaded_before_anything_is_generated(
    models, pairs, tmp_path, error_of, monkeypatch
):
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("model.keras", "text_to_text.json"):
        (broken / name).write_text("{}")
    monkeypatch.setattr(TextToText, "generate", lambda *x, **more: 1 / 0)
    given = ("tune-rescoring", models / "forward", "--source", pairs)
    output = tmp_path / "weights.json"
    said = error_of(*given, "--output", output, "--scorer", broken)
    assert str(broken) in said and not output.exists()
    facts = {"format": 2, "candidates": 2, "weights": [1, 1]}
    facts["scorers"] = [{"model": str(broken), "reverse": False}]
    output.write_text(json.dumps(facts))
    use = ("generate", models / "forward", "--source", pairs, "--rescore", output)
    assert str(broken) in error_of(*use)


def test_other_weights_are_other_work(models, pairs, tmp_path, run, monkeypatch):
    asked, answers = [], [[("a", -1.0), ("b", -2.0)]] * 3
    monkeypatch.setattr(TextToText, "generate", lambda *x, **more: iter(answers))
    monkeypatch.setattr(
        keras_encdec.rescoring, "rescore", lambda *x: answers[: len(x[0])]
    )
    monkeypatch.setattr(
        "keras_encdec.cli.answers.name_of_work",
        lambda *places, **options: asked.append((places, options)) or "x",
    )
    for weight in (1, 2):
        facts = {"format": 2, "candidates": 2, "weights": [1, weight]}
        facts["scorers"] = [{"model": str(models / "back"), "reverse": True}]
        output = tmp_path / "weights.json"
        output.write_text(json.dumps(facts))
        run("generate", models / "forward", "--source", pairs, "--rescore", output)
    ((places, first), (_, other)) = asked
    assert str(models / "back") in places[0] and first != other
