"""Beam search against CTranslate2 on a real model, and against brute force."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_encdec import BeamSampler, EncoderDecoder, Generator, GreedySampler
from keras_encdec.generation import (
    BadWords,
    MinimumLength,
    NoRepeatNGram,
    RepetitionPenalty,
    SuppressTokens,
)

END = 2


# CTranslate2 on a real model


@pytest.fixture(scope="module")
def transliteration(shared_data, load_test_module):
    """Our model, CTranslate2's, and sources: names, and letters drawn at random."""
    ctranslate2 = pytest.importorskip("ctranslate2")
    module = load_test_module("generation/transliteration.py")
    model, source, target = module.load(shared_data)
    folder = str(shared_data / "aren-transliteration")
    theirs = ctranslate2.Translator(folder, device="cpu", intra_threads=1)
    names = ["محمد", "علي", "فاطمة", "عبد", "القاهرة", "نور", "يوسف", "بغداد", "دمشق"]
    rng = np.random.default_rng(0)
    letters = [letter for letter in source[3:40] if len(letter) == 1]
    drawn = [
        "".join(rng.choice(letters, rng.integers(1, 20)))
        for _ in range(100 - len(names))
    ]
    return Transliteration(model, theirs, source, target, names + drawn)


@dataclasses.dataclass
class Transliteration:
    model: EncoderDecoder
    theirs: object
    source: list
    target: list
    words: list
    searches: dict = dataclasses.field(default_factory=dict)

    def ours(self, *args, **options):
        return self.search(*args, **options)()

    def search(self, sampler, words, prefix=None, n=1, processors=()):
        """Returns a function that searches, which is compiled once for all tests."""
        key = repr((sampler, words, prefix, n, processors))
        if key not in self.searches:
            self.searches[key] = self._search(sampler, words, prefix, n, processors)
        return self.searches[key]

    def _search(self, sampler, words, prefix, n, processors):
        processors = [SuppressTokens([0, self.target.index("")]), *processors]
        generator = Generator(self.model, sampler, processors=processors)
        sources = [[self.source.index(letter) for letter in word] for word in words]
        options = {"num_return_sequences": n, "prefix": prefix, "return_scores": True}

        def search():
            found = generator(sources, 24, **options)
            return [
                [
                    ("".join(self.target[i] for i in ids if i > 2), float(score))
                    for ids, score in zip(row, scores, strict=True)
                ]
                for row, scores in zip(found.ids, found.scores, strict=True)
            ]

        return search

    def ctranslate2(self, words, **options):
        options = {
            "max_decoding_length": 24,
            "min_decoding_length": 0,
            "return_scores": True,
            **options,
        }
        # Neither of the two, which ours would not pick, or not as often.
        suppressed = [["<blank>"], ["<unk>"], *options.pop("suppressed", [])]
        results = self.theirs.translate_batch(
            [list(word) for word in words], suppress_sequences=suppressed, **options
        )
        return [
            [
                ("".join(h), score)
                for h, score in zip(result.hypotheses, result.scores, strict=True)
            ]
            for result in results
        ]

    def differences(
        self, theirs, sampler, words, prefix=None, *, tolerance=1e-3, **options
    ):
        """Words of which ours finds other texts or scores, and what both find.

        Where hypotheses are so near each other that rounding decides, as it does
        differently on each processor, theirs must be what ours finds with weights that
        are no more than rounding apart.
        """

        def same(a, b):
            scores = [abs(x - y) for (_, x), (_, y) in zip(a, b, strict=True)]
            return [x for x, _ in a] == [x for x, _ in b] and max(scores) <= tolerance

        def near_tie(i):
            prefixes = None if prefix is None else [prefix[i]]
            search = self.search(sampler, [words[i]], prefixes, **options)
            return any(same(search()[0], theirs[i]) for _ in self.rounded_otherwise())

        ours = self.ours(sampler, words, prefix, **options)
        return [
            (word, ours[i], theirs[i])
            for i, word in enumerate(words)
            if not same(ours[i], theirs[i]) and not near_tie(i)
        ]

    def rounded_otherwise(self):
        """Gives the weights a relative noise of 3e-6, twenty times in turn."""
        weights = self.model.get_weights()
        rng = np.random.default_rng(0)
        try:
            for _ in range(20):
                self.model.set_weights(
                    [w * (1 + 3e-6 * rng.standard_normal(w.shape)) for w in weights]
                )
                yield
        finally:
            self.model.set_weights(weights)


