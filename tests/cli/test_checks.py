"""What is told before Keras is imported: in a process that cannot import it."""

import itertools
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tomllib

import pytest

from keras_encdec import demo
from keras_encdec.cli.checks import DEMO_FOLDERS
from keras_encdec.recipe import TOKENIZERS, make_tokenizer

pytestmark = pytest.mark.once

PROGRAM = """
import contextlib, importlib.abc, io, json, sys

class Reached(BaseException):
    pass

class WithoutKeras(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("keras", "tensorflow", "torch", "jax"):
            raise Reached(name)

sys.meta_path.insert(0, WithoutKeras())
from keras_encdec.cli import main

answers = []
for arguments in json.load(sys.stdin):
    with contextlib.redirect_stderr(io.StringIO()) as told:
        try:
            main(arguments)
        except SystemExit:
            pass
        except Reached as reached:
            print("reached", reached, file=sys.stderr)
    answers.append(told.getvalue())
print(json.dumps(answers))
"""
TRAIN = "train --source pairs.tsv --output run"
SHORTLIST = "shortlist saved --source pairs.tsv"
TUNE = "tune-rescoring saved --source pairs.tsv"
# Each with what it is told.
WRONG = {
    "demo --output file": "'file' is there already, and no folder",
    "demo --output file/x": "a file on the way",
    "demo --output other": "have it replaced with --overwrite",
    "demo --output other --overwrite": "'other' holds 'mine.txt' too",
    "demo --words 10 --held-out 10": "received --held-out=10 of 10 words",
    "vocabulary --input empty one.txt --output v": "reached",
    "vocabulary --input empty empty --output v": "none in 'empty', 'empty'",
    "vocabulary --input one.txt --output one.txt": "which is --input too",
    "vocabulary --input one.txt --output v --size 4": "--size: must be",
    "train --source empty --output run": "A training needs at least one line",
    f"{TRAIN} --target empty": "A training needs at least one line",
    f"{TRAIN} --validation-source empty": "A validation needs at least one line",
    "train --source pairs.tsv --output file": "'file' is something else",
    "train --source pairs.tsv --output file/x": "a file on the way",
    "train --source pairs.tsv --output other": "'other' is something else",
    "train --source pairs.tsv --output other --overwrite": "is something else",
    f"{TRAIN} --validation-target one.txt": "received 'one.txt' alone",
    f"{TRAIN} --monitor bleu": "received --monitor='bleu' and none",
    f"{TRAIN} --schedule noam --learning-rate 0.1": "received --learning-rate=0.1",
    f"{TRAIN} --teacher saved --r-drop 5": "one of them; received --r-drop=5.0",
    f"{TRAIN} --temperature 3": "--temperature is an option of --teacher",
    f"{TRAIN} --teacher-weight 0.3": "--teacher-weight is an option of --teacher",
    f"{TRAIN} --temperature 3 --teacher saved": "reached",
    f"{TRAIN} --tokenizer byte --continuation @@": "Only words are continued",
    f"{TRAIN} --tokenizer word --continuation @@": "reached",
    f"{TRAIN} --sampling 0.1 --target-tokenizer word": "=0.1 with 'word'",
    f"{TRAIN} --vocabulary one.txt --source-tokenizer word": "'word' and 'sentence",
    f"{TRAIN} --shared-vocabulary --source-tokenizer word": "of one kind",
    f"{TRAIN} --vocabulary-size 4": "--vocabulary-size: must be",
    f"{TRAIN} --vocabulary-size 259 --tokenizer byte-level-bpe": "and 4 special ids",
    f"{TRAIN} --hidden-dim 10 --num-heads 4": "--hidden-dim=10, --num-heads=4",
    f"{TRAIN} --hidden-dim 9 --num-heads 3": "need an even --hidden-dim",
    f"{TRAIN} --hidden-dim 9 --num-heads 3 --positions relative": "reached",
    f"{TRAIN} --hidden-dim 12 --num-heads 4 --positions rotary": "12 / 4",
    f"{TRAIN} --initial saved --tokenizer word": "--tokenizer='word' where it has one",
    f"{TRAIN} --initial saved --hidden-dim 9": "reached",
    f"{TRAIN} --initial hf://name": "is written hf://owner/name",
    "evaluate saved --source empty": "An evaluation needs at least one line",
    "evaluate saved --source pairs.tsv --target empty": "at least one line",
    "evaluate saved --source pairs.tsv --output pairs.tsv": "is --source or --target",
    "evaluate saved --source pairs.tsv --bleu-tokenize words": "13a",
    "evaluate saved --source pairs.tsv --k 3": "--k is an option of --sampler top-k",
    "generate saved --sampler greedy --beams 3": "--beams is an option of",
    "generate saved --source one.txt --output one.txt": "is --source too",
    "generate saved --source empty": "reached",
    "generate saved --beams 3 --n-best 5": "received 5 with --sampler beam --beams 3",
    "generate saved --sampler greedy --n-best 2": "received 2 with --sampler greedy",
    "generate saved --n-best 2": "reached",
    "generate saved --sampler mbr --n-best 2": "received 2 with --sampler mbr",
    "generate saved --samples 8": "--samples is an option of --sampler mbr; received",
    "generate saved --sampler mbr --beams 4": "--beams is an option of --sampler beam",
    "generate saved --sampler mbr --utility wer": "--utility: invalid choice: 'wer'",
    "generate saved --sampler mbr --samples 8 --utility bleu": "reached",
    "distill saved --source empty --output new": "A distillation needs at least one",
    "distill saved --source one.txt --output one.txt": "is --source too",
    "distill saved --source one.txt --output new --k 3": "it with --sampler beam",
    "distill saved --source - --output new --resume": "Name a file with each",
    "distill saved saved --source one.txt --output new --beams 5": "reached",
    f"{TUNE} --output new": "neither --scorer nor --reverse-scorer",
    f"{TUNE} --output - --scorer saved": "written to a file",
    f"{TUNE} --output new --scorer other": "is missing in 'other'",
    f"{TUNE} --output pairs.tsv --scorer saved": "is --source or --target",
    f"{TUNE} --output new --scorer saved --candidates 1": "--candidates: must be",
    f"{TUNE} --output new --scorer saved --beams 4": "received 8 with --sampler beam",
    f"{TUNE} --output new --scorer saved --sampler mbr": "received 8 with --sampler mb",
    f"{TUNE} --output new --reverse-scorer saved --sampler random": "reached",
    "generate saved --shortlist none": "A shortlist is read from a file",
    f"{SHORTLIST} --output -": "Name a file",
    f"{SHORTLIST} --output new --shortlist pairs.tsv": "no option --shortlist",
    f"{SHORTLIST} --output new --validation-target pairs.tsv": "Give both",
    f"{SHORTLIST} --output new --validation-source empty": "at least one line",
    f"{SHORTLIST} --output pairs.tsv": "is --source",
    "generate saved --rescore empty": "a file that tune-rescoring wrote",
    "generate saved --rescore saved/text_to_text.json": "KeyError: 'format'",
    "generate saved --rescore none.json": "'none.json'",
    "generate saved --rescore weights.json --n-best 4": "which has 3. Tune with more",
    "generate saved --rescore weights.json --beams 2": "received 3 with --sampler beam",
    "generate saved --rescore weights.json --output weights.json": "is --rescore too",
    "generate saved --rescore weights.json --n-best 3 --sampler beam": "reached",
    "generate saved --rescore gone.json": "'gone'",
    "evaluate saved --source pairs.tsv --rescore empty": "that tune-rescoring wrote",
    "evaluate saved --source pairs.tsv --rescore weights.json --beams 2": "received 3",
    "evaluate saved --source pairs.tsv --rescore weights.json --sampler mbr": "eived 3",
    "evaluate saved --source pairs.tsv --rescore weights.json": "reached",
    "calibrate saved saved --source pairs.tsv": "kept with one model",
    "calibrate hf://owner/name --source pairs.tsv": "hf://",
    "calibrate saved --source empty": "A calibration needs at least one line",
    "calibrate saved --source pairs.tsv --weights 2": "received 2 for 'saved'",
    "calibrate saved --source pairs.tsv": "reached",
    f"{TRAIN} --both-directions <a> <a>": "tell them apart; received <a> <a>",
    f"{TRAIN} --both-directions <a>": "--both-directions: expected 2 arguments",
    f"{TRAIN} --both-directions <a> <b>": "received sentencepiece, not shared. Give",
    f"{TRAIN} --both-directions <a> <b> --shared-vocabulary --tokenizer word": "word,",
    f"{TRAIN} --both-directions <a> <b> --shared-vocabulary": "reached",
    "train --corpus corpus --output run --both-directions <a> <b>": "and --both-direc",
    f"{TRAIN} --tag <a>": "--tag <a> with none. Leave it out",
    f"{TRAIN} --tag <a> --initial saved": "reached",
    "generate saved --tag <a>": "reached",
    "evaluate hf://owner/name --source pairs.tsv --tag <a>": "--tag <a> with 'hf://own",
    f"{TRAIN} --mixing-temperature 5": "received 5 with none. Name several",
    "train --corpus corpus --output run --mixing-temperature 5": "with corpus:1. Name",
    "train --corpus corpus:2 corpus --output run --mixing-temperature 5": "corpus:2",
    "train --corpus corpus --output run --mixing-temperature 0.5": "of at least 1",
    "train --corpus corpus corpus --output run --mixing-temperature 5": "reached",
    f"{TRAIN} --simcut 0": "--simcut: must be a number above 0",
    f"{TRAIN} --cutoff 0.1": "received 0.1 without its weight",
    f"{TRAIN} --simcut 3 --r-drop 5": "--r-drop=5.0 and --simcut=3.0",
    f"{TRAIN} --simcut 3 --teacher saved": "--simcut=3.0 and a teacher",
    f"{TRAIN} --source-dropout 1.5": "--source-dropout: must be a number above 0 and",
    f"{TRAIN} --source-shuffle 0.5": "--source-shuffle: must be a whole number",
    f"{TRAIN} --source-dropout 0.1 --source-infilling 0.3 --simcut 3": "reached",
    f"{TRAIN} --teacher saved other": "is missing in 'other'",
    f"{TRAIN} --teacher saved saved": "reached",
    "playground other": "is missing in 'other'",
    "playground saved saved saved": "of two side by side; received 'saved', 'saved'",
    "playground saved --port 0": "--port: must be",
    "playground saved --host a..b": "listens at an address of this machine",
    "playground saved --target-language de": "received --target-language de with",
    "playground saved saved": "reached",
    "generate saved --weights 2": "received 2 for 'saved'. Give as many",
    "evaluate saved saved --source pairs.tsv --weights 2 1 1": "received 2 1 1 for",
    "generate saved saved --weights 2 0": "--weights: must be",
    "generate saved other": "is missing in 'other'",
    "generate saved saved --weights 2 1": "reached",
    "export saved saved new": "reached",
    "export saved saved new --format onnx": "Only a SavedModel holds several models",
    "export saved saved": "received 'saved', which holds one. Name another place",
    "export saved file": "a file on the way",
    "export saved file --format onnx --overwrite": "and no folder",
    "export saved new --signatures beams": "did you mean beam?",
    "export saved new --signatures beam --format onnx": "takes --signatures",
    "export saved new --format ctranslate2 --quantization int7": "did you mean int8?",
    "export saved new --shortlist none": "A shortlist is read from a file",
    "export saved new --shortlist pairs.tsv --format onnx": "hold a shortlist",
    "export saved new --shortlist pairs.tsv": "reached",
    "export saved new --texts empty": "A proof needs at least one line",
    "export saved saved --format onnx --overwrite": "holds 'model.keras'",
    "export saved . --format litert --overwrite": "holds ids.json is replaced",
    "export saved new": "reached",
}


