"""The commands, run in this process, and what they print and write."""

import importlib
import io
import os
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import keras
import pytest

import keras_encdec.recipe
import keras_encdec.text_to_text
from keras_encdec.cli import main
from keras_encdec.model import EncoderDecoder
from keras_encdec.text import (
    ByteTokenizer,
    CharacterTokenizer,
    WordTokenizer,
    sequence_error_rate,
    token_error_rate,
)
from keras_encdec.text_to_text import TextToText

ROOT = Path(__file__).resolve().parents[2]
SAMPLERS = {
    "greedy": [],
    "random": ["--temperature", "3"],
    "top-k": ["--k", "20"],
    "top-p": ["--p", "0.99"],
}
LINES = [b"12", b"", b"caf\xe9 \xff", "día".encode(), b"12", b"3\r45"]
PAIRS = "one\teno\ntwo\towt\nthree\teerht\nfour\truof\n"


def untrained(source_tokenizer=None, target_tokenizer=None, max_length=6):
    """A `TextToText` whose answers are nonsense, but the same each time."""
    source_tokenizer = source_tokenizer or ByteTokenizer()
    target_tokenizer = target_tokenizer or WordTokenizer(list("abcdefghijklmnopqrst"))
    model = EncoderDecoder(
        source_tokenizer.vocabulary_size,
        hidden_dim=16,
        intermediate_dim=32,
        num_heads=2,
        num_layers=1,
        target_vocabulary_size=target_tokenizer.vocabulary_size,
        # Tied and scaled, it would repeat one word.
        tie_embeddings=False,
    )
    return TextToText(source_tokenizer, target_tokenizer, model, max_length=max_length)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved folder; its path is relative to nothing, a `str` as from a shell."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("cli") / "saved"
    untrained().save(folder)
    return str(folder)


@pytest.fixture
def stdin(monkeypatch):
    def give(data):
        monkeypatch.setattr(
            sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(data))
        )

    return give


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


# ---- evaluate


def test_evaluate_takes_any_target_of_a_source_as_right(saved, tmp_path, run):
    sources = ["12", "345", "", "6"]
    text_to_text = TextToText.load(saved)
    right = text_to_text(sources)
    references = [
        ["a b c d", right[0]],
        [right[1] + " a", right[1] + " b c"],
        ["c", "d"],
        [right[3]],
    ]
    rows = [
        f"{source}\t{several[i]}\n"
        for i in (0, 1)
        for source, several in zip(sources, references, strict=True)
        if i < len(several)
    ]
    pairs = write(tmp_path / "pairs.tsv", "".join(rows))
    printed = run("evaluate", saved, "--source", pairs, "--batch-size", 3).out
    expected = {
        "token": token_error_rate(right, references),
        "sequence": sequence_error_rate(right, references),
    }
    assert 0 < expected["sequence"] < 1 and expected["token"] > 0
    assert printed.startswith("texts                7 in ")
    rates = dict(re.findall(r"^(\w+) error rate = (\S+) of 4 texts$", printed, re.M))
    assert rates == {name: f"{rate:.2%}" for name, rate in expected.items()}


@pytest.mark.once
@pytest.mark.parametrize(
    "options, same",
    [
        ([], []),
        (
            ["--lowercase", "--bleu-tokenize", "none"],
            ["-lc", "--chrf-lowercase", "-tok", "none"],
        ),
    ],
)
def test_evaluate_agrees_with_the_command_of_sacrebleu(
    options, same, saved, tmp_path, run
):
    sources = [str(number) for number in range(12, 40)]
    texts = TextToText.load(saved)(sources)
    references = [
        " ".join(text.split()[: -1 - i % 2]).upper() if i % 3 else text + " , o ."
        for i, text in enumerate(texts)
    ]
    source = write(tmp_path / "source.txt", "\n".join(sources) + "\n")
    target = write(tmp_path / "target.txt", "\n".join(references) + "\n")
    output = tmp_path / "generated.txt"
    printed = run(
        *("evaluate", saved, "--source", source, "--target", target),
        *("--output", output, *options),
    ).out
    assert output.read_text("utf-8").splitlines() == texts
    command = [sys.executable, "-m", "sacrebleu", target, "-i", str(output)]
    theirs = subprocess.run(
        [*command, "-m", "bleu", "chrf", "-w", "2", "-f", "text", *same],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    ours = [line for line in printed.splitlines() if re.match("BLEU|chrF", line)]
    assert ours == [line.strip() for line in theirs if line]
    assert " = 0.00 " not in ours[0]


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--source", "missing.tsv"], "'missing.tsv'"),
        (["--source", "no_tab.txt"], "has no tab"),
        (["--source", "pairs.tsv", "--target", "no_tab.txt"], "same number of lines"),
        (["--source", "empty.tsv"], "at least one line"),
        (["--source", "pairs.tsv", "--output", "no/x.txt"], "Make the folder first"),
        (["--source", "pairs.tsv", "--bleu-tokenize", "words"], "'words'"),
    ],
)
def test_evaluate_says_what_is_wrong(
    arguments, says, saved, tmp_path, monkeypatch, error_of
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "pairs.tsv", PAIRS)
    write(tmp_path / "no_tab.txt", "one\n")
    write(tmp_path / "empty.tsv", "")
    assert says in error_of("evaluate", saved, *arguments)


