"""What is told beside answers; what commands write of them, their own tests show."""

import io
import sys

import pytest

from keras_encdec.cli.answers import checked_ids, progress_of, write_answers
from keras_encdec.recipe import build
from keras_encdec.text import CharacterTokenizer
from keras_encdec.text_to_text import TextToText

pytestmark = pytest.mark.once


@pytest.fixture
def saved(tmp_path):
    letters = CharacterTokenizer(["a", "b"])
    small = {"hidden_dim": 8, "intermediate_dim": 8, "num_layers": 1, "num_heads": 2}
    build(letters, letters, **small).save(tmp_path / "saved")
    return str(tmp_path / "saved")


def test_lines_are_made_of_number_text_and_answer(saved, tmp_path, monkeypatch):
    source, output = tmp_path / "source.txt", tmp_path / "lines.txt"
    source.write_text("a\nb\n")
    monkeypatch.setattr(TextToText, "generate", lambda *x, **call: iter(["x", "y"]))
    nothing = {"sampler": None, "max_length": None, "batch_size": None}
    write_answers(
        *([saved], None, [], str(source), str(output)),
        lambda number, text, answer: [f"{number} {text} {answer}"],
        command="test",
        **nothing,
    )
    assert output.read_text() == "1 a x\n2 b y\n"


def test_tells_what_is_unknown_of_both_sides(saved, capsys):
    ids = checked_ids(TextToText.load(saved), ["ab", "x"], ["ab", "abyb"])
    assert [row.tolist() for row in ids] == [[4, 5, 2], [3, 2]]
    told = capsys.readouterr().err.splitlines()
    assert "source" in told[0] and "'x'" in told[0]
    assert "target" in told[1] and "'y'" in told[1]


def test_progress_is_shown_at_terminals_alone(monkeypatch, capsys):
    progress_of(4)(2)
    assert not capsys.readouterr().err
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    progress_of(4, first=1)(3)
    assert "\r4/4 texts, " in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")
