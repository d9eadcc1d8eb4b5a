"""The arguments of all commands, and what `--help` says of them."""

import tomllib

import pytest

from keras_encdec.cli import distill, doctor, export, init, learn, rescoring, use
from keras_encdec.cli.arguments import Parser
from keras_encdec.cli.model_arguments import MODEL_OPTIONS
from keras_encdec.cli.training_arguments import (
    VOCABULARY_OPTIONS,
    options_of_run,
)

pytestmark = pytest.mark.once

COMMANDS = (
    *("init", "demo", "vocabulary", "train", "evaluate", "generate", "distill"),
    *("tune-rescoring", "export", "doctor"),
)


@pytest.fixture
def commands():
    added = Parser(prog="keras-encdec").add_subparsers()
    for module in (init, learn, use, distill, rescoring, export, doctor):
        module.add_commands(added)
    assert tuple(added.choices) == COMMANDS
    return added.choices


@pytest.mark.parametrize("command", COMMANDS)
def test_each_argument_says_what_it_is_and_what_it_is_else(command, commands):
    for action in commands[command]._actions:
        said = f"{action.option_strings or action.dest}: {action.help}"
        assert action.help, said
        needs_words = (
            action.default is None and not action.required and action.nargs != 0
        )
        assert (
            not needs_words
            or "not given" in action.help
            or "if" in action.help
            or (action.dest in ("target", "validation_target"))
        ), said
    printed = commands[command].format_help()
    assert "default: True" not in printed and "default: False" not in printed
    examples = printed.partition("\nexamples:\n")[2].splitlines()
    assert len(examples) >= 2
    assert all(line.startswith(f"  keras-encdec {command}") for line in examples)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_are_what_the_command_takes(
    command, commands, tmp_path, monkeypatch
):
    import shlex

    # Paths are looked at with the rest.
    monkeypatch.chdir(tmp_path)
    printed = commands[command].format_help()
    for line in printed.partition("\nexamples:\n")[2].splitlines():
        words = shlex.split(line.partition("<")[0].partition(">")[0])[2:]
        for word in words:
            if word.startswith("runs/"):
                (tmp_path / word).mkdir(parents=True, exist_ok=True)
                for name in ("model.keras", "text_to_text.json"):
                    (tmp_path / word / name).touch()
            elif "." in word:
                (tmp_path / word).touch()
            if word == "run.toml":
                required = 'source = "run.toml"\noutput = "run"\n'
                (tmp_path / word).write_text(required)
        commands[command].parse_args(words)


def test_a_recipe_is_of_options(commands):
    known = {action.dest for action in commands["train"]._actions}
    assert {*MODEL_OPTIONS, *VOCABULARY_OPTIONS} < known


def test_a_run_is_repeated_and_not_removed():
    text = options_of_run({"epochs": 3, "overwrite": True})
    assert tomllib.loads(text) == {"epochs": 3}
    assert "# overwrite = false" in text
