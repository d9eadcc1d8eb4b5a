"""What an export asks of the weights that it writes."""

import keras
import numpy as np

from keras_encdec.annotations import KerasModel


def refuse_nan(model: KerasModel) -> None:
    """Raises if a weight of a model is nan, of which only nonsense comes.

    Args:
        model: A Keras model.

    Raises:
        ValueError: If a weight holds nan; it names the weight.

    Example:
        ```python
        from keras_encdec import EncoderDecoder
        from keras_encdec.export.weights import refuse_nan

        refuse_nan(EncoderDecoder(9, 16, 32, 2, 1))
        ```
    """
    for variable in model.weights:
        values = keras.ops.convert_to_numpy(variable).astype("float32")
        if np.isnan(values).any():
            raise ValueError(
                "A model whose weights are not numbers says nothing; received nan in "
                f"{variable.path!r}. Its training diverged: load a checkpoint from "
                "before, or train again with a lower learning rate."
            )
