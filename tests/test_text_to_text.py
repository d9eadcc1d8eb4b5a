"""Texts in, texts out; and the folder that keeps what it takes."""

import copy
import dataclasses
import functools
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import keras_encdec.bulk
from keras_encdec import (
    BeamSampler,
    ByteTokenizer,
    CharacterTokenizer,
    Decoder,
    Encoder,
    EncoderDecoder,
    Generator,
    GreedySampler,
    RandomSampler,
    Sampler,
    SentencePieceTokenizer,
    TextToText,
    TopKSampler,
    WordTokenizer,
)
from keras_encdec.generation import (
    BadWords,
    ForcedFirst,
    MinimumLength,
    NoRepeatNGram,
    row_seeds,
)
from keras_encdec.protocol import GenerationModel

LINES = [
    "two men are at the stove preparing food",
    "a man in green holds a guitar",
    "ein Mann läuft über die Straße",
    "zwei Männer stehen am Herd",
]
HOSTILE = [
    "",
    "   ",
    b"caf\xe9 \xff\xfe",
    "😀 👩‍👩‍👧",
    "שלום עולם مرحبا",
    "</s> <pad> <s> <unk>",
    "tab\tnew\nline\x00end",
    "lone \ud800 surrogate",
    "long " * 300,
]
TOKENIZERS = {
    "bytes": ByteTokenizer(),
    "characters": CharacterTokenizer.from_texts(LINES),
    "words": WordTokenizer.from_texts(LINES),
    "pieces": SentencePieceTokenizer.train(LINES, 45),
}


def text_to_text_of(source, target, sampler=None, seed=0, **options):
    """A model with weights that are the same under every backend."""
    model = EncoderDecoder(
        source.vocabulary_size,
        16,
        32,
        num_heads=2,
        num_layers=1,
        target_vocabulary_size=target.vocabulary_size,
        tie_embeddings=False,
    )
    rng = np.random.default_rng(seed)

    def weight(variable):
        center = float(variable.path.endswith("gamma"))
        spread = 0.1 if len(variable.shape) == 1 else 0.6
        return (center + spread * rng.normal(size=variable.shape)).astype("float32")

    model.set_weights([weight(variable) for variable in model.weights])
    return TextToText(source, target, model, sampler, **options)


@pytest.fixture(scope="module")
def text_to_text():
    characters = TOKENIZERS["characters"]
    return text_to_text_of(characters, characters, RandomSampler(), max_length=5)


def test_it_is_encode_generate_decode(text_to_text):
    tokenizer = TOKENIZERS["characters"]
    generator = Generator(text_to_text.model, RandomSampler())
    sources = tokenizer.encode(LINES).to_list()
    ids = generator(sources, max_length=5, seed=5)
    expected = [text.decode() for text in tokenizer.decode(ids).numpy()]
    assert text_to_text(LINES, seed=5) == expected
    assert len(set(expected)) == len(LINES)
    assert text_to_text(LINES, seed=6) != expected
    ids = generator(sources, max_length=3)
    expected = [text.decode() for text in tokenizer.decode(ids).numpy()]
    assert text_to_text(LINES, max_length=3) == expected


@pytest.mark.slow
def test_results_stand_in_order_whatever_the_batch_size(text_to_text):
    # Of several lengths, so that sorting by length moves them all.
    texts = [line[:cut] for cut in (9, 3, 7) for line in LINES]
    expected = text_to_text(texts, seed=3)
    assert len(set(expected)) > len(texts) // 2
    for batch_size in (1, 5, 1000):
        assert text_to_text(texts, seed=3, batch_size=batch_size) == expected
    # The first texts do not depend on those that follow.
    assert text_to_text(texts[:3], seed=3) == expected[:3]


@pytest.mark.slow
def test_an_iterator_is_answered_as_a_list_is(text_to_text, monkeypatch):
    monkeypatch.setattr(keras_encdec.bulk, "WINDOW", 4)
    drawing = text_to_text.with_sampler("top_k")
    texts = [f"{'1 ' * (n % 5)}{n}" for n in range(11)]
    read = []

    def lines(first=0):
        for text in texts[first:]:
            read.append(text)
            yield text

    whole = drawing(texts, seed=7, max_length=5)
    done = []
    answers = drawing.generate(lines(), seed=7, max_length=5, progress=done.append)
    assert next(answers) == whole[0] and len(read) == 4
    assert [*answers] == whole[1:] and done == [4, 8, 11]
    # What went before is told by the place of the first.
    rest = drawing.generate(lines(6), first=6, seed=7, max_length=5)
    assert [*rest] == whole[6:]
    with pytest.raises(TypeError, match="Wrap a single text in a list"):
        drawing.generate("text")
    with pytest.raises(ValueError, match="max_length"):
        drawing.generate(lines(), max_length=0)


