"""SentencePiece tokenizers against the `sentencepiece` package."""

import gzip

import pytest
import sentencepiece

from keras_encdec.text import SentencePieceTokenizer

TEXTS = [
    "two men are at the stove",
    "ein Mann läuft über die Straße",
    "a man in a blue shirt is standing",
    "zwei Männer stehen am Herd",
]
ODD_TEXTS = ["</s> <pad> <s> <unk>", "日本語 and 😀", "e\u0301 \u00a0 x\x00y"]
PIECES = SentencePieceTokenizer.train(TEXTS, 40)
OTHER_PIECES = SentencePieceTokenizer.train(TEXTS[1::2], 30, model_type="bpe")


def texts_of(strings):
    return [text.decode() for text in strings.numpy()]


def processor_of(tokenizer):
    return sentencepiece.SentencePieceProcessor(model_proto=tokenizer.proto)


@pytest.mark.parametrize("tokenizer", [PIECES, OTHER_PIECES])
def test_pieces_are_those_of_the_sentencepiece_package(tokenizer):
    processor = processor_of(tokenizer)
    assert tokenizer.vocabulary_size == processor.get_piece_size()
    texts = TEXTS + ODD_TEXTS
    rows = tokenizer.encode(texts).to_list()
    assert rows == [processor.encode(text) + [2] for text in texts]
    decoded = [processor.decode(row) for row in rows]
    assert texts_of(tokenizer.decode(rows)) == decoded


def test_pieces_of_real_german(shared_data):
    with gzip.open(shared_data / "multi30k" / "raw" / "val.de.gz", "rt") as file:
        texts = file.read().splitlines()
    tokenizer = SentencePieceTokenizer.train(texts, 1000)
    processor = processor_of(tokenizer)
    rows = tokenizer.encode(texts).to_list()
    assert rows == [processor.encode(text) + [2] for text in texts]
    known = [(row, text) for row, text in zip(rows, texts, strict=True) if 3 not in row]
    assert len(known) > 900
    rows, texts = zip(*known, strict=True)
    assert texts_of(tokenizer.decode(rows)) == [" ".join(t.split()) for t in texts]


def test_pieces_from_a_file(tmp_path):
    path = tmp_path / "pieces.model"
    path.write_bytes(PIECES.proto)
    for each in (path, str(path)):
        tokenizer = SentencePieceTokenizer(each)
        assert tokenizer.encode(TEXTS).to_list() == PIECES.encode(TEXTS).to_list()


def test_training_takes_options_and_iterables():
    options = {"model_type": "bpe", "byte_fallback": True}
    tokenizer = SentencePieceTokenizer.train(iter(TEXTS), 300, **options)
    ids = tokenizer.encode(["日本"])
    assert 3 not in ids.to_list()[0]
    assert texts_of(tokenizer.decode(ids)) == ["日本"]


def test_pieces_refuse_a_bad_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="not there.*train"):
        SentencePieceTokenizer(tmp_path / "missing.model")
    corrupt = tmp_path / "corrupt.model"
    corrupt.write_bytes(PIECES.proto[:-50])
    with pytest.raises(ValueError, match="corrupt.model.*SentencePiece refuses"):
        SentencePieceTokenizer(corrupt)
    for proto in (b"", b"junk"):
        with pytest.raises(ValueError, match=f"received {len(proto)} bytes"):
            SentencePieceTokenizer(proto)
    with pytest.raises(TypeError, match="received int"):
        SentencePieceTokenizer(5)


def test_pieces_refuse_other_special_ids(tmp_path):
    prefix = str(tmp_path / "default")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=prefix,
        vocab_size=40,
        minloglevel=2,
    )
    with pytest.raises(ValueError, match=r"'pad_id': 0.*'pad_id': -1.*train` does"):
        SentencePieceTokenizer(prefix + ".model")


def test_training_refuses():
    with pytest.raises(ValueError, match="vocabulary_size=5000.*a value <= "):
        SentencePieceTokenizer.train(TEXTS, 5000)
    with pytest.raises(ValueError, match="vocabulary_size=5,.*Increase vocab_size"):
        SentencePieceTokenizer.train(TEXTS, 5)
    with pytest.raises(ValueError, match="0 texts"):
        SentencePieceTokenizer.train([], 40)
    with pytest.raises(ValueError, match="model_type='words'"):
        SentencePieceTokenizer.train(TEXTS, 40, model_type="words")
    with pytest.raises(TypeError, match="received 'a b'"):
        SentencePieceTokenizer.train("a b", 40)
    with pytest.raises(TypeError, match=r"received int \(1\) at index 1"):
        SentencePieceTokenizer.train(["a", 1], 40)
