"""What a compiled function depends on: functions, objects, models."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.backend.dependencies import (
    Structure,
    key_of,
    variables_of,
)


class Penalty:
    def __init__(self, **attributes):
        vars(self).update(attributes)

    def __call__(self, x):
        return x


@dataclasses.dataclass
class Options:
    size: int = 1
    others: tuple = ()


@dataclasses.dataclass(slots=True)
class Slotted:
    size: object = 1


class Named:
    __slots__ = ("value",)


def closure(value):
    return lambda x: x + value


def test_one_key_while_nothing_changes():
    penalty = Penalty(amount=1.0, words=[1, 2], table=np.ones(2), options=Options())
    parts = [penalty, penalty.__call__, closure(2), functools.partial(max, 1), max]
    parts += [ops.ones(2), {"a": {1, 2}}, Penalty]
    assert key_of(parts) == key_of(parts)
    assert hash(key_of(parts)) == hash(key_of(parts))
    # Equal ones, made anew.
    assert key_of(closure((1, "a"))) == key_of(closure((1, "a")))
    assert key_of(Options(2, (Options(3),))) == key_of(Options(2, (Options(3),)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (1, 2),
        (1, 1.0),
        (1, True),
        ("a", b"a"),
        ([1, 2], [1, 3]),
        ([1], (1,)),
        ({"a": 1}, {"a": 2}),
        ({1}, {2}),
        (np.zeros(2), np.ones(2)),
        (np.zeros(2), np.zeros(3)),
        (np.zeros(2, "int32"), np.zeros(2, "float32")),
        (Options(1), Options(2)),
        (Options(1, (Options(1),)), Options(1, (Options(2),))),
        (Slotted(1), Slotted(2)),
        (closure(1), closure(2)),
        (closure([1]), closure([2])),
        (functools.partial(max, 1), functools.partial(max, 2)),
        (functools.partial(max, 1), functools.partial(min, 1)),
        (Penalty().__call__, Penalty(amount=1).__call__),
        (object(), object()),
    ],
)
def test_what_changes_an_attribute_changes_the_key(before, after):
    penalty = Penalty(value=before)
    key = key_of([penalty])
    penalty.value = after
    assert key_of([penalty]) != key
    penalty.value = before
    assert key_of([penalty]) == key


def test_what_changes_in_place_changes_the_key():
    words, table = [1], np.zeros(2)
    parts = [Penalty(words=words), Penalty(table=table)]
    keys = [key_of(parts)]
    words.append(2)
    keys.append(key_of(parts))
    table[1] = 1
    keys.append(key_of(parts))
    assert len(set(keys)) == 3


def test_slots_are_attributes():
    named = Named()
    keys = [key_of([named])]
    named.value = 1
    keys.append(key_of([named]))
    named.value = 2
    keys.append(key_of([named]))
    assert len(set(keys)) == 3


def test_tensors_are_compared_by_their_values():
    assert key_of(closure(ops.ones(2))) == key_of(closure(ops.ones(2)))
    assert key_of(closure(ops.ones(2))) != key_of(closure(ops.zeros(2)))


def test_what_refers_to_itself_has_a_key():
    words = [1]
    words.append(words)

    def recursive(x):
        return recursive(x)

    penalty = Penalty(words=words, function=recursive)
    penalty.itself = penalty
    assert key_of(penalty) == key_of(penalty)


def model():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])


def test_variables_of_whatever_holds_them():
    one, other, variable = model(), model(), keras.Variable(1.0)
    found = variables_of(
        [
            one,
            Penalty(models=[one, {"other": other}]),
            closure(variable),
            Penalty(variable=variable).__call__,
            Penalty(variables=[variable]),
            np.ones(2),
            None,
        ]
    )
    assert len(found) == 5
    assert {id(x) for x in found} == {
        id(x) for x in (*one.variables, *other.variables, variable)
    }


def test_variables_of_many_functions_and_slots():
    variables = [keras.Variable(float(number)) for number in range(4)]
    for functions in (
        [closure(variable) for variable in variables],
        [functools.partial(max, variable) for variable in variables],
        [Penalty(variable=variable).__call__ for variable in variables],
        [Slotted(variable) for variable in variables],
    ):
        assert {id(x) for x in variables_of([functions])} == {id(x) for x in variables}


def test_variables_of_what_is_seen_again_from_nearer():
    holder = Penalty(models=Penalty(variable=keras.Variable(1.0)))
    # What stands last is looked at first.
    assert len(variables_of([holder, Penalty(deep=Penalty(holder=holder))])) == 1


def test_structure_changes_with_layers_variables_and_policies():
    one = model()
    (dense,) = one.layers
    holder = Penalty(model=one)

    def changed(change):
        before = Structure([holder])
        assert before.is_of([holder])
        change()
        return not before.is_of([holder])

    assert not changed(lambda: one.set_weights([x + 1 for x in one.get_weights()]))
    assert changed(lambda: dense.enable_lora(2))
    assert changed(lambda: dense.quantize("int8"))
    assert changed(lambda: setattr(dense, "dtype_policy", "float16"))
    assert changed(lambda: one.add(keras.layers.Dropout(0.5)))
    assert changed(lambda: setattr(one.layers[-1], "dtype_policy", "float16"))
    assert changed(lambda: setattr(holder, "model", model()))
    assert not changed(lambda: setattr(holder, "calls", 3))
