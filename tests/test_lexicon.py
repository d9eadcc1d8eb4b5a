"""IBM's model 1 against its equations written out, one pair after the other."""

import collections

import numpy as np
import pytest

import keras_encdec.lexicon
from keras_encdec.lexicon import learn_shortlist

pytestmark = pytest.mark.once

SIZE = 9


@pytest.fixture(scope="module")
def pairs():
    random = np.random.default_rng(0)
    sources = [random.integers(1, SIZE, random.integers(1, 5)) for _ in range(12)]
    targets = [random.integers(1, SIZE, random.integers(0, 5)) for _ in sources]
    return sources, targets


def probabilities(sources, targets, iterations):
    """Brown et al. 1993, equations 14 to 17; None is the source of no token."""
    likely = collections.defaultdict(lambda: 1.0)
    for _ in range(iterations):
        counts = collections.Counter()
        for source, target in zip(sources, targets, strict=True):
            for token in target:
                given = [None, *source]
                total = sum(likely[x, token] for x in given)
                for x in given:
                    counts[x, token] += likely[x, token] / total
        totals = collections.Counter()
        for (x, _), count in counts.items():
            totals[x] += count
        likely = collections.defaultdict(
            float, {pair: count / totals[pair[0]] for pair, count in counts.items()}
        )
    return likely


@pytest.mark.parametrize("links", [10, 20_000_000])
def test_candidates_are_the_likeliest_tokens(pairs, links, monkeypatch):
    monkeypatch.setattr(keras_encdec.lexicon, "MOST_LINKS", links)
    options = {"per_token": 3, "of_all": 2, "least": 0.05, "iterations": 4}
    shortlist = learn_shortlist(*pairs, SIZE, SIZE, **options)
    likely = probabilities(*pairs, iterations=4)
    for source in range(SIZE):
        ordered = sorted(
            ((p, y) for (x, y), p in likely.items() if x == source and p >= 0.05),
            reverse=True,
        )
        found = [y for y in shortlist.candidates[source].tolist() if y >= 0]
        assert len(found) == min(3, len(ordered))
        given = [likely[source, y] for y in found]
        np.testing.assert_allclose(given, [p for p, _ in ordered[:3]], rtol=1e-9)
    counts = collections.Counter(np.concatenate(pairs[1]).tolist())
    frequent = sorted(counts.values(), reverse=True)[:2]
    assert sorted((counts[x] for x in shortlist.of_all.tolist()), reverse=True) == (
        frequent
    )


def test_what_cannot_be_learned_from_is_refused():
    with pytest.raises(ValueError, match="a target for each source"):
        learn_shortlist([np.array([1])], [], 5, 5)
    with pytest.raises(ValueError, match="received none"):
        learn_shortlist([], [], 5, 5)
    with pytest.raises(ValueError, match="least"):
        learn_shortlist([np.array([1])], [np.array([1])], 5, 5, least=2)
