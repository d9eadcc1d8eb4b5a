"""The commands, run in this process, and what they print and write."""

import errno
import gzip
import importlib
import io
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tomllib
import types

import keras
import pytest

import keras_encdec.bulk
import keras_encdec.recipe
import keras_encdec.text_to_text
from keras_encdec.cli import main
from keras_encdec.confidence import confidences
from keras_encdec.ensembles import text_ensemble
from keras_encdec.generation import BeamSampler
from keras_encdec.model import EncoderDecoder
from keras_encdec.reliability import area_under_curve
from keras_encdec.rescoring import rescore
from keras_encdec.text import (
    ByteTokenizer,
    CharacterTokenizer,
    WordTokenizer,
    character_error_rate,
    sequence_error_rate,
    token_error_rate,
)
from keras_encdec.text_to_text import TextToText

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLERS = {
    "greedy": [],
    "random": ["--temperature", "3"],
    "top-k": ["--k", "20"],
    "top-p": ["--p", "0.99"],
}
LINES = ["12", "", "café 😀", "día", "12", "3\r45"]
DATA = "\n".join(LINES).encode()
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


@pytest.mark.slow
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
    more = ("--batch-size", 3, "--errors", 1)
    printed = run("evaluate", saved, "--source", pairs, *more).out
    # What is right is no error, and of several the nearest is told.
    printed, _, errors = printed.partition("\nline ")
    assert errors.count("  reference  ") == 1 and "  difference  " in errors
    assert f"  reference   {references[0][0]}\n" not in errors
    expected = {
        "token": token_error_rate(right, references),
        "character": character_error_rate(right, references),
        "sequence": sequence_error_rate(right, references),
    }
    assert 0 < expected["sequence"] < 1 and expected["token"] > 0
    assert printed.startswith("texts                7 in ")
    rates = dict(re.findall(r"^(\w+) error rate = (\S+) of 4 texts$", printed, re.M))
    assert rates == {name: f"{rate:.2%}" for name, rate in expected.items()}


@pytest.mark.once
def test_evaluate_tells_how_confidences_find_errors(saved, tmp_path, run, eagerly):
    sources = ["12", "345", "", "6"]
    model = TextToText.load(saved)
    right = model(sources)
    references = [right[0], "a b", right[2], "c d"]
    rows = zip(sources, references, strict=True)
    pairs = write(tmp_path / "pairs.tsv", "".join(f"{x}\t{y}\n" for x, y in rows))
    arguments = ("evaluate", saved, "--source", pairs, "--errors", 9, "--confidence")
    printed = run(*arguments).out
    found = [each.mean_probability for each in confidences(model, sources, right)]
    area = area_under_curve(found, [True, False, True, False])
    assert f"under the ROC curve = {area:.3f}, 2 wrong of 4 texts\n" in printed
    told = re.findall(r"^line (\d)(?s:.*?)^  confidence  (\S+)$", printed, re.M)
    assert dict(told) == {"2": f"{found[1]:.3f}", "4": f"{found[3]:.3f}"}


@pytest.mark.once
def test_evaluate_asks_other_models_too(saved, tmp_path, run, eagerly, monkeypatch):
    lists = [[("a b", -1.0), ("c d", -1.5)], [("c", -0.5), ("d", -1.0)]]
    pairs = write(tmp_path / "pairs.tsv", "12\tc d\n3\td\n")
    asked = []

    def generate(self, texts, **call):
        asked.append((self.sampler, call["num_return_sequences"]))
        return iter(lists)

    monkeypatch.setattr(TextToText, "generate", generate)
    weights = {"format": 2, "candidates": 2, "weights": [0.0, 1.0]}
    weights["scorers"] = [{"model": saved, "reverse": False}]
    path = write(tmp_path / "weights.json", json.dumps(weights))
    given = ("evaluate", saved, "--source", pairs, "--rescore", path)
    run(*given, "--output", tmp_path / "answers.txt")
    ranked = rescore(["12", "3"], lists, [TextToText.load(saved)], [0, 1])
    found = (tmp_path / "answers.txt").read_text().splitlines()
    assert found == [some[0][0] for some in ranked] != ["a b", "c"]
    assert asked == [(BeamSampler(2), 2)]


