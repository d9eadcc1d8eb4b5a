"""What a function that is compiled depends on beside the arguments of its calls.

A compiled function has everything but its arguments and the values of variables built
in. So that none is called for what it was not made of, it is found by a key that says
all of it, and let go when a model is built otherwise.
"""

import dataclasses
import functools
import operator
import types
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import keras
import numpy as np

from keras_encdec.annotations import Tensor
from keras_encdec.backend.layers import all_layers
from keras_encdec.backend.shortcuts import take

# The lists in which a layer keeps what is its own: `variables` asks all layers in it.
_OWN = operator.attrgetter(
    "_layers", "_trainable_variables", "_non_trainable_variables", "_seed_generators"
)

_PLAIN = {type(None), bool, int, float, complex, str, bytes, type(...)}


def key_of(
    parts: Any,
    depth: int = 1,
    is_tensor: Callable[[Any], bool] = keras.ops.is_tensor,
    of_tensor: Callable[[Tensor], Hashable] | None = None,
) -> Hashable:
    """Returns what stands for functions and objects while they compute the same.

    Compared by their values are numbers, strings, arrays, containers of these,
    functions with what they refer to in the functions around them, dataclasses, and the
    attributes of the parts themselves; everything else, such as a model, by whether it
    is the same object.

    Args:
        parts: Functions or objects, nested in lists and tuples.
        depth: 1, or 0 to compare objects by whether they are the same, and of what
            functions refer to also lists, dicts and sets.
        is_tensor: Whether an object is a tensor, a function.
        of_tensor: A function from a tensor to what stands for it; by default a tensor
            is compared by its values.

    Returns:
        A hashable object, which keeps alive what it compares.

    Example:
        ```python
        from keras_encdec.backend.dependencies import key_of

        keys = [key_of(lambda x, number=number: x + number) for number in (1, 2, 2)]
        print(keys[0] == keys[1], keys[1] == keys[2])  # False True
        ```
    """
    return _Keys(is_tensor, of_tensor or _values).of(parts, depth)


