"""The commands that train, run in this process, and what they leave."""

import csv
import dataclasses
import importlib.util
import inspect
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import types

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

import keras_encdec.run
from keras_encdec.cli import main
from keras_encdec.cli.program import program
from keras_encdec.interrupts import Terminated
from keras_encdec.model import Ensemble
from keras_encdec.recipe import build
from keras_encdec.tags import tag_id
from keras_encdec.text import (
    ByteLevelBPETokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    SentencePieceTokenizer,
    WordTokenizer,
)
from keras_encdec.text_to_text import TextToText
from keras_encdec.training import TrainingOptions

KINDS = {
    "byte": ByteTokenizer,
    "byte-level-bpe": ByteLevelBPETokenizer,
    "character": CharacterTokenizer,
    "sentencepiece": SentencePieceTokenizer,
    "word": WordTokenizer,
}
PAIRS = "one\teno\ntwo\towt\nthree\teerht\nfour\truof\n"
SMALL = "--hidden-dim 16 --intermediate-dim 16 --num-heads 2 --num-layers 1".split()
# Of the true one, before a test replaces it.
TRAIN = inspect.signature(keras_encdec.run.train).parameters
DEFAULTS = dataclasses.asdict(TrainingOptions())


@pytest.fixture
def training(monkeypatch):
    """Leaves out training; gives what it was asked for."""
    given = types.SimpleNamespace(options=None)

    def train(text_to_text, sources, targets, *, recipe, options_file, **options):
        given.text_to_text, given.recipe = text_to_text, recipe
        given.options_file = options_file
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


