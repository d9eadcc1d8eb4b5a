"""The command init: files that `train` takes."""

import os
import tomllib

import pytest

import keras_encdec.run
from keras_encdec.cli.init import TASKS

pytestmark = pytest.mark.once


@pytest.mark.parametrize("task", TASKS)
def test_what_it_writes_trains(task, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    printed = run("init", "run.toml", "--task", task).out
    assert printed.endswith(" train --config run.toml\n")
    options = tomllib.loads((tmp_path / "run.toml").read_text("utf-8"))
    for name in ("source", "target", "validation-source", "validation-target"):
        if name in options:
            line = "one two" if "target" in options else "one two\teno owt"
            (tmp_path / options[name]).write_text(f"{line}\n" * 3)
    given = []
    monkeypatch.setattr(
        keras_encdec.run, "train", lambda *texts, **options: given.append(options)
    )
    run(
        *("train", "--config", "run.toml", "--hidden-dim", 8, "--vocabulary-size", 20),
        *("--num-layers", 1, "--num-decoder-layers", 1, "--intermediate-dim", 8),
    )
    assert given[0]["monitor"] == options["monitor"] and given[0]["ema"] == 0.999
    # The run keeps them, as they were in the end.
    kept = tomllib.loads(given[0]["options_file"])
    small = {"hidden-dim": 8, "vocabulary-size": 20, "intermediate-dim": 8}
    small |= {"num-layers": 1, "num-decoder-layers": 1}
    assert kept == options | small


def test_it_replaces_nothing(tmp_path, monkeypatch, run, error_of):
    monkeypatch.chdir(tmp_path)
    run("init", "run.toml")
    before = (tmp_path / "run.toml").read_bytes()
    assert "'run.toml' is there already" in error_of("init", "run.toml")
    assert (tmp_path / "run.toml").read_bytes() == before
    assert "Make the folder first" in error_of("init", "none/run.toml")
    assert os.listdir(tmp_path) == ["run.toml"]