def weights_of(place):
    scorers = [{"model": place, "reverse": True}]
    facts = {"format": 2, "candidates": 3, "scorers": scorers, "weights": [1, 0.5]}
    return json.dumps(facts)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What each of `WRONG` is told, without the words before it."""
    folder = tmp_path_factory.mktemp("checks")
    for path, text in {
        "pairs.tsv": "one\teno\n",
        "one.txt": "one\n",
        "empty": "",
        "file": "x",
        "other/mine.txt": "mine",
        "saved/model.keras": "",
        "saved/text_to_text.json": "{}",
        "weights.json": weights_of("saved"),
        "corpus/corpus.json": "{}",
        "gone.json": weights_of("gone"),
    }.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    before = sorted(folder.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps([words.split() for words in WRONG]),
        cwd=folder,
        # Of another backend Keras is looked for before.
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    assert sorted(folder.rglob("*")) == before
    return dict(zip(WRONG, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_told_without_keras(words, answers):
    line = answers[words].splitlines()[-1]
    assert WRONG[words] in line, line
    assert line.startswith(("keras-encdec", "reached ")), line


def test_missing_packages_are_told_without_keras(tmp_path, monkeypatch, error_of):
    import keras_encdec.cli

    def reached(*arguments):
        raise AssertionError("The command was called.")

    monkeypatch.setattr(keras_encdec.cli, "_run", reached)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, text in {"model.keras": "", "text_to_text.json": "{}"}.items():
        (tmp_path / name).write_text(text)
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("a\tb\n")
    new = tmp_path / "new"
    train = ["train", "--source", pairs, "--output", new]
    for arguments, extra in (
        (["demo", "--output", new], "demo"),
        ([*train, "--tensorboard"], "tensorboard"),
        ([*train, "--target-tokenizer", "byte-level-bpe"], "byte-level-bpe"),
        ([*train, "--initial", "hf://owner/name"], "hub"),
        (["playground", tmp_path], "playground"),
        (["export", tmp_path, new, "--warm-up"], "serving"),
        (["export", tmp_path, new, "--format", "onnx"], "onnx"),
        (["export", tmp_path, new, "--format", "openvino"], "openvino"),
        (["export", tmp_path, new, "--format", "ctranslate2"], "ctranslate2"),
    ):
        assert f"pip install 'keras-encdec[{extra}]'" in error_of(*arguments)


ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md"), ROOT / "saved_models/README.md"]
READ = ("--source", "--target", "--validation-source", "--validation-target")
READ += ("--input", "--texts", "--vocabulary", "--shortlist")
OTHERS = ("--initial", "--teacher", "--scorer", "--reverse-scorer")
# Of a file that is the user's own.
OPTIONS = 'source = "pairs.tsv"\noutput = "runs/x"\n'


def documented(page):
    """The words of each command on a page, as a shell splits them."""
    text = page.read_text("utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"[|<>]", line.partition(" #")[0]):
                if words := re.match(r"\s*keras-encdec (.*)", part):
                    yield shlex.split(words[1])


def prepare(words):
    """Makes what a command reads, in the current folder; it is looked at, not read."""
    command, option = words[0], None
    if "--config" in words:
        path = pathlib.Path(words[words.index("--config") + 1])
        path.parent.mkdir(exist_ok=True)
        recipe = ROOT / path
        text = recipe.read_text("utf-8") if recipe.exists() else OPTIONS
        path.write_text(text, "utf-8")
        for name, value in tomllib.loads(text).items():
            words = [*words, f"--{name}", str(value)]
    folders = []
    commands = "evaluate", "generate", "distill", "tune-rescoring", "shortlist"
    if command in (*commands, "calibrate", "export", "playground"):
        folders += itertools.takewhile(lambda word: word[0] != "-", words[1:])
        # Behind the models stands what is written.
        del folders[max(len(folders) - 1, 1) if command == "export" else len(folders) :]
    for word in words:
        option = word if word.startswith("--") else option
        if option in READ and word != option:
            pathlib.Path(word).write_text("one\teno\n")
        if option in OTHERS and word != option:
            folders.append(word)
        if option == "--rescore" and word != option:
            pathlib.Path(word).write_text(weights_of("runs/of-weights"))
            folders.append("runs/of-weights")
        if option == "--corpus" and word != option:
            pathlib.Path(word.partition(":")[0]).mkdir(parents=True)
            pathlib.Path(word.partition(":")[0], "corpus.json").touch()
    for folder in folders:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        for name in ("model.keras", "text_to_text.json"):
            (pathlib.Path(folder) / name).touch()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_command_of_a_page_is_refused(page, tmp_path, monkeypatch, capsys):
    import keras_encdec.cli

    called = []
    monkeypatch.setattr(keras_encdec.cli, "_run", lambda *given: called.append(given))
    for number, words in enumerate(documented(page)):
        (tmp_path / str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))
        prepare(words)
        assert keras_encdec.cli.main(words) == 0, (words, capsys.readouterr().err)
        # One needs no Keras, and has written what it writes.
        called += [words] * (words[0] == "init")
        assert len(called) == number + 1
    commands = {
        "README": 4,
        "training": 21,
        "recipes": 16,
        "export": 3,
        "pretrained": 5,
    }
    commands |= {"scale": 7, "generation": 13, "text_to_text": 1}
    assert page.stem == "README" or len(called) == commands.get(page.stem, 0)


def test_what_is_told_of_others_is_so():
    assert DEMO_FOLDERS == demo.FOLDERS
    for kind in TOKENIZERS:
        tokenizer = make_tokenizer(kind, ["one two", "three"] * 20, 300)
        try:
            tokenizer.sample(["one"], alpha=0.1, seed=1)
            draws = True
        except NotImplementedError:
            draws = False
        assert draws == (kind == "sentencepiece")
