import numpy as np
import pytest

from keras_encdec.layers.checks import require_ids, require_one_of, require_positive

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


@pytest.mark.parametrize(
    "ids, rule",
    [
        ([3, 4], r"must be 2D.*\(2,\)"),
        ([[0.5]], "must be integer.*float"),
        ([[3, 10]], "from 0 to 9.*from 3 to 10"),
        ([[-1, 3]], "from 0 to 9.*from -1 to 3"),
        ([[1, 2, 3]], "max_length=2.*length 3"),
    ],
)
def test_ids_must_be_of_the_vocabulary(ids, rule):
    with pytest.raises(ValueError, match=f"(?s)target.*{rule}"):
        require_ids("target", np.array(ids), vocabulary_size=10, max_length=2)


def test_good_ids_pass():
    require_ids("source", np.array([[0, 9], [3, 4]]), vocabulary_size=10, max_length=2)
    require_ids("source", np.zeros((0, 5), "int64"), vocabulary_size=10)
