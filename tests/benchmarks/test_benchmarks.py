import importlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.once

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture
def module(monkeypatch):
    """Imports a module of the benchmark, which is a program and no package."""
    monkeypatch.syspath_prepend(str(HERE))
    before = {*sys.modules}
    yield importlib.import_module
    for name in {*sys.modules} - before:
        path = getattr(sys.modules[name], "__file__", None) or ""
        if HERE in pathlib.Path(path).parents:
            del sys.modules[name]


class FakeWorker:
    """Gives its answers, and writes down that it was asked."""

    def __init__(self, name, answers, asked):
        self.name, self.answers, self.asked = name, iter(answers), asked

    def prepare(self):
        return self.round()

    def round(self):
        self.asked.append(self.name)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.asked.append(f"{self.name} closed")


def take_turns(rounds, answers, number, check=None):
    asked = []
    starters = {
        name: lambda name=name: FakeWorker(name, answers[name], asked)
        for name in answers
    }
    found = rounds.take_turns(starters, number, check, say=lambda text: None)
    return *found, asked


def test_contenders_work_in_turn(module):
    answers = {name: [{"x": i} for i in range(3)] for name in "ab"}
    prepared, found, failures, asked = take_turns(module("rounds"), answers, 2)
    assert prepared == {"a": {"x": 0}, "b": {"x": 0}}
    assert found == {"a": [{"x": 1}, {"x": 2}], "b": [{"x": 1}, {"x": 2}]}
    assert not failures
    assert asked == [*"ababab", "a closed", "b closed"]


def test_those_who_fail_leave_and_the_others_go_on(module):
    rounds = module("rounds")
    good = [{"x": i} for i in range(3)]
    answers = {
        "dies": [{"x": 0}, {"x": 1}, rounds.WorkerFailed("no memory")],
        "good": good,
        "wrong": [{"x": 7}],
    }

    def check(name, answer):
        if answer["x"]:
            raise ValueError("other ids")

    _, found, failures, asked = take_turns(rounds, answers, 2, check)
    assert found == {"good": good[1:]}
    assert failures == {"dies": "no memory", "wrong": "other ids"}
    assert {"dies closed", "good closed", "wrong closed"} < {*asked}


def test_ratios_are_of_one_round_each(module):
    # In the second round something else made both slow.
    values = {"a": [10.0, 2.0, 12.0], "b": [5.0, 1.0, 4.0]}
    ratios = module("rounds").ratios
    assert ratios(values)["a"]["b"] == {"median": 2.0, "min": 2.0, "max": 3.0}
    assert ratios(values)["b"]["a"]["median"] == 0.5
    assert ratios(values, lower_is_better=True)["a"]["b"]["median"] == 0.5


def test_report(module, tmp_path):
    report = module("report")
    result = report.Result(
        "decoding, tiny",
        "tokens/s",
        {"ours": [10.0, 30.0, 20.0], "theirs": [40.0, 60.0, 50.0]},
        {"ours": {"build": 1.0, "first": 2.5}},
        {"another": "It died:\nno memory"},
        ["all ids are the same"],
        also={"sentences/s": 0.1},
    )
    paths = report.write(tmp_path, "decoding", [result])
    assert {path.name for path in paths} == {*os.listdir(tmp_path)}
    found = json.loads(paths[0].read_text())["results"][0]
    assert found["spread"]["ours"] == {"median": 20.0, "min": 10.0, "max": 30.0}
    assert found["ratios"]["theirs"]["ours"]["median"] == 2.5
    lines = paths[1].read_text().splitlines()
    table = [line for line in lines if line.startswith("| ")]
    # The best first.
    assert [line.split(" | ")[0] for line in table[2:]] == ["| theirs", "| ours"]
    assert "| theirs | 50 | 40–60 | 5 | 0.4 | 0.25–0.5 |  |  |" in table
    assert "| ours | 20 | 10–30 | 2 |  |  | 1 | 2.5 |" in table
    assert "- all ids are the same" in lines
    assert "- another FAILED: no memory" in lines
    assert paths[2].read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_report_leaves_the_old_one(module, tmp_path):
    path = tmp_path / "decoding.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        with module("report").whole_file(path) as part:
            part.write_text("ne")
            raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["decoding.json"]