@pytest.mark.slow
def test_every_text_has_an_answer(text_to_text):
    answers = text_to_text(HOSTILE)
    assert len(answers) == len(HOSTILE)
    assert all(type(answer) is str for answer in answers)
    assert text_to_text([]) == []
    # A str and its bytes are one text.
    mixed = [line.encode() if i % 2 else line for i, line in enumerate(LINES)]
    for kind in (mixed, tuple(LINES), np.array(LINES)):
        assert text_to_text(kind) == text_to_text(LINES)


@pytest.mark.slow
def test_answers_of_bytes_are_text():
    # Random bytes are mostly not UTF-8.
    bytes_to_bytes = text_to_text_of(
        ByteTokenizer(), ByteTokenizer(), RandomSampler(5.0), max_length=8
    )
    answers = bytes_to_bytes(HOSTILE)
    assert any("\ufffd" in answer for answer in answers)
    assert "".join(answers).encode("utf-8")


@pytest.mark.once
def test_the_spelling_of_special_ids_is_text():
    tokenizer = ByteTokenizer()
    model = EncoderDecoder(260, 16, 32, num_heads=2, num_layers=1)
    rows = []

    class Spy:
        variables = ()

        def __getattr__(self, name):
            return getattr(model, name)

        def check_ids(self, source):
            rows.append(source)

    spied = TextToText(tokenizer, tokenizer, Spy(), max_length=1)
    spied(["</s><pad>"])
    assert rows[0].tolist() == [[4 + byte for byte in b"</s><pad>"] + [2]]


@pytest.mark.once
@pytest.mark.parametrize("texts", ["a single text", b"a single text"])
def test_refuses_a_single_text(text_to_text, texts):
    with pytest.raises(TypeError, match=r"batch of strings.*Wrap a single text"):
        text_to_text(texts)


@pytest.mark.once
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 0}, "max_length must be a positive integer"),
        ({"max_length": 2.5}, "max_length must be a positive.*received max_length=2.5"),
        (
            {"max_length": [3, 4]},
            r"max_length must be a positive.*received max_length=\[3, 4\]",
        ),
        (
            {"max_length": True},
            "max_length must be a positive.*received max_length=True",
        ),
        ({"seed": 2**31}, "seed must be an int that fits in 32 bits.*2147483648"),
        ({"seed": 0.5}, "seed must be an int that fits in 32 bits.*received 0.5"),
        ({"batch_size": 0}, "batch_size must be a positive integer"),
        ({"batch_size": -4}, "batch_size must be a positive.*received batch_size=-4"),
        ({"batch_size": 2.5}, "batch_size must be a positive.*received batch_size=2.5"),
        (
            {"num_return_sequences": 0},
            "num_return_sequences must be a positive integer",
        ),
    ],
)
def test_refuses_options(text_to_text, options, message):
    with pytest.raises(ValueError, match=message):
        text_to_text(LINES, **options)
    if list(options) == ["max_length"]:
        parts = text_to_text.source_tokenizer, text_to_text.target_tokenizer
        for make in (
            lambda: text_to_text.stream("text", **options),
            lambda: text_to_text.with_sampler(GreedySampler(), **options),
            lambda: TextToText(*parts, text_to_text.model, **options),
        ):
            with pytest.raises(ValueError, match=message):
                make()


@pytest.mark.once
@pytest.mark.parametrize("padding_id", [1, 259])
def test_refuses_tokenizers_that_pad_with_another_id(padding_id):
    model = EncoderDecoder(260, 16, 32, 2, 1, padding_id=padding_id)
    tokenizer = TOKENIZERS["bytes"]
    with pytest.raises(ValueError, match=f"padding_id=0, .* is {padding_id}. Build"):
        TextToText(tokenizer, tokenizer, model)


@pytest.mark.once
def test_a_text_too_long_for_the_positions_is_named_before_anything_runs():
    tokenizer = ByteTokenizer()
    model = EncoderDecoder(260, 16, 32, 2, 1, positions="learned", max_length=8)
    limited = TextToText(tokenizer, tokenizer, model, max_length=3)
    done = []
    texts = ["short", "1234567", "much too long", "too long"]
    message = "positions, 8; received 14 in text 3 of 4, and in 1 more: 'much too"
    with pytest.raises(ValueError, match=message):
        limited(texts, batch_size=1, progress=lambda *numbers: done.append(numbers))
    assert not done
    with pytest.raises(ValueError, match="received 9 in text 1 of 1: "):
        limited.stream(texts[3])
    assert len(limited(texts[:2])) == 2


