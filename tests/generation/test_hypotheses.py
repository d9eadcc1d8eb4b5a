"""The best hypotheses against NumPy."""

import numpy as np
from keras import ops

from keras_encdec.generation.hypotheses import Hypotheses, best_of


def test_the_best_are_taken_in_order_with_all_that_is_theirs():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(3, 6)).astype("float32")
    ids = rng.integers(0, 9, (3, 6, 4)).astype("int32")
    order = rng.normal(size=(3, 6)).astype("float32")
    arrays = map(ops.convert_to_tensor, (scores, ids))
    best, places = best_of(Hypotheses(*arrays, (), ()), ops.array(order), 2)
    expected = np.argsort(-order, axis=1)[:, :2]
    assert np.array_equal(ops.convert_to_numpy(places), expected)
    rows = np.arange(3)[:, None]
    assert np.array_equal(ops.convert_to_numpy(best.scores), scores[rows, expected])
    assert np.array_equal(ops.convert_to_numpy(best.ids), ids[rows, expected])
    assert best.token_scores == ()
