import pytest

from keras_encdec.pretrained.text_parts import text_parts

pytestmark = pytest.mark.once


def test_a_sampler_and_a_length_of_ones_own_come_first(preset):
    folder, parts = text_parts(preset)
    assert folder == preset
    assert (parts["sampler"].num_beams, parts["max_length"]) == (4, 11)
    _, own = text_parts(preset, sampler="greedy", max_length=5, jit_compile=False)
    assert (own["sampler"], own["max_length"]) == ("greedy", 5)
    assert own["processors"] == parts["processors"] and own["jit_compile"] is False
