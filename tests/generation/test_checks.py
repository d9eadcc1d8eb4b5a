"""Checks of options, on either side of their bounds."""

import pytest

from keras_encdec.generation.checks import (
    require_one_of,
    require_share,
    require_size,
)


def test_accepts_what_is_in_bounds():
    for size in (1, 2, 10**9):
        require_size("k", size)
    for share in (1e-9, 0.5, 1, 1.0):
        require_share("p", share)
    for choice in (True, "never"):
        require_one_of("early", choice, (True, "never"))


@pytest.mark.parametrize("choice", [False, "always", None])
def test_refuses_what_is_no_choice(choice):
    with pytest.raises(ValueError, match="early must be one of True, 'never'; receive"):
        require_one_of("early", choice, (True, "never"))


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "3", None])
def test_refuses_sizes(size):
    with pytest.raises(
        ValueError, match="k must be an integer of at least 1; received"
    ):
        require_size("k", size)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_refuses_shares(share):
    with pytest.raises(ValueError, match="p must be above 0 and at most 1; received"):
        require_share("p", share)
