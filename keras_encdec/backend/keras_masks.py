"""The mask that Keras hangs on a tensor, as it gives it to a layer."""

from collections.abc import Callable
from typing import Any

import keras

from keras_encdec.annotations import Tensor


def carried_mask(x: Tensor) -> Tensor | None:
    """Returns the mask that a tensor carries, or None.

    Args:
        x: A tensor that a layer returned.

    Returns:
        Which positions are tokens, `(B, L)`, bool, or None.

    Example:
        ```python
        from keras import ops
        from keras_encdec import TokenEmbedding
        from keras_encdec.backend import carried_mask

        print(carried_mask(TokenEmbedding(10, 4)(ops.array([[5, 0]]))))
        ```
    """
    found: list[Tensor | None] = []
    _MaskReader(found.append)(x)
    return found[0]


class _MaskReader(keras.layers.Layer):
    """Tells the mask that Keras gives to a layer with its input."""

    def __init__(self, tell: Callable[[Tensor | None], None]) -> None:
        super().__init__(name="mask_reader", autocast=False)
        self._tell, self.supports_masking = tell, True

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self._tell(mask)
        return x

    def compute_output_spec(self, x: Any, mask: Any = None) -> Any:
        # Which Keras asks where there are no values.
        return self.call(x, mask)
