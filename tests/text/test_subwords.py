"""Draws of subwords against brute force and SentencePiece's own."""

import collections
import gzip
import math
import random
import subprocess
import sys

import pytest
import sentencepiece

from keras_encdec.text import SentencePieceTokenizer
from keras_encdec.text.subwords import merge_at_random, split_at_random

pytestmark = pytest.mark.once

MERGES = {"ab": 0.0, "bc": -1.0, "abc": -2.0, "cd": -3.0}
SHARES = {
    piece: math.log(share)
    for share, pieces in [(0.1, ["a", "c", "abc"]), (0.2, ["b", "bc"]), (0.3, ["ab"])]
    for piece in pieces
}
DRAWS = 20_000


def shares_of(draw):
    generator = random.Random(0)
    counts = collections.Counter(tuple(draw(generator)) for _ in range(DRAWS))
    return {way: count / DRAWS for way, count in counts.items()}


def agree(found, expected):
    return found.keys() <= expected.keys() and all(
        abs(found.get(way, 0) - share) < 5 * math.sqrt(share * (1 - share) / DRAWS)
        for way, share in expected.items()
    )


def test_all_merges_make_the_usual_pieces():
    merged = merge_at_random("abcdab", MERGES, 0, random.Random(0))
    assert merged == ["abc", "d", "ab"]
    assert merge_at_random("abcd", MERGES, 1, random.Random(0)) == list("abcd")
    assert merge_at_random("", MERGES, 0, random.Random(0)) == []


def test_a_merge_is_left_out_once_with_its_probability():
    """The ways through "abc", by hand: ab, else bc, and then abc from either."""
    p = 0.3
    found = shares_of(lambda draw: merge_at_random("abc", MERGES, p, draw))
    expected = {
        ("abc",): (1 - p) * (1 - p) + p * (1 - p) * (1 - p),
        ("ab", "c"): (1 - p) * p,
        ("a", "bc"): p * (1 - p) * p,
        ("a", "b", "c"): p * p,
    }
    assert math.isclose(sum(expected.values()), 1)
    assert agree(found, expected)
    assert not agree(found, {**expected, ("abc",): 0.5, ("a", "bc"): 0.1})


@pytest.mark.parametrize("smoothing", [0, 0.5, 1])
def test_splits_follow_their_smoothed_probabilities(smoothing):
    ways = [("a", "b", "c"), ("ab", "c"), ("a", "bc"), ("abc",)]
    weights = {way: math.exp(smoothing * sum(SHARES[p] for p in way)) for way in ways}
    total = sum(weights.values())
    found = shares_of(lambda draw: split_at_random("abc", SHARES, smoothing, draw))
    assert agree(found, {way: weight / total for way, weight in weights.items()})


def test_splits_pass_by_places_where_no_piece_ends():
    scores = {"a": -1.0, "bc": -1.0, "abc": -3.0}
    for seed in range(20):
        way = split_at_random("abcabc", scores, 0.5, random.Random(seed))
        assert "".join(way) == "abcabc" and set(way) <= scores.keys()
    assert split_at_random("", scores, 0.5, random.Random(0)) == []


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_draws_are_as_long_as_those_of_sentencepiece(kind, shared_data):
    with gzip.open(shared_data / "multi30k" / "raw" / "val.en.gz", "rt") as file:
        texts = file.read().splitlines()
    tokenizer = SentencePieceTokenizer.train(texts, 800, model_type=kind)
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.proto)
    theirs = [
        len(processor.encode(text, enable_sampling=True, alpha=0.2, nbest_size=-1))
        for text in texts
    ]
    ours = tokenizer.sample(texts, alpha=0.2, seed=0).row_lengths().numpy() - 1
    assert ours.sum() == pytest.approx(sum(theirs), rel=0.02)
    assert ours.sum() > 1.1 * (tokenizer.encode(texts).flat_values.shape[0] - len(ours))


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_bytes_and_pieces_of_the_user_stay_as_they_are(kind):
    tokenizer = SentencePieceTokenizer.train(
        ["the cat sat", "a mat and a hat"] * 3,
        290,
        model_type=kind,
        byte_fallback=True,
        user_defined_symbols=["<name>"],
        hard_vocab_limit=False,
    )
    text = "<name> sat on é 日"
    for seed in range(10):
        ids = tokenizer.sample([text], alpha=0.5, seed=seed)
        assert tokenizer.decode(ids).numpy()[0].decode() == text
        assert ids.to_list()[0].count(tokenizer.encode(["<name>"]).to_list()[0][1]) == 1


@pytest.mark.slow
def test_draws_are_the_same_in_another_process(tmp_path):
    tokenizer = SentencePieceTokenizer.train(["the cat sat on the mat"] * 3, 16)
    (tmp_path / "model").write_bytes(tokenizer.proto)
    code = (
        "import sys\n"
        "from keras_encdec.text import SentencePieceTokenizer\n"
        "tokenizer = SentencePieceTokenizer(sys.argv[1])\n"
        "print(tokenizer.sample(['the mat sat'] * 9, alpha=0.1, seed=7).to_list())\n"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model")],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    ours = tokenizer.sample(["the mat sat"] * 9, alpha=0.1, seed=7).to_list()
    assert other.stdout.splitlines()[-1] == str(ours)
    assert len({str(row) for row in ours}) > 1


def test_a_model_of_whole_words_has_no_other_subwords():
    words = SentencePieceTokenizer.train(["a b c d"], 8, model_type="word")
    with pytest.raises(ValueError, match="received a word model"):
        words.sample(["a b"], alpha=0.1, seed=0)
