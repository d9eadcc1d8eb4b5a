"""The file of weights: what is written is read, and what is not sound is refused."""

import argparse
import json

import pytest

from keras_encdec.cli.rescoring_file import (
    Rescoring,
    loaded_scorers,
    place_of_model,
    rescored,
    rescoring_file,
    with_beams,
)
from keras_encdec.recipe import build
from keras_encdec.text import CharacterTokenizer

pytestmark = pytest.mark.once

INFINITY = float("inf")


@pytest.fixture
def saved(tmp_path):
    for name in ("model.keras", "text_to_text.json"):
        (tmp_path / "saved").mkdir(exist_ok=True)
        (tmp_path / "saved" / name).touch()
    return str(tmp_path / "saved")


def test_what_is_written_is_read(saved, tmp_path):
    path = str(tmp_path / "weights.json")
    written = Rescoring(path, 8, (saved, saved), (False, True), (0.1 + 0.2, 0.7, 0.0))
    written.write(metric="bleu", score=31.25)
    assert rescoring_file(path) == written
    assert json.loads((tmp_path / "weights.json").read_text())["score"] == 31.25


@pytest.mark.parametrize(
    "change",
    [
        {"candidates": 1},
        {"candidates": 2.5},
        {"candidates": True},
        {"candidates": None},
        {"weights": [1]},
        {"weights": [0, 0]},
        {"weights": [1, -1]},
        {"weights": [1, float("nan")]},
        {"weights": [INFINITY, 1]},
        {"weights": ["x", 1]},
        {"weights": 3},
        {"scorers": ["runs/a"]},
        {"scorers": [{"model": 3, "reverse": True}]},
        {"scorers": [{"model": "runs/a", "reverse": "yes"}]},
        {"scorers": [{"model": "runs/a"}]},
        {"format": 3},
    ],
)
def test_what_is_not_sound_is_refused(change, saved, tmp_path):
    path, scorers = tmp_path / "weights.json", [{"model": saved, "reverse": True}]
    facts = {"format": 2, "candidates": 2, "scorers": scorers, "weights": [1, 1]}
    path.write_text(json.dumps(facts))
    rescoring_file(str(path))
    path.write_text(json.dumps(facts | change))
    with pytest.raises(argparse.ArgumentTypeError, match="that tune-rescoring wrote"):
        rescoring_file(str(path))


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "\xff", "null"])
def test_what_is_no_such_file_is_refused(text, tmp_path):
    path = tmp_path / "weights.json"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(
        argparse.ArgumentTypeError, match=r"weights.json.*Write it agai"
    ):
        rescoring_file(str(path))
    with pytest.raises(argparse.ArgumentTypeError, match="tmp|pytest"):
        rescoring_file(str(tmp_path))


def test_a_place_holds_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert place_of_model("runs/a") == str(tmp_path / "runs" / "a")
    assert place_of_model("hf://owner/name@main") == "hf://owner/name@main"


def test_there_is_a_beam_for_each_candidate_unless_told_otherwise():
    none = {"sampler": None, "beams": None}
    assert with_beams(none, 8)["beams"] == 8
    assert with_beams({**none, "beams": 12}, 8)["beams"] == 12
    assert with_beams({**none, "sampler": "random"}, 8)["beams"] is None


def test_the_best_are_given_in_turn_and_who_counts_nothing_is_not_loaded(tmp_path):
    letters = CharacterTokenizer(["a", "b"])
    small = {"hidden_dim": 8, "intermediate_dim": 8, "num_layers": 1, "num_heads": 2}
    build(letters, letters, **small).save(tmp_path / "one")
    places = str(tmp_path / "one"), "none/such"
    rescoring = Rescoring("x", 2, places, (True, False), (1.0, 0.5, 0.0))
    (scorer,) = loaded_scorers(rescoring)
    assert scorer.reverse

    def shortest(sources, targets):
        return [-100.0 * len(target) for target in targets]

    sources = (str(number) for number in range(150))
    answers = ([("long", -1.0), (str(number), -2.0)] for number in range(150))
    found = [*rescored(sources, answers, rescoring, [shortest], 1)]
    assert found == [str(x) for x in range(150)]
    (ranked,) = rescored(["a"], [[("a", -1.0), ("", -9.0)]], rescoring, [shortest], 2)
    assert ranked == [("", -9.0), ("a", -51.0)]