@pytest.mark.once
def test_a_text_of_an_iterator_is_named_by_its_place(monkeypatch):
    monkeypatch.setattr(keras_encdec.bulk, "WINDOW", 2)
    tokenizer = ByteTokenizer()
    options = {"positions": "learned", "max_length": 8}
    model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1, **options)
    answers = TextToText(tokenizer, tokenizer, model, max_length=2).generate(
        iter(["one", "two", "three", "a long text"]), first=10
    )
    assert len([next(answers), next(answers)]) == 2
    with pytest.raises(ValueError, match="received 12 in text 14 of 14: 'a long text'"):
        next(answers)


@pytest.mark.once
@pytest.mark.parametrize("positions", [(8, None), (None, 8)])
def test_each_side_has_as_many_positions_as_it_has(positions):
    sizes, learned = (260, 16, 32, 2, 1), {"positions": "learned"}
    encoder, decoder = (
        part(*sizes, **(learned | {"max_length": size} if size else {}))
        for part, size in zip((Encoder, Decoder), positions, strict=True)
    )
    model = EncoderDecoder(encoder, decoder)
    text_to_text = TextToText(ByteTokenizer(), ByteTokenizer(), model, max_length=4)
    texts = [["short"], ["much too long"]]
    sources, targets = texts[:: 1 if positions[1] else -1]
    with pytest.raises(ValueError, match="positions, 8; received 14 in text 1"):
        text_to_text.score(sources, targets)
    assert text_to_text.score(targets, sources).shape == (1,)


@pytest.mark.once
def test_refuses_a_model_of_features():
    encoder = keras.Sequential([keras.Input((None, 5)), keras.layers.Dense(16)])
    model = EncoderDecoder(encoder, Decoder(260, 16, 32, 2, 1))
    with pytest.raises(ValueError, match="must take ids; received one of 5 features"):
        TextToText(ByteTokenizer(), ByteTokenizer(), model)


class Copies(GenerationModel):
    """Says a source again, and nothing of itself."""

    def encode(self, source):
        return source

    def new_cache(self, batch_size, length):
        return ()

    def step(self, tokens, index, memory, cache):
        return ops.one_hot(ops.take(memory, index, axis=1), 260), cache


@pytest.mark.once
def test_takes_any_model_that_generates_from_ids():
    bytes_ = ByteTokenizer()
    assert TextToText(bytes_, bytes_, Copies())(["one"], max_length=4) == ["one"]
    with pytest.raises(ValueError, match="source tokenizer must pad"):
        TextToText(ByteTokenizer(padding_id=3, unknown_id=0), bytes_, Copies())


def test_what_was_encoded_is_not_encoded_again(text_to_text, monkeypatch):
    texts = ["one", "", "another"]
    expected = text_to_text(texts, max_length=4)
    ids = text_to_text.encode(texts)
    monkeypatch.setattr(text_to_text, "source_tokenizer", None)
    assert text_to_text(ids, max_length=4) == expected


@pytest.mark.slow
def test_quantized_it_is_what_one_made_anew_is_and_stays_so_when_saved(tmp_path):
    characters = TOKENIZERS["characters"]
    text_to_text = text_to_text_of(characters, characters, max_length=5)
    before = text_to_text(LINES), text_to_text.score(LINES, LINES)
    text_to_text.model.quantize("int8")
    anew = TextToText(characters, characters, text_to_text.model, max_length=5)
    text_to_text.save(tmp_path / "saved")
    loaded = TextToText.load(tmp_path / "saved")
    for other in (anew, loaded):
        assert other(LINES) == text_to_text(LINES)
        found = text_to_text.score(LINES, LINES)
        np.testing.assert_allclose(other.score(LINES, LINES), found, rtol=1e-5)
        assert np.abs(found - before[1]).max() > 1e-3


def test_tells_what_it_is_made_of(text_to_text):
    told = repr(text_to_text)
    assert told.startswith("TextToText(source_tokenizer=")
    assert "sampler=RandomSampler(temperature=1.0), max_length=5)" in told


