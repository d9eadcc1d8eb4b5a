"""What one process learns of another by their connection."""

import concurrent.futures
import queue
import threading

import pytest

from keras_encdec.backend.jax.lifelines import Lifelines

pytestmark = pytest.mark.once


@pytest.fixture
def three():
    """Three processes, as threads, and what each was ended with."""
    values, met = [None] * 3, threading.Barrier(3)
    said = [queue.Queue() for _ in range(3)]

    def begun(index):
        def gathered(value):
            values[index] = value
            met.wait()
            return values

        return Lifelines(index, "localhost", gathered, end=said[index].put)

    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        found = list(threads.map(begun, range(3)))
    for _ in range(1000):
        if len(found[0]._others) == 2:
            break
        threading.Event().wait(0.01)
    assert len(found[0]._others) == 2
    yield found, said
    for each in found:
        for other in each._others.values():
            other.close()


def test_what_dies_ends_all(three):
    (_, second, _), said = three
    second._others[0].shutdown(2)
    for number in (0, 2):
        words = said[number].get(timeout=10)
        assert "end together: process 1 has died. The same command" in words


def test_what_fails_says_why(three):
    (first, _, third), said = three
    third.fail(OSError("No space\nleft."))
    for number in (0, 1):
        words = said[number].get(timeout=10)
        assert "process 2 has failed, OSError: No space left. The same" in words
    assert third.has_failed and not first.has_failed


def test_what_has_left_ends_none(three):
    lifelines, said = three
    for each in lifelines:
        each.leave()
    for each in lifelines:
        for other in each._others.values():
            other.shutdown(2)
    threading.Event().wait(0.2)
    assert all(x.empty() for x in said)