@pytest.mark.once
def test_a_confidence_that_cannot_be_told_loses_no_score(tmp_path, run, eagerly):
    # A text that is not ended has no position left for its end.
    target = WordTokenizer(["a"])
    model = EncoderDecoder(
        *(260, 16, 32, 2, 1),
        target_vocabulary_size=target.vocabulary_size,
        positions="learned",
        max_length=4,
        output_bias=True,
    )
    model.set_weights([0 * weight for weight in model.get_weights()])
    (bias,) = (x for x in model.weights if tuple(x.shape) == (5,))
    bias.assign([0, 0, 0, 0, 9])
    TextToText(ByteTokenizer(), target, model, max_length=4).save(tmp_path / "saved")
    pairs = write(tmp_path / "pairs.tsv", "1\ta\n")
    printed = run("evaluate", tmp_path / "saved", "--source", pairs, "--confidence")
    assert "sequence error rate = 100.00%" in printed.out
    assert "warning: No confidence is told. A target text must not" in printed.err


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
        (["--source", "pairs.tsv", "--length-penalty", "1"], "of --sampler beam"),
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


@pytest.mark.once
def test_evaluate_and_generate_search_alike(saved, tmp_path, run):
    pairs = write(tmp_path / "pairs.tsv", "".join(f"{i}\ta b\n" for i in range(20)))
    texts = {}
    for options in ((), ("--beams", 8), ("--sampler", "beam", "--beams", 8)):
        for command in ("evaluate", "generate"):
            output = tmp_path / f"{command}.txt"
            run(command, saved, "--source", pairs, "--output", output, *options)
            texts[command, options] = output.read_text()
    greedy, *rest = dict.fromkeys(texts.values())
    assert len(rest) == 1 and greedy != rest[0]
    assert texts["evaluate", ("--beams", 8)] == texts["generate", ("--beams", 8)]


@pytest.mark.once
def test_several_models_answer_as_one(saved, tmp_path, run, stdin, error_of):
    other = untrained()
    other.save(tmp_path / "other")
    both = [TextToText.load(saved), TextToText.load(tmp_path / "other")]
    expected = text_ensemble(both, [1, 3])(LINES)
    given = [saved, tmp_path / "other", "--weights", 1, 3]
    stdin(DATA)
    assert run("generate", *given).out.split("\n")[:-1] == expected
    words = WordTokenizer(list("tsrqponmlkjihgfedcba"))
    untrained(target_tokenizer=words).save(tmp_path / "words")
    stdin(DATA)
    said = error_of("generate", saved, tmp_path / "words")
    assert f"received {saved!r} and '{tmp_path / 'words'}', whose target token" in said


# ---- generate


@pytest.mark.slow
def test_generate_gives_a_line_for_each_line(saved, tmp_path, run, stdin):
    expected = TextToText.load(saved)(LINES)
    assert len(set(expected)) > 1
    file = write(tmp_path / "lines.txt", DATA + b"\n")
    printed = run("generate", saved, "--source", file)
    assert printed.out.split("\n") == [*expected, ""]
    assert printed.err.startswith("6 texts in ")

    # What train reads in a file, it reads too.
    pairs = DATA.replace(b"\n", b"\tanother\n") + b"\tanother"
    for data in (
        DATA.replace(b"\n", b"\r\n"),
        gzip.compress(DATA),
        b"\xef\xbb\xbf" + DATA,
        pairs,
    ):
        stdin(data)
        assert run("generate", saved, "--batch-size", 2).out == printed.out
        file = write(tmp_path / "lines", data)
        output = tmp_path / "answers.txt"
        assert not run("generate", saved, "--source", file, "--output", output).out
        assert output.read_text("utf-8") == printed.out


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_generate_draws_the_same_for_the_same_seed(sampler, saved, run, stdin):
    def generated(*arguments):
        stdin(DATA + b"\n" + DATA)
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


