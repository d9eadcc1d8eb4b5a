"""Phrases that must appear: their progress in plain Python, and every sampler."""

import numpy as np
import pytest
from keras import ops

from keras_encdec import BeamSampler, Generator, GreedySampler, RandomSampler
from keras_encdec.generation import Step
from keras_encdec.generation.processors.constraints import (
    constrain,
    phrase_progress,
    ranks_in_banks,
)

END = 2


class Table:
    """A table of logits with the three verbs, and nothing of a neural network."""

    def __init__(self, seed=0, vocabulary_size=9, states=13):
        rng = np.random.default_rng(seed)
        shape = (states, vocabulary_size, vocabulary_size)
        self.table = (2 * rng.normal(size=shape)).astype("float32")
        self.states = states
        self.vocabulary_size = vocabulary_size

    def encode(self, source):
        return ops.cast(ops.sum(source, axis=1), "int32")

    def new_cache(self, batch_size, length):
        return ops.zeros((batch_size,), "int32")

    def step(self, tokens, index, memory, cache):
        cache = cache + tokens * (index + 1)
        rows = ops.reshape(self.table, (-1, self.vocabulary_size))
        state = ops.mod(memory + cache, self.states)
        return ops.take(rows, state * self.vocabulary_size + tokens, axis=0), cache


class ForBeams(Table):
    """The same with several rows for each source."""

    def __init__(self, beams, **options):
        super().__init__(**options)
        self.beams = beams

    def encode(self, source):
        return ops.repeat(super().encode(source), self.beams, axis=0)


def holds(tokens, phrase):
    n = len(phrase)
    return any(tokens[i : i + n] == phrase for i in range(len(tokens) - n + 1))


def progress_in_python(tokens, constraints):
    """What is missing if the phrase goes on, if not, and the tokens it may go on by."""
    gain, missing, following = 0, 0, set()
    for alternatives in constraints:
        if any(holds(tokens, phrase) for phrase in alternatives):
            continue
        shortest = min(map(len, alternatives))
        missing += shortest
        for phrase in alternatives:
            begun = max(
                n
                for n in range(len(phrase))
                if n <= len(tokens) and tokens[len(tokens) - n :] == phrase[:n]
            )
            gained = shortest - (len(phrase) - begun)
            if gained > gain:
                gain, following = gained, set()
            if gained == gain:
                following.add(phrase[begun])
    return missing - gain, missing, following


def padded(rows, constraints=3, alternatives=2, longest=4):
    array = np.full((len(rows), constraints, alternatives, longest), -1, "int32")
    for i, row in enumerate(rows):
        for j, constraint in enumerate(row):
            for k, phrase in enumerate(constraint):
                array[i, j, k, : len(phrase)] = phrase
    return array


def random_phrases(rng, rows, tokens):
    return [
        [
            [
                rng.choice(tokens, rng.integers(1, 5)).tolist()
                for _ in range(rng.integers(1, 3))
            ]
            for _ in range(rng.integers(0, 4))
        ]
        for _ in range(rows)
    ]


@pytest.mark.parametrize("index", [0, 1, 2, 4, 9, 10])
def test_progress(index):
    rng = np.random.default_rng(index)
    rows, length = 300, 10
    ids = np.zeros((rows, length), "int32")
    # Two tokens, so that phrases begin, break off and overlap.
    ids[:, :index] = rng.integers(3, 5, (rows, index))
    phrases = random_phrases(rng, rows, [3, 4])
    results = phrase_progress(
        ops.convert_to_tensor(ids),
        ops.convert_to_tensor(index, "int32"),
        ops.convert_to_tensor(padded(phrases)),
    )
    results = [ops.convert_to_numpy(x).tolist() for x in results]
    for i, (going_on, missing, following) in enumerate(zip(*results, strict=True)):
        expected = progress_in_python(ids[i, :index].tolist(), phrases[i])
        assert (going_on, missing) == expected[:2], (ids[i], phrases[i])
        assert not missing or following in expected[2], (ids[i], phrases[i])


@pytest.mark.slow
def test_constrain_forbids_the_end_and_forces_in_time():
    phrases = padded([[[[5, 6]]]] * 5)
    ids = np.array([[3, 0, 0, 0, 0], [5, 0, 0, 0, 0]] * 2 + [[5, 6, 0, 0, 0]], "int32")
    limits = np.array([5, 5, 4, 3, 4], "int32")
    logits = np.zeros((5, 8), "float32")
    step = Step(ops.convert_to_tensor(1, "int32"), None, limits, (2, 3), 0)
    arrays = map(ops.convert_to_tensor, (ids, logits))
    step = step._replace(limits=ops.convert_to_tensor(limits))
    result = constrain(*arrays, step, ops.convert_to_tensor(phrases))
    result = ops.convert_to_numpy(result)
    no_end = [0, 0, -np.inf, -np.inf, 0, 0, 0, 0]
    # With three more places any token may follow, with fewer only the phrase.
    assert result[0].tolist() == result[1].tolist() == no_end
    assert np.flatnonzero(result[2] == 0).tolist() == [5]
    assert np.flatnonzero(result[3] == 0).tolist() == [6]
    # After one token, for the row is not asked for what comes later.
    assert np.flatnonzero(result[4] == 0).tolist() == [6]


