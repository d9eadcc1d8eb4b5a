"""The proof finds what is wrong, and tells what is right."""

import json

import keras
import numpy as np
import pytest

from keras_encdec import (
    BeamSampler,
    CharacterTokenizer,
    EncoderDecoder,
    TextToText,
    export_saved_model,
)
from keras_encdec.export import proof

TEXTS = ["ab", "", "bca" * 5]
TWO = ["serving_default", "encode"]


@pytest.fixture(scope="module")
def text_to_text():
    return new_text_to_text()


def new_text_to_text():
    tokenizer = CharacterTokenizer.from_texts(["abc"])
    size = tokenizer.vocabulary_size
    model = EncoderDecoder(size, 16, 32, 2, 1, tie_embeddings=False)
    return TextToText(tokenizer, tokenizer, model, max_length=6)


@pytest.fixture(scope="module")
def folder(text_to_text, tmp_path_factory):
    path = tmp_path_factory.mktemp("proof") / "1"
    options = {"num_beams": 2, "proof_texts": TEXTS}
    return export_saved_model(text_to_text, path, **options)


@pytest.mark.slow
@pytest.mark.once
def test_reports_each_signature(folder):
    report = json.loads((folder / "assets.extra" / "report.json").read_text())
    assert report["format"] == 2
    assert report["texts"] == 3
    assert 0 < report["megabytes"] < 10
    assert 0 < report["load_seconds"] < 60
    beam = report["signatures"]["beam"]
    assert beam["inputs"] == {"text": "string (?)"}
    assert beam["outputs"] == {"text": "string (?, 2)", "score": "float32 (?, 2)"}
    assert len(report["signatures"]) == 7
    for signature in report["signatures"].values():
        assert 0 < signature["milliseconds_for_one"] < 60_000
        assert 0 <= signature["rounded"] <= 1


@pytest.fixture(scope="module")
def two_signatures(text_to_text, tmp_path_factory):
    path = tmp_path_factory.mktemp("two") / "1"
    return export_saved_model(text_to_text, path, signatures=TWO)


@pytest.mark.once
@pytest.mark.parametrize("signature", TWO)
def test_finds_another_model(two_signatures, signature):
    keras.utils.set_random_seed(1)
    other, folder = new_text_to_text(), two_signatures
    with pytest.raises(RuntimeError, match=f"(?s)of '{signature}'.*where Python"):
        proof.prove(other, folder, TEXTS, [signature], 6, BeamSampler(2))


@pytest.mark.slow
@pytest.mark.once
def test_what_fails_is_not_put_in_its_place(text_to_text, tmp_path, monkeypatch):
    monkeypatch.setattr(
        proof, "answer", lambda *args: {"text": np.array([b"x"] * 3, object)}
    )
    with pytest.raises(RuntimeError, match="must answer what Python answers"):
        export_saved_model(
            text_to_text,
            tmp_path / "1",
            signatures=["serving_default"],
            proof_texts=TEXTS,
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.once
def test_a_few_texts_may_be_rounded_and_no_number():
    expected = {
        "text": np.array([[b"a"], [b"b"], [b"c"], [b"d"]], object),
        "score": np.arange(4.0)[:, None],
    }

    def received(row, text=b"a", difference=0.0):
        text_of, score = expected["text"].copy(), expected["score"].copy()
        text_of[row], score[row] = text, score[row] + difference
        return {"text": text_of, "score": score}

    assert proof._compare("beam", expected, received(0)) == 0
    assert proof._compare("beam", expected, received(2, difference=0.3)) == 1
    with pytest.raises(RuntimeError, match="'text' of 'beam'"):
        proof._compare("beam", expected, received([1, 2]))
    with pytest.raises(RuntimeError, match="'score' of 'beam'"):
        proof._compare("beam", expected, received(0, difference=0.3))


@pytest.mark.once
def test_a_process_that_fails_says_why(tmp_path):
    with pytest.raises(RuntimeError, match="fresh process(?s:.)*does not exist"):
        proof._ask(tmp_path / "nothing", [])


@pytest.mark.once
def test_tensors_survive_as_text():
    tensors = {
        "text": np.array([b"\x00\xff", b"", "é".encode()], object),
        "ids": np.zeros((0, 3), "int32"),
        "score": np.array([[-np.inf, 0.5]], "float32"),
    }
    received = proof.decode_tensors(proof.encode_tensors(tensors))
    for name, tensor in tensors.items():
        assert received[name].shape == tensor.shape
        assert received[name].tolist() == tensor.tolist()
