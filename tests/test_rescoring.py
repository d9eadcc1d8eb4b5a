"""Rescoring against sums by hand, and its weights against sacrebleu."""

import itertools
import random

import numpy as np
import pytest
import sacrebleu
from keras import ops

from keras_encdec import CharacterTokenizer, EncoderDecoder, TextToText, build
from keras_encdec.protocol import GenerationModel
from keras_encdec.rescoring import ModelScorer, rescore, tune_rescoring

pytestmark = pytest.mark.once

LETTERS = CharacterTokenizer(["a", "b", "c"])
INFINITY = float("inf")


def toy(seed=0, sources=12, number=5):
    """Sources, n-best lists, true texts, and two tables of scores."""
    rng, words = random.Random(seed), "a cat sat on the mat dog ran".split()

    def text():
        return " ".join(rng.choices(words, k=rng.randint(3, 7)))

    names = [f"source {place}" for place in range(sources)]
    lists = [
        sorted(
            ((text(), -10 * rng.random()) for _ in range(number)), key=lambda x: -x[1]
        )
        for _ in names
    ]
    # Each true text is near to one of the candidates.
    true = [rng.choice(some)[0] + " again" for some in lists]
    tables = [
        {
            (name, candidate): rng.random()
            for name, some in zip(names, lists, strict=True)
            for candidate, _ in some
        }
        for _ in range(2)
    ]
    return names, lists, true, [table_scorer(table) for table in tables]


def table_scorer(table):
    return lambda sources, targets: [
        table[pair] for pair in zip(sources, targets, strict=True)
    ]


def test_candidates_are_ordered_by_their_weighted_sums():
    names, lists, _, scorers = toy()
    weights = [0.2, 1.5, 0.7]
    found = rescore(names, lists, scorers, weights)
    for name, some, ranked in zip(names, lists, found, strict=True):
        sums = {
            text: 0.2 * score
            + 1.5 * scorers[0]([name], [text])[0]
            + 0.7 * scorers[1]([name], [text])[0]
            for text, score in some
        }
        assert [text for text, _ in ranked] == sorted(sums, key=lambda x: -sums[x])
        assert [score for _, score in ranked] == pytest.approx(
            [sums[text] for text, _ in ranked]
        )


def test_the_first_score_alone_keeps_the_order():
    names, lists, _, scorers = toy()
    # One that counts nothing is not asked.
    assert rescore(names, lists, [lambda *texts: 1 / 0] * 2, [1, 0, 0]) == lists
    equal = [[(text, 0.5) for text, _ in some] for some in lists]
    assert rescore(names, equal, scorers, [1, 0, 0]) == equal


def test_what_is_no_candidate_stays_behind():
    lists = [[("a", -1.0), ("b", -2.0), ("", -INFINITY)], [("", -INFINITY)] * 2]
    seen = []

    def scorer(sources, targets):
        seen.extend(targets)
        return [5.0 if text == "b" else -INFINITY for text in targets]

    found = rescore(["1", "2"], lists, [scorer], [0, 1])
    assert found[0] == [("b", 5.0), ("a", -INFINITY), ("", -INFINITY)]
    assert found[1] == lists[1] and seen == ["a", "b"]
    assert rescore([], [], [scorer], [1, 1]) == []
    assert rescore(["1"], [[("a", -1.0)]], [scorer], [1, 0]) == [[("a", -1.0)]]


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_tuned_weights_are_at_least_as_good_as_the_start(metric):
    corpus = {"bleu": sacrebleu.corpus_bleu, "chrf": sacrebleu.corpus_chrf}[metric]
    gains = []
    for seed in range(6):
        names, lists, true, scorers = toy(seed)
        tuned = tune_rescoring(
            names, lists, true, scorers, metric=metric, trials=40, seed=seed
        )
        chosen = [some[0][0] for some in rescore(names, lists, scorers, tuned.weights)]
        assert tuned.score == pytest.approx(corpus(chosen, [true]).score)
        before = corpus([some[0][0] for some in lists], [true]).score
        assert tuned.score_before == pytest.approx(before)
        assert sum(tuned.weights) == pytest.approx(1) and min(tuned.weights) >= 0
        gains.append(tuned.score - before)
    assert min(gains) >= 0 < max(gains)


def test_tuned_weights_are_near_to_the_best_of_all():
    names, lists, true, scorers = toy(3, sources=6, number=4)
    grid = [w for w in itertools.product(np.linspace(0, 1, 9), repeat=3) if any(w)]
    best = 0
    for weights in grid:
        ranked = rescore(names, lists, scorers, weights)
        texts = [some[0][0] for some in ranked]
        best = max(best, sacrebleu.corpus_chrf(texts, [true]).score)
    tuned = tune_rescoring(names, lists, true, scorers, metric="chrf", trials=150)
    assert tuned.score_before < best and tuned.score > 0.97 * best
    again = tune_rescoring(names, lists, true, scorers, metric="chrf", trials=150)
    assert again == tuned


def test_a_scorer_that_knows_finds_the_true_texts_however_large_its_scores():
    names, lists, _, _ = toy(5)
    true = [some[-1][0] for some in lists]
    for size in (1e-6, 1e6):

        def knows(sources, targets, size=size):
            return [size * (text in true) for text in targets]

        tuned = tune_rescoring(names, lists, true, [knows], metric="chrf", trials=60)
        assert tuned.score == pytest.approx(100) and tuned.score_before < 90


