"""Parts of a batch at the same time give what the whole batch gives."""

import threading

import keras
import numpy as np
import pytest

from keras_encdec import BeamSampler, Generator, RandomSampler
from keras_encdec.generation.side_by_side import FEWEST, side_by_side


@pytest.mark.parametrize(
    ("rows", "most", "rows_per_source", "parts"),
    [
        (4 * FEWEST, 1, 1, 1),
        (4 * FEWEST, 2, 1, 2),
        (4 * FEWEST, 7, 1, 4),
        (4 * FEWEST, 64, 1, 4),
        (2 * FEWEST - 2, 2, 1, 1),
        (2, 2, FEWEST, 2),
        (1, 2, 2 * FEWEST, 1),
        (9 * FEWEST, 64, 1, 4),
    ],
)
def test_equal_parts_at_the_same_time(rows, most, rows_per_source, parts):
    # Would wait for ever, if the parts were called in turn.
    together = threading.Barrier(parts)
    sizes = []

    def double(arrays):
        together.wait(timeout=60)
        sizes.append(len(arrays["x"]))
        return {"double": 2 * arrays["x"], "both": (arrays["x"] + arrays["y"], ())}

    x = np.arange(3 * rows).reshape(rows, 3)
    found = side_by_side(double, {"x": x, "y": x[:, :1]}, most, rows_per_source)
    assert sizes == [rows // parts] * parts
    np.testing.assert_array_equal(found["double"], 2 * x)
    np.testing.assert_array_equal(found["both"][0], x + x[:, :1])


def test_the_error_of_a_part_is_raised():
    def refuse(arrays):
        raise ValueError(f"received {arrays['x'].tolist()}")

    with pytest.raises(ValueError, match="received"):
        side_by_side(refuse, {"x": np.arange(2 * FEWEST)}, most=2)


@pytest.fixture(scope="module")
def model(small_model):
    return small_model()


@pytest.mark.parametrize(
    "sampler", [RandomSampler(), BeamSampler(num_beams=3)], ids=["random", "beam"]
)
def test_generated_ids_and_scores_are_those_of_the_whole(model, sampler, monkeypatch):
    rng = np.random.default_rng(2)
    source = rng.integers(3, 20, (13, 5))
    limits = rng.integers(2, 9, 13)
    prefix = [[5, 6][: i % 3] for i in range(13)]
    found = []
    for most in (1, 4):
        monkeypatch.setattr(
            "keras_encdec.generation.programs.calls_at_a_time",
            lambda *_, most=most: most,
        )
        generator = Generator(model, sampler)
        found.append(
            generator(
                source,
                limits,
                seed=3,
                prefix=prefix,
                num_return_sequences=2,
                return_scores=True,
            )
        )
    np.testing.assert_array_equal(found[0].ids, found[1].ids)
    np.testing.assert_allclose(found[0].scores, found[1].scores, rtol=1e-4)
    np.testing.assert_allclose(
        found[0].token_scores, found[1].token_scores, rtol=1e-4, atol=1e-5
    )
    assert found[0].ids.shape == (13, 2, limits.max())
    assert keras.tree.flatten(found[1])[0].dtype == np.int32


def test_rows_that_depend_on_each_other_stay_together(model, monkeypatch):
    class OfTheWholeBatch(RandomSampler):
        sizes = []
        draws_by_row = False

        def __call__(self, logits, uniform):
            self.sizes.append(logits.shape[0])
            return super().__call__(logits, uniform)

    monkeypatch.setattr(
        "keras_encdec.generation.programs.calls_at_a_time", lambda *_: 4
    )
    rows = 4 * FEWEST
    Generator(model, OfTheWholeBatch())(np.full((rows, 3), 5), max_length=2)
    # TensorFlow traces for any number of rows.
    assert set(OfTheWholeBatch.sizes) <= {rows, None} and OfTheWholeBatch.sizes