class _Same:
    """An object that is compared by whether it is the same one."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __hash__(self) -> int:
        return id(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._value is other._value


class _Keys:
    def __init__(
        self,
        is_tensor: Callable[[Any], bool],
        of_tensor: Callable[[Tensor], Hashable],
    ) -> None:
        self._is_tensor, self._of_tensor = is_tensor, of_tensor
        self._inside: set[int] = set()

    def of(self, value: Any, depth: int = 0) -> Hashable:
        kind = type(value)
        if kind in _PLAIN:
            return kind, value
        if id(value) in self._inside:  # It refers to itself.
            return _Same(value)
        self._inside.add(id(value))
        try:
            return kind, self._of(value, depth)
        finally:
            self._inside.discard(id(value))

    def _of(self, value: Any, depth: int) -> Hashable:
        if isinstance(value, (keras.Variable, keras.layers.Layer, type)):
            return _Same(value)
        if self._is_tensor(value):
            return self._of_tensor(value)
        if isinstance(value, (list, tuple)):
            return tuple(self.of(x, depth) for x in value)
        if isinstance(value, dict):
            return tuple((self.of(k), self.of(x, depth)) for k, x in value.items())
        if isinstance(value, (set, frozenset)):
            return frozenset(map(self.of, value))
        if isinstance(value, (np.ndarray, np.generic)):
            return _values(value)
        if isinstance(value, _Same):
            return value
        if isinstance(value, types.MethodType):
            return _Same(value.__func__), self.of(value.__self__, depth)
        if isinstance(value, types.FunctionType):
            inner: Sequence[Any] = _surroundings(value)
            if depth < 1:
                mutable = list, dict, set
                inner = [_Same(x) if isinstance(x, mutable) else x for x in inner]
            given = value.__defaults__, value.__kwdefaults__
            of_inner = self.of((given, inner), depth)
            return value.__code__, _Same(value.__globals__), of_inner
        if isinstance(value, functools.partial):
            return self.of((value.func, value.args, value.keywords), depth)
        attributes = _attributes(value)
        if attributes is not None and (depth > 0 or dataclasses.is_dataclass(value)):
            return self.of(attributes, depth - 1)
        return _Same(value)


def _values(tensor: Tensor) -> Hashable:
    array = keras.ops.convert_to_numpy(tensor)
    if array.dtype == object:
        return _Same(tensor)
    return array.shape, str(array.dtype), array.tobytes()


def _surroundings(function: types.FunctionType) -> tuple[Any, ...]:
    """Returns what a function refers to in the functions around it, a tuple."""
    contents = []
    for cell in function.__closure__ or ():
        try:
            contents.append(cell.cell_contents)
        except ValueError:  # Empty yet.
            contents.append(None)
    return tuple(contents)


def _attributes(value: object) -> dict[str, Any] | None:
    """Returns the attributes of an object by name, or None where it can have none."""
    found = getattr(value, "__dict__", None)
    for kind in type(value).__mro__:
        if "__slots__" in vars(kind):
            names = [
                name
                for name, slot in vars(kind).items()
                if isinstance(slot, types.MemberDescriptorType) and hasattr(value, name)
            ]
            found = {**(found or {}), **{name: getattr(value, name) for name in names}}
    return found


def variables_of(parts: Iterable[Any]) -> list[Any]:
    """Returns the Keras variables of models and other objects.

    Args:
        parts: Objects: with `variables`, as a Keras layer has them, or whose attributes
            are such objects, variables, or containers of them.

    Returns:
        A list, each of them once.

    Example:
        ```python
        import keras
        from keras_encdec.backend.dependencies import variables_of

        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        print(len(variables_of([model])))
        ```
    """
    found: dict[int, Any] = {}
    for part in _keras_parts(parts):
        several = [part] if isinstance(part, keras.Variable) else part.variables
        found.update((id(variable), variable) for variable in several)
    return list(found.values())


class Structure:
    """The variables, layers and dtype policies of models and other objects.

    Compiled functions hold for other values of the variables, but not where LoRA,
    quantization or the like have replaced them, or added some.

    Args:
        parts: As in `variables_of`.

    Example:
        ```python
        import keras
        from keras_encdec.backend.dependencies import Structure

        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        before = Structure([model])
        model.layers[0].enable_lora(rank=1)
        print(before.is_of([model]))  # False
        ```
    """

    def __init__(self, parts: Iterable[Any]) -> None:
        self._parts = [*_keras_parts(parts)]
        # Looking at each of hundreds of layers takes as long as some steps of decoding,
        # so they are looked for once: their own lists tell of others.
        self._layers = [
            layer
            for part in self._parts
            if isinstance(part, keras.layers.Layer)
            for layer in all_layers(part)
        ]
        self._contents = self._read()

    def is_of(self, parts: Iterable[Any]) -> bool:
        """Returns whether the parts have the same objects now."""
        parts = [*_keras_parts(parts)]
        return are_the_same(self._parts, parts) and are_the_same(
            self._contents, self._read()
        )

    def _read(self) -> list[Any]:
        layers = take("keras-lists", self._own_lists, self._walked)
        others = (
            part.variables
            for part in self._parts
            if not isinstance(part, (keras.layers.Layer, keras.Variable))
        )
        return [*layers, *chain(*others)]

    def _own_lists(self) -> list[Any]:
        policies = map(operator.attrgetter("dtype_policy"), self._layers)
        lists = [*chain.from_iterable(map(_OWN, self._layers))]
        return [*policies, *lists, *chain(*lists)]

    def _walked(self) -> list[Any]:
        parts = [x for x in self._parts if isinstance(x, keras.layers.Layer)]
        layers = [*chain.from_iterable(map(all_layers, parts))]
        policies = (layer.dtype_policy for layer in layers)
        return [*layers, *policies, *chain(*(part.variables for part in parts))]


def are_the_same(these: Sequence[Any], those: Sequence[Any]) -> bool:
    """Returns whether two lists hold the same objects, not only equal ones.

    Example:
        ```python
        from keras_encdec.backend.dependencies import are_the_same

        print(are_the_same([None], [None]), are_the_same([[]], [[]]))  # True False
        ```
    """
    return len(these) == len(those) and all(map(operator.is_, these, those))


def _keras_parts(parts: Iterable[Any]) -> Iterator[Any]:
    """Yields layers, variables, and other objects that have `variables`."""
    seen: dict[int, tuple[Any, int]] = {}
    waiting: list[tuple[Any, int]] = [(part, 2) for part in parts]
    while waiting:
        value, depth = waiting.pop()
        kind = type(value)
        if kind in _PLAIN or kind is np.ndarray:
            continue
        # Seen from nearer, more of it is looked at.
        if id(value) in seen and seen[id(value)][1] >= depth:
            continue
        # Kept, for what is made next would have the number of what is gone.
        seen[id(value)] = value, depth
        if isinstance(value, (keras.Variable, keras.layers.Layer)):
            yield value
        elif isinstance(value, (list, tuple)):
            waiting += ((x, depth) for x in value)
        elif isinstance(value, dict):
            waiting += ((x, depth) for x in value.values())
        elif isinstance(value, types.MethodType):
            waiting.append((value.__self__, depth))
        elif isinstance(value, types.FunctionType):
            waiting.append((_surroundings(value), depth))
        elif isinstance(value, functools.partial):
            waiting.append(((value.func, value.args, value.keywords), depth))
        elif not isinstance(value, type) and depth > 0:
            if isinstance(getattr(value, "variables", None), (list, tuple)):
                yield value
            else:
                attributes = _attributes(value) or {}
                waiting.append((list(attributes.values()), depth - 1))