def test_one_candidate_and_scores_that_say_nothing():
    names = ["1", "2"]
    lists = [[("a b c d", -1.0)], [("e f g h", -2.0), ("", -INFINITY)]]
    true = ["a b c d", "e f g h"]
    tuned = tune_rescoring(names, lists, true, [lambda s, t: [0.0] * len(t)], trials=5)
    assert tuned.weights == (1.0, 0.0)
    assert tuned.score == tuned.score_before == pytest.approx(100)


class Table(GenerationModel):
    """Gives each letter a probability of its own."""

    padding_id, target_vocabulary_size = 0, LETTERS.vocabulary_size

    def __init__(self, probabilities):
        self.logits = np.log(probabilities).astype("float32")

    def encode(self, source):
        return source

    def new_cache(self, batch_size, length):
        return ()

    def step(self, tokens, index, memory, cache):
        shape = (*ops.shape(tokens), len(self.logits))
        return ops.broadcast_to(ops.convert_to_tensor(self.logits), shape), cache


def test_a_model_scores_by_the_mean_of_the_tokens_either_way():
    # Of padding, start, end, unknown and the letters.
    table = np.array([1e-9, 1e-9, 0.1, 0.1, 0.5, 0.2, 0.1])
    model = TextToText(LETTERS, LETTERS, Table(table))
    probability = {"a": 0.5, "b": 0.2, "c": 0.1}

    def expected(text):
        return np.log([*(probability[x] for x in text), 0.1]).mean()

    sources, targets = ["ab", "c"], ["aaa", ""]
    forward = ModelScorer(model)(sources, targets)
    np.testing.assert_allclose(forward, [expected(x) for x in targets], rtol=1e-5)
    backward = ModelScorer(model, reverse=True)(sources, targets)
    np.testing.assert_allclose(backward, [expected(x) for x in sources], rtol=1e-5)
    lists = [[("b", -1.0), ("a", -2.0)]]
    for scorer in (model, ModelScorer(model)):
        ((first, score), _) = rescore(["c"], lists, [scorer], [0, 1])[0]
        assert first == "a" and score == pytest.approx(expected("a"))


def test_a_text_beyond_the_positions_of_a_model_is_impossible(eagerly):
    model = EncoderDecoder(7, 8, 8, 2, 1, positions="learned", max_length=4)
    scorer = ModelScorer(TextToText(LETTERS, LETTERS, model, max_length=4))
    found = scorer(["a", "abcabc", "a"], ["b", "b", "abcab"])
    assert np.isfinite(found).tolist() == [True, False, False]
    assert (scorer(["abcabc"], ["a"]) == -INFINITY).all()


def test_rescores_what_a_model_generates(eagerly):
    small = {"hidden_dim": 8, "intermediate_dim": 8, "num_layers": 1, "num_heads": 2}
    first, other = (
        build(LETTERS, LETTERS, max_length=3, seed=seed, **small) for seed in (1, 2)
    )
    sources = ["ab", "c"]
    lists = first.with_sampler("beam")(
        sources, num_return_sequences=4, return_scores=True
    )
    found = rescore(sources, lists, [other], [0, 1])
    for source, some, ranked in zip(sources, lists, found, strict=True):
        texts = [text for text, _ in some]
        scores = ModelScorer(other)([source] * 4, texts)
        assert ranked[0][0] == texts[scores.argmax()]
        assert sorted(text for text, _ in ranked) == sorted(texts)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"sources": "abc"}, TypeError, "'abc'"),
        ({"sources": ["1"]}, ValueError, "received 1 sources, and 2 lists of"),
        ({"candidates": [[("a", 1.0)], []]}, ValueError, "at least one candidate"),
        ({"candidates": [["a"], ["b"]]}, TypeError, "return_scores=True"),
        ({"candidates": [[("a", float("nan"))]] * 2}, ValueError, "of the candidates"),
        ({"weights": [1]}, ValueError, "received .1. for 1 scorers. Give 2"),
        ({"weights": [1, -1]}, ValueError, "at least 0"),
        ({"weights": [0, 0]}, ValueError, "one of them by more"),
        ({"weights": [1, float("nan")]}, ValueError, "at least 0"),
        ({"scorers": [lambda s, t: [1.0]]}, ValueError, r"of scorers\[0\]"),
        ({"scorers": [lambda s, t: [float("nan")] * 2]}, ValueError, "as its score"),
        ({"scorers": [lambda s, t: [INFINITY] * 2]}, ValueError, "as its score"),
    ],
)
def test_says_what_is_wrong(change, error, message):
    given = {
        "sources": ["1", "2"],
        "candidates": [[("a", 1.0)], [("b", 1.0)]],
        "scorers": [lambda sources, targets: [0.0] * len(targets)],
        "weights": [1.0, 1.0],
    }
    with pytest.raises(error, match=message):
        rescore(**{**given, **change})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"references": ["a"]}, "received 2 sources and 1 references"),
        ({"metric": "blue"}, "'bleu', 'chrf'; received metric='blue'"),
        ({"tokenize": "13"}, "received tokenize='13'"),
        ({"trials": 0}, "received trials=0"),
        ({"sources": [], "candidates": [], "references": []}, "at least one"),
    ],
)
def test_says_what_cannot_be_tuned(change, message):
    given = {
        "sources": ["1", "2"],
        "candidates": [[("a", 1.0)], [("b", 1.0)]],
        "references": ["a", "b"],
        "scorers": [],
    }
    with pytest.raises(ValueError, match=message):
        tune_rescoring(**{**given, **change})
