import numpy as np
import pytest
from keras import ops

from keras_encdec.generation.samplers.stop_rules import is_done


def done(rule, live, ended, length, longest, penalty=lambda n: n):
    live, ended = (ops.array(np.array([x, x], "float32")) for x in (live, ended))
    longest = ops.array(longest, "int32")
    found = is_done(rule, live, ended, ops.array(length), longest, 1, penalty)
    return ops.convert_to_numpy(found).tolist()


def test_exact_waits_while_one_of_the_expected_length_can_win():
    # Of 8 tokens a live one has -2 at best, of 40 as much as -0.4.
    assert done(False, [-16.0, -17.0], [-1.0, -1.5], 5, [8, 40]) == [True, False]


def test_one_that_is_longer_than_expected_goes_on_while_it_would_win_at_once():
    assert done(False, [-9.0, -9.5], [-1.0, -1.5], 12, [8, 40]) == [False, False]
    assert done(False, [-26.0, -27.0], [-1.0, -1.5], 12, [8, 13]) == [True, True]


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.6, 1.0])
def test_exact_is_the_best_of_all_lengths_to_come(alpha):
    rng = np.random.default_rng(0)
    for _ in range(50):
        live, ended = -rng.uniform(1, 20, 3), -rng.uniform(0.1, 3, 3)
        length, longest = map(int, rng.integers(1, 30, size=2))
        last = max(length + 1, longest)
        reachable = max(live.max() / n**alpha for n in range(length + 1, last + 1))
        if abs(reachable - ended.max()) > 1e-4:
            found = done(
                *(False, live, ended, length, [longest] * 2), lambda n: n**alpha
            )
            assert found == [reachable <= ended.max()] * 2


def test_the_others_count_what_has_ended():
    never = -float("inf")
    assert done(True, [-1.0, -2.0], [-5.0, never], 3, [9, 9]) == [False, False]
    assert done(True, [-1.0, -2.0], [-5.0, -6.0], 3, [9, 9]) == [True, True]
    assert done("heuristic", [-3.0, -9.0], [-0.5, -0.9], 3, [9, 9]) == [True, True]
    assert done("heuristic", [-3.0, -9.0], [-0.5, -1.1], 3, [9, 9]) == [False, False]
    assert done("never", [-3.0, -9.0], [-0.5, -0.6], 3, [9, 9]) == [False, False]
    for rule in (True, False, "heuristic", "never"):
        assert done(rule, [never, never], [-5.0, never], 3, [9, 9]) == [True, True]