def test_difference(module):
    sizes, reference = module("sizes"), module("reference")
    size = sizes.SIZES["micro"]
    weights = sizes.draw_weights(size, decisive=True)
    source = sizes.draw_source(size, 2)
    ids = np.array([[5, 6, 7], [8, 9, 10]])
    assert reference.difference(size, weights, source, ids, ids) is None
    others = ids.copy()
    others[1, 1] = 50
    difference = reference.difference(size, weights, source, ids, others)
    assert "row 1 differs from token 1 on, [9, 10] and not [50, 10]" in difference
    # Two ids with the same vector are a tie.
    weights["embedding"][50] = weights["embedding"][9]
    assert reference.difference(size, weights, source, ids, others) is None
    assert reference.difference(size, weights, source, ids, ids[:, :2])


def test_operations(module):
    sizes = module("sizes")
    size = sizes.Size("", 4, 1, 8, 2, 10)
    # Twice the weights of each matrix product, once for each token of its input, and
    # scores and weighted sums.
    encoder = 3 * 2 * (4 * 16 + 2 * 32) + 2 * 2 * 3 * 3 * 4
    decoder = 5 * 2 * (6 * 16 + 2 * 32) + 3 * 2 * 2 * 16
    decoder += 2 * 2 * (5 * 5 / 2 + 5 * 3) * 4
    logits = 5 * 2 * 40
    assert sizes.operations(size, 3, 5) == 2 * (encoder + decoder) + logits
    more = sizes.operations(size, 3, 5, 4) - sizes.operations(size, 3, 5)
    assert more == 3 * (2 * (decoder - 3 * 2 * 2 * 16) + logits)


def test_batches(module, tmp_path):
    batches = module("batches")
    sources, labels = [[5, 2], [6, 7, 2], [8, 2]], [[9, 2]] * 3
    padded = batches.padded_batches(sources, labels, 2, 4)
    source, target, labels = padded[0]
    np.testing.assert_array_equal(source, [[5, 2, 0, 0], [6, 7, 2, 0]])
    np.testing.assert_array_equal(labels, [[9, 2, 0, 0]] * 2)
    np.testing.assert_array_equal(target, [[1, 9, 2, 0]] * 2)
    assert [batch[0].shape for batch in padded] == [(2, 4), (2, 4)]
    # The token of the row of nothing counts as filled.
    assert batches.count(padded) == (3, 6, 1 - 14 / 32)
    again = batches.sentences_of(padded)
    assert [[ids.tolist() for ids in side] for side in again] == [sources, [[9, 2]] * 3]
    full = batches.full_batches(50, 2, 3, 4)
    assert batches.count(full) == (6, 24, 0)
    check = batches.check_batch(50)
    path = tmp_path / "batches.npz"
    batches.write_batches(path, {"full": full, "padded": padded, "check": [check]})
    read, read_check = batches.read_batches(path, "padded")
    assert len(read) == 2
    np.testing.assert_array_equal(read[1][0], padded[1][0])
    np.testing.assert_array_equal(read_check[2], check[2])


def test_contenders_that_are_not_there(module, monkeypatch):
    contenders = module("contenders")
    with pytest.raises(ValueError, match=r"ours-jax.*received nobody"):
        contenders.chosen(["ours-jax", "nobody"], "decoding")
    with pytest.raises(ValueError, match="contenders of training"):
        contenders.chosen(["ctranslate2"], "training")
    with pytest.raises(ValueError, match="must hold keras_encdec"):
        contenders.chosen([f"ours-jax@{HERE}"], "decoding")
    with pytest.raises(ValueError, match="received jax-by-hand-without-x"):
        contenders.chosen(["jax-by-hand-without-x"], "training")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"\.\[bench\]"):
        contenders.chosen(["hugging-face"], "decoding")


def test_contenders_without_a_shortcut(module, tmp_path):
    contenders, rounds = module("contenders"), module("rounds")
    name = "ours-torch-without-torch-traces"
    both = contenders.chosen([name, f"{name}@{HERE.parents[1]}"], "decoding").values()
    assert [x.without for x in both] == ["torch-traces"] * 2
    assert [x.checkout for x in both] == ["", str(HERE.parents[1])]
    order = {"task": "importing", "module": "keras_encdec.backend.shortcuts"}
    worker = rounds.Worker(order, "numpy", tmp_path / "log", without="torch-trace")
    with pytest.raises(rounds.WorkerFailed, match="The names are torch-traces"):
        worker.prepare()


