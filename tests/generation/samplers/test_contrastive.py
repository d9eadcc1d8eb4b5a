"""Contrastive search against a loop in Python that knows no cache."""

import numpy as np
import pytest
from keras import ops

from keras_encdec import ContrastiveSampler, Generator

PADDING, START, END = 0, 1, 2
SOURCES = [[5, 7, 2], [9, 2, 0], [3, 4, 2], [6, 2, 0], [8, 11, 2], [14, 2, 0]]
LIMITS = [8, 8, 3, 1, 8, 7]
LENGTH = 8


@pytest.fixture(scope="module")
def model(small_model):
    return small_model()


@pytest.fixture(scope="module")
def full_pass(model):
    """Logits and outputs at every position, of a decoder without a past.

    Targets are padded to one length, for the later ones are not seen by the earlier,
    and all of a step share a pass, k rows for each source.
    """
    memory = model.encode(ops.convert_to_tensor(SOURCES, "int32"))

    def run(targets):
        padded = np.zeros((len(targets), LENGTH + 1), "int32")
        for row, target in zip(padded, targets, strict=True):
            row[: len(target)] = target
        cache = model.new_cache(len(targets), LENGTH + 1)
        logits, _, hidden = model.step(
            ops.convert_to_tensor(padded), 0, memory, cache, return_hidden=True
        )
        return ops.convert_to_numpy(logits), ops.convert_to_numpy(hidden)

    return run


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def in_python(full_pass, k, alpha):
    """The rows, by the rules in the plainest way."""
    targets = [[START] for _ in SOURCES]
    for index in range(LENGTH):
        logits, _ = full_pass([target for target in targets for _ in range(k)])
        logits = logits[::k, index].astype("float64")
        logits[:, PADDING] = -np.inf
        candidates = np.argsort(-logits, axis=-1, kind="stable")[:, :k]
        _, hidden = full_pass(
            [
                [*target, token][: LENGTH + 1]
                for target, row in zip(targets, candidates, strict=True)
                for token in row
            ]
        )
        probabilities = np.exp(logits - logits.max(-1, keepdims=True))
        probabilities /= probabilities.sum(-1, keepdims=True)
        for i, target in enumerate(targets):
            if target[-1] in (END, PADDING) or index >= LIMITS[i]:
                target.append(PADDING)
                continue
            scores = []
            for j, token in enumerate(candidates[i]):
                outputs = hidden[i * k + j].astype("float64")
                now = outputs[index + 1]
                alike = max(cosine(now, outputs[p]) for p in range(index + 1))
                scores.append((1 - alpha) * probabilities[i, token] - alpha * alike)
            target.append(int(candidates[i][int(np.argmax(scores))]))
    return [target[1:] for target in targets]


@pytest.mark.slow
@pytest.mark.parametrize(("k", "alpha"), [(4, 0.6), (2, 1.0)])
def test_the_loop_in_python(model, full_pass, k, alpha):
    ids = Generator(model, ContrastiveSampler(k, alpha))(SOURCES, LIMITS)
    assert ids.dtype == "int32"
    assert ids.tolist() == in_python(full_pass, k, alpha)
    for row, limit in zip(ids.tolist(), LIMITS, strict=True):
        tokens = [token for token in row if token != PADDING]
        assert row == tokens + [PADDING] * (LENGTH - len(tokens))
        assert tokens[-1] == END or len(tokens) == limit
        assert END not in tokens[:-1]


def test_the_penalty_changes_what_is_picked(full_pass):
    assert in_python(full_pass, 4, 0.0) != in_python(full_pass, 4, 0.6)


def test_without_a_penalty_it_is_greedy(model):
    # More candidates than there are tokens.
    generator = Generator(model, ContrastiveSampler(k=50, alpha=0.0))
    found = generator(SOURCES, LIMITS, return_scores=True)
    expected = Generator(model)(SOURCES, LIMITS, return_scores=True)
    assert np.array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.token_scores, expected.token_scores, atol=1e-4)


def test_a_row_alone_is_as_among_others(model):
    generator = Generator(model, ContrastiveSampler(k=4, alpha=0.6))
    expected = generator(SOURCES, LENGTH)
    np.testing.assert_array_equal(generator(SOURCES[:1], LENGTH), expected[:1])


def test_one_position_more_than_the_length(small_model):
    model = small_model(positions="learned", max_length=10)
    generator = Generator(model, ContrastiveSampler())
    with pytest.raises(ValueError, match="positions, max_length=9; received 10"):
        generator([[5, 2]], 10)


def test_refuses_several_sequences(model):
    generator = Generator(model, ContrastiveSampler())
    with pytest.raises(ValueError, match="gives one sequence.*num_return_sequences=2"):
        generator([[5, 2]], 4, num_return_sequences=2)


@pytest.mark.parametrize("k", [0, -1, 2.0, True, None])
def test_refuses_numbers_of_candidates(k):
    with pytest.raises(ValueError, match="k must be a positive integer; received"):
        ContrastiveSampler(k=k)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_refuses_weights(alpha):
    with pytest.raises(ValueError, match="alpha must be from 0 to 1; received"):
        ContrastiveSampler(alpha=alpha)


def test_picks_no_single_tokens():
    with pytest.raises(TypeError, match="looks one token ahead"):
        ContrastiveSampler()(None, None)