@pytest.mark.slow
def test_generate_gives_the_best_with_their_scores(saved, run, stdin):
    stdin(DATA)
    options = ["--beams", 3, "--length-penalty", 0.5]
    lines = run("generate", saved, *options, "--n-best", 2).out.split("\n")[:-1]
    rows = [line.split("\t") for line in lines]
    assert [int(row[0]) for row in rows] == sorted(2 * [1, 2, 3, 4, 5, 6])
    scores = [float(row[1]) for row in rows]
    assert all(a >= b for a, b in zip(scores[::2], scores[1::2], strict=True))
    stdin(DATA)
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
        ("--sampler min-p", {"temperature": 1.0, "p": 0.1}, 6),
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
    words = "text" if lines == 1 else "texts"
    assert f"{lines} {words} in " in printed.err
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
        ("--sampler top-p --p 0", "--p: must be a number above 0"),
        ("--sampler top-p --p nan", "--p: must be"),
        ("--sampler random --temperature 0", "--temperature: must be"),
        ("--sampler random --temperature inf", "--temperature: must be"),
        ("--beams 2 --length-penalty nan", "--length-penalty: must be"),
        ("--sampler top-k --k 0", "--k: must be"),
        ("--max-length 0", "--max-length: must be"),
        ("--batch-size 1.5", "--batch-size: must be"),
        ("--seed 5000000000", "less than 2147483648"),
        ("--source missing.txt", "missing.txt"),
        ("--output none/x.txt", "Make the folder first"),
        ("--sampler nucleus", "'nucleus'"),
        ("--k 3", "--k is an option of --sampler top-k; received it with no"),
        ("--n-best 2", "Give --beams 2 too, or --sampler random."),
        ("--sampler beam --beams 2 --n-best 3", "Give --beams 3 too"),
    ],
)
def test_generate_says_what_is_wrong(arguments, says, saved, stdin, error_of):
    stdin(b"12\n")
    assert says in error_of("generate", saved, *arguments.split())


@pytest.mark.once
def test_generate_answers_by_the_sampler_that_was_saved(saved, tmp_path, run, stdin):
    beams = TextToText.load(saved).with_sampler(BeamSampler(3))
    beams.save(tmp_path / "beams")
    stdin(DATA)
    printed = run("generate", tmp_path / "beams", "--n-best", 3).out
    stdin(DATA)
    assert run("generate", saved, "--beams", 3, "--n-best", 3).out == printed
    stdin(DATA)
    assert run("generate", saved).out.split("\n")[:-1] != beams(LINES)


@pytest.mark.once
@pytest.mark.parametrize("data", [DATA.decode().encode("utf-16"), b"12\ncaf\xe9\n"])
def test_what_is_not_utf8_is_refused(data, saved, tmp_path, stdin, error_of):
    stdin(data)
    assert "Texts must be UTF-8" in error_of("generate", saved)
    file = write(tmp_path / "lines.txt", data)
    for command in ("generate", "evaluate"):
        assert file in error_of(command, saved, "--source", file)


@pytest.mark.once
def test_no_text_is_told(saved, tmp_path, run, stdin):
    empty = write(tmp_path / "empty.txt", "")
    told = run("generate", saved, "--source", empty)
    assert told.out == "" and "empty.txt' holds no line" in told.err
    stdin(b"")
    assert "Standard input holds no line" in run("generate", saved).err
    # A terminal would wait in silence.
    stdin(b"")
    sys.stdin.buffer.isatty = lambda: True
    assert "Ctrl-D ends them" in run("generate", saved).err


