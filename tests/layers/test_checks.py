import numpy as np
import pytest

from keras_encdec.layers.checks import require_one_of, require_positive

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