@pytest.mark.slow
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
        *("best", "checkpoints", "log.csv", "log.jsonl", "options.json"),
        "options.toml",
        "tensorboard",
    ]
    logged = {
        value.tag
        for path in output.glob("tensorboard/events*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    measured = {"tokens_per_second", "padding", "gradient_norm", "learning_rate"}
    assert {f"epoch_{x}" for x in {"loss", "val_bleu", *measured}} < logged
    lines = (output / "log.jsonl").read_text().splitlines()
    logs = [json.loads(line) for line in lines]
    assert [log["epoch"] for log in logs if "batch" not in log] == [1, 2]
    assert measured | {"loss", "val_chrf", "seconds_left", "time"} < set(logs[0])
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
    printed = run(*again).out
    assert f"Nothing is left to train in {output} after epoch 2.\n" in printed
    longer = f"To train longer: {program()} train --initial {output} --output ANOTHER "
    assert longer in printed and "\x1b" not in printed and "\b" not in printed
    after = safetensors.numpy.load_file(
        output / "checkpoints" / "epoch-00002.safetensors"
    )
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.slow
@pytest.mark.once
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
    run(
        *("train", "--source", pairs, "--output", tmp_path / "run", *SMALL),
        *("--tokenizer", kind, *["--shared-vocabulary"] * shared),
    )
    text_to_text = training.text_to_text
    model = text_to_text.model
    tables = model.source_embedding.table, model.target_embedding.table
    assert (tables[0] is tables[1]) == shared
    tokenizer = text_to_text.source_tokenizer
    assert type(tokenizer) is type(text_to_text.target_tokenizer) is KINDS[kind]
    unknown = tokenizer.unknown_id in tokenizer.encode(["f"]).to_list()[0]
    assert unknown == (not shared and not kind.startswith("byte"))


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
        "source_dropout": 0.1,
        "source_deletion": 0.2,
        "source_infilling": 0.3,
        "source_shuffle": 3,
        "ema": 0.99,
        "average": 4,
        "monitor": "bleu",
        "patience": 10,
        "max_length": 8,
        "seed": 9,
        "checkpoint_minutes": 30.0,
        "keep_checkpoints": 3,
        "log_seconds": 5.0,
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
        # Of a teacher, of an adapter, of SimCut and of SentencePiece.
        **{name: DEFAULTS[name] for name in ("teacher_weight", "temperature")},
        **{name: DEFAULTS[name] for name in ("lora", "lora_targets")},
        **{name: DEFAULTS[name] for name in ("simcut", "cutoff")},
        "sampling": None,
        "validation": (training.targets, training.sources),
        "folder": tmp_path / "run",
        "overwrite": False,
        "tensorboard": False,
    }
    recipe = training.recipe
    assert recipe["source_tokenizer"] == "word" and recipe["hidden_dim"] == 16
    assert recipe["initial"] is None and recipe["teacher"] is None
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
    defaults = {name: argument.default for name, argument in TRAIN.items()}
    assert options == {name: {**defaults, **DEFAULTS}[name] for name in options}
    assert {*DEFAULTS} - {"max_length"} < {*options}


@pytest.fixture
def first(tmp_path):
    """The saved model that a training can start from, in a run's folder."""
    tokenizer = ByteTokenizer()
    small = {"hidden_dim": 16, "intermediate_dim": 16, "num_heads": 2, "num_layers": 1}
    text_to_text = build(tokenizer, tokenizer, max_length=8, **small)
    text_to_text.save(tmp_path / "first" / "best")
    return text_to_text.model.get_weights()


@pytest.mark.once
def test_train_starts_from_a_trained_model_and_takes_a_teacher(
    tmp_path, pairs, first, training, run
):
    run(
        *("train", "--source", pairs, "--output", tmp_path / "second"),
        *("--initial", tmp_path / "first", "--teacher", tmp_path / "first"),
        *("--teacher-weight", 0.3, "--temperature", 2, "--seed", 4),
    )
    for one, other in zip(
        first, training.text_to_text.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    teacher = training.options["teacher"]
    assert teacher is not training.text_to_text.model
    assert training.options["teacher_weight"] == 0.3
    assert training.options["temperature"] == 2.0
    np.testing.assert_array_equal(teacher.get_weights()[0], first[0])
    assert training.recipe["initial"] == str(tmp_path / "first" / "best")


@pytest.mark.once
def test_several_teachers_are_one(tmp_path, pairs, first, training, run, error_of):
    places = [tmp_path / "first", tmp_path / "second"]
    TextToText.load(places[0]).save(places[1])
    given = ("train", "--source", pairs, "--output", tmp_path / "run")
    run(*given, "--initial", places[0], "--teacher", *places)
    teacher = training.options["teacher"]
    assert isinstance(teacher, Ensemble) and len(teacher.models) == 2
    assert training.recipe["teacher"] == [str(places[0] / "best"), str(places[1])]
    # Its ids would be read as others.
    said = error_of(*given, "--tokenizer", "character", "--teacher", *places)
    assert f"the model to train and --teacher {places[0]}" in said
    assert "whose source tokenizers have" in said


@pytest.mark.once
def test_what_a_trained_model_has_already_is_not_asked_of_it(
    tmp_path, pairs, first, error_of
):
    line = error_of(
        *("train", "--source", pairs, "--output", tmp_path / "second"),
        *("--initial", tmp_path / "first", *SMALL),
        *("--num-heads", 8, "--num-decoder-layers", 2),
        # Of these, given as they are when they are not given, one agrees.
        *("--hidden-dim", 256, "--dropout", 0.1),
    )
    # What agrees is no contradiction, and what is not given is none.
    assert (
        "received --hidden-dim=256 where it has 16; --num-heads=8 where it has 2; "
        "--num-decoder-layers=2 where it has 1. Leave that out"
    ) in line


@pytest.mark.once
def test_a_trained_model_goes_on_with_fewer_blocks_and_other_dropout(
    tmp_path, pairs, training, run
):
    tokenizer = ByteTokenizer()
    small = {"hidden_dim": 16, "intermediate_dim": 16, "num_heads": 2, "num_layers": 2}
    first = build(tokenizer, tokenizer, max_length=8, **small)
    first.model.quantize("int8")
    first.save(tmp_path / "first")
    run(
        *("train", "--source", pairs, "--output", tmp_path / "second"),
        *("--initial", tmp_path / "first", "--num-decoder-layers", 1),
        *("--dropout", 0.3, "--dtype", "mixed_bfloat16"),
    )
    model = training.text_to_text.model
    assert [len(x.blocks) for x in (model.encoder, model.decoder)] == [2, 1]
    assert model.options()["dropout"] == 0.3 and model.compute_dtype == "bfloat16"
    assert {str(x.dtype) for x in model.trainable_variables} == {"float32"}


@pytest.mark.once
def test_train_says_that_tensorboard_is_missing(
    tmp_path, pairs, monkeypatch, training, error_of
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    command = ["train", "--source", pairs, "--output", tmp_path / "run"]
    assert "keras-encdec[tensorboard]" in error_of(*command, "--tensorboard")
    assert training.options is None


QUICK = ["--epochs", 1, "--updates-per-epoch", 1, *SMALL]


@pytest.mark.once
def test_train_begins_anew_only_in_a_run_and_only_if_told(
    tmp_path, pairs, run, error_of
):
    output = tmp_path / "run"
    command = [
        *("train", "--source", pairs, "--output", output, "--tokenizer", "byte", *QUICK)
    ]
    run(*command)
    write(output / "old.txt", "old")
    line = error_of(*command, "--dropout", 0.5)
    assert "--dropout was 0.1 and is 0.5" in line
    assert line.endswith("start anew with --overwrite.")
    other = write(tmp_path / "other.tsv", "a\tb\n")
    assert "the texts are others" in error_of(*command[:2], other, *command[3:])
    run(*command, "--dropout", 0.5, "--overwrite")
    # What no training wrote stays.
    assert sorted(os.listdir(output)) == [
        *("best", "checkpoints", "log.csv", "log.jsonl", "old.txt", "options.json"),
        "options.toml",
    ]
    record = json.loads((output / "options.json").read_text())
    assert record["recipe"]["dropout"] == 0.5

    foreign = tmp_path / "foreign"
    foreign.mkdir()
    write(foreign / "mine.txt", "mine")
    for more in ([], ["--overwrite"]):
        assert "something else" in error_of(*command[:4], foreign, *command[5:], *more)
    assert os.listdir(foreign) == ["mine.txt"]


@pytest.mark.once
@pytest.mark.parametrize(
    "wrong, says",
    [
        (["--hidden-dim", 10, "--num-heads", 4], "--num-heads=4"),
        (["--activation", "gelo"], "received --activation='gelo', which Keras does "),
        (["--schedule", "noam", "--learning-rate", 0.1], "Leave it out, or"),
        (["--sampling", 0.1], "Only SentencePiece draws"),
        (["--batch-tokens", 2], "--batch-tokens is 2"),
        (["--accumulate", 9], "accumulate=9"),
        (["--monitor", "chrf"], "validation texts"),
        (["--tokenizer", "sentencepiece", "--vocabulary", "no.model"], "no.model"),
        (["--initial", "none"], "none"),
        (["--teacher", "none"], "none"),
    ],
)
def test_a_wrong_option_destroys_nothing_and_leaves_nothing(
    wrong, says, tmp_path, pairs, error_of
):
    (tmp_path / "old").mkdir()
    record = write(tmp_path / "old" / "options.json", '{"texts": "old"}')
    command = ["train", "--source", pairs, "--tokenizer", "byte", *QUICK, *wrong]
    for output in ("old", "new"):
        line = error_of(*command, "--output", tmp_path / output, "--overwrite")
        assert says in line
    assert pathlib.Path(record).read_text() == '{"texts": "old"}'
    assert sorted(os.listdir(tmp_path)) == ["old", "pairs.tsv"]


@pytest.mark.once
def test_train_may_replace_what_it_starts_from(tmp_path, run):
    text = "".join(f"{word} {word}\t{word}\n" for word in "one two six ten".split())
    pairs, model = write(tmp_path / "pairs.tsv", text), tmp_path / "v.model"
    run("vocabulary", "--input", pairs, "--output", model, "--size", 24)
    output = tmp_path / "run"
    command = ["train", "--source", pairs, "--output", output, *QUICK]
    run(*command, "--vocabulary", model)
    more = ["--initial", output, "--teacher", output]
    run(*command, *more, "--overwrite")
    # Given again, it goes on, and finds nothing left to do.
    assert f"left to train in {output} after epoch 1." in run(*command, *more).out
    run(*command, "--vocabulary", output / "source.model", "--overwrite")
    loaded = TextToText.load(output / "best")
    assert loaded.source_tokenizer.proto == model.read_bytes()


@pytest.mark.once
def test_a_training_that_diverges_has_a_status_of_its_own(tmp_path, pairs, capsys):
    command = ["train", "--source", pairs, "--tokenizer", "byte", *QUICK]
    command += [
        "--schedule",
        "constant",
        "--learning-rate",
        "1e30",
        "--output",
        tmp_path / "run",
    ]
    assert main(list(map(str, command))) == 1
    printed = capsys.readouterr()
    assert "The best model" not in printed.out
    assert printed.err.startswith("keras-encdec: error: The training diverged: after ")
    assert "a lower --learning-rate, a longer --warmup, or a --clip-norm" in printed.err
    assert not (tmp_path / "run").exists()


@pytest.mark.once
@pytest.mark.parametrize("message", ["", "Interrupted. Nothing is kept."])
def test_ctrl_c_has_a_status_of_its_own(tmp_path, pairs, monkeypatch, capsys, message):
    def train(*args, **options):
        raise KeyboardInterrupt(message)

    monkeypatch.setattr(keras_encdec.run, "train", train)
    command = ["train", "--source", pairs, "--tokenizer", "byte", *SMALL]
    assert main([*command, "--output", str(tmp_path / "run")]) == 130
    printed = capsys.readouterr()
    assert "The best model" not in printed.out
    assert printed.err == f"keras-encdec: {message or 'Interrupted.'}\n"


@pytest.mark.once
def test_sigterm_has_a_status_of_its_own(tmp_path, pairs, monkeypatch, capsys):
    def train(*args, **options):
        raise Terminated("Terminated. All is kept.")

    monkeypatch.setattr(keras_encdec.run, "train", train)
    command = ["train", "--source", pairs, "--tokenizer", "byte", *SMALL]
    assert main([*command, "--output", str(tmp_path / "run")]) == 143
    assert capsys.readouterr().err == "keras-encdec: Terminated. All is kept.\n"


@pytest.mark.slow
def test_ctrl_c_in_the_first_epoch_leaves_nothing(tmp_path, pairs):
    # What a shell starts in the background is deaf to it, with all that it starts.
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from keras_encdec.cli import main\n"
        "sys.exit(main())\n"
    )
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", code, "train", "--source", pairs),
            *("--tokenizer", "byte", "--updates-per-epoch", "1000000", *SMALL),
            *("--output", tmp_path / "run"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # The first line of the progress bar: from here on it waits for a batch's end.
    for line in process.stdout:
        if line.startswith("Epoch 1"):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert errors.endswith("there is no model yet, and nothing is kept.\n")
    assert "Traceback" not in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.once
def test_an_error_that_a_library_makes_of_ctrl_c_is_ctrl_c(
    tmp_path, pairs, monkeypatch, capsys, interrupt
):
    def step(*args):
        with pytest.raises(KeyboardInterrupt):
            for _ in range(2):
                interrupt()
        raise SystemError("Objects/listobject.c:338: bad argument to internal function")

    def make(self, force=False):
        self.train_function = step

    monkeypatch.setattr(keras.Model, "make_train_function", make)
    command = ["train", "--source", pairs, "--tokenizer", "byte", *QUICK]
    assert main([*map(str, command), "--output", str(tmp_path / "run")]) == 130
    errors = capsys.readouterr().err
    assert errors.endswith("there is no model yet, and nothing is kept.\n")
    assert not (tmp_path / "run").exists()


DATA = pathlib.Path(__file__).parents[1] / "data" / "version_0_1_0"


@pytest.mark.slow
@pytest.mark.parametrize(
    "lacks", [None, pytest.param("num_shapes", marks=pytest.mark.once)]
)
def test_goes_on_with_what_version_0_1_0_began(tmp_path, monkeypatch, run, lacks):
    shutil.copytree(DATA / "run", tmp_path / "run")
    record = tmp_path / "run" / "options.json"
    begun = json.loads(record.read_text())
    if lacks is not None:
        del begun[lacks]
        write(record, json.dumps(begun))
    pairs = DATA / "pairs.tsv"
    command = [
        *("train", "--source", pairs, "--validation-source", pairs),
        *("--output", tmp_path / "run", "--source-tokenizer", "character"),
        *("--target-tokenizer", "word", "--max-length", 12, "--hidden-dim", 16),
        *("--intermediate-dim", 32, "--num-heads", 2, "--num-layers", 1),
        *("--epochs", 4, "--batch-tokens", 64, "--learning-rate", 0.01),
        *("--ema", 0.9, "--average", 2),
    ]
    assert "after epoch 2 of 4" in run(*command).out
    rows, expected = (
        list(csv.DictReader(path.read_text().splitlines()))
        for path in (tmp_path / "run" / "log.csv", DATA / "log_of_all_epochs.csv")
    )
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    losses = [[float(row["val_loss"]) for row in each] for each in (rows, expected)]
    # Each backend draws its own dropout.
    exact = keras.config.backend() == "tensorflow"
    np.testing.assert_allclose(*losses, rtol=1e-4 if exact else 0.2)


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--source", "missing.tsv"], "'missing.tsv'"),
        (["--source", "no_tab.txt"], "line 1 of 'no_tab.txt' has no tab"),
        (["--source", "pairs.tsv", "--target", "no_tab.txt"], "same number of lines"),
        (["--source", "latin.tsv"], "line 2 of 'latin.tsv'"),
        (
            ["--source", "empty.tsv"],
            "A training needs at least one",
        ),
        (
            ["--source", "pairs.tsv", "--validation-source", "empty.tsv"],
            "A validation n",
        ),
        (
            ["--source", "pairs.tsv", "--monitor", "bleu"],
            "received --monitor='bleu'",
        ),
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
        (
            [
                "--source",
                "pairs.tsv",
                "--vocabulary",
                "v",
                "--target-tokenizer",
                "word",
            ],
            "with the tokenizers 'sentencepiece' and 'word'. Leave out",
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
    write(tmp_path / "v", "")
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
        *("--output", tmp_path / "run", "--sampling", 0.1, *SMALL),
    )
    assert training.options["sampling"] == 0.1
    text_to_text = training.text_to_text
    assert text_to_text.source_tokenizer.proto == model.read_bytes()
    assert text_to_text.target_tokenizer.proto == model.read_bytes()
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
    line = error_of(*command, write(tmp_path / "empty.en", ""))
    assert "at least one line" in line and "empty.en" in line
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
        *("demo", "--output", "x", "--size", "base", "--epochs", 3, "--words", 9),
        *("--held-out", 5, "--batch-tokens", 6, "--learning-rate", 7, "--seed", 8),
        "--overwrite",
    )
    options = {
        "size": "base",
        "epochs": 3,
        "words": 9,
        "held_out": 5,
        "batch_tokens": 6,
        "learning_rate": 7.0,
        "seed": 8,
        "overwrite": True,
    }
    assert given == [(("x",), options)]


# ---- a checkpoint


@pytest.mark.slow
@pytest.mark.once
def test_an_adapter_of_a_checkpoint_is_given_back_merged(
    tmp_path, pairs, preset, load_test_module, run
):
    output = tmp_path / "mine"
    more = ("--max-length", 10, "--label-smoothing", 0, "--learning-rate", 0.003)
    command = (
        *("train", "--initial", preset, "--lora", 2, "--lora-targets", "query", "key"),
        # Without dropout, which makes a batch of few texts seem worse.
        *("--validation-source", pairs),
        *("--source", pairs, "--output", output, "--epochs", 8, *more),
    )
    printed = run(*command)
    assert f"The adapter alone is in {output / 'adapter.safetensors'}." in printed.out
    record = json.loads((output / "options.json").read_text())
    assert record["options"]["lora"] == 2
    assert record["options"]["lora_targets"] == ["query", "key"]
    alone = safetensors.numpy.load_file(output / "adapter.safetensors")
    model = TextToText.load(output).model
    attentions = len(model.encoder_blocks) + 2 * len(model.decoder_blocks)
    assert len(alone) == 2 * 2 * attentions
    run("export", output, tmp_path / "out", "--format", "hugging-face")
    theirs = load_test_module("pretrained/checkpoints.py").Checkpoint.read(
        tmp_path / "out"
    )
    ours = TextToText.load(output)
    source, target = np.array([[5, 7, 0]]), np.array([[ours.model.padding_id, 9]])
    import torch

    with torch.no_grad():
        logits = theirs(
            input_ids=torch.tensor(source), decoder_input_ids=torch.tensor(target)
        ).logits.numpy()
    found = np.array(ours.model((source, target)))
    np.testing.assert_allclose(found, logits, atol=1e-4)
    before = np.array(TextToText.from_preset(preset).model((source, target)))
    assert np.abs(found - before).max() > 1e-4
    # The same again has nothing to do, and says so.
    assert "Nothing is left to train" in run(*command).out


@pytest.mark.once
def test_an_adapter_is_one_of_a_model_and_of_its_layers(
    tmp_path, pairs, first, error_of
):
    command = ("train", "--source", pairs, "--output", tmp_path / "second")
    initial = ("--initial", tmp_path / "first")
    line = error_of(*command, "--lora", 8)
    assert "--lora adapts a trained model; received no --initial." in line
    line = error_of(*command, *initial, "--lora-targets", "key")
    assert "--lora-targets are the layers that --lora adapts; received ('key',)" in line
    line = error_of(*command, *initial, "--lora", 2, "--lora-targets", "valeu")
    assert "received ['valeu']" in line and "Did you mean value?" in line
    line = error_of(*command, *initial, "--lora", 0)
    assert "--lora: must be a whole number of at least 1; received '0'" in line
    assert not (tmp_path / "second").exists()


@pytest.mark.once
def test_what_a_checkpoint_has_already_is_not_asked_of_it(
    tmp_path, pairs, preset, error_of
):
    line = error_of(
        *("train", "--source", pairs, "--output", tmp_path / "second"),
        *("--initial", preset, "--hidden-dim", 32, "--num-heads", 4),
        *("--positions", "rotary", "--num-decoder-layers", 1, "--activation", "silu"),
    )
    # The two sides of this one have other numbers of heads.
    assert (
        "received --hidden-dim=32 where it has 16; --num-heads=4 where it has 4 and 2; "
        "--positions='rotary' where it has 'sinusoidal'. Leave that out"
    ) in line


@pytest.mark.once
def test_both_directions_and_then_one(tmp_path, run):
    words = [f"{x}{y}" for x in "abc" for y in "abc"]
    rows = "".join(f"{word}\t{word[::-1]}{word}\n" for word in words)
    pairs = write(tmp_path / "pairs.tsv", rows)
    given = ("--source", pairs, "--validation-source", pairs, "--epochs", 1)
    given += ("--max-length", 8)
    both, one = tmp_path / "both", tmp_path / "one"
    run(
        *("train", *given, "--both-directions", "<long>", "<short>", "--output", both),
        *("--shared-vocabulary", "--vocabulary-size", 30, *SMALL),
    )
    found = TextToText.load(both)
    assert not found.source_tokenizer.prefix_ids
    assert found.model.source_embedding.table is found.model.target_embedding.table
    more = ("--initial", both, "--tag", "<long>", "--output", one)
    run("train", *given, *more)
    tagged = TextToText.load(one)
    assert tagged.source_tokenizer.prefix_ids == (
        tag_id(found.source_tokenizer, "<long>"),
    )
    # Of its own options it knows both tags.
    printed = run("train", "--config", both / "options.toml").out
    assert "Nothing is left to train" in printed
