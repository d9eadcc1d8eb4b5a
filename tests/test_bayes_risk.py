import itertools
import random

import numpy as np
import pytest
import sacrebleu

from keras_encdec import (
    ByteTokenizer,
    MinimumBayesRiskDecoder,
    build,
    minimum_bayes_risk,
)
from keras_encdec.bayes_risk import UTILITIES, chrf_of_pairs
from keras_encdec.text import character_error_rate, token_error_rate

pytestmark = pytest.mark.once

ORACLES = {
    "chrf": lambda x, y: sacrebleu.sentence_chrf(x, [y]).score,
    "bleu": lambda x, y: sacrebleu.sentence_bleu(x, [y]).score,
    "token_accuracy": lambda x, y: -token_error_rate([x], [y]),
    "character_accuracy": lambda x, y: -character_error_rate([x], [y]),
}


def drawn(rng, number=12):
    words = "a cat sat on the mat dog ran Über straße 1,5 .".split()
    return [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(number)]


def test_chrf_of_pairs_is_sacrebleus():
    rng = random.Random(0)
    texts = [*drawn(rng, 30), "", " ", "a", "ab", "abcdef", "aaaaaaaaaa", "a\tb"]
    expected = [[ORACLES["chrf"](x, y) for y in texts] for x in texts]
    np.testing.assert_allclose(chrf_of_pairs(texts), expected, atol=1e-9)


@pytest.mark.parametrize("utility", UTILITIES)
def test_chooses_as_brute_force_does(utility):
    rng = random.Random(1)
    oracle = ORACLES[utility]
    for _ in range(5):
        texts = drawn(rng, 6)
        texts += [texts[1]]  # Drawn twice, it counts twice.
        expected = [np.mean([oracle(x, y) for y in texts]) for x in texts]
        ((text, found),) = minimum_bayes_risk([texts], utility, return_utilities=True)
        assert found == pytest.approx(max(expected))
        assert expected[texts.index(text)] == pytest.approx(max(expected))


def test_takes_a_function_weights_and_the_first_of_equals():
    texts = ["one", "two two", "three three three"]
    assert minimum_bayes_risk([texts], lambda x, y: -len(x)) == ["one"]
    assert minimum_bayes_risk([texts], lambda x, y: 0) == ["one"]
    for place, text in enumerate(texts):
        weights = [float(i == place) for i in range(3)]
        assert minimum_bayes_risk([texts], weights=[weights]) == [text]
    assert minimum_bayes_risk([]) == []


def test_hundreds_of_candidates_count_by_how_often_they_are_drawn():
    rng = random.Random(2)
    texts = rng.choices(drawn(rng, 40), k=400)
    oracle = np.mean(chrf_of_pairs(texts), axis=1)
    ((_, found),) = minimum_bayes_risk([texts], return_utilities=True)
    assert found == pytest.approx(oracle.max())


def test_refuses_what_is_no_list_of_candidates():
    for texts in ("a cat", ["a cat", "a dog"]):
        with pytest.raises(TypeError, match="list of lists"):
            minimum_bayes_risk(texts)
    with pytest.raises(ValueError, match="at least one candidate"):
        minimum_bayes_risk([["a"], []])
    with pytest.raises(ValueError, match="utility"):
        minimum_bayes_risk([["a"]], "chfr")
    for weights in ([[1]], [[1, -1]], [[0, 0]], [[1, float("nan")]]):
        with pytest.raises(ValueError, match="by numbers of at least"):
            minimum_bayes_risk([["a", "b"]], weights=weights)
    with pytest.raises(ValueError, match="of each source"):
        minimum_bayes_risk([["a"], ["b"]], weights=[[1]])


def test_edits_are_levenshteins_for_all_short_rows():
    rows = [" ".join(x) for n in (1, 2, 3) for x in itertools.product("ab", repeat=n)]
    for left, right in itertools.product(rows, rows):
        ((_, found),) = minimum_bayes_risk(
            [[left, right]], "token_accuracy", weights=[[0, 1]], return_utilities=True
        )
        if left != right:
            assert found == 0  # The reference itself is the best.
    # Each as the only hypothesis but the reference's own.
    found = [
        minimum_bayes_risk([[x, y]], "token_accuracy", return_utilities=True)[0][1]
        for x, y in itertools.combinations(rows, 2)
    ]
    expected = [
        max(-token_error_rate([x], [y]), -token_error_rate([y], [x])) / 2
        for x, y in itertools.combinations(rows, 2)
    ]
    np.testing.assert_allclose(found, expected)


def test_draws_candidates_and_chooses_among_them():
    small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1, "num_heads": 2}
    model = build(ByteTokenizer(), ByteTokenizer(), max_length=4, **small)
    decoder, texts = MinimumBayesRiskDecoder(model, "bleu", 6), ["12", "", "345", "12"]
    drawn = model.with_sampler("random")(texts, seed=5, num_return_sequences=6)
    expected = minimum_bayes_risk(drawn, "bleu", return_utilities=True)
    assert decoder(texts, seed=5, return_scores=True) == expected
    assert decoder(texts, seed=5) == [text for text, _ in expected]
    # A text's answer is its own, whatever stands beside it.
    others = ["12", "another, longer one", "345"]
    found = decoder(others, seed=5, batch_size=1)
    assert [found[0], found[2]] == [expected[0][0], expected[2][0]]
    rest = decoder.generate(iter(texts[2:]), first=2, seed=5)
    assert [*rest] == [text for text, _ in expected[2:]]
    assert decoder(texts, seed=6) != decoder(texts, seed=5)


def test_a_decoder_says_what_is_wrong():
    small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1, "num_heads": 2}
    model = build(ByteTokenizer(), ByteTokenizer(), **small)
    for options, says in (
        ({"utility": "chfr"}, "utility"),
        ({"num_samples": 0}, "num_samples"),
        ({"sampler": "greedy"}, "gives one sequence for a source"),
    ):
        with pytest.raises(ValueError, match=says):
            MinimumBayesRiskDecoder(model, **options)
