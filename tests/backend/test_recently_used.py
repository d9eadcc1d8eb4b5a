"""What is kept, and what is let go."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_encdec.backend.recently_used import RecentlyUsed

pytestmark = pytest.mark.once


def test_those_asked_for_last_are_kept():
    made = []
    kept = RecentlyUsed(most=2)

    def get(key):
        return kept.get(key, lambda: made.append(key) or 10 * key)

    assert [get(key) for key in (1, 2, 1, 3, 1, 2)] == [10, 20, 10, 30, 10, 20]
    assert made == [1, 2, 3, 2]
    assert len(kept) == 2 and kept.values() == [10, 20]
    kept.clear()
    assert len(kept) == 0 and get(1) == 10


def test_threads_get_what_one_of_them_made():
    kept, together = RecentlyUsed(most=4), threading.Barrier(8)

    def get(_):
        together.wait(timeout=60)
        return [kept.get(key, object) for key in range(4)]

    with ThreadPoolExecutor(8) as threads:
        first, *others = threads.map(get, range(8))
    assert all(other == first for other in others)
