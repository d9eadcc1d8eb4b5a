"""How to call the program again."""

import pathlib
import shlex
import subprocess
import sys

import pytest

import keras_encdec.cli.program
from keras_encdec.cli.program import program

pytestmark = pytest.mark.once


@pytest.fixture
def script(tmp_path):
    """A script of the program's name, in a folder with a space."""
    folder = tmp_path / "a b"
    folder.mkdir()
    path = folder / "keras-encdec"
    # Without the library, which takes seconds to import.
    source = pathlib.Path(keras_encdec.cli.program.__file__).read_text()
    path.write_text(f"#!{sys.executable}\n{source}\nprint(program())\n")
    path.chmod(0o755)
    return path


def printed(command, **options):
    found = subprocess.run(
        command, shell=True, check=True, capture_output=True, text=True, **options
    )
    return found.stdout.strip()


def test_what_it_says_runs_again(script, monkeypatch):
    said = printed(shlex.quote(str(script)))
    assert printed(said) == said and said != "keras-encdec"
    monkeypatch.chdir(script.parent)
    assert printed(printed("./keras-encdec")) == "./keras-encdec"
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    assert printed("keras-encdec") == "keras-encdec"


def test_called_otherwise_it_is_a_module_of_python():
    assert program() == f"{shlex.quote(sys.executable)} -m keras_encdec"
