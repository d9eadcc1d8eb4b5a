"""Files of options: read as the command line is, and written to be read again."""

import argparse
import tomllib

import pytest

from keras_encdec.cli import learn
from keras_encdec.cli.arguments import Parser
from keras_encdec.cli.configuration import configuration, meant, path_in, words_of
from keras_encdec.cli.training_arguments import add_training

pytestmark = pytest.mark.once


@pytest.fixture
def parse(tmp_path, monkeypatch):
    """Parses words of `train`, with a file of options of this text."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.tsv").write_text("a\tb\n")
    (tmp_path / "other.tsv").write_text("c\td\n")
    commands = Parser(prog="keras-encdec").add_subparsers()
    learn.add_commands(commands)

    def parse(text, *words):
        (tmp_path / "run.toml").write_text(text, "utf-8")
        return commands.choices["train"].parse_args(["--config", "run.toml", *words])

    return parse


PLACES = 'source = "pairs.tsv"\noutput = "runs/ü"\n'


def test_a_file_is_read_as_the_command_line_is(parse):
    text = PLACES + (
        "epochs = 20\nlearning-rate = 1e-3\nclip-norm = 25\nmonitor = 'loss'\n"
        'lora-targets = ["query", "key"]\noverwrite = true\npost-norm = true\n'
        'tensorboard = false\nquiet = true\ncontinuation = "--x"\n'
    )
    found = parse(text)
    words = (
        "--source pairs.tsv --output runs/ü --epochs 20 --learning-rate 1e-3 "
        "--clip-norm 25 --monitor loss --lora-targets query key --overwrite "
        "--post-norm --quiet --continuation=--x"
    )
    typed = parse("", *words.split())
    assert found.given.pop("tensorboard") is False
    assert vars(found) == vars(typed)
    assert found.epochs == 20 and found.normalize_first is False


def test_the_command_line_wins(parse):
    text = PLACES + "epochs = 20\noverwrite = true\npost-norm = true\nseed = 3\n"
    words = "--epochs 5 --no-overwrite --no-post-norm --source other.tsv".split()
    found = parse(text, *words)
    assert (found.epochs, found.seed, found.source) == (5, 3, "other.tsv")
    assert found.overwrite is False and found.normalize_first is True


def test_a_size_stands_for_options_that_others_win_over(parse):
    found = parse(PLACES + 'model-size = "tiny-deep-shallow"\nnum-heads = 2\n')
    assert (found.hidden_dim, found.num_layers, found.num_decoder_layers) == (128, 8, 1)
    assert found.num_heads == 2
    assert "model_size" not in found and found.given["hidden_dim"] == 128
    typed = parse(PLACES, "--num-heads", "2", "--model-size", "tiny-deep-shallow")
    assert vars(typed)["given"].keys() == found.given.keys()


def test_layers_of_a_size_are_those_of_both_sides(parse):
    found = parse(PLACES, "--model-size", "base", "--num-layers", "4")
    assert (found.num_layers, found.num_decoder_layers) == (4, None)


def test_a_size_that_is_typed_wins_over_the_options_of_a_file(parse):
    found = parse(PLACES + "hidden-dim = 64\nnum-heads = 2\n", "--model-size", "base")
    assert (found.hidden_dim, found.num_heads) == (512, 8)


def test_a_size_that_is_none_names_the_nearest(parse, capsys):
    with pytest.raises(SystemExit):
        parse(PLACES, "--model-size", "tiny-deep")
    assert "did you mean tiny-deep-shallow?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line, says",
    [
        ("epoch = 3", "in 'run.toml': there is no option epoch; did you mean epochs?"),
        ("hidden_dim = 3", "there is no option hidden_dim; did you mean hidden-dim?"),
        ("config = 'a'", "there is no option config"),
        ("[model]", "options stand in no table; received [model]: leave out this line"),
        ("epochs = 0", "argument --epochs: must be a whole number of at least 1; rec"),
        ("epochs = 2.5", "argument --epochs: must be a whole number of at least 1"),
        ("epochs = '3'", "at least 1, without quotes; received '3'"),
        ("epochs = true", "at least 1, without quotes; received true"),
        ("epochs = [1]", "at least 1, without quotes; received [1]"),
        ("ema = 1.0", "argument --ema: must be a number of at least 0 and less than 1"),
        ("ema = nan", "argument --ema: must be a number of at least 0 and less than 1"),
        ("tokenizer = 'wrd'", "--tokenizer: invalid choice: 'wrd'"),
        ("tokenizer = 'wrd'", "did you mean word?"),
        ("tokenizer = 3", "--tokenizer: must be a text between quotes; received 3"),
        ("overwrite = 'yes'", "--overwrite: must be true or false; received 'yes'"),
        ("lora-targets = 'query'", "--lora-targets: must be a list of texts, [...]"),
        ("lora-targets = [3]", "--lora-targets: must be a text between quotes; re"),
        ("vocabulary = 'no.model'", "in 'run.toml': argument --vocabulary: A vocab"),
        ("epochs = ", "in 'run.toml': what holds options must be TOML: "),
        ("epochs = 1\nepochs = 2", "what holds options must be TOML: "),
    ],
)
def test_what_is_wrong_is_told_with_the_file(line, says, parse, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(PLACES + line)
    assert caught.value.code == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert (
        told.startswith("keras-encdec train: error: in 'run.toml': ") and says in told
    )


def test_a_file_that_is_missing_is_told_with_a_near_one(parse, capsys):
    for words in (["--config", "rum.toml"], ["--config=rum.toml"], ["--conf", "x"]):
        with pytest.raises(SystemExit):
            parse(PLACES, *words)
        told = capsys.readouterr().err
        assert "Options are read from a file; there is none at" in told
    with pytest.raises(SystemExit):
        parse(PLACES, "--config")
    assert "argument --config: expected one argument" in capsys.readouterr().err


def test_what_is_written_is_read_again(tmp_path):
    parser = argparse.ArgumentParser()
    add_training(parser)
    values = {
        "source": 'a "b" \\ ü\t\U0001f600',
        "epochs": 3,
        "learning_rate": 1e-5,
        "normalize_first": False,
        "overwrite": False,
        "lora_targets": ("query", "ü"),
    }
    text = configuration(parser, values, "What it is. " * 20)
    assert all(len(line) <= 88 for line in text.splitlines() if line[:2] == "# ")
    read = tomllib.loads(text)
    assert read == {
        "source": values["source"],
        "epochs": 3,
        "learning-rate": 1e-5,
        "post-norm": True,
        "overwrite": False,
        "lora-targets": ["query", "ü"],
    }
    path = tmp_path / "run.toml"
    path.write_text(text, "utf-8")
    words = [word for *_, some in words_of(path, parser._actions) for word in some]
    assert "--no-overwrite" in words and "--post-norm" in words
    # All others are told, with what they are.
    told = {line.split(" = ")[0].lstrip("# ") for line in text.splitlines()}
    others = {
        action.option_strings[-1].removeprefix("--")
        for action in parser._actions
        if action.help != argparse.SUPPRESS and action.dest not in ("help", "config")
    }
    assert others <= told
    assert "# epochs = " not in text and "# num-layers = 3" in text
    assert "\n# model-size = ...\n" in text and argparse.SUPPRESS not in text


def test_the_path_is_found_and_the_nearest_name():
    assert path_in(["--epochs", "3", "--config", "a"]) == "a"
    assert path_in(["--config=a", "--config", "b"]) == "b"
    assert path_in(["--epochs", "3"]) is None and path_in(["--config"]) is None
    assert meant("epoch", ["epochs"]) == "; did you mean epochs?"
    assert meant("xyz", ["epochs"]) == ""