@pytest.mark.once
def test_refuses_a_tokenizer_larger_than_the_vocabulary():
    large, small = TOKENIZERS["bytes"], TOKENIZERS["words"]
    model = EncoderDecoder(
        260, 16, 32, 2, 1, target_vocabulary_size=small.vocabulary_size
    )
    TextToText(large, small, model)
    with pytest.raises(ValueError, match="target tokenizer must not .*received 260"):
        TextToText(small, large, model)
    model = EncoderDecoder(100, 16, 32, 2, 1, target_vocabulary_size=260)
    with pytest.raises(ValueError, match="source tokenizer must not .*260 and 100"):
        TextToText(large, large, model)


@pytest.mark.once
def test_refuses_what_is_no_sampler(text_to_text):
    tokenizer = text_to_text.source_tokenizer
    with pytest.raises(TypeError, match="sampler must be an object.*received <class"):
        TextToText(tokenizer, tokenizer, text_to_text.model, GreedySampler)


# Saved and loaded


@pytest.mark.slow
@pytest.mark.parametrize("name", TOKENIZERS)
def test_loaded_gives_the_same(name, tmp_path):
    tokenizer = TOKENIZERS[name]
    sampler = TopKSampler(k=7, temperature=1.5)
    saved = text_to_text_of(tokenizer, tokenizer, sampler, max_length=5)
    saved.generator.longest_targets = (1.5, 10)
    saved.save(tmp_path / "new" / "folder")
    loaded = TextToText.load(tmp_path / "new" / "folder")
    assert type(loaded.source_tokenizer) is type(tokenizer)
    assert loaded.sampler == sampler
    assert loaded.max_length == 5
    assert loaded.generator.longest_targets == (1.5, 10)
    texts = LINES + HOSTILE[:4]
    assert loaded(texts, seed=2) == saved(texts, seed=2)
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "README.md",
        "model.keras",
        "text_to_text.json",
    ]


ANSWER = """
import json, pathlib, sys
import keras
from keras_encdec import TextToText

answers = TextToText.load(sys.argv[1])(json.loads(sys.argv[2]), seed=9)
answer = {"backend": keras.config.backend(), "answers": answers}
pathlib.Path(sys.argv[3]).write_text(json.dumps(answer))
"""