def test_banks():
    scores = np.array([[5.0, 4.0, 3.0, 2.0, 2.0, -np.inf]], "float32")
    missing = np.array([[2, 2, 0, 0, 2, 0]], "int32")
    ranks = ranks_in_banks(
        ops.convert_to_tensor(scores), ops.convert_to_tensor(missing)
    )
    order = np.argsort(ops.convert_to_numpy(ranks)[0], kind="stable")
    assert order.tolist() == [2, 0, 3, 1, 5, 4]


def random_task(rows=24, width=14):
    """Sources, phrases, and lengths of which many leave room for nothing else."""
    rng = np.random.default_rng(3)
    sources = [rng.integers(3, 9, 3).tolist() + [END] for _ in range(rows)]
    phrases = random_phrases(rng, rows, [3, 4, 5, 6])
    # Of a known shape, and the most that there is.
    phrases[0] = [[[3, 3, 4, 3]], [[5], [4, 5]], [[3, 4, 3, 3]]]
    shortest = [sum(min(map(len, c)) for c in row) for row in phrases]
    limits = np.array(shortest) + 1 + np.arange(rows) % 3
    limits[1] = width
    return sources, phrases, limits


def check(row, constraints, limit):
    tokens = [token for token in row if token != 0]
    assert row[: len(tokens)] == tokens
    assert len(tokens) <= limit
    assert END not in tokens[:-1]
    assert tokens[-1] == END or len(tokens) == limit
    for alternatives in constraints:
        assert any(holds(tokens, phrase) for phrase in alternatives)


@pytest.mark.parametrize("sampler", [GreedySampler(), RandomSampler()], ids=str)
def test_every_row_holds_its_phrases(sampler):
    sources, phrases, limits = random_task()
    ids = Generator(Table(), sampler)(sources, limits, phrases=phrases)
    for row, constraints, limit in zip(ids.tolist(), phrases, limits, strict=True):
        check(row, constraints, limit)
    # Not all of them in the form of the phrases alone.
    assert len({tuple(row) for row in ids.tolist()}) > 20


def test_every_beam_holds_its_phrases():
    sources, phrases, limits = random_task()
    generator = Generator(ForBeams(3), BeamSampler(3))
    found = generator(
        sources, limits, phrases=phrases, num_return_sequences=2, return_scores=True
    )
    assert (found.scores[:, 0] > -np.inf).all()
    for best, scores, constraints, limit in zip(
        found.ids.tolist(), found.scores, phrases, limits, strict=True
    ):
        for row, score in zip(best, scores, strict=True):
            if score > -np.inf:
                check(row, constraints, limit)
            else:
                assert row == [0] * len(row)


def test_single_phrases_need_no_alternatives():
    generator = Generator(Table())
    given = [[[5, 6], [7]], [], [[4]]]
    sources = [[3, 2], [4, 2], [5, 2]]
    ids = generator(sources, 5, phrases=given)
    alternatives = [[[phrase] for phrase in row] for row in given]
    assert np.array_equal(ids, generator(sources, 5, phrases=alternatives))
    for row, constraints in zip(ids.tolist(), alternatives, strict=True):
        check(row, constraints, 5)
    # As many as a batch is padded to, of which none is to hold anything.
    free = generator(sources, 5, phrases=[[], [], []])
    assert np.array_equal(free, generator(sources, 5))


def test_refuses_phrases_without_room():
    generator = Generator(Table())
    message = "received 3 tokens and the end with max_length=3 for row 1"
    with pytest.raises(ValueError, match=message):
        generator([[3, 2], [4, 2]], [9, 3], phrases=[[], [[5, 6], [7]]])
    # The shorter alternative counts.
    with pytest.raises(ValueError, match="received 2 tokens and the end.*=2 for row 0"):
        generator([[3, 2]], 2, phrases=[[[[5, 6, 7], [5, 6]]]])
    with pytest.raises(ValueError, match="share the beams out themselves"):
        sampler = BeamSampler(4, num_groups=2)
        Generator(ForBeams(4), sampler)([[3, 2]], 5, phrases=[[[5]]])
