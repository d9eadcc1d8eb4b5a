"""Interrupts that wait, that are lost in a library, and that are not ours."""

import signal
import threading

import pytest

from keras_encdec.interrupts import (
    Terminated,
    check_interrupt,
    interrupts_kept,
    termination_came,
    termination_kept,
)

pytestmark = pytest.mark.once


def handler():
    return signal.getsignal(signal.SIGINT)


def test_an_interrupt_waits_for_the_check(interrupt):
    steps = []
    with pytest.raises(KeyboardInterrupt):
        with interrupts_kept(until_checked=True):
            for step in range(3):
                check_interrupt()
                interrupt()
                steps.append(step)
    assert steps == [0]
    assert handler() is signal.default_int_handler
    check_interrupt()


def test_an_interrupt_after_the_last_check_is_not_lost(interrupt):
    done = []
    with pytest.raises(KeyboardInterrupt):
        with interrupts_kept(until_checked=True):
            interrupt()
            done.append(True)
    assert done


@pytest.mark.parametrize("until_checked, number", [(True, 2), (False, 1)])
def test_at_once(interrupt, until_checked, number):
    sent = []
    with pytest.raises(KeyboardInterrupt):
        with interrupts_kept(until_checked=until_checked):
            for _ in range(3):
                sent.append(True)
                interrupt()
    assert len(sent) == number
    assert handler() is signal.default_int_handler


@pytest.mark.parametrize("until_checked", [True, False])
def test_what_a_library_makes_of_an_interrupt_is_the_interrupt(
    interrupt, until_checked
):
    with pytest.raises(KeyboardInterrupt) as found:
        with interrupts_kept(until_checked=until_checked):
            try:
                interrupt()
                interrupt()
            except KeyboardInterrupt:
                raise SystemError("bad argument to internal function") from None
    assert isinstance(found.value.__cause__, SystemError)
    assert handler() is signal.default_int_handler


def test_an_interrupt_that_a_library_swallows_is_not_lost(interrupt):
    with pytest.raises(KeyboardInterrupt):
        with interrupts_kept(until_checked=False):
            with pytest.raises(KeyboardInterrupt):
                interrupt()
            # A block within it learns of it too.
            with interrupts_kept(until_checked=True):
                with pytest.raises(KeyboardInterrupt):
                    check_interrupt()
                raise ValueError("lost")


def test_other_errors_are_what_they_are(interrupt):
    with pytest.raises(SystemError, match="of its own"):
        with interrupts_kept(until_checked=True):
            raise SystemError("of its own")
    assert handler() is signal.default_int_handler


@pytest.mark.parametrize("other", [signal.SIG_IGN, lambda number, frame: None])
def test_a_handler_of_another_kind_stays(interrupt, other):
    signal.signal(signal.SIGINT, other)
    with interrupts_kept(until_checked=True):
        assert handler() is other
        interrupt()
        check_interrupt()
    assert handler() is other


def test_another_thread_is_not_interrupted(interrupt):
    told = []

    def work():
        with interrupts_kept(until_checked=True):
            check_interrupt()
            told.append(True)

    with pytest.raises(KeyboardInterrupt):
        with interrupts_kept(until_checked=True):
            interrupt()
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    assert told


def test_says_on_a_terminal_that_it_waits(interrupt, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with pytest.raises(KeyboardInterrupt):
        with interrupts_kept(until_checked=True):
            interrupt()
    assert "again: at once" in capsys.readouterr().err


def test_a_termination_waits_and_the_second_does_not(terminate):
    with pytest.raises(Terminated) as found, termination_kept():
        terminate()
        assert termination_came()
    assert found.value.code == 143 and str(found.value) == "Terminated."
    assert not termination_came()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    reached = []
    with pytest.raises(Terminated), termination_kept():
        terminate()
        terminate()
        reached.append(True)
    assert not reached


def test_a_handler_of_ones_own_stays():
    came = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append(True))
    try:
        with termination_kept():
            signal.raise_signal(signal.SIGTERM)
            assert not termination_came()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came