@pytest.mark.slow
@pytest.mark.once
def test_loads_in_fresh_processes_under_other_backends(tmp_path):
    saved = text_to_text_of(
        TOKENIZERS["pieces"], TOKENIZERS["bytes"], RandomSampler(), max_length=6
    )
    saved.save(tmp_path / "saved")
    texts = LINES + ["", "😀"]
    root = Path(__file__).resolve().parents[1]
    children = {}
    for backend in ("jax", "torch"):
        arguments = [
            str(tmp_path / "saved"),
            json.dumps(texts),
            str(tmp_path / backend),
        ]
        children[backend] = subprocess.Popen(
            [sys.executable, "-c", ANSWER, *arguments],
            env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    expected = saved(texts, seed=9)
    for backend, child in children.items():
        output, _ = child.communicate()
        assert child.returncode == 0, output
        answer = json.loads((tmp_path / backend).read_text())
        assert answer == {"backend": backend, "answers": expected}


@pytest.fixture(scope="module")
def saved_folder(text_to_text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "saved"
    text_to_text.save(folder)
    return folder


@pytest.fixture
def copied_folder(saved_folder, tmp_path):
    for path in saved_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.once
def test_save_refuses_a_folder_that_is_there(text_to_text, tmp_path):
    folder = tmp_path / "saved"
    text_to_text.save(folder)
    (folder / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="there already"):
        text_to_text.save(folder)
    assert (folder / "mine").exists()
    text_to_text.save(folder, overwrite=True)
    assert not (folder / "mine").exists()
    assert TextToText.load(folder)(LINES) == text_to_text(LINES)
    (folder / "text_to_text.json").unlink()
    with pytest.raises(FileExistsError, match="holds text_to_text.json is replaced"):
        text_to_text.save(folder, overwrite=True)
    (tmp_path / "file").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="there already"):
            text_to_text.save(tmp_path / "file", overwrite=overwrite)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.once
def test_a_failed_save_leaves_nothing(text_to_text, tmp_path, monkeypatch):
    def save(path):
        Path(path).write_text("half")
        raise OSError("no space left on device")

    monkeypatch.setattr(text_to_text.model, "save", save)
    with pytest.raises(OSError, match="no space left"):
        text_to_text.save(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []
    # A folder that was there stays as it was.
    (tmp_path / "saved").mkdir()
    there = tmp_path / "saved" / "text_to_text.json"
    there.write_text("mine")
    with pytest.raises(OSError, match="no space left"):
        text_to_text.save(tmp_path / "saved", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    assert there.read_text() == "mine"


@pytest.mark.once
@pytest.mark.parametrize("file", ["model.keras", "text_to_text.json"])
def test_load_names_the_missing_file(copied_folder, file):
    (copied_folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"{file} is missing in"):
        TextToText.load(copied_folder)


@pytest.mark.once
def test_load_of_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        TextToText.load(tmp_path / "nowhere")


@pytest.mark.once
@pytest.mark.parametrize("kept", [0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("file", ["model.keras", "text_to_text.json"])
def test_load_refuses_a_truncated_file(copied_folder, file, kept):
    content = (copied_folder / file).read_bytes()
    (copied_folder / file).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match="must hold what TextToText.save wrote"):
        TextToText.load(copied_folder)


@pytest.mark.once
@pytest.mark.parametrize("place", [0.001, 0.3, 0.6])
def test_load_refuses_a_model_with_changed_bytes(copied_folder, place):
    content = bytearray((copied_folder / "model.keras").read_bytes())
    start = int(place * len(content))
    for index in range(start, start + 20):
        content[index] ^= 255
    (copied_folder / "model.keras").write_bytes(content)
    with pytest.raises(ValueError, match="must hold what TextToText.save wrote"):
        TextToText.load(copied_folder)


def change_config(folder, **changes):
    path = folder / "text_to_text.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.once
@pytest.mark.parametrize(
    "changes",
    [
        {"source_tokenizer": None},
        {"target_tokenizer": {"class_name": "Unheard", "config": {}}},
        {"sampler": 5},
        {"extra": 5},
        {"card": 5},
    ],
)
def test_load_refuses_another_config(copied_folder, changes):
    change_config(copied_folder, **changes)
    with pytest.raises(ValueError, match="must hold what TextToText.save wrote"):
        TextToText.load(copied_folder)


@pytest.mark.once
@pytest.mark.parametrize("content", ["[]", '"text"', "null", "{}", "\x00"])
def test_load_refuses_other_json(copied_folder, content):
    (copied_folder / "text_to_text.json").write_text(content)
    with pytest.raises(ValueError, match="must hold what TextToText.save wrote"):
        TextToText.load(copied_folder)


@pytest.mark.once
def test_load_refuses_a_tokenizer_larger_than_the_model(copied_folder):
    change_config(
        copied_folder,
        target_tokenizer=keras.saving.serialize_keras_object(ByteTokenizer()),
    )
    with pytest.raises(ValueError, match="target tokenizer must not have more ids"):
        TextToText.load(copied_folder)


@pytest.mark.slow
def test_what_version_0_1_0_wrote_answers_as_it_did():
    folder = Path(__file__).parent / "data" / "version_0_1_0"
    written = json.loads((folder / "expected.json").read_text())
    for name in ("words", "pieces", "bytes"):
        loaded = TextToText.load(folder / name)
        found = loaded(
            written["sources"],
            num_return_sequences=len(written[name][0]),
            return_scores=True,
        )
        for row, expected in zip(found, written[name], strict=True):
            texts, scores = zip(*row, strict=True)
            expected_texts, expected_scores = zip(*expected, strict=True)
            assert texts == expected_texts
            np.testing.assert_allclose(scores, expected_scores, atol=1e-4)


@pytest.mark.once
def test_load_names_what_a_later_version_wrote(copied_folder):
    assert json.loads((copied_folder / "text_to_text.json").read_text())["format"] == 2
    change_config(copied_folder, format=3)
    with pytest.raises(ValueError, match="format 3. Install the version that wrote it"):
        TextToText.load(copied_folder)


def unregistered(ids, logits, step):
    return logits


@pytest.mark.once
@pytest.mark.parametrize(
    "processor",
    [lambda ids, logits, step: logits, unregistered, functools.partial(unregistered)],
)
def test_save_refuses_what_could_not_be_loaded(text_to_text, processor, tmp_path):
    parts = text_to_text.source_tokenizer, text_to_text.target_tokenizer
    made = TextToText(*parts, text_to_text.model, processors=[processor])
    with pytest.raises(ValueError, match="processors=.*register_keras_serializable"):
        made.save(tmp_path / "saved")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_pickled_and_copied_it_answers_the_same(text_to_text):
    expected = text_to_text(LINES, seed=3)
    for other in (
        pickle.loads(pickle.dumps(text_to_text)),
        copy.deepcopy(text_to_text),
    ):
        assert other(LINES, seed=3) == expected
        assert other.model is not text_to_text.model
        assert other.generator.model is other.model


@pytest.mark.once
def test_load_runs_no_code(copied_folder):
    with pytest.warns(UserWarning, match="lambda"):
        code = keras.saving.serialize_keras_object(lambda logits, uniform: 1 / 0)
    change_config(copied_folder, sampler=code)
    with pytest.raises(ValueError, match="could not be read.*lambda.*unsafe"):
        TextToText.load(copied_folder)


MODULE = """
import dataclasses
import keras
from keras import ops
from keras_encdec import Sampler

@keras.saving.register_keras_serializable(package="tests_of_text_to_text")
@dataclasses.dataclass(frozen=True)
class LastSampler(Sampler):
    def __call__(self, logits, uniform):
        return ops.cast(ops.argmin(logits[:, 3:], axis=-1) + 3, "int32")
"""


@pytest.mark.once
def test_load_needs_the_classes_of_the_user(text_to_text, tmp_path, monkeypatch):
    @keras.saving.register_keras_serializable(package="tests_of_text_to_text")
    @dataclasses.dataclass(frozen=True)
    class LastSampler(Sampler):
        def __call__(self, logits, uniform):
            return ops.cast(ops.argmin(logits[:, 3:], axis=-1) + 3, "int32")

    tokenizer = text_to_text.source_tokenizer
    saved = TextToText(
        tokenizer, tokenizer, text_to_text.model, LastSampler(), max_length=4
    )
    saved.save(tmp_path / "saved")
    loaded = TextToText.load(tmp_path / "saved")
    assert loaded.sampler == LastSampler()
    assert loaded(LINES) == saved(LINES)
    # A process that has not imported the module of the class.
    name = "tests_of_text_to_text>LastSampler"
    keras.saving.get_custom_objects().pop(name)
    config = json.loads((tmp_path / "saved" / "text_to_text.json").read_text())
    config["sampler"]["module"] = "my_samplers"
    change_config(tmp_path / "saved", sampler=config["sampler"])
    with pytest.raises(ValueError, match="LastSampler.*name the module"):
        TextToText.load(tmp_path / "saved")
    (tmp_path / "samplers_of_the_user.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    again = TextToText.load(tmp_path / "saved", modules=["samplers_of_the_user"])
    assert again(LINES) == saved(LINES)
    keras.saving.get_custom_objects().pop(name)


@pytest.mark.slow
def test_another_sampler_keeps_the_rest(text_to_text):
    tokenizer, model = text_to_text.source_tokenizer, text_to_text.model
    processors = [MinimumLength(3)]
    first = TextToText(tokenizer, tokenizer, model, processors=processors, max_length=5)
    other = first.with_sampler(BeamSampler(2))
    expected = TextToText(
        tokenizer, tokenizer, model, BeamSampler(2), processors=processors, max_length=5
    )
    assert other(LINES) == expected(LINES)
    assert other.max_length == 5
    assert first.with_sampler(GreedySampler(), max_length=7).max_length == 7


def test_other_options_keep_the_rest(text_to_text):
    tokenizer, model = text_to_text.source_tokenizer, text_to_text.model
    processors = [MinimumLength(3)]
    first = TextToText(
        tokenizer, tokenizer, model, "beam", processors=processors, max_length=5
    )
    first.card["data"], first.temperature = "numbers", 2.0
    first.generator.longest_targets = (1.5, 10)
    other = first.with_options(dropout=0.3)
    assert other.model.options()["dropout"] == 0.3 != model.options()["dropout"]
    for name in ("source_tokenizer", "sampler", "max_length", "card", "temperature"):
        assert getattr(other, name) == getattr(first, name)
    assert other.generator.processors == first.generator.processors
    assert other.generator.longest_targets == (1.5, 10)
    np.testing.assert_array_equal(other.score(LINES, LINES), first.score(LINES, LINES))


def test_greedy_is_the_default(text_to_text):
    tokenizer = text_to_text.source_tokenizer
    default = TextToText(tokenizer, tokenizer, text_to_text.model)
    assert default.sampler == GreedySampler()


@pytest.mark.slow
def test_the_best_with_their_scores(text_to_text):
    parts = text_to_text.source_tokenizer, text_to_text.target_tokenizer
    beams = TextToText(
        *parts,
        text_to_text.model,
        BeamSampler(4),
        processors=[MinimumLength(2)],
        max_length=5,
    )
    best = beams(LINES, num_return_sequences=3, return_scores=True, batch_size=3)
    assert [len(row) for row in best] == [3] * len(LINES)
    for row in best:
        scores = [score for _, score in row]
        assert scores == sorted(scores, reverse=True)
    assert beams(LINES) == [row[0][0] for row in best]
    alone = beams(LINES, return_scores=True)
    assert [text for text, _ in alone] == [row[0][0] for row in best]
    expected = [row[0][1] for row in best]
    np.testing.assert_allclose([score for _, score in alone], expected, atol=1e-5)
    assert beams(LINES, num_return_sequences=1) == [[row[0][0]] for row in best]
    assert beams([], num_return_sequences=3) == []


@pytest.mark.slow
def test_beams_and_processors_are_saved_too(tmp_path):
    words = TOKENIZERS["words"]
    beams = text_to_text_of(
        words,
        words,
        BeamSampler(3, length_penalty=0.6),
        processors=[
            NoRepeatNGram(1),
            BadWords([[5], [6, 7]]),
            MinimumLength(ratio=0.5),
        ],
        max_length=6,
    )
    beams.save(tmp_path / "saved")
    loaded = TextToText.load(tmp_path / "saved")
    assert loaded.sampler == beams.sampler
    assert loaded.generator.processors == beams.generator.processors
    assert loaded(LINES) == beams(LINES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bytes", "characters", "words", "pieces"])
def test_pieces_that_stream_make_the_text(name):
    tokenizer = TOKENIZERS[name]
    made = text_to_text_of(tokenizer, tokenizer, RandomSampler(), max_length=12)
    seeds = keras.ops.convert_to_numpy(row_seeds(4, 1))
    for text in [*LINES[:2], ""]:
        pieces = list(made.stream(text, seed=seeds))
        assert "".join(pieces) == made([text], seed=4)[0]
        assert all(pieces)


def test_streams_one_text_and_no_beams(text_to_text):
    with pytest.raises(TypeError, match="text must be one string"):
        text_to_text.stream(["a list"])
    parts = text_to_text.source_tokenizer, text_to_text.target_tokenizer
    beams = TextToText(*parts, text_to_text.model, BeamSampler(2))
    with pytest.raises(ValueError, match="settles each token"):
        beams.stream("text")


@pytest.mark.slow
def test_scores_texts_as_the_generator_scores_their_ids(text_to_text):
    tokenizer, generator = TOKENIZERS["characters"], text_to_text.generator
    targets = LINES[::-1]
    expected = [
        generator.score(*(tokenizer([text]).to_list() for text in pair))[0][0]
        for pair in zip(LINES, targets, strict=True)
    ]
    for batch_size in (1, 3, 64):
        scores = text_to_text.score(LINES, targets, batch_size=batch_size)
        np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert text_to_text.score([], []).shape == (0,)
    with pytest.raises(ValueError, match="received 2 sources and 1 targets. Pair them"):
        text_to_text.score(["a", "b"], ["a"])
    for verb in (text_to_text.score, text_to_text.align, text_to_text.evaluate):
        with pytest.raises(TypeError, match="'one'. Wrap a single text in a list"):
            verb("one", "eins")


@pytest.mark.slow
def test_what_is_generated_has_the_score_it_was_given(text_to_text):
    greedy = text_to_text.with_sampler("greedy", max_length=300)
    texts, scores = zip(*greedy(LINES, return_scores=True), strict=True)
    ended = [i for i, text in enumerate(texts) if len(text) < 250]
    given = greedy.score([LINES[i] for i in ended], [texts[i] for i in ended])
    np.testing.assert_allclose(given, [scores[i] for i in ended], rtol=1e-4)


@pytest.mark.slow
def test_aligns_each_token_with_the_source(text_to_text):
    sources, targets = ["a man", "two men"], ["Mann", "Herd am"]
    pairs = text_to_text.align(sources, targets, batch_size=2)
    for source, target, pair in zip(sources, targets, pairs, strict=True):
        assert pair.source_tokens == [*source, "</s>"]
        assert pair.target_tokens == [*target, "</s>"]
        assert pair.weights.shape == (len(target) + 1, len(source) + 1)
        np.testing.assert_allclose(pair.weights.sum(axis=1), 1, rtol=1e-5)
        (alone,) = text_to_text.align([source], [target], layer=0, heads=2)
        np.testing.assert_allclose(pair.weights, alone.weights, atol=1e-6)
    assert text_to_text.align([], []) == []


def test_aligned_tokens_name_what_stands_around_a_text():
    tokenizer = WordTokenizer(["a", "b"], prefix_ids=[6], suffix_ids=[2, 7])
    (pair,) = text_to_text_of(tokenizer, tokenizer).align(["a b"], ["c"])
    assert pair.source_tokens == ["<6>", "a", "b", "</s>", "<7>"]
    assert pair.weights.shape == (4, 5)


def test_evaluates_what_it_generates(text_to_text):
    greedy = text_to_text.with_sampler("greedy")
    texts = greedy(LINES, max_length=4)
    scores = greedy.evaluate(LINES, texts, max_length=4, batch_size=3)
    assert scores.sequence_error_rate == scores.character_error_rate == 0
    assert scores.chrf == pytest.approx(100)
    assert greedy.evaluate(LINES, LINES, max_length=4).sequence_error_rate == 1
    with pytest.raises(ValueError, match="at least one"):
        greedy.evaluate([], [])


@pytest.mark.slow
def test_a_run_is_loaded_by_its_best_model(text_to_text, tmp_path):
    text_to_text.save(tmp_path / "run" / "best")
    assert TextToText.load(tmp_path / "run")(LINES) == text_to_text(LINES)


def test_a_sampler_has_a_name(text_to_text):
    beams = text_to_text.with_sampler("beam")
    assert beams.sampler == beams.generator.sampler == BeamSampler()
    tokenizer = TOKENIZERS["characters"]
    named = TextToText(tokenizer, tokenizer, text_to_text.model, "top-k")
    assert named.sampler == TopKSampler()
    assert "sampler=TopKSampler(temperature=1.0, k=" in repr(named)


PRESET_TEXTS = ["A man sleeps on a couch.", "Two dogs — naïve", "", "x " * 9]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_answers_as_a_checkpoint_does(preset, tmp_path):
    import transformers

    theirs = transformers.MarianMTModel.from_pretrained(preset).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(preset)
    batch = tokenizer(PRESET_TEXTS, return_tensors="pt", padding=True)
    expected = tokenizer.batch_decode(
        theirs.generate(**batch), skip_special_tokens=True
    )
    loaded = TextToText.from_preset(preset)
    assert loaded.max_length == 11 and loaded.sampler.num_beams == 4
    answers = loaded(PRESET_TEXTS)
    assert answers == [text.strip() for text in expected]
    assert len({*answers}) > 2
    loaded.save(tmp_path / "saved")
    assert TextToText.load(tmp_path / "saved")(PRESET_TEXTS) == answers


@pytest.mark.once
def test_settings_without_a_counterpart_need_a_sampler(preset, tmp_path):
    folder = shutil.copytree(preset, tmp_path / "preset")
    (folder / "generation_config.json").write_text('{"guidance_scale": 2.0}')
    with pytest.raises(ValueError, match=r"guidance_scale=2.0, .* sampler=Beam"):
        TextToText.from_preset(folder)
    loaded = TextToText.from_preset(folder, sampler="greedy", dtype="bfloat16")
    assert loaded.max_length == 64
    assert loaded.model.dtype_policy.variable_dtype == "bfloat16"
    assert loaded.generator.start_id == 54687
    with pytest.raises(ValueError, match="source_language"):
        TextToText.from_preset(folder, "nothing", sampler="greedy")


@pytest.mark.slow
def test_what_stands_before_each_target_is_not_asked_of_the_model(tmp_path):
    source = ByteTokenizer()
    target = ByteTokenizer(prefix_ids=[5, 9])
    model = EncoderDecoder(270, 16, 32, num_heads=2, num_layers=1)
    text_to_text = TextToText(source, target, model, max_length=6)
    rows = text_to_text.encode(["one", "another"])
    for sampler in (None, "beam"):
        each = text_to_text.with_sampler(sampler)
        assert each.generator.processors == (ForcedFirst((5, 9)),)
        np.testing.assert_array_equal(each.generator(rows, 6)[:, :2], [[5, 9]] * 2)
    text_to_text.save(tmp_path / "saved")
    loaded = TextToText.load(tmp_path / "saved")
    assert loaded.generator.processors == (ForcedFirst((5, 9)),)
    assert loaded(["one"]) == text_to_text(["one"])


@pytest.mark.once
def test_how_a_row_begins_may_be_said_otherwise():
    source, target = ByteTokenizer(), ByteTokenizer(prefix_ids=[5])
    model = EncoderDecoder(270, 16, 32, num_heads=2, num_layers=1)
    said = TextToText(source, target, model, processors=[ForcedFirst(7)])
    assert said.generator.processors == (ForcedFirst(7),)
    free = TextToText(source, target, model, force_prefix=False)
    assert free.generator.processors == ()
    assert free.with_sampler("beam").generator.processors == ()
    assert TextToText(target, source, model).generator.processors == ()
