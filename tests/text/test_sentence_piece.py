"""SentencePiece tokenizers against the `sentencepiece` package."""

import collections
import concurrent.futures
import gzip
import math

import pytest
import sentencepiece

from keras_encdec.text import SentencePieceTokenizer

pytestmark = pytest.mark.once

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


def test_pieces_need_special_ids(tmp_path):
    prefix = str(tmp_path / "default")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=prefix,
        vocab_size=40,
        minloglevel=2,
    )
    with pytest.raises(ValueError, match="default.model' has none for padding_id"):
        SentencePieceTokenizer(prefix + ".model")
    tokenizer = SentencePieceTokenizer(prefix + ".model", padding_id=40)
    assert tokenizer.special_ids == (0, 1, 2, 40)
    assert tokenizer.vocabulary_size == 41
    processor = processor_of(tokenizer)
    rows = tokenizer.encode(TEXTS).to_list()
    assert rows == [processor.encode(text) + [2] for text in TEXTS]


def test_published_models_bring_their_ids(shared_data):
    folder = shared_data / "hugging_face"
    barthez = SentencePieceTokenizer(folder / "barthez" / "sentencepiece.bpe.model")
    assert barthez.special_ids == (0, 1, 2, 3)
    assert (barthez.start_id, barthez.padding_id) == (0, 1)
    with pytest.raises(ValueError, match="has none for padding_id. Pass padding_id=3"):
        SentencePieceTokenizer(folder / "opus-mt-en-mg" / "source.spm")
    marian = SentencePieceTokenizer(
        folder / "opus-mt-en-mg" / "source.spm", padding_id=32_000, start_id=32_000
    )
    assert (marian.end_id, marian.unknown_id, marian.vocabulary_size) == (2, 0, 32_001)
    for tokenizer in (barthez, marian):
        ids = tokenizer.encode(["A cat sat."])
        assert texts_of(tokenizer.decode(ids)) == ["A cat sat."]


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


# ---- Subwords drawn at random


@pytest.fixture(scope="module")
def unigram():
    texts = ["a cat sat on the mat", "the cats that sat", "a hat at the mat"] * 3
    return SentencePieceTokenizer.train(texts, 24, hard_vocab_limit=False)


@pytest.fixture(scope="module")
def bpe():
    texts = ["a cat sat on the mat", "the cats that sat", "a hat at the mat"] * 3
    return SentencePieceTokenizer.train(texts, 30, model_type="bpe")


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_samples_differ_but_say_the_same(kind, request):
    tokenizer = request.getfixturevalue(kind)
    texts = ["the cat sat", "", "a mat on the hat"]
    draws = [tokenizer.sample(texts, alpha=0.5, seed=seed) for seed in range(20)]
    for draw in draws:
        assert draw.dtype == "int32" and draw.to_list()[1] == [2]
        assert texts_of(tokenizer.decode(draw)) == texts
    assert len({str(draw.to_list()) for draw in draws}) > 2
    for seed, draw in enumerate(draws):
        again = tokenizer.sample(texts, alpha=0.5, seed=seed)
        assert again.to_list() == draw.to_list()


def test_samples_are_the_same_in_any_thread(bpe):
    texts = ["the cat sat on the mat"] * 5
    expected = bpe.sample(texts, alpha=0.5, seed=3).to_list()
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        for _ in range(5):
            draw = threads.submit(bpe.sample, texts, alpha=0.5, seed=3)
            assert draw.result().to_list() == expected


def test_without_dropout_of_merges_a_sample_is_the_encoding(bpe):
    texts = ["the cat sat", "a mat on the hat"]
    assert bpe.sample(texts, alpha=0, seed=1).to_list() == bpe.encode(texts).to_list()
    letters = bpe.sample(["cat"], alpha=1, seed=1).to_list()[0]
    assert len(letters) == len("▁cat") + 1


def test_samples_of_a_unigram_model_follow_its_probabilities(unigram):
    """By brute force over all ways to split a word, smoothed and normalized."""
    processor, alpha = processor_of(unigram), 0.5
    pieces = {
        processor.id_to_piece(i): (i, processor.get_score(i))
        for i in range(4, processor.get_piece_size())
    }

    def ways(text):
        if not text:
            yield (), 0.0
        for end in range(1, len(text) + 1):
            if text[:end] in pieces:
                number, score = pieces[text[:end]]
                for rest, others in ways(text[end:]):
                    yield (number, *rest), score + others

    found = dict(ways("▁that"))
    assert len(found) > 2
    weights = {way: math.exp(alpha * score) for way, score in found.items()}
    draws = unigram.sample(["that"] * 4000, alpha=alpha, seed=0).to_list()
    counts = collections.Counter(tuple(row[:-1]) for row in draws)
    assert counts.keys() <= weights.keys()
    for way, weight in weights.items():
        share = weight / sum(weights.values())
        deviation = math.sqrt(share * (1 - share) / 4000)
        assert abs(counts[way] / 4000 - share) < 5 * deviation


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_samples_need_a_share(unigram, alpha):
    with pytest.raises(ValueError, match="between 0 and 1"):
        unigram.sample(["a"], alpha=alpha, seed=0)
