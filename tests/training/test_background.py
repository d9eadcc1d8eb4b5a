"""Work beside the caller, and what becomes of its errors."""

import threading

import pytest

from keras_encdec.training.background import Background

pytestmark = pytest.mark.once


def test_one_runs_after_another_beside_the_caller():
    background, may_end, seen = Background(), threading.Event(), []

    def first():
        assert may_end.wait(60)
        seen.append("first")

    background.begin(first)
    assert not seen
    threading.Timer(0.1, may_end.set).start()
    background.begin(lambda: seen.append("second"))
    background.wait()
    assert seen == ["first", "second"]


def test_an_error_is_raised_once_by_what_comes_next():
    def fails():
        raise OSError("full")

    background, seen = Background(), []
    background.begin(fails)
    background.settle()
    with pytest.raises(OSError, match="full"):
        background.begin(lambda: seen.append("begun"))
    assert not seen, "the next does not begin"
    background.wait()
