import pytest

from keras_encdec.pretrained.families import BART_LIKE, FAMILIES, T5_LIKE, Architecture

pytestmark = pytest.mark.once


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_those_of_transformers(family):
    transformers = pytest.importorskip("transformers")
    assert family in transformers.CONFIG_MAPPING
    kind = {**BART_LIKE, **T5_LIKE}[family]
    assert hasattr(transformers, kind.name)
    assert Architecture(family, {}, {}).is_t5 == ("t5" in family)
