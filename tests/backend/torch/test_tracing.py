import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_encdec.backend.torch.tracing import (
    CALLS_BEFORE_TRACE,
    MOST_TRACES,
    Traces,
    traced_call,
    while_loop,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.once

ENOUGH = CALLS_BEFORE_TRACE + 3


class Counted:
    """A function from nested tensors to others, that counts its calls by Python."""

    calls = 0

    def __call__(self, pair, nothing):
        self.calls += 1
        return {"sum": pair[0] + pair[1], "parts": (pair[0] * 2, [nothing])}


def call_often(function, traces, sizes=(3,), times=ENOUGH):
    for time in range(times):
        for size in sizes:
            x = torch.arange(size) + time
            with traces.kept():
                found = traced_call(function, (x, x * 10), None)
            assert found["sum"].tolist() == (x * 11).tolist()
            assert found["parts"][0].tolist() == (x * 2).tolist()
            assert found["parts"][1] == [None]


def test_a_call_leaves_python_and_keeps_its_structure():
    function = Counted()
    call_often(function, Traces())
    assert function.calls == CALLS_BEFORE_TRACE + 1  # The last one is the trace's.


def test_each_shape_is_traced():
    function = Counted()
    call_often(function, Traces(), sizes=(2, 5, 1))
    assert function.calls == 3 * (CALLS_BEFORE_TRACE + 1)


def test_each_function_has_a_trace_of_its_own():
    traces, x = Traces(), torch.tensor([3.0])
    for _ in range(ENOUGH):
        with traces.kept():
            assert traced_call(torch.neg, x).tolist() == [-3]
            assert traced_call(torch.square, x).tolist() == [9]


def test_nothing_is_kept_but_within_a_compiled_function():
    function = Counted()
    for _ in range(ENOUGH):
        traced_call(function, (torch.ones(1), torch.ones(1)), None)
    assert function.calls == ENOUGH


def test_no_result_is_kept_alive():
    import weakref

    with Traces().kept():
        found = traced_call(lambda x: {"twice": x * 2}, torch.ones(1))
        alive = weakref.ref(found["twice"])
        del found
        assert alive() is None


def test_each_value_of_what_is_no_tensor_has_a_trace_of_its_own():
    traces, x = Traces(), torch.tensor([3.0])
    for _ in range(ENOUGH):
        with traces.kept():
            for power in (2, 3):
                found = traced_call(lambda x, power: x**power, x, power)
                assert found.tolist() == [3**power]
    assert len(traces) == 2


def test_loops_of_one_shape_are_told_apart():
    def upwards(last, by):
        def step(state, constants):
            return state + by

        state = torch.tensor(0)
        return int(while_loop(lambda state, _: state < last, step, state, ()))

    traces = Traces()
    for _ in range(ENOUGH):
        with traces.kept():
            assert [upwards(50, 1), upwards(100, 1), upwards(100, 5)] == [50, 100, 100]
    assert len(traces) == 3


def test_only_the_last_traces_are_kept():
    traces, x = Traces(), torch.tensor(3)
    for number in range(2 * MOST_TRACES):
        with traces.kept():
            assert (
                int(traced_call(lambda x, number: x * number, x, number)) == 3 * number
            )
    assert len(traces) == MOST_TRACES


def test_what_cannot_be_traced_runs_as_it_is():
    def function(x):
        return x + 1 if int(x) % 2 else x + 2

    traces = Traces()
    for number in range(ENOUGH):
        with traces.kept():
            found = traced_call(function, torch.tensor(number))
        assert int(found) == number + 2 - number % 2


def test_a_loop_leaves_python():
    calls = []

    def step(state, constants):
        calls.append(None)
        return {"count": state["count"] + 1}

    traces = Traces()
    for most in (ENOUGH, 2 * ENOUGH):
        with traces.kept():
            found = while_loop(
                lambda state, most: state["count"] < most,
                step,
                {"count": torch.tensor(0)},
                torch.tensor(most),
            )
        assert int(found["count"]) == most
    assert len(calls) == CALLS_BEFORE_TRACE + 1


def test_a_step_that_looks_at_its_values_is_not_traced():
    def step(state, constants):
        return state + 1 if int(state) < 50 else state + 10

    traces = Traces()
    for _ in range(2):
        with traces.kept():
            found = while_loop(lambda state, _: state < 100, step, torch.tensor(0), ())
        assert int(found) == 100


def test_threads_trace_once_and_share_the_trace():
    calls, traces, number = [], Traces(), 4
    together = threading.Barrier(number)

    def step(state, most):
        calls.append(None)
        return state + 1

    def double(x):
        calls.append(None)
        return {"double": x * 2}

    def run(part):
        together.wait(timeout=60)
        found = []
        for repeat in range(ENOUGH):
            x, most = torch.tensor(part + repeat), torch.tensor(part + 100)
            with traces.kept():
                end = while_loop(lambda state, most: state < most, step, x, most)
                found.append((int(end), int(traced_call(double, x)["double"])))
        return found

    with ThreadPoolExecutor(number) as threads:
        for part, found in enumerate(threads.map(run, range(number))):
            assert found == [(100 + part, 2 * (part + x)) for x in range(ENOUGH)]
    # Who called a function while it was traced calls it once more.
    assert len(calls) <= 2 * (CALLS_BEFORE_TRACE + number)
