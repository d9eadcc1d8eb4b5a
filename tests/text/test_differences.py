"""Which texts are the worst, and what is marked in them."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_encdec.text import marked_differences, worst_texts

pytestmark = pytest.mark.once


def test_the_worst_come_first_and_what_is_right_not_at_all():
    sources, references = ["a", "b", "c", "d"], ["one", "two", "three", "four"]
    hypotheses = ["one", "owt", "thre", ""]
    found = worst_texts(sources, hypotheses, references, 9)
    assert [wrong.place for wrong in found] == [3, 1, 2]
    # Of "owt" w is right, and two edits make the rest.
    rates = [wrong.error_rate for wrong in found]
    assert rates == pytest.approx([1, 2 / 3, 1 / 5])
    assert worst_texts(sources, hypotheses, references, 1) == found[:1]
    assert worst_texts(sources, references, references, 9) == []


def test_any_reference_of_a_source_is_right_and_the_nearest_counts():
    sources, references = ["read", "read", "x"], ["r eh d", "r iy d", "k s"]
    assert worst_texts(sources, ["r iy d", "r iy d", "k s"], references, 9) == []
    (wrong,) = worst_texts(sources, ["r iy t", "r iy t", "k s"], references, 9)
    assert wrong.place == 0 and wrong.reference == "r iy d"
    with pytest.raises(ValueError):
        worst_texts(sources, ["x"], references, 9)
    with pytest.raises(TypeError):
        worst_texts("read", ["x"], ["y"], 9)


@pytest.mark.parametrize(
    "hypothesis, reference, marked",
    [
        ("a b c", "a b c", "a b c"),
        ("a red dog", "a big red cat", "a[- big-] red [-cat-]{+dog+}"),
        ("kat", "cat", "[-c-]{+k+}at"),
        ("", "one two", "[-one two-]"),
        ("one two", "", "{+one two+}"),
    ],
)
def test_what_differs_is_marked(hypothesis, reference, marked):
    assert marked_differences(hypothesis, reference) == marked


@settings(max_examples=100, deadline=None)
@given(st.text("ab ", max_size=12), st.text("ab ", max_size=12))
def test_both_texts_can_be_read_off(hypothesis, reference):
    marked = marked_differences(hypothesis, reference)
    is_true = re.sub(r"\{\+.*?\+\}", "", marked)
    is_generated = re.sub(r"\[-.*?-\]", "", marked)
    assert re.sub(r"\[-(.*?)-\]", r"\1", is_true) == reference
    assert re.sub(r"\{\+(.*?)\+\}", r"\1", is_generated) == hypothesis
