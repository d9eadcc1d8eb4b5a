"""Names of languages, and what is said of one that is unknown."""

import pytest

from keras_encdec.pretrained.languages import M2M_100, MBART_50, language_id, nearest

pytestmark = pytest.mark.once


def test_lists_are_those_of_transformers():
    from transformers.models.m2m_100 import tokenization_m2m_100
    from transformers.models.mbart50 import tokenization_mbart50

    assert MBART_50 == tokenization_mbart50.FAIRSEQ_LANGUAGE_CODES
    assert M2M_100 == tokenization_m2m_100.FAIRSEQ_LANGUAGE_CODES


def test_the_nearest_names_come_first():
    assert nearest(MBART_50, "de")[0] == "de_DE"
    assert nearest(MBART_50, "EN_us")[0] == "en_XX"
    assert nearest(["eng_Latn", "deu_Latn", "deu_Arab"], "deu-Latn")[0] == "deu_Latn"
    assert len(nearest(MBART_50, "klingon")) == 5


def test_an_unknown_language_is_refused():
    assert language_id({"a": 3}, "a", "source_language") == 3
    with pytest.raises(ValueError, match="source_language.*received 'b'.*'a'"):
        language_id({"a": 3}, "b", "source_language")
    with pytest.raises(ValueError, match="knows no languages.*target_language='b'"):
        language_id({}, "b", "target_language")