# ---- generate


def test_generate_gives_a_line_for_each_line(saved, tmp_path, run, stdin):
    expected = TextToText.load(saved)(LINES)
    assert len(set(expected)) > 1
    file = write(tmp_path / "lines.txt", b"\n".join(LINES) + b"\n")
    printed = run("generate", saved, "--source", file)
    assert printed.out.split("\n") == [*expected, ""]
    assert printed.err.startswith("6 texts in ")

    stdin(b"\r\n".join(LINES))
    assert run("generate", saved, "--batch-size", 2).out == printed.out

    output = tmp_path / "answers.txt"
    stdin(b"\n".join(LINES))
    assert run("generate", saved, "--output", output).out == ""
    assert output.read_text("utf-8") == printed.out


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_generate_draws_the_same_for_the_same_seed(sampler, saved, run, stdin):
    def generated(*arguments):
        stdin(b"\n".join(LINES * 2))
        options = ["--sampler", sampler, *SAMPLERS[sampler], *arguments]
        lines = run("generate", saved, *options).out.split("\n")
        assert len(lines) == len(LINES * 2) + 1
        return lines

    drawn = generated("--seed", 1)
    assert generated("--seed", 1) == drawn
    # The same texts in other places draw other numbers,
    same = sampler == "greedy"
    assert (drawn[: len(LINES)] == drawn[len(LINES) : -1]) == same
    # and so do they with another seed.
    if sampler == "random":
        assert generated("--seed", 2) != drawn


def test_generate_gives_the_best_with_their_scores(saved, run, stdin):
    stdin(b"\n".join(LINES))
    options = ["--sampler", "beam", "--beams", 3, "--length-penalty", 0.5]
    lines = run("generate", saved, *options, "--n-best", 2).out.split("\n")[:-1]
    rows = [line.split("\t") for line in lines]
    assert [int(row[0]) for row in rows] == sorted(2 * [1, 2, 3, 4, 5, 6])
    scores = [float(row[1]) for row in rows]
    assert all(a >= b for a, b in zip(scores[::2], scores[1::2], strict=True))
    stdin(b"\n".join(LINES))
    best = run("generate", saved, *options).out.split("\n")[:-1]
    assert best == [row[2] for row in rows[::2]]


@pytest.mark.once
def test_generate_passes_the_options_on(saved, run, stdin, monkeypatch):
    made = []

    class Recorded(TextToText):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(keras_encdec.text_to_text, "TextToText", Recorded)
    for arguments, expected, max_length in (
        ("--sampler random --temperature 2", {"temperature": 2.0}, 6),
        ("--sampler top-k --k 3 --max-length 2", {"temperature": 1.0, "k": 3}, 2),
        ("--sampler top-p --p 0.5", {"temperature": 1.0, "p": 0.5}, 6),
        ("--max-length 1", {}, 1),
    ):
        stdin(b"12\n")
        answer = run("generate", saved, *arguments.split()).out
        assert made[-1].sampler.get_config() == expected
        assert made[-1].max_length == max_length
        assert len(answer.split()) <= max_length


@pytest.mark.once
@pytest.mark.parametrize("data, lines", [(b"", 0), (b"\n", 1), (b"\n\n1", 3)])
def test_generate_keeps_the_number_of_lines(data, lines, saved, tmp_path, run, stdin):
    stdin(data)
    printed = run("generate", saved, "--max-length", 2)
    assert printed.out.count("\n") == lines
    assert printed.err.startswith(f"{lines} texts in ")
    file = write(tmp_path / "lines.txt", data)
    assert (
        run("generate", saved, "--max-length", 2, "--source", file).out.count("\n")
        == lines
    )


