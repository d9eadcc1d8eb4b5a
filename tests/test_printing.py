"""What is told, and what is not."""

import io
import sys

import keras
import pytest

from keras_encdec.printing import as_line, fit_verbosity, silent, tell

pytestmark = pytest.mark.once


def test_is_silenced_as_keras_is(capsys):
    with silent():
        tell("one")
        assert not keras.config.is_interactive_logging_enabled()
    keras.config.disable_interactive_logging()
    try:
        with silent():
            tell("two")
        tell("three")
    finally:
        keras.config.enable_interactive_logging()
    tell("four")
    tell("five", sys.stderr)
    assert capsys.readouterr() == ("four\n", "five\n")


def test_says_what_it_can_where_characters_lack():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    tell("Gr\u00fc\u00dfe \udc80", stream)
    assert stream.buffer.getvalue() == b"Gr??e ?\n"


def test_a_text_is_cut_to_a_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert as_line("a\nb") == "a b" and as_line("x" * 40) == "x" * 40
    assert as_line("x" * 41) == "x" * 39 + "\u2026"
    assert len(as_line("x" * 41, indent=10)) == 30
    assert len(as_line("x" * 41, indent=39)) == 20


def test_a_file_has_a_line_for_each_epoch(monkeypatch):
    assert [fit_verbosity(verbose) for verbose in (0, 1, 2)] == [0, 1, 2]
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert fit_verbosity("auto") == 2
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert fit_verbosity("auto") == 1
