"""The best hypotheses against NumPy, and their places against brute force."""

import itertools

import numpy as np
import pytest
from keras import ops

from keras_encdec.generation.samplers.hypotheses import (
    Hypotheses,
    in_parents_places,
    select_best,
    top_indices,
    without_repeats,
)


def test_the_best_are_taken_in_order_with_all_that_is_theirs():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(3, 6)).astype("float32")
    ids = rng.integers(0, 9, (3, 6, 4)).astype("int32")
    order = rng.normal(size=(3, 6)).astype("float32")
    arrays = map(ops.convert_to_tensor, (scores, ids))
    best = select_best(Hypotheses(*arrays, (), ()), ops.array(order), 2)
    places = top_indices(ops.array(order), 2)
    expected = np.argsort(-order, axis=1)[:, :2]
    assert np.array_equal(ops.convert_to_numpy(places), expected)
    rows = np.arange(3)[:, None]
    assert np.array_equal(ops.convert_to_numpy(best.scores), scores[rows, expected])
    assert np.array_equal(ops.convert_to_numpy(best.ids), ids[rows, expected])
    assert best.token_scores == ()


def test_of_those_with_the_same_ids_the_first_keeps_its_score():
    ids = np.array([[[5, 2], [5, 3], [5, 2], [5, 2]], [[1, 1], [2, 2], [2, 2], [1, 2]]])
    scores = np.array([[4, 3, 2, 1]] * 2, "float32")
    arrays = map(ops.convert_to_tensor, (scores, ids.astype("int32")))
    left = ops.convert_to_numpy(without_repeats(Hypotheses(*arrays, (), ())).scores)
    never = -np.inf
    assert left.tolist() == [[4, 3, never, never], [4, 3, never, 1]]


@pytest.mark.parametrize("beams", [1, 2, 3, 4, 5])
def test_as_many_children_as_can_be_are_in_their_parents_places(beams):
    places = np.arange(beams)
    all_parents = np.array(list(itertools.product(places, repeat=beams)), "int32")
    children = in_parents_places(ops.convert_to_tensor(all_parents))
    children = ops.convert_to_numpy(children)
    assert np.array_equal(
        np.sort(children, axis=1), np.broadcast_to(places, all_parents.shape)
    )
    sources = np.take_along_axis(all_parents, children, axis=1)
    # Whatever is taken stays in its own place.
    assert np.array_equal(np.take_along_axis(sources, sources, axis=1), sources)
    moved = np.sum(sources != places, axis=1)
    assert np.array_equal(moved, [beams - len(set(row)) for row in all_parents])
