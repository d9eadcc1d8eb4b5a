"""The command encode, and a training from what it wrote."""

import gzip

import pytest

import keras_encdec.run
from keras_encdec.text import Corpus, SentencePieceTokenizer

pytestmark = pytest.mark.once

LINES = [f"{word} {other}" for word in "abcdefgh" for other in "ijklmn"]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "letters.model"
    path.write_bytes(SentencePieceTokenizer.train(LINES, 20).proto)
    return path


@pytest.fixture
def files(tmp_path):
    """Two sources, one of them packed, and their targets."""
    paths = []
    for name, lines in (("a", LINES[:30]), ("b", LINES[30:])):
        for side, order in (("source", 1), ("target", -1)):
            path = tmp_path / f"{name}.{side}.gz"
            text = "\n".join(line[::order] for line in lines) + "\n"
            path.write_bytes(
                gzip.compress(text.encode()) if name == "a" else text.encode()
            )
            paths.append(path)
    return ["--source", paths[0], paths[2], "--target", paths[1], paths[3]]


def test_encodes_and_trains(tmp_path, files, vocabulary, run, error_of, monkeypatch):
    output = tmp_path / "corpus"
    encode = ["encode", *files, "--vocabulary", vocabulary, "--output", output]
    assert "48 of 48 pairs (0 too short" in run(*encode, "--min-length", 1).out
    assert "Choose another --output" in error_of(*encode)
    corpus = Corpus(output)
    tokenizer = SentencePieceTokenizer(str(vocabulary))
    expected = tokenizer.encode([line[::-1] for line in LINES]).to_list()
    found = corpus.ids("target", range(48))
    assert [list(map(int, ids)) for ids in found] == expected
    given = {}

    def train(text_to_text, sources, targets, **options):
        given.update(model=text_to_text, sources=sources, targets=targets)

    monkeypatch.setattr(keras_encdec.run, "train", train)
    small = ["--hidden-dim", 16, "--intermediate-dim", 16, "--num-heads", 2, "--remat"]
    command = ["train", "--output", tmp_path / "run", "--num-layers", 1, *small]
    run(*command, "--corpus", f"{output}:3", output)
    mixed = given["sources"]
    assert given["targets"] == () and mixed.times == [3, 1]
    assert [part.digest for part in mixed.parts] == [corpus.digest] * 2
    model = given["model"]
    assert model.source_tokenizer is model.target_tokenizer
    assert model.source_tokenizer.proto == tokenizer.proto
    assert model.model.decoder.blocks[0].remat


def test_a_training_goes_on_with_the_corpus(tmp_path, files, vocabulary, run, eagerly):
    output, folder = tmp_path / "corpus", tmp_path / "run"
    run("encode", *files, "--vocabulary", vocabulary, "--output", output)
    small = ["--hidden-dim", 16, "--intermediate-dim", 16, "--num-heads", 2]
    command = ["train", "--num-layers", 1, *small, "--epochs", 1]
    command += ["--corpus", output, "--output", folder]
    command += ["--sampling", 0.5]
    printed = run(*command).out
    assert "48 pairs; a pass over them is " in printed
    assert "Nothing is left to train" in run(*command).out


@pytest.mark.parametrize(
    "more, words",
    [
        (["--corpus", "nowhere"], "holds no corpus.json"),
        ([], "received neither"),
        (["--source", "FILE", "--corpus", "CORPUS"], "received both"),
        (["--corpus", "CORPUS", "--tokenizer", "byte"], "--corpus and --tokenizer"),
        (["--corpus", "CORPUS", "--tag", "__de__"], "--corpus and --tag"),
    ],
)
def test_a_training_has_texts_or_a_corpus(tmp_path, error_of, more, words):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "corpus.json").write_text("{}")
    file = tmp_path / "file"
    file.write_text("a\tb\n")
    places = {"FILE": file, "CORPUS": tmp_path / "corpus"}
    more = [places.get(word, word) for word in more]
    assert words in error_of("train", "--output", tmp_path / "run", *more)


def test_files_pair(tmp_path, files, vocabulary, error_of):
    error = error_of("encode", *files[:-1], "--vocabulary", vocabulary, "--output", "x")
    assert "received 2 and 1" in error
    short = tmp_path / "short"
    short.write_text("a\n")
    output = tmp_path / "corpus"
    pair = ["--source", files[1], "--target", short, "--output", output]
    error = error_of("encode", *pair, "--vocabulary", vocabulary)
    assert "ends after 1, the other goes on" in error and not output.exists()
