"""The commands that train, run in this process, and what they leave."""

import csv
import importlib.util
import inspect
import json
import os
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

import keras_encdec.run
from keras_encdec.text import (
    ByteTokenizer,
    CharacterTokenizer,
    SentencePieceTokenizer,
    WordTokenizer,
)
from keras_encdec.text_to_text import TextToText

KINDS = {
    "byte": ByteTokenizer,
    "character": CharacterTokenizer,
    "sentencepiece": SentencePieceTokenizer,
    "word": WordTokenizer,
}
PAIRS = "one\teno\ntwo\towt\nthree\teerht\nfour\truof\n"
SMALL = "--hidden-dim 16 --intermediate-dim 16 --num-heads 2 --num-layers 1".split()
# Of the true one, before a test replaces it.
TRAIN = inspect.signature(keras_encdec.run.train).parameters


@pytest.fixture
def training(monkeypatch):
    """Leaves out training; gives what it was asked for."""
    given = types.SimpleNamespace(options=None)

    def train(text_to_text, sources, targets, **options):
        given.text_to_text = text_to_text
        given.sources, given.targets = sources, targets
        given.options = options

    monkeypatch.setattr(keras_encdec.run, "train", train)
    return given


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.fixture
def pairs(tmp_path):
    return write(tmp_path / "pairs.tsv", PAIRS)


# ---- train


