"""Ranking and calibration of confidences, against all pairs and by hand."""

import itertools

import numpy as np
import pytest

from keras_encdec.reliability import area_under_curve, expected_calibration_error

pytestmark = pytest.mark.once


def test_the_area_is_the_share_of_pairs_in_order():
    random = np.random.default_rng(0)
    for _ in range(50):
        # Of few values, so that many are equal.
        values = random.integers(0, 5, 12) / 4
        right = np.append(random.random(10) < 0.6, [True, False])
        pairs = itertools.product(values[right], values[~right])
        expected = np.mean([(a > b) + (a == b) / 2 for a, b in pairs])
        assert area_under_curve(values, right) == pytest.approx(expected)


def test_the_area_of_a_perfect_order_and_of_none():
    assert area_under_curve([0.1, 0.9, 0.8], [False, True, True]) == 1
    assert area_under_curve([0.9, 0.1, 0.2], [False, True, True]) == 0
    assert area_under_curve([0.5] * 3, [False, True, True]) == 0.5
    assert area_under_curve([-np.inf, 0, np.inf], [False, True, True]) == 1


def test_the_calibration_error_is_that_of_each_bin():
    random = np.random.default_rng(1)
    values = np.append(random.random(200), [0, 1, 0.5])
    right = random.random(203) < values**2
    expected = 0
    for low, high in itertools.pairwise(np.linspace(0, 1, 5)):
        some = (values > low) & (values <= high) | ((values == 0) & (low == 0))
        gap = abs(values[some].mean() - right[some].mean())
        expected += some.mean() * gap
    found = expected_calibration_error(values, right, bins=4)
    assert found == pytest.approx(expected) and found > 0.05


@pytest.mark.parametrize(
    "values, right, message",
    [
        ([0.5, 0.6], [True, True], "received 2 right and 0 wrong"),
        ([0.5], [False], "received 0 right and 1 wrong"),
        ([], [], "received 0 right and 0 wrong"),
        ([0.5, float("nan")], [True, False], "Align them"),
        ([0.5], [True, False], "Align them"),
    ],
)
def test_refuses_what_has_no_order(values, right, message):
    with pytest.raises(ValueError, match=message):
        area_under_curve(values, right)


@pytest.mark.parametrize("values", [[], [1.5], [-0.1]])
def test_refuses_what_is_no_probability(values):
    with pytest.raises(ValueError, match="not their logarithms"):
        expected_calibration_error(values, [True] * len(values))
