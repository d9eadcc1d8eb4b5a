"""What ships beside the library: workflows, the image, what versions go together."""

import os
import re
import tomllib
from pathlib import Path

import pytest

import keras_encdec.serving

yaml = pytest.importorskip("yaml")
pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
FILES = [
    *ROOT.glob(".github/**/*.yml"),
    ROOT / "compose.yaml",
    ROOT / ".pre-commit-config.yaml",
]


def read(name):
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_is_yaml(path):
    assert yaml.safe_load(path.read_text("utf-8"))


def test_the_workflows_run_what_there_is():
    checks, slow, release = (
        read(f".github/workflows/{name}.yml")["jobs"]
        for name in ("checks", "slow", "release")
    )
    command, of_slow = (
        next(step["run"] for step in steps if "run" in step)
        for steps in (checks["checks"]["steps"], slow["slow"]["steps"])
    )
    assert os.access(ROOT / command, os.X_OK)
    (rule,) = re.findall(
        r"^(\S*): .*\n.*-m slow$", (ROOT / "Makefile").read_text(), re.M
    )
    assert of_slow == f"make --keep-going {rule}"
    needed = release["release"]["needs"]
    assert all((ROOT / release[name]["uses"]).is_file() for name in needed)
    assert needed == ["checks", "slow"]


def test_a_report_of_a_fault_asks_for_versions():
    parts = read(".github/ISSUE_TEMPLATE/fault.yml")["body"]
    (part,) = [part for part in parts if part["id"] == "doctor"]
    assert "keras-encdec doctor" in part["attributes"]["label"]
    assert part["validations"]["required"]


def test_the_image_copies_what_building_needs_and_nothing_else():
    recipe = (ROOT / "Dockerfile").read_text("utf-8")
    copied = [
        name
        for line in re.findall(r"^COPY (.*)$", recipe, re.M)
        for name in line.split()[:-1]
    ]
    let_in = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text("utf-8"), re.M)
    assert sorted(copied) == sorted(let_in)
    assert all((ROOT / name).exists() for name in copied)
    needed = {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]}
    assert needed <= {*copied}
    (extra,) = re.findall(r'"\.\[(.*)\]"', recipe)
    assert extra in PROJECT["optional-dependencies"]


def test_the_client_of_the_composition_asks_its_server(monkeypatch, capsys):
    services = read("compose.yaml")["services"]
    server, client = services["server"], services["client"]
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])
    asked = []

    class Client:
        def __init__(self, address, model):
            asked.append((address, model))

        def predict(self, inputs):
            return {"text": [text.upper() for text in inputs["text"]]}

    monkeypatch.setattr(keras_encdec.serving, "ServingClient", Client)
    monkeypatch.setenv("MODEL", "g2p")
    monkeypatch.setenv("TEXT", "hello")
    (program,) = client["command"]
    exec(program, {})
    assert asked == [("server:8501", "g2p")]
    assert capsys.readouterr().out == "HELLO\n"


def test_the_hooks_are_those_of_make_lint():
    hooks = read(".pre-commit-config.yaml")["repos"][0]["hooks"]
    rules = (ROOT / "Makefile").read_text("utf-8")
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", rules, re.M)[1]
    tools = re.findall(r"^\t\$\(bin\)/(\w+ ?[a-z]*)", lint, re.M)
    assert [hook["name"] for hook in hooks] == [tool.strip() for tool in tools]
    assert all(hook["entry"].startswith(f".venv/bin/{hook['name']}") for hook in hooks)


def test_the_table_of_versions_is_what_is_installed_and_tested():
    page = (ROOT / "docs" / "compatibility.md").read_text("utf-8")
    rows = dict(
        (cells[0].strip(), (cells[1], cells[2]))
        for line in page.splitlines()
        if len(cells := line.strip("|").split("|")) == 3
    )
    packages = {
        "Keras": "keras",
        "TensorFlow": "tensorflow",
        "tensorflow-text": "tensorflow-text",
        "JAX": "jax",
        "PyTorch": "torch",
        "KerasNLP, which brings KerasHub": "keras-nlp",
        "SentencePiece": "sentencepiece",
    }
    required = [*PROJECT["dependencies"]]
    for extra in ("jax", "torch"):
        required += PROJECT["optional-dependencies"][extra]
    pinned = (ROOT / "constraints.txt").read_text("utf-8")
    for name, package in packages.items():
        works, tested = rows[name]
        (least,) = re.findall(rf"^{package}>=([\d.]+)", "\n".join(required), re.M)
        assert works.strip().startswith(f"{least} and later"), name
        assert re.search(rf"^{package}=={re.escape(tested.strip())}$", pinned, re.M)
    least, below = re.findall(r"3\.\d+", PROJECT["requires-python"])
    assert rows["Python"][0].strip() == f"{least} to 3.{int(below[2:]) - 1}"
