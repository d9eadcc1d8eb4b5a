"""The command doctor: what is there, what is missing, and what is broken."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import keras
import pytest

from keras_encdec.cli import doctor

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture
def quick(monkeypatch):
    """Programs that import nothing."""
    programs = {name: f"print('a {name}')" for name in doctor.PROGRAMS}
    monkeypatch.setattr(doctor, "PROGRAMS", programs)
    return programs


@pytest.fixture
def required(monkeypatch):
    """What the distribution requires, as it stands in the project's own file."""
    texts = [*PROJECT["dependencies"]]
    for extra, packages in PROJECT["optional-dependencies"].items():
        texts += [f"{text}; extra == '{extra}'" for text in packages]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: texts)
    return texts


def test_tells_all_that_a_report_of_a_fault_needs(quick, required, run, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setenv("TF_TOKEN_app_terraform_io", "secret")
    printed = run("doctor").out
    assert "secret" not in printed and printed.startswith(
        f"keras-encdec {PROJECT['version']} in "
    )
    assert "\nPython 3." in printed and "\nKERAS_BACKEND=tensorflow\n" in printed
    assert f"  keras {keras.version()}: a keras\n" in printed
    assert re.search(r"^  torch \d\S+: a torch$", printed, re.M)
    for text in PROJECT["dependencies"]:
        assert re.search(rf"^  {re.match('[a-z_-]+', text)[0]} \d", printed, re.M)
    assert re.search(r"^  onnx: onnx \d\S+, tf2onnx \d\S+$", printed, re.M)


def test_knows_every_extra_but_those_of_developers(required):
    assert {*doctor.EXTRAS} == {*PROJECT["optional-dependencies"]} - {"bench", "test"}
    _, extras = doctor.requirements()
    assert all(extras.values())


def test_what_is_missing_is_told_with_what_it_is_for(quick, required, run):
    required += ["no-such-package>=3; extra == 'hub'", "numpy>=99; extra == 'onnx'"]
    printed = run("doctor").out
    assert "no-such-package>=3 is missing\n    for checkpoints by their na" in printed
    assert "pip install 'keras-encdec[hub]'" in printed
    numpy = importlib.metadata.version("numpy")
    assert f"numpy {numpy}, not numpy>=99\n    for export --format onnx: " in printed


def test_what_is_broken_has_a_status(quick, required, error_of):
    quick["torch"] = "raise OSError('no libtorch')"  # Keras works without.
    required.append("no-such-package")
    line = error_of("doctor")
    assert "received no-such-package is missing. Install it with" in line
    quick["keras"] = "import sys; print('no', file=sys.stderr); sys.exit(3)"
    assert "missing; Keras does not work: no. Install" in error_of("doctor")
    assert doctor.tell_programs(quick)["torch"] == (False, "OSError: no libtorch")


def test_a_process_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(doctor, "SECONDS", 0.1)
    programs = {"jax": "import time; time.sleep(60)"}
    assert doctor.tell_programs(programs) == {"jax": (False, "no answer within 0.1 s")}


def test_what_no_pip_installed_is_told(monkeypatch):
    monkeypatch.setattr(doctor, "DISTRIBUTION", "no-such-package")
    with pytest.raises(RuntimeError, match="Install it with `pip install`"):
        doctor.requirements()


@pytest.mark.parametrize("name, says", [("tensorflow", "CPU:0"), ("torch", "cpu")])
def test_a_backend_tells_its_devices(name, says, capsys):
    exec(doctor.PROGRAMS[name], {})
    assert says in capsys.readouterr().out


def test_keras_tells_its_backend(capsys):
    exec(doctor.PROGRAMS["keras"], {})
    assert capsys.readouterr().out == f"backend {keras.config.backend()}\n"
