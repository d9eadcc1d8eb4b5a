import keras
import pytest

from keras_encdec.backend import policy_config


@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16", "int8_from_float32"])
def test_it_is_the_config_that_keras_writes(name):
    policy = keras.dtype_policies.get(name)
    assert policy_config(policy) == keras.dtype_policies.serialize(policy)
    assert keras.dtype_policies.deserialize(policy_config(policy)) == policy


def test_other_policies_are_left_to_keras():
    policy = keras.dtype_policies.DTypePolicyMap(default_policy="float32")
    assert policy_config(policy) == keras.dtype_policies.serialize(policy)
