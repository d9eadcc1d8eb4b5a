"""The tutorials run from the first cell to the last, and open in Colab."""

import ast
import os
from pathlib import Path

import jupyter_client
import keras
import nbclient
import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(ROOT.glob("tutorials/**/*.ipynb"))
COLAB = "https://colab.research.google.com/github/keras-encdec/keras-encdec/blob/main/"

# What takes the place of the cell tagged "parameters", so that it takes seconds.
SMALL = {
    "01_first_model.ipynb": (
        "NUMBERS, HELD_OUT, EPOCHS, FOLDER = 400, 50, 1, 'saved_models/numbers'"
    ),
    "02_beams_and_scores.ipynb": "NUMBERS, HELD_OUT, EPOCHS = 400, 20, 1",
    "03_pieces_by_hand.ipynb": "WORDS, EPOCHS, DRAWS = 200, 1, 20",
    "04_a_translator.ipynb": (
        "PAIRS, TEST, SUBWORDS, EPOCHS, FOLDER = 60, 8, 200, 1, 'runs/en-de'"
    ),
    "05_table_to_serving.ipynb": "TABLE, ROWS, EPOCHS = 'dates.tsv', 100, 1",
    "06_from_hugging_face.ipynb": "STEPS, EPOCHS, HELD_OUT = 2, 1, 10",
    "07_three_backends.ipynb": "NUMBERS, EPOCHS, STEPS = 400, 1, 2",
    "08_words_to_phonemes.ipynb": (
        f"FOLDER, WORDS = {str(ROOT / 'saved_models' / 'cmudict-g2p' / 'saved')!r}, 30"
    ),
}

for_each_notebook = pytest.mark.parametrize(
    "path", NOTEBOOKS, ids=lambda path: path.name
)


def read(path):
    """The notebook in a file, as it is, without being brought up to date."""
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def made_small(notebook, code):
    """Puts code in the place of the one cell of parameters."""
    [cell] = [x for x in notebook.cells if "parameters" in x.metadata.get("tags", [])]
    assert assigned(cell.source) == assigned(code)
    cell.source = code
    return notebook


def assigned(code):
    return {
        node.id
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


class ThisInterpreter(jupyter_client.AsyncKernelManager):
    """Starts the kernel that ipykernel brings along, and no other."""

    def __init__(self, **kwargs):
        # Folders to look in may hold one that was installed for another interpreter.
        specs = KernelSpecManager(kernel_dirs=[])
        super().__init__(kernel_spec_manager=specs, **kwargs)


def execute(notebook, folder):
    """Runs all cells in a folder and returns the text they print."""
    client = nbclient.NotebookClient(
        notebook,
        kernel_manager_class=ThisInterpreter,
        timeout=240,
        resources={"metadata": {"path": folder}},
    )
    client.execute()
    outputs = [x for cell in notebook.cells for x in cell.get("outputs", [])]
    return "".join(x.get("text", "") for x in outputs)


def test_there_are_tutorials():
    assert {path.name for path in NOTEBOOKS} == set(SMALL)


@pytest.mark.parametrize(
    "path",
    [
        # The first one is everybody's.
        pytest.param(path, marks=[pytest.mark.slow] if number else [], id=path.name)
        for number, path in enumerate(NOTEBOOKS)
    ],
)
def test_runs(path, tmp_path, monkeypatch):
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("KERAS_BACKEND", keras.config.backend())
    text = execute(made_small(read(path), SMALL[path.name]), tmp_path)
    # A shell command that fails is no error to the notebook.
    assert "Traceback" not in text and "keras-encdec: error" not in text, text


@for_each_notebook
def test_is_a_valid_notebook_without_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        assert not cell.get("outputs"), f"strip the outputs of {path.name}"
        assert cell.get("execution_count") is None
        assert cell.source.strip()


@for_each_notebook
def test_opens_itself_in_colab(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert f"({COLAB}{path.relative_to(ROOT).as_posix()})" in first.source