@pytest.mark.once
def test_generate_writes_no_line_break_within_a_line(tmp_path, run, stdin):
    # All it can say are characters that break a line for Python or for a terminal.
    breaks = CharacterTokenizer(["\n", "\r", "\x0b", "\x85", "\u2028"])
    untrained(target_tokenizer=breaks).save(tmp_path / "saved")
    stdin(b"1\n2\n3\n")
    assert len(run("generate", tmp_path / "saved").out.splitlines()) == 3


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments, says",
    [
        ("--sampler top-p --p 0", "p must be"),
        ("--sampler random --temperature 0", "temperature must be"),
        ("--sampler top-k --k 0", "--k: must be"),
        ("--seed 5000000000", "fits in 32 bits"),
        ("--source missing.txt", "missing.txt"),
        ("--sampler nucleus", "'nucleus'"),
        ("--n-best 2", "GreedySampler gives one sequence"),
        ("--sampler beam --beams 2 --n-best 3", "must not be above num_beams"),
    ],
)
def test_generate_says_what_is_wrong(arguments, says, saved, stdin, error_of):
    stdin(b"12\n")
    assert says in error_of("generate", saved, *arguments.split())


# ---- Saved folders that are not whole


def broken(folder, how):
    untrained().save(folder)
    model, config = folder / "model.keras", folder / "text_to_text.json"
    if how == "no folder":
        model.unlink(), config.unlink(), folder.rmdir()
    elif how == "no model":
        model.unlink()
    elif how == "no config":
        config.unlink()
    elif how == "half a model":
        model.write_bytes(model.read_bytes()[:5000])
    elif how == "a damaged model":
        data = bytearray(model.read_bytes())
        data[300:400] = bytes(100)
        model.write_bytes(data)
    elif how == "half a config":
        config.write_text(config.read_text("utf-8")[:50], "utf-8")
    elif how == "another config":
        config.write_text("3", "utf-8")
    elif how == "a config without tokenizers":
        config.write_text('{"max_length": 3}', "utf-8")


@pytest.mark.once
@pytest.mark.parametrize(
    "how",
    [
        "no folder",
        "no model",
        "no config",
        "half a model",
        "a damaged model",
        "half a config",
        "another config",
        "a config without tokenizers",
    ],
)
def test_a_broken_saved_folder_is_an_error_that_names_it(
    how, tmp_path, stdin, error_of
):
    folder = tmp_path / "saved"
    broken(folder, how)
    stdin(b"12\n")
    assert str(folder) in error_of("generate", folder)


# ---- The program


@pytest.mark.once
def test_an_interruption_is_no_traceback(saved, monkeypatch, capsys):
    def load(folder, modules):
        raise KeyboardInterrupt

    monkeypatch.setattr(TextToText, "load", load)
    assert main(["generate", saved]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.once
@pytest.mark.parametrize(
    "command", ["demo", "vocabulary", "train", "evaluate", "generate", "export"]
)
def test_each_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as leaving:
        main([command, "--help"])
    assert leaving.value.code == 0
    assert f"usage: keras-encdec {command}" in capsys.readouterr().out


@pytest.mark.once
def test_no_command_is_an_error(error_of):
    assert "COMMAND" in error_of()


@pytest.mark.once
def test_runs_as_a_module_and_help_leaves_text_alone():
    # What the package itself does not need must not slow down its help.
    code = (
        "import runpy, sys\n"
        "sys.argv = ['keras-encdec', '--help']\n"
        "try:\n"
        "    runpy.run_module('keras_encdec', run_name='__main__')\n"
        "except SystemExit as leaving:\n"
        "    assert not leaving.code\n"
        "print(*sorted(x for x in sys.modules if x.startswith('keras_encdec.')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=True,
    )
    *help_lines, modules = done.stdout.splitlines()
    assert help_lines[0].startswith("usage: keras-encdec")
    for room in ("text", "text_to_text", "export", "recipe", "run", "demo"):
        assert f"keras_encdec.{room}" not in modules.split()


@pytest.mark.once
def test_the_entry_point_is_main():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, function = project["scripts"]["keras-encdec"].split(":")
    assert getattr(importlib.import_module(module), function) is main
