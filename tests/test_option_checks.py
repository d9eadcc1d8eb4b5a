"""Checks of options on either side of their bounds."""

import numpy as np
import pytest

from keras_encdec.option_checks import (
    require_number,
    require_one_of,
    require_positive,
    require_share,
)

pytestmark = pytest.mark.once


def test_positive_integers_pass():
    require_positive()
    require_positive(hidden_dim=1, num_heads=np.int64(8))


@pytest.mark.parametrize("value", [0, -3, 2.0, True, None, "4", np.float32(4)])
def test_anything_else_is_refused_by_name_and_value(value):
    with pytest.raises(ValueError) as error:
        require_positive(num_heads=4, hidden_dim=value)
    assert f"hidden_dim={value!r}" in str(error.value)
    assert "num_heads" not in str(error.value)


def test_a_choice_passes():
    require_one_of(("layer", "rms", None), first="rms", second=None)


@pytest.mark.parametrize("value", ["batch", None, 3])
def test_no_choice_is_refused_with_the_choices(value):
    with pytest.raises(ValueError) as error:
        require_one_of(("layer", "rms"), normalization=value)
    assert f"'layer', 'rms'; received normalization={value!r}" in str(error.value)


@pytest.mark.parametrize("value", [-0.1, 1.01, True, "0.5", None, float("nan")])
def test_numbers_out_of_their_range_are_refused(value):
    require_number(0, 1, dropout=0, epsilon=1)
    with pytest.raises(ValueError, match="epsilon must be a number from 0 to 1; rec"):
        require_number(0, 1, dropout=0.5, epsilon=value)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_shares_are_above_0_and_at_most_1(share):
    require_share(p=1e-9, q=1)
    with pytest.raises(ValueError, match="p must be above 0 and at most 1; received p"):
        require_share(p=share)