def test_trains_generates_and_evaluates(tmp_path, pairs, run):
    output = tmp_path / "new" / "run"
    printed = run(
        *("train", "--source", pairs, "--output", output, "--tokenizer", "character"),
        *("--validation-source", pairs, "--epochs", 2, "--max-length", 7),
        *("--monitor", "chrf", "--average", 2, "--ema", 0.5, *SMALL),
        "--tensorboard",
    ).out
    assert "13 source and 13 target ids." in printed
    assert "4 pairs; a pass over them is 1 batches of 1 shapes" in printed
    assert printed.count("  source     three\n  reference  eerht\n") == 3
    assert f"The best model is in {output / 'best'}" in printed
    assert sorted(os.listdir(output)) == [
        *("best", "checkpoints", "log.csv", "options.json", "tensorboard")
    ]
    logged = {
        value.tag
        for path in output.glob("tensorboard/*/events*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    assert {"epoch_loss", "epoch_bleu", "epoch_chrf"} < logged
    with open(output / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "val_loss", "val_bleu", "val_chrf"} < set(rows[0])

    text_to_text = TextToText.load(output / "best")
    assert text_to_text.max_length == 7
    assert f"{text_to_text.model.count_params():,} parameters" in printed
    sources = write(tmp_path / "sources.txt", "one\ntwo\n")
    generated = run("generate", output, "--source", sources).out
    assert generated.splitlines() == text_to_text(["one", "two"])
    assert run("evaluate", output, "--source", pairs).out.startswith("texts  ")

    # The same again finds nothing left to do, and something else is refused.
    before = safetensors.numpy.load_file(
        output / "checkpoints" / "epoch-00002.safetensors"
    )
    again = [
        *("train", "--source", pairs, "--output", output, "--tokenizer", "character"),
        *("--validation-source", pairs, "--epochs", 2, "--max-length", 7),
        *("--monitor", "chrf", "--average", 2, "--ema", 0.5, *SMALL),
        "--tensorboard",
    ]
    assert f"Going on with {output}" in run(*again).out
    after = safetensors.numpy.load_file(
        output / "checkpoints" / "epoch-00002.safetensors"
    )
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_goes_on_exactly_after_a_kill(tmp_path, pairs):
    command = [
        *(sys.executable, "-m", "keras_encdec", "train", "--source", pairs),
        *("--validation-source", pairs, "--max-length", "7"),
        *("--tokenizer", "character", "--epochs", "6"),
        *("--ema", "0.9", "--accumulate", "2", "--dropout", "0.3", *SMALL),
        *("--batch-tokens", "16", "--updates-per-epoch", "3"),
    ]

    # All in processes of their own: how a library adds up depends on what else a
    # process has loaded.
    def train(output):
        command_line = [*command, "--output", output]
        return subprocess.run(
            command_line, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    train(tmp_path / "whole")
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [*command, "--output", killed],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 240
    while not list(killed.glob("checkpoints/epoch-*")) and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    assert "Going on with" in train(killed)
    last = "epoch-00006.safetensors"
    whole, parts = (
        safetensors.numpy.load_file(tmp_path / name / "checkpoints" / last)
        for name in ("whole", "killed")
    )
    assert whole.keys() == parts.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name], name)
    logs = [(tmp_path / name / "log.csv").read_text() for name in ("whole", "killed")]
    assert logs[0] == logs[1]


@pytest.mark.once
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_train_makes_the_tokenizers(kind, shared, tmp_path, training, run):
    pairs = write(tmp_path / "pairs.tsv", "a b c\td e\nb c a\te f f\n")
    output = tmp_path / "run"
    run(
        *("train", "--source", pairs, "--output", output, "--tokenizer", kind, *SMALL),
        *["--shared-vocabulary"] * shared,
    )
    text_to_text = training.text_to_text
    model = text_to_text.model
    tables = model.source_embedding.table, model.target_embedding.table
    assert (tables[0] is tables[1]) == shared
    tokenizer = text_to_text.source_tokenizer
    assert type(tokenizer) is type(text_to_text.target_tokenizer) is KINDS[kind]
    unknown = tokenizer.unknown_id in tokenizer.encode(["f"]).to_list()[0]
    assert unknown == (not shared and kind != "byte")
    assert type(TextToText.load(output / "best").target_tokenizer) is KINDS[kind]


@pytest.mark.once
def test_train_reads_two_files_and_passes_its_options_on(tmp_path, training, run):
    sources = write(tmp_path / "a.txt", "a b c\na\n")
    targets = write(tmp_path / "b.txt", "d e f g h\r\nd d\r\n")
    options = {
        "epochs": 6,
        "batch_tokens": 70,
        "num_shapes": 16,
        "updates_per_epoch": 11,
        "schedule": "constant",
        "learning_rate": 0.5,
        "warmup": 12,
        "clip_norm": 25.0,
        "weight_decay": 0.01,
        "accumulate": 3,
        "label_smoothing": 0.2,
        "r_drop": 5.0,
        "teacher_weight": 0.3,
        "temperature": 2.0,
        "sampling": 0.1,
        "ema": 0.99,
        "average": 4,
        "monitor": "bleu",
        "patience": 10,
        "max_length": 8,
        "seed": 9,
    }
    flags = [
        word
        for name, value in options.items()
        for word in (f"--{name.replace('_', '-')}", value)
    ]
    run(
        *("train", "--source", sources, "--target", targets),
        *("--validation-source", targets, "--validation-target", sources),
        *("--output", tmp_path / "run", "--source-tokenizer", "word"),
        *("--target-tokenizer", "character", "--vocabulary-size", 6),
        *("--num-decoder-layers", 2, "--post-norm", "--activation", "gelu"),
        *("--positions", "rotary", "--dropout", 0.4, "--attention-dropout", 0.2),
        *SMALL,
        *flags,
    )
    assert (training.sources, training.targets) == (
        ["a b c", "a"],
        ["d e f g h", "d d"],
    )
    assert training.options == {
        **options,
        "validation": (training.targets, training.sources),
        "teacher": None,
        "folder": tmp_path / "run",
    }
    text_to_text = training.text_to_text
    assert text_to_text.source_tokenizer.vocabulary == ("a", "b")
    assert text_to_text.target_tokenizer.vocabulary == (" ", "d")
    config = text_to_text.model.get_config()
    expected = {
        "num_decoder_layers": 2,
        "normalize_first": False,
        "activation": "gelu",
        "positions": "rotary",
        "dropout": 0.4,
        "attention_dropout": 0.2,
        "hidden_dim": 16,
    }
    assert {name: config[name] for name in expected} == expected


@pytest.mark.once
def test_train_leaves_training_its_defaults(tmp_path, pairs, training, run):
    output = tmp_path / "run"
    run("train", "--source", pairs, "--output", output, "--tokenizer", "byte", *SMALL)
    options = training.options
    assert options.pop("folder") == output and options.pop("max_length") == 256
    assert options == {name: TRAIN[name].default for name in options}


@pytest.mark.once
def test_train_starts_from_a_trained_model_and_takes_a_teacher(
    tmp_path, pairs, training, run
):
    first = tmp_path / "first"
    run("train", "--source", pairs, "--output", first, "--tokenizer", "byte", *SMALL)
    weights = training.text_to_text.model.get_weights()
    run(
        *("train", "--source", pairs, "--output", tmp_path / "second"),
        *("--initial", first, "--teacher", first, "--seed", 4),
    )
    for one, other in zip(
        weights, training.text_to_text.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    teacher = training.options["teacher"]
    assert teacher is not training.text_to_text.model
    np.testing.assert_array_equal(teacher.get_weights()[0], weights[0])


@pytest.mark.once
def test_train_says_that_tensorboard_is_missing(
    tmp_path, pairs, monkeypatch, training, error_of
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    command = ["train", "--source", pairs, "--output", tmp_path / "run"]
    assert "keras-encdec[tensorboard]" in error_of(*command, "--tensorboard")
    assert training.options is None


@pytest.mark.once
def test_train_begins_anew_only_in_a_run_and_only_if_told(
    tmp_path, pairs, training, run, error_of
):
    output = tmp_path / "run"
    command = [
        *("train", "--source", pairs, "--output", output, "--tokenizer", "byte", *SMALL)
    ]
    run(*command)
    write(output / "old.txt", "old")
    line = error_of(*command, "--dropout", 0.5)
    assert "dropout was 0.1 and is 0.5" in line and "--overwrite" in line
    other = write(tmp_path / "other.tsv", "a\tb\n")
    assert "texts was" in error_of(*command[:2], other, *command[3:])
    run(*command, "--dropout", 0.5, "--overwrite")
    assert sorted(os.listdir(output)) == ["best", "options.json"]
    assert json.loads((output / "options.json").read_text())["dropout"] == 0.5

    foreign = tmp_path / "foreign"
    foreign.mkdir()
    write(foreign / "mine.txt", "mine")
    for more in ([], ["--overwrite"]):
        assert "something else" in error_of(*command[:4], foreign, *command[5:], *more)
    assert os.listdir(foreign) == ["mine.txt"]


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--source", "missing.tsv"], "'missing.tsv'"),
        (["--source", "no_tab.txt"], "line 1 of 'no_tab.txt' has no tab"),
        (["--source", "pairs.tsv", "--target", "no_tab.txt"], "same number of lines"),
        (["--source", "latin.tsv"], "line 2 of 'latin.tsv'"),
        (["--source", "empty.tsv"], ""),
        (["--source", "pairs.tsv", "--validation-target", "pairs.tsv"], "-source"),
        (["--source", "pairs.tsv", "--validation-source", "missing.tsv"], "missing"),
        (["--source", "pairs.tsv", "--epochs", "0"], "--epochs: must be"),
        (["--source", "pairs.tsv", "--epochs", "many"], "--epochs: must be"),
        (["--source", "pairs.tsv", "--dropout", "1"], "--dropout: must be"),
        (["--source", "pairs.tsv", "--ema", "much"], "--ema: must be"),
        (["--source", "pairs.tsv", "--tokenizer", "letters"], "'letters'"),
        (["--source", "pairs.tsv", "--continuation", "@@"], "Only words"),
        (["--source", "pairs.tsv", "--vocabulary", "none.model"], "none.model"),
        (["--source", "pairs.tsv", "--initial", "none"], "none"),
        (
            [
                *("--source", "pairs.tsv", "--shared-vocabulary"),
                *("--source-tokenizer", "word"),
            ],
            "of one kind",
        ),
        ([], "--source"),
    ],
)
def test_train_says_what_is_wrong_before_training(
    arguments, says, tmp_path, monkeypatch, training, error_of
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "pairs.tsv", PAIRS)
    write(tmp_path / "no_tab.txt", "one\n")
    write(tmp_path / "latin.tsv", b"a\tb\ncaf\xe9\td\n")
    write(tmp_path / "empty.tsv", "")
    assert says in error_of("train", "--output", "run", *arguments)
    assert training.options is None
    assert not (tmp_path / "run").exists()


# ---- vocabulary


@pytest.mark.once
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_vocabulary_is_learned_and_shared(kind, tmp_path, training, run):
    texts = [f"{a}{b} and {b}{a}" for a in "one two six".split() for b in "ab"]
    english = write(tmp_path / "a.en", "\n".join(texts) + "\n")
    german = write(tmp_path / "a.de", "\n".join(texts[::-1]).replace("and", "und"))
    model = tmp_path / "vocabulary.model"
    printed = run(
        *("vocabulary", "--input", english, german, "--output", model),
        *("--size", 30, "--type", kind),
    ).out
    assert printed.endswith(f" ids from 12 lines: {model}\n")
    run(
        *("train", "--source", english, "--target", german, "--vocabulary", model),
        *("--output", tmp_path / "run", *SMALL),
    )
    text_to_text = training.text_to_text
    assert text_to_text.source_tokenizer.proto == model.read_bytes()
    assert text_to_text.target_tokenizer.proto == model.read_bytes()
    for side in ("source", "target"):
        stored = tmp_path / "run" / f"{side}.model"
        assert stored.read_bytes() == model.read_bytes()
    embeddings = (
        text_to_text.model.source_embedding,
        text_to_text.model.target_embedding,
    )
    assert embeddings[0].table is embeddings[1].table


@pytest.mark.once
def test_a_vocabulary_needs_a_place_and_texts(tmp_path, error_of):
    texts = write(tmp_path / "a.en", "one two\n")
    command = ["vocabulary", "--output", tmp_path / "no" / "v.model", "--input"]
    assert "Make the folder first" in error_of(*command, texts)
    command[2] = tmp_path / "v.model"
    assert "missing.en" in error_of(*command, tmp_path / "missing.en")
    assert "more text" in error_of(*command, write(tmp_path / "empty.en", ""))
    assert not command[2].exists()


# ---- demo


@pytest.mark.once
def test_demo_passes_its_options_on(monkeypatch, run):
    import keras_encdec.demo

    given = []
    monkeypatch.setattr(
        keras_encdec.demo,
        "run_demo",
        lambda *args, **kwargs: given.append((args, kwargs)),
    )
    run(
        *("demo", "--output", "x", "--size", "base", "--epochs", 3, "--words", 4),
        *("--held-out", 5, "--batch-tokens", 6, "--learning-rate", 7, "--seed", 8),
        "--overwrite",
    )
    options = {
        "size": "base",
        "epochs": 3,
        "words": 4,
        "held_out": 5,
        "batch_tokens": 6,
        "learning_rate": 7.0,
        "seed": 8,
        "overwrite": True,
    }
    assert given == [(("x",), options)]