def run(output, *arguments):
    return subprocess.run(
        [sys.executable, HERE / "run.py", *arguments, "--output", output],
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_and_errors():
    found = run("unused", "--help")
    assert found.returncode == 0 and "keras-hub-torch" in found.stdout
    found = run("unused", "decoding", "--peers", "nobody")
    assert found.returncode == 2 and "received nobody" in found.stderr


@pytest.mark.slow
def test_decoding_end_to_end(tmp_path):
    contenders = "ours-tensorflow", f"ours-tensorflow@{HERE.parents[1]}"
    found = run(
        tmp_path,
        *("decoding", "--sizes", "micro", "--batches", "4", "--beams", "1"),
        *("--new-tokens", "6", "--rounds", "2", "--seconds", "0"),
        *("--peers", *contenders),
    )
    assert found.returncode == 0, found.stdout + found.stderr
    result = json.loads((tmp_path / "decoding.json").read_text())["results"][0]
    assert [*result["rounds"]] == [*contenders]
    assert all(len(values) == 2 for values in result["rounds"].values())
    assert result["notes"][0].startswith("4 different sequences of 4")
    assert "100.00% of the ids" in result["notes"][1]


@pytest.mark.slow
def test_training_end_to_end(tmp_path):
    found = run(
        tmp_path,
        *("training", "--sizes", "micro", "--kinds", "full", "--rows", "4"),
        *("--row-tokens", "6", "--steps", "2", "--rounds", "1"),
        *("--peers", "jax-by-hand"),
    )
    assert found.returncode == 0, found.stdout + found.stderr
    result = json.loads((tmp_path / "training.json").read_text())["results"][0]
    assert len(result["rounds"]["jax-by-hand"]) == 1


@pytest.mark.slow
def test_loading_end_to_end(tmp_path):
    sizes = {"vocabulary_size": 50, "hidden_dim": 16, "num_layers": 1}
    order = {"task": "checkpoint", "folder": str(tmp_path / "large"), "sizes": sizes}
    subprocess.run(
        [sys.executable, HERE / "worker.py", json.dumps(order)], input=b"", check=True
    )
    found = run(
        tmp_path / "out",
        *("loading", "--checkpoint", tmp_path / "large", "--rounds", "1"),
        *("--peers", "ours-torch", "hugging-face"),
    )
    assert found.returncode == 0, found.stdout + found.stderr
    seconds, peak = json.loads((tmp_path / "out" / "loading.json").read_text())[
        "results"
    ]
    assert seconds["rounds"].keys() == {"ours-torch", "hugging-face"}
    assert peak["metric"] == "times the weights, at the peak"


def test_translations_must_be_as_good(module):
    translation = module("translation")
    assert translation.joined("ein@@ e kat@@ ze .") == "eine katze ."
    references = ["eine kleine katze schläft .", "zwei hunde spielen im park ."]
    check, notes, tokens = translation.good_texts(references)
    check("a", {"texts": ["ein@@ e kleine katze schläft .", references[1]]})
    check("b", {"texts": [*references]})
    assert tokens == [14, 13] and notes[1].startswith("b: BLEU 100.00, 13 tokens, 100")
    with pytest.raises(ValueError, match="and not 100"):
        check("c", {"texts": ["ein hund .", references[1]]})


def test_the_fastest_setting_is_taken(module, monkeypatch):
    translate = module("contenders.ctranslate2").Translate
    now, used = [0.0], []
    monkeypatch.setattr("ctranslate2.Translator", lambda *args, **options: options)
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    theirs = translate("folder", "float32", beam_size=1)

    def work():
        used.append(theirs.setting)
        now[0] += 1.0 if "512" in theirs.setting else 2.0

    theirs.tune(work)
    assert len(used) == len({*used}) == 5
    assert "max_batch_size=512 " in theirs.setting


def test_loading_refuses_other_weights(module):
    check = module("loading").same_weights()
    check("a", {"checksum": 1.0})
    check("b", {"checksum": 1.0 + 1e-9})
    with pytest.raises(ValueError, match="other weights"):
        check("c", {"checksum": 1.1})