@pytest.mark.slow
def test_the_four_best_of_a_name(transliteration):
    sampler = BeamSampler(4, early_stopping=True)
    best = transliteration.ours(sampler, ["محمد"], n=4)[0]
    assert [text for text, _ in best] == ["mahmad", "muhmad", "mohmad", "muhmed"]
    expected = [-0.3016, -0.3217, -0.4259, -0.5314]
    np.testing.assert_allclose([s for _, s in best], expected, atol=1e-4)


BEAMS = {
    "2 beams": (2, 2, {}),
    "10 beams": (10, 4, {}),
    "penalty 0": (4, 1, {"length_penalty": 0}),
    "penalty 0.6": (4, 4, {"length_penalty": 0.6}),
    "coverage": (4, 4, {"coverage_penalty": 0.3}),
}


@pytest.mark.parametrize("name", BEAMS)
def test_beams_are_those_of_ctranslate2(transliteration, name):
    beams, number, options = BEAMS[name]
    words = transliteration.words
    theirs = transliteration.ctranslate2(
        words,
        beam_size=beams,
        num_hypotheses=number,
        # In a batch theirs counts padding as source that was left out, at about -100.
        max_batch_size=1 if "coverage_penalty" in options else 0,
        **options,
    )
    # Without penalties theirs, too, stops when no live hypothesis can win.
    sampler = BeamSampler(beams, early_stopping=options != {"length_penalty": 0})
    # Theirs looks at the first head alone.
    sampler = dataclasses.replace(sampler, coverage_heads=1, **options)
    assert transliteration.differences(theirs, sampler, words, n=number) == []


# Hypotheses 1e-7 from each other, of which 4 beams keep one or another.
NEAR_TIE = "قظلسدسطهظمفدبذ"

