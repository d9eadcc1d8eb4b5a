"""Arguments that several commands take."""

import argparse

import pytest

import keras_encdec.cli
from keras_encdec.cli.arguments import (
    Parser,
    add_command,
    portion,
    positive,
    positive_real,
    share,
)
from keras_encdec.cli.search import finite, int32
from keras_encdec.saved_parts import CONFIG_FILE, MODEL_FILE

pytestmark = pytest.mark.once


def test_numbers_are_read_within_their_bounds():
    assert positive("12") == 12
    assert share("0") == 0.0 and share("0.999") == 0.999
    assert portion("1") == 1.0 and portion("1e-3") == 0.001
    assert finite("-1e3") == -1000.0 and positive_real("0.5") == 0.5
    assert int32(str(-(2**31))) == -(2**31) and int32(str(2**31 - 1)) == 2**31 - 1


@pytest.mark.parametrize(
    "read, text, says",
    [
        (portion, "0", "above 0 and at most 1"),
        (portion, "1.1", "above 0 and at most 1"),
        (portion, "nan", "above 0 and at most 1"),
        (positive_real, "0", "a number above 0"),
        (positive_real, "inf", "a number above 0"),
        (positive_real, "nan", "a number above 0"),
        (finite, "nan", "a number that is finite"),
        (finite, "-inf", "a number that is finite"),
        (finite, "1,5", "a number that is finite"),
        (int32, str(2**31), "less than 2147483648"),
        (int32, "1.0", "less than 2147483648"),
        (int32, 5000 * "9", "less than 2147483648"),
    ],
)
def test_what_is_beyond_the_bounds_is_refused(read, text, says):
    with pytest.raises(argparse.ArgumentTypeError, match=f"{says}; received") as caught:
        read(text)
    assert len(str(caught.value)) < 120


@pytest.fixture
def parser():
    def act():
        """Acts."""

    parser = Parser(prog="it")
    parser.add_argument("--version", action="store_true", help="that of it")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    parser.commands = commands.choices
    added = add_command(commands, act, "act", "one", "--beams 3 two")
    added.add_argument("what", help="to act on")
    added.add_argument("--sizes", type=int, default=3, help="of all")
    added.add_argument("--beams", type=int, help="of beam")
    added.add_argument("--kind", choices=("big", "small"), help="of act")
    added.add_argument("--fast", action="store_true", help="faster")
    added.add_argument("--slow", dest="fast", action="store_false", help="slower")
    return parser


def test_help_tells_examples_and_the_defaults_that_say_something(parser):
    printed = parser.commands["act"].format_help()
    assert "of all (default: 3)" in printed and printed.count("default") == 1
    assert printed.endswith("examples:\n  it act one\n  it act --beams 3 two\n")
    assert "\n\nActs.\n" in printed and "--quiet" in printed


@pytest.mark.parametrize(
    "words, says",
    [
        (
            "act one --beems 3",
            "it act: error: there is no option --beems; did you",
        ),
        ("act --baems=3", "no option --baems; did you mean --beams?"),
        ("act one --xyz", "it act: error: there is no option --xyz (--help "),
        (
            "--verison",
            "no option --verison; did you mean --version?",
        ),
        ("atc one", "it: error: there is no command atc; did you mean act?"),
        ("act", "it act: error: the following arguments are required: what"),
        ("act one --sizes x", "argument --sizes: invalid int value: 'x'"),
        ("act one --kind bgi", "--kind: invalid choice: 'bgi' (choose from "),
        ("act one --kind bgi", "; did you mean big? (--help"),
        (
            "--beams 3 act one",
            "it: error: --beams is an option of a command; it stands",
        ),
        ("", "it: error: the following arguments are required: COMMAND"),
    ],
)
def test_says_in_one_line_what_was_meant(words, says, parser, capsys):
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(words.split())
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line and line.endswith(" (--help tells all)")


def test_the_beginning_of_an_option_stands_for_it_and_text_is_no_option(parser):
    assert parser.parse_args(["act", "one", "--be", "4"]).beams == 4
    assert parser.parse_args(["act", "--beams=4", "--", "--two"]).what == "--two"
    assert parser.parse_args(["act", "--no option"]).what == "--no option"


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "ten", str(2**31)])
def test_what_is_not_positive_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
        positive(text)


@pytest.mark.parametrize("text", ["1", "-0.1", "", "half", "nan"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="less than 1"):
        share(text)


@pytest.mark.parametrize(
    "words, says",
    [
        ("generate moddel", "argument saved: A saved model is read from its folder;"),
        ("generate model --source text", "--source: Texts are read from a file; there"),
        ("generate model --source text", "is none at 'text', but one at 'texts'"),
        ("generate model --source model", "a file; 'model' is a folder. Name a file"),
        ("generate model --output none/x", "--output: A file must be in a folder that"),
        ("evaluate model --source texts --target no", "--target: Texts are read from"),
        ("evaluate model --source texts --output .", "--output: A file needs a place"),
        ("evaluate model --source texts --module x.y", "--module: must be a module th"),
        ("vocabulary --input texts no --output v", "--input: Texts are read from a f"),
        ("train --source texts --output run --initial m", "--initial: A saved model "),
        ("train --source texts --output run --teacher m", "--teacher: A saved model "),
        ("train --source texts --output run --vocabulary v", "--vocabulary: A vocabul"),
        ("export model . --version 2", "A new folder needs a free place; '2' is there"),
        ("export model . --texts no", "--texts: Texts are read from a file; there is"),
        ("export model new --quantization int8", "Only ctranslate2 takes --quantizati"),
    ],
)
def test_a_wrong_path_is_told_before_a_backend_is_imported(
    words, says, tmp_path, monkeypatch, error_of
):
    monkeypatch.chdir(tmp_path)
    for folder in ("model", "2"):
        (tmp_path / folder).mkdir()
    for file in (MODEL_FILE, CONFIG_FILE):
        (tmp_path / "model" / file).touch()
    (tmp_path / "texts").write_text("one\ttwo\n")
    monkeypatch.delattr(keras_encdec.cli, "_run")
    assert says in error_of(*words.split())
    assert len(list(tmp_path.iterdir())) == 3
