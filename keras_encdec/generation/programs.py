"""The compiled functions of a generator, as long as they are what it computes."""

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np

from keras_encdec.backend import (
    RecentlyUsed,
    Structure,
    calls_at_a_time,
    compile_function,
    key_of,
    variables_of,
)

# Those that were called last; JAX and PyTorch keep some for each set of shapes in each.
MOST_PROGRAMS = 32


class Programs:
    """Compiled functions of a model and of what generates with it.

    They hold for any values of the model's variables. Where layers or variables are
    others than before, as after `enable_lora` and `quantize`, all of them are let go;
    for processors and samplers with other attributes there are others. Threads may
    share them.

    Example:
        ```python
        import numpy as np
        from keras_encdec.generation.programs import Programs

        arrays, programs = {"x": np.array([[21]], "int32")}, Programs()
        programs.see([])
        times = programs.get("times", lambda x, n: n * x, arrays, {"n": 2}, [], False)
        print(times(arrays["x"]))
        ```
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._structure: Structure | None = None
        self._variables: list[Any] = []
        self._functions: RecentlyUsed[Callable[..., Any]] = RecentlyUsed(MOST_PROGRAMS)
        self.calls_at_a_time = 1

    def see(self, parts: Sequence[Any]) -> None:
        """Lets go what was made of a model that is another one now.

        Args:
            parts: All that the functions are made of: models, samplers, processors.
        """
        with self._lock:
            if self._structure is None or not self._structure.is_of(parts):
                self._functions.clear()
                self._structure, self._variables = Structure(parts), variables_of(parts)
                self.calls_at_a_time = calls_at_a_time(self._variables)

    def get(
        self,
        name: str,
        function: Callable[..., Any],
        arrays: Mapping[str, np.ndarray],
        options: Mapping[str, Hashable],
        parts: Sequence[Any],
        jit: bool | Literal["auto"],
        nested: bool = False,
    ) -> Callable[..., Any]:
        """Returns a function that is compiled, or will be when it is called.

        Args:
            name: The function's name.
            function: The function, of the arrays and options by name; before them of
                other nested tensors.
            arrays: Some of its arrays by name, of any numbers of rows and positions;
                the other sizes, and those of phrases and candidates, are fixed.
            options: What it is compiled for, by name, hashable.
            parts: What else it is made of, beside models: as in `backend.key_of`.
            jit: As in `backend.compile_function`.
            nested: Whether there are nested tensors before the arrays.
        """
        names = tuple(arrays)
        # Of the length of a source or a target, and of the features of a source.
        sizes = {k: (None, None, *array.shape[2:]) for k, array in arrays.items()}
        # What a step of the loop is made for.
        if "phrases" in arrays:
            sizes["phrases"] = (None, *arrays["phrases"].shape[1:])
        if "candidates" in arrays:
            sizes["candidates"] = arrays["candidates"].shape
            sizes["allowed"] = (None, *arrays["candidates"].shape)
        shapes = {k: sizes[k][: array.ndim] for k, array in arrays.items()}
        key = name, tuple(shapes.items()), tuple(options.items()), jit, key_of(parts)

        def compiled() -> Callable[..., Any]:
            def of_arrays(*args: Any) -> Any:
                others = args[: len(args) - len(names)]
                named = dict(zip(names, args[len(others) :], strict=True))
                return function(*others, **named, **options)

            inputs: list[Any] | None = [
                keras.KerasTensor(shapes[k], array.dtype.name)
                for k, array in arrays.items()
            ]
            inputs = None if nested else inputs
            return compile_function(of_arrays, inputs, self._variables, jit)

        with self._lock:
            return self._functions.get(key, compiled)

    def __len__(self) -> int:
        return len(self._functions)