PROCESSORS = {
    "minimum length": ({"min_decoding_length": 9}, [MinimumLength(9)]),
    "repetition": ({"repetition_penalty": 1.3}, [RepetitionPenalty(1.3)]),
    "n-grams": ({"no_repeat_ngram_size": 2}, [NoRepeatNGram(2)]),
    "suppressed": (
        {"suppressed": [["a"], ["m", "u"]]},
        lambda id_of: [BadWords([[id_of("a")], [id_of("m"), id_of("u")]])],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSORS)
def test_processors_are_those_of_ctranslate2(transliteration, name):
    options, processors = PROCESSORS[name]
    if callable(processors):
        processors = processors(transliteration.target.index)
    words = transliteration.words[:60]
    theirs = transliteration.ctranslate2(
        words, beam_size=4, num_hypotheses=4, **options
    )
    sampler = BeamSampler(4, early_stopping=True)
    more = {"n": 4, "processors": processors}
    assert transliteration.differences(theirs, sampler, words, **more) == []


@pytest.mark.slow
def test_greedy_is_that_of_ctranslate2(transliteration):
    words = transliteration.words
    theirs = transliteration.ctranslate2(words, beam_size=1, length_penalty=0)
    # Scores of their greedy search are divided by the length whatever the penalty.
    more = {"tolerance": np.inf}
    assert transliteration.differences(theirs, GreedySampler(), words, **more) == []


@pytest.mark.slow
def test_prefixes_are_those_of_ctranslate2(transliteration):
    words = transliteration.words[:60]
    prefixes = ["mo", "", "fa", "a", "el", "n", "yu"]
    prefixes = [prefixes[i % 7] for i in range(len(words))]
    theirs = transliteration.ctranslate2(
        words, beam_size=4, num_hypotheses=4, target_prefix=list(map(list, prefixes))
    )
    prefix = [[transliteration.target.index(c) for c in p] for p in prefixes]
    sampler = BeamSampler(4, early_stopping=True)
    assert transliteration.differences(theirs, sampler, words, prefix, n=4) == []


@pytest.mark.slow
def test_a_near_tie_is_no_difference(transliteration):
    args = BeamSampler(4, early_stopping=True), [NEAR_TIE]
    options = {"n": 4, "processors": [NoRepeatNGram(2)]}
    search = transliteration.search(*args, **options)
    found = [search()[0] for _ in transliteration.rounded_otherwise()]
    both = {tuple(text for text, _ in result): result for result in found}
    assert len(both) == 2
    for result in both.values():
        assert transliteration.differences([result], *args, **options) == []
    wrong = [(text, score - 0.01) for text, score in result]
    assert len(transliteration.differences([wrong], *args, **options)) == 1


# Brute force


class Table:
    """Logits that depend on the source and on all tokens so far."""

    def __init__(self, vocabulary_size=5, states=11, seed=0):
        rng = np.random.default_rng(seed)
        self.table = rng.normal(size=(states, vocabulary_size)).astype("float32") * 1.5
        self.states = states

    def encode(self, source):
        return ops.cast(ops.sum(source, axis=1), "int32")

    def new_cache(self, batch_size, length):
        return ops.zeros((batch_size,), "int32")

    def step(self, tokens, index, memory, cache):
        cache = cache * 3 + tokens + 1
        beams = ops.shape(cache)[0] // ops.shape(memory)[0]
        state = ops.mod(cache + ops.repeat(memory, beams, axis=0), self.states)
        return ops.take(self.table, state, axis=0), cache

    def log_probabilities(self, source, tokens):
        cache = 0
        for token in tokens:
            cache = cache * 3 + token + 1
        logits = self.table[(cache + sum(source)) % self.states].astype("float64")
        logits[0] = -np.inf
        return logits - np.log(np.exp(logits).sum())


def all_sequences(table, source, length):
    """Every sequence that ends, or reaches the length, with its log-probability."""
    for size in range(1, length + 1):
        for tokens in itertools.product([1, 3, 4], repeat=size - 1):
            for last in (1, 2, 3, 4):
                if last == END or size == length:
                    row = (*tokens, last)
                    total = sum(
                        table.log_probabilities(source, (1, *row[:i]))[row[i]]
                        for i in range(size)
                    )
                    yield row, total


@pytest.mark.parametrize(
    ("sampler", "penalty"),
    [
        (BeamSampler(90, length_penalty=0.0), lambda n: 1.0),
        (BeamSampler(90, length_penalty=1.0), lambda n: n),
        (
            BeamSampler(90, length_penalty=0.6, length_normalization="google"),
            lambda n: ((5 + n) / 6) ** 0.6,
        ),
        (BeamSampler(90, length_penalty=-1.0, early_stopping="never"), lambda n: 1 / n),
    ],
)
def test_with_all_hypotheses_kept_the_best_are_found(sampler, penalty):
    table, sources = Table(), [[3, 2], [4, 4, 2], [2]]
    found = Generator(table, sampler)(
        sources, max_length=4, num_return_sequences=10, return_scores=True
    )
    for row, source in enumerate(sources):
        every = [(s / penalty(len(r)), r) for r, s in all_sequences(table, source, 4)]
        best = sorted(every, reverse=True)[:10]
        expected = [list(r) + [0] * (4 - len(r)) for _, r in best]
        assert found.ids[row].tolist() == expected
        np.testing.assert_allclose(found.scores[row], [s for s, _ in best], atol=1e-5)
        sums = found.token_scores[row].sum(-1)
        lengths = [penalty(len(r)) for _, r in best]
        np.testing.assert_allclose(found.scores[row], sums / lengths, atol=1e-5)


def test_one_beam_is_greedy():
    table, sources = Table(9, 31, seed=1), [[i, 2] for i in range(12)]
    # Otherwise the length penalty may prefer a longer sequence to the first that ends.
    ids = Generator(table, BeamSampler(1, early_stopping=True))(sources, max_length=8)
    assert np.array_equal(ids, Generator(table)(sources, max_length=8))
    assert 1 < len(np.unique((ids != 0).sum(1)))


@pytest.mark.parametrize(
    "sampler", [BeamSampler(3), BeamSampler(4, num_groups=2, diversity_penalty=0.5)]
)
def test_rows_do_not_know_each_other_and_end_at_their_length(sampler):
    table = Table(9, 31, seed=2)
    generator = Generator(table, sampler)
    sources = [[i, 2] for i in range(8)]
    limits = np.array([1, 2, 3, 4, 5, 6, 7, 9])
    options = {"num_return_sequences": 3, "return_scores": True}
    together = generator(sources, limits, **options)
    for i in (1, 4, 7):
        alone = generator([sources[i], [5]], [limits[i], 9], **options)
        assert np.array_equal(alone.ids[0], together.ids[i])
        np.testing.assert_allclose(alone.scores[0], together.scores[i], rtol=1e-5)
    for row, limit in zip(together.ids, limits, strict=True):
        assert len({tuple(ids) for ids in row.tolist() if any(ids)}) == sum(
            any(ids) for ids in row.tolist()
        )
        for ids in row.tolist():
            tokens = [token for token in ids if token]
            assert ids[: len(tokens)] == tokens
            assert END not in tokens[:-1]
            assert len(tokens) <= limit


@pytest.mark.slow
@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    sampler=st.builds(
        BeamSampler,
        num_beams=st.sampled_from([2, 4]),
        length_penalty=st.floats(-1, 2),
        length_normalization=st.sampled_from(["power", "google"]),
        early_stopping=st.sampled_from([False, True, "never"]),
        num_groups=st.sampled_from([1, 2]),
    ),
    processors=st.lists(
        st.sampled_from(
            [
                MinimumLength(2),
                NoRepeatNGram(1),
                NoRepeatNGram(2),
                RepetitionPenalty(1.5),
                SuppressTokens([4]),
                BadWords([[3, 5], [6]]),
            ]
        ),
        max_size=3,
        unique=True,
    ),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_rules_with_any_options(sampler, processors, seed, data):
    rng = np.random.default_rng(seed)
    sources = [rng.integers(3, 9, rng.integers(1, 6)).tolist() for _ in range(3)]
    limits = np.array([6, *rng.integers(3, 7, 2)])
    generator = Generator(Table(9, 31, seed), sampler, processors=processors)
    options = {"num_return_sequences": 2, "return_scores": True}
    found = generator(sources, limits, **options)
    for rows, scores, limit in zip(found.ids, found.scores, limits, strict=True):
        assert scores[0] >= scores[1]
        assert rows[0].tolist() != rows[1].tolist()
        for row, score in zip(rows.tolist(), scores, strict=True):
            tokens = [token for token in row if token]
            assert row == tokens + [0] * (6 - len(tokens))
            assert bool(tokens) == bool(np.isfinite(score))
            assert len(tokens) <= limit
            assert END not in tokens[:-1]
            assert not tokens or tokens[-1] == END or len(tokens) == limit
            if MinimumLength(2) in processors and tokens:
                assert END not in tokens[:2]
            if NoRepeatNGram(1) in processors:
                assert len(set(tokens)) == len(tokens)
            if SuppressTokens([4]) in processors:
                assert 4 not in tokens
    # A row knows neither its neighbours nor the source's padding.
    order = data.draw(st.permutations(range(3)))[: data.draw(st.integers(1, 3))]
    padding = [0] * data.draw(st.integers(0, 9))
    again = generator(
        [sources[i] + padding for i in order] + [[3]],
        np.append(limits[order], 6),
        **options,
    )
    assert np.array_equal(again.ids[:-1], found.ids[order])
    np.testing.assert_allclose(again.scores[:-1], found.scores[order], rtol=1e-5)


def test_groups_differ_more_the_more_they_pay():
    table, sources = Table(9, 31, seed=3), [[i, 2] for i in range(10)]

    def firsts(penalty):
        sampler = BeamSampler(
            4, num_groups=4, diversity_penalty=penalty, early_stopping="never"
        )
        ids = Generator(table, sampler)(sources, 5, num_return_sequences=4)
        return [len(set(row[:, 0].tolist()) - {0}) for row in ids]

    assert set(firsts(100.0)) == {4}
    assert np.mean(firsts(0.1)) < 4


def test_several_end_ids():
    table, sources = Table(9, 31, seed=2), [[i, 2] for i in range(10)]
    generator = Generator(table, BeamSampler(3), end_id=[2, 5, 7])
    ids = generator(sources, 7, num_return_sequences=3)
    assert set(np.unique(ids)) & {5, 7}
    for row in ids.reshape(-1, 7).tolist():
        tokens = [token for token in row if token]
        assert not {2, 5, 7} & set(tokens[:-1])


def test_survives_its_config():
    sampler = BeamSampler(6, length_penalty=0.6, num_groups=3, diversity_penalty=0.1)
    saved = keras.saving.serialize_keras_object(sampler)
    assert keras.saving.deserialize_keras_object(saved) == sampler


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 0}, "num_beams must be a positive integer"),
        ({"num_beams": 2.0}, "num_beams must be a positive integer"),
        ({"num_beams": 4, "num_groups": 3}, "divisible by num_groups"),
        ({"length_penalty": float("nan")}, "length_penalty must be finite"),
        ({"coverage_penalty": -1.0}, "coverage_penalty must be .* not below 0"),
        ({"length_normalization": "sum"}, "one of 'power', 'google'"),
        (
            {"early_stopping": "always"},
            "one of False, True, 'heuristic', 'never'; received early_stopping=",
        ),
        ({"diversity_penalty": 1.0}, "between groups"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        BeamSampler(**options)


def test_refuses_what_beams_cannot_do():
    generator = Generator(Table(), BeamSampler(2))
    with pytest.raises(ValueError, match="must not be above num_beams"):
        generator([[3]], 4, num_return_sequences=3)
    with pytest.raises(ValueError, match="settles each token"):
        generator.stream([[3]], 4)
    with pytest.raises(TypeError, match="pass it to a Generator"):
        BeamSampler()(ops.zeros((1, 3)), ops.zeros((1,)))