@pytest.mark.once
def test_a_text_too_long_is_named_before_any_is_generated(
    tmp_path, run, stdin, error_of, monkeypatch
):
    tokenizer = ByteTokenizer()
    options = {"positions": "learned", "max_length": 8}
    model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1, **options)
    folder = tmp_path / "short"
    TextToText(tokenizer, tokenizer, model, max_length=6).save(folder)
    stdin(b"1234567\n")
    assert run("generate", folder).out.count("\n") == 1
    monkeypatch.setattr(TextToText, "generate", lambda *args, **kwargs: 1 / 0)
    stdin(b"1\n12345678\n1234\n1234567890\n")
    line = error_of("generate", folder)
    assert (
        "has positions, 8; received 9 in text 2 of 4, and in 1 more: '12345678'" in line
    )
    pairs = write(tmp_path / "pairs.tsv", "1\t2\n123456789\t2\n")
    assert "in text 2 of 2: " in error_of("evaluate", folder, "--source", pairs)
    stdin(b"1\n")
    assert "--max-length=8; received 9" in error_of(
        "generate", folder, "--max-length", 9
    )


@pytest.mark.once
def test_tells_what_the_model_does_not_know(tmp_path, run, stdin):
    letters = CharacterTokenizer.from_texts(["abcdefghij"])
    untrained(letters, letters).save(tmp_path / "saved")
    stdin(b"abcdefghij\nBad\n")
    told, _ = run("generate", tmp_path / "saved").err.splitlines()
    assert told.startswith("keras-encdec: warning: 7.7% of the source tokens are")
    assert "'B'" in told and "lower case" in told
    stdin(10 * b"abcdefghij\n" + b"B\n")
    told, _ = run("generate", tmp_path / "saved").err.splitlines()
    assert told.startswith("keras-encdec: 1.0% of the source tokens are unknown")
    stdin(b"abcdefghij\n")
    assert "unknown" not in run("generate", tmp_path / "saved").err
    pairs = write(tmp_path / "pairs.tsv", "abc\txbc\n")
    told = run("evaluate", tmp_path / "saved", "--source", pairs).err
    assert "target tokens" in told and "'x'" in told and "source" not in told


@pytest.mark.once
def test_a_model_that_answers_with_no_number_is_an_error(
    saved, tmp_path, monkeypatch, stdin, capsys
):
    def answer(*args, **kwargs):
        raise FloatingPointError("The logits are nan. Train again.")

    monkeypatch.setattr(TextToText, "generate", answer)
    output = tmp_path / "answers.txt"
    stdin(b"12\n")
    assert main(["generate", saved, "--output", str(output)]) == 1
    printed = capsys.readouterr()
    assert not printed.out and not os.listdir(tmp_path)
    assert printed.err == "keras-encdec: error: The logits are nan. Train again.\n"


# ---- Where texts are written


@pytest.mark.once
def test_a_device_and_a_link_stay_what_they_are(saved, tmp_path, run, stdin):
    write(tmp_path / "answers.txt", "old")
    (tmp_path / "link").symlink_to("answers.txt")
    for output in ("/dev/null", tmp_path / "link"):
        stdin(b"12\n")
        run("generate", saved, "--output", output)
    assert stat.S_ISCHR(os.lstat("/dev/null").st_mode)
    assert os.readlink(tmp_path / "link") == "answers.txt"
    assert (tmp_path / "answers.txt").read_text().count("\n") == 1


