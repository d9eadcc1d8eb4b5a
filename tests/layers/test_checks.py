import numpy as np
import pytest

from keras_encdec.layers.checks import require_ids

pytestmark = pytest.mark.once


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
