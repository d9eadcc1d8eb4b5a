"""Pairs of ids on disk, and batches of them."""

import json

import numpy as np
import pytest

from keras_encdec import build, train
from keras_encdec.text import (
    ByteTokenizer,
    CharacterTokenizer,
    Corpus,
    MixedPairs,
    PairsOfIds,
    SentencePieceTokenizer,
    TokenBatches,
    encode_corpus,
)

pytestmark = pytest.mark.once

TOKENIZER = ByteTokenizer()
RANDOM = np.random.default_rng(0)
SOURCES, TARGETS = (
    ["".join(RANDOM.choice([*"abcé "], RANDOM.integers(0, 30))) for _ in range(300)]
    for _ in range(2)
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora") / "corpus"
    pairs = zip(SOURCES, TARGETS, strict=True)
    encode_corpus(pairs, TOKENIZER, TOKENIZER, folder)
    return Corpus(folder)


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_those_of_the_texts(corpus, shuffle):
    options = {"batch_tokens": 200, "num_shapes": 6, "max_source_length": 20}
    options |= {"shuffle": shuffle, "seed": 3}
    tokenizers = TOKENIZER, TOKENIZER
    of_texts = TokenBatches(SOURCES, TARGETS, *tokenizers, **options)
    of_ids = TokenBatches(corpus, None, *tokenizers, **options)
    assert of_ids.shapes == of_texts.shapes and len(of_ids.shapes) > 3
    assert of_ids.tokens == of_texts.tokens and len(of_ids) == len(of_texts)
    first, count = len(of_texts) // 2, len(of_texts)
    pairs = zip(
        *(x.dataset(first, count).as_numpy_iterator() for x in (of_texts, of_ids)),
        of_ids.counts(first),
        strict=False,
    )
    for left, right, (tokens, size) in pairs:
        (source, target), labels, weights = left
        for one, other in zip(
            (source, target, labels, weights), (*right[0], *right[1:]), strict=True
        ):
            np.testing.assert_array_equal(one, other)
        assert size == source.size + labels.size
        assert tokens == np.count_nonzero(source) + np.count_nonzero(labels)
    for mine, theirs in zip(of_ids.ids, of_texts.ids, strict=True):
        assert [list(x) for x in mine] == [list(x) for x in theirs]


def test_what_is_cut_or_missing_is_said(corpus, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no corpus\.json"):
        Corpus(tmp_path)
    for path in corpus.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    ids = tmp_path / "target.ids"
    ids.write_bytes(ids.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"target\.ids.*is cut"):
        Corpus(tmp_path)
    assert isinstance(corpus, PairsOfIds) and not isinstance(SOURCES, PairsOfIds)


def test_subwords_are_drawn_of_ids_as_of_texts(tmp_path):
    texts = ["the cat sat on that hat", "a mat", "the hats on the cats"] * 8
    subwords = SentencePieceTokenizer.train(
        texts, 40, model_type="bpe", hard_vocab_limit=False
    )
    texts[0] += " öß"
    pairs = zip(texts, texts[::-1], strict=True)
    encode_corpus(pairs, subwords, subwords, tmp_path / "a")
    corpus, both = Corpus(tmp_path / "a"), (subwords, subwords)
    assert any(subwords.unknown_id in ids for ids in corpus.ids("source", range(24)))

    def batches(*pairs, first=0, count=12, **options):
        made = TokenBatches(*pairs, *both, 128, max_source_length=18, **options)
        return [
            (source.tolist(), target.tolist(), labels.tolist())
            for (source, target), labels, _ in made.dataset(
                first, count
            ).as_numpy_iterator()
        ]

    drawn = batches(corpus, None, sampling=0.4)
    assert batches(texts, texts[::-1], sampling=0.4) == drawn
    assert batches(corpus, None, sampling=0.4, first=5, count=7) == drawn[5:]
    # Of what a pass takes twice each has a draw of its own.
    mixed = batches(MixedPairs([corpus, corpus], [2, 1]), None, sampling=0.4)
    assert len({str(row) for batch in mixed for row in batch[0]}) > 12
    # Merges that are never left out are the usual subwords, in the usual batches.
    usual = batches(corpus, None, shuffle=False)
    assert batches(corpus, None, shuffle=False, sampling=0.0) == usual


def test_ids_take_as_few_bytes_as_they_can(corpus):
    facts = json.loads((corpus.folder / "corpus.json").read_text())
    assert facts["dtype"] == "<u2" and facts["pairs"] == len(corpus) == 300
    size = (corpus.folder / "source.ids").stat().st_size
    assert size == 2 * corpus.lengths()[:, 0].sum()


def test_ids_of_another_vocabulary_are_not_trained_on(corpus, tmp_path):
    corpus.require_tokenizers(ByteTokenizer(), ByteTokenizer())
    other = CharacterTokenizer.from_texts(["abc"])
    with pytest.raises(ValueError, match="whose targets are of another"):
        corpus.require_tokenizers(TOKENIZER, other)
    small = {"hidden_dim": 8, "intermediate_dim": 8, "num_layers": 1, "num_heads": 1}
    text_to_text = build(TOKENIZER, other, **small)
    with pytest.raises(ValueError, match="whose targets are of another"):
        train(text_to_text, MixedPairs([corpus], [2]), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()