@pytest.mark.once
def test_a_full_disk_leaves_the_old_output(saved, tmp_path, monkeypatch, error_of):
    source = write(tmp_path / "pairs.tsv", "12\ta\n")
    output = pathlib.Path(write(tmp_path / "answers.txt", "old"))

    def full(self, data):
        with open(self, "wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    options = ["--source", source, "--output", output]
    assert "No space left" in error_of("evaluate", saved, *options)
    assert output.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["answers.txt", "pairs.tsv"]


@pytest.mark.once
@pytest.mark.parametrize("n_best, error", [(1, KeyboardInterrupt), (2, OSError)])
def test_what_was_interrupted_is_kept_and_gone_on_with(
    n_best, error, saved, tmp_path, run, capsys, monkeypatch, eagerly
):
    monkeypatch.setattr(keras_encdec.bulk, "WINDOW", 2)
    source = write(tmp_path / "lines.txt", DATA + b"\n")
    output = tmp_path / "answers.txt"
    command = ["generate", saved, "--source", source, "--sampler", "top-k"]
    command += ["--n-best", str(n_best), "--seed", "5"]
    whole = run(*command).out
    resumed = [*command, "--output", output, "--resume"]
    answers, asked = keras_encdec.bulk._answers, []

    def interrupted(generator, decode, rows, *args, **call):
        asked.append(len(rows))
        if len(asked) == 3:
            raise error("stop")
        return answers(generator, decode, rows, *args, **call)

    with monkeypatch.context() as patch:
        patch.setattr(keras_encdec.bulk, "_answers", interrupted)
        capsys.readouterr()
        assert main(list(map(str, resumed[:-1]))) == (130 if n_best == 1 else 2)
    said = capsys.readouterr().err
    (partial,) = tmp_path.glob("answers.txt.*.partial")
    assert f"4 of 6 texts are kept in {partial}; the same command with" in said
    assert not output.exists() and whole.startswith(partial.read_bytes().decode())
    # As a kill leaves it, in the middle of a text.
    partial.write_bytes(partial.read_bytes()[:-2])

    # Other work does not go on with it.
    other = run(*resumed, "--seed", 6)
    assert "0 of 6 texts are there" in other.err and partial.exists()
    assert output.read_text("utf-8") != whole
    found = run(*resumed)
    assert "3 of 6 texts are there" in found.err and "3 texts in " in found.err
    assert output.read_bytes().decode() == whole and not partial.exists()
    # Finished, it is left as it is, and no model is read.
    with monkeypatch.context() as patch:
        patch.setattr(TextToText, "load", None)
        said = run(*resumed).err
    assert f"All 6 texts are in {output} already" in said and " text in " not in said
    assert output.read_bytes().decode() == whole
    # Not so for other texts or options, or what is not from here.
    write(tmp_path / "lines.txt", b"12\n" * 5)
    assert "0 of 5 texts" in run(*resumed).err
    assert "0 of 5 texts" in run(*resumed, "--temperature", 2).err
    output.write_text("mine\n" * 5)
    assert "0 of 5 texts" in run(*resumed, "--temperature", 2).err


@pytest.mark.once
def test_only_files_are_gone_on_with(saved, tmp_path, error_of):
    source = write(tmp_path / "lines.txt", DATA)
    for options in (
        ["--source", source],
        ["--output", tmp_path / "answers.txt"],
        ["--source", source, "--output", "/dev/null"],
    ):
        line = error_of("generate", saved, "--resume", *options)
        assert "--resume goes on with the file of --output" in line


@pytest.mark.once
def test_the_time_left_is_shown_at_a_terminal(saved, run, stdin, monkeypatch):
    monkeypatch.setattr(keras_encdec.bulk, "WINDOW", 2)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    stdin(DATA)
    shown = run("generate", saved, "--max-length", 2).err
    assert re.search(r"\r2/6 texts, [\d,.]+/s, \d:\d\d:\d\d left *\r4/6 texts", shown)
    assert "6/6 texts" in shown and "0:00:00 left" in shown


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize(
    "command, output", [("generate", "a closed pipe"), ("evaluate", "/dev/full")]
)
def test_a_pipe_that_nobody_reads_is_no_error(command, output, saved, tmp_path):
    # As of `generate | head`, but sure to be closed before there is something to read.
    reading, writing = os.pipe()
    os.close(reading)
    if output == "/dev/full":
        os.close(writing)
        writing = os.open(output, os.O_WRONLY)
    source = write(tmp_path / "pairs.tsv", "12\ta\n")
    done = subprocess.run(
        [sys.executable, "-m", "keras_encdec", command, saved, "--source", source],
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    lines = [line for line in done.stderr.splitlines() if "keras-encdec" in line]
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    if output == "/dev/full":
        assert done.returncode == 2
        assert len(lines) == 1 and "No space left on device" in lines[0]
    else:
        assert done.returncode == 141 and not lines


# ---- Saved folders that are not whole


def broken(folder, how):
    untrained().save(folder)
    model, config = folder / "model.keras", folder / "text_to_text.json"
    if how == "no folder":
        shutil.rmtree(folder)
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
def test_an_interruption_is_no_traceback(saved, monkeypatch, capsys, stdin, interrupt):
    def load(folder, modules):
        try:
            interrupt()
        except KeyboardInterrupt as error:
            raise SystemError("bad argument to internal function") from error

    monkeypatch.setattr(TextToText, "load", load)
    stdin(b"12\n")
    assert main(["generate", saved]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.once
@pytest.mark.parametrize(
    "command",
    [
        *("init", "demo", "vocabulary", "train", "evaluate", "generate", "distill"),
        *("tune-rescoring", "export", "doctor"),
    ],
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


@pytest.mark.slow
def test_commands_take_a_checkpoint(preset, tmp_path, run):
    source = tmp_path / "source.txt"
    source.write_text("A man sleeps on a couch.\nTwo dogs\n")
    said = run("generate", preset, "--source", source).out.splitlines()
    assert said == TextToText.from_preset(preset)(source.read_text().splitlines())
    run("export", preset, tmp_path / "out", "--format", "hugging-face")
    config = (tmp_path / "out" / "config.json").read_text()
    assert '"model_type": "marian"' in config


@pytest.mark.once
def test_commands_take_the_languages_of_a_checkpoint(
    family_preset, tmp_path, run, error_of
):
    preset = family_preset("mbart50")
    source = tmp_path / "source.txt"
    source.write_text("A man sleeps on a couch.\nTwo dogs\n")
    languages = "--source-language", "de_DE", "--target-language"
    said = run("generate", preset.folder, "--source", source, *languages, "fr_XX").out
    expected = TextToText.from_preset(preset.folder, **preset.options)
    assert said.splitlines() == expected(source.read_text().splitlines())
    line = error_of("generate", preset.folder, "--source", source, *languages, "fr_FR")
    assert "--target-language must be a language" in line
    assert "'fr_FR'" in line and "such as 'fr_XX'" in line
    line = error_of("generate", preset.folder, "--source", source)
    assert "Give --target-language, such as" in line
    for command, *more in (
        ("evaluate", "--source", source, "--target", source),
        ("export", tmp_path / "out", "--format", "ctranslate2"),
    ):
        line = error_of(command, preset.folder, *more, *languages, "fr")
        assert "such as 'fr_XX'" in line


@pytest.mark.once
def test_others_are_told_no_language(preset, tmp_path, error_of, monkeypatch):
    source = tmp_path / "source.txt"
    source.write_text("a\tb\n")
    line = error_of("generate", preset, "--source", source, "--source-language", "de")
    assert "--source-language" in line and "'de'" in line
    # What is no checkpoint is refused before anything is imported.
    monkeypatch.setitem(sys.modules, "keras_encdec.backend", None)
    training = "train", "--source", source, "--output", tmp_path / "run"
    line = error_of(*training, "--target-language", "de")
    assert "Only a checkpoint" in line and "--target-language de with none" in line


def test_refuses_what_is_no_name_of_the_hub(capsys):
    with pytest.raises(SystemExit):
        main(["generate", "hf://name"])
    assert "hf://owner/name, with" in capsys.readouterr().err
