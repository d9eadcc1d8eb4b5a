"""Calls at the same time share the cores."""

import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from keras_encdec.backend import calls_at_a_time, threads_sharing_cores


@pytest.fixture
def six_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(6), raising=False)
    if keras.config.backend() == "torch":
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(6)
        yield
        torch.set_num_threads(before)
    else:
        yield


def test_small_programs_on_cpus_are_called_at_the_same_time(six_cores, monkeypatch):
    small = keras.Variable(np.zeros((3, 3), "float32"))
    large = np.broadcast_to(np.float32(0), (2**12, 2**12))  # Has a shape, like one.
    assert calls_at_a_time([small]) == 6
    assert calls_at_a_time([small, large]) == 1
    monkeypatch.setattr("keras_encdec.backend.parallel_calls.on_cpu", lambda: False)
    assert calls_at_a_time([small]) == 1


@pytest.mark.parametrize(("number", "share"), [(2, 3), (4, 1), (16, 1)])
def test_each_thread_has_its_share(number, share, six_cores):
    together = threading.Barrier(number)

    def call(x):
        together.wait(timeout=60)  # Would wait for ever, if they came in turn.
        return 2 * x, threads_of_pytorch()

    with threads_sharing_cores(number) as threads:
        found = list(threads.map(call, range(number)))
    on_torch = keras.config.backend() == "torch"
    assert found == [(2 * x, share if on_torch else None) for x in range(number)]
    # Nobody else has fewer than before.
    others = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: others.append(threads_of_pytorch()))
        thread.start()
        thread.join()
    assert [threads_of_pytorch(), *others] == [6 if on_torch else None] * 3


def test_nobody_has_fewer_after_calls_that_overlap(six_cores):
    first_shares, second_ended = threading.Event(), threading.Event()
    found = {}

    def first():
        with threads_sharing_cores(3) as threads:
            found["first"] = threads.submit(threads_of_pytorch).result()
            first_shares.set()
            second_ended.wait(timeout=60)

    def second():
        # In a thread that begins with what the other's parts have.
        first_shares.wait(timeout=60)
        found["at a time"] = calls_at_a_time([])
        with threads_sharing_cores(2) as threads:
            found["second"] = threads.submit(threads_of_pytorch).result()
        found["after"] = threads_of_pytorch()
        second_ended.set()

    both = [threading.Thread(target=target) for target in (first, second)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    new = ThreadPoolExecutor(1).submit(threads_of_pytorch).result()
    on_torch = keras.config.backend() == "torch"
    assert found.pop("at a time") == 6
    expected = {"first": 2, "second": 3, "after": 6} if on_torch else {}
    assert found == {key: expected.get(key) for key in ("first", "second", "after")}
    assert [threads_of_pytorch(), new] == [6 if on_torch else None] * 2


def test_nobody_has_fewer_after_an_error(six_cores):
    before = threads_of_pytorch()
    with pytest.raises(ZeroDivisionError), threads_sharing_cores(2) as threads:
        list(threads.map(lambda x: 1 // x, [0, 0]))
    assert threads_of_pytorch() == before


def threads_of_pytorch():
    if keras.config.backend() != "torch":
        return None
    import torch

    return torch.get_num_threads()
