"""Parts of a batch that are generated at the same time, each in a thread."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import tree

from keras_encdec.backend import threads_sharing_cores

# A part with fewer target rows takes as long as the whole.
FEWEST = 4


def side_by_side(
    function: Callable[[dict[str, np.ndarray]], Any],
    arrays: dict[str, np.ndarray],
    most: int,
    rows_per_source: int = 1,
) -> Any:
    """Calls a function with parts of a batch at the same time.

    Args:
        function: A function from arrays by name to nested NumPy arrays, each with as
            many rows, none of which depends on other rows.
        arrays: Its argument, arrays `(B, ...)` by name.
        most: The largest number of parts, an int.
        rows_per_source: The number of target rows of each row of the arrays, an int.

    Returns:
        What the function returns for the whole batch.

    Example:
        ```python
        import numpy as np
        from keras_encdec.generation.side_by_side import side_by_side

        arrays = {"x": np.arange(8)}
        print(side_by_side(lambda part: part["x"] * len(part["x"]), arrays, most=2))
        ```
    """
    rows, number = len(next(iter(arrays.values()))), 1
    # Only halves of equal size, for each size is compiled.
    while (
        2 * number <= most
        and rows % (2 * number) == 0
        and rows // (2 * number) * rows_per_source >= FEWEST
    ):
        number *= 2
    if number == 1:
        return function(arrays)
    split = zip(*(np.split(array, number) for array in arrays.values()), strict=True)
    with threads_sharing_cores(number) as threads:
        results = threads.map(
            lambda part: function(dict(zip(arrays, part, strict=True))), split
        )
        return tree.map_structure(lambda *parts: np.concatenate(parts), *results)
