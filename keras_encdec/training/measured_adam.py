"""Adam that knows how large the last gradients were."""

from typing import Any

import keras
from keras import ops

# Under PyTorch a class of its own, which updates all variables at once; a subclass of
# the public one would not be that.
_Adam: Any = type(keras.optimizers.Adam.__new__(keras.optimizers.Adam))


@keras.saving.register_keras_serializable(package="keras_encdec")
class MeasuredAdam(_Adam):
    """Adam with the norm of all gradients together of the last batch.

    The updates are those of `keras.optimizers.Adam`.

    Args:
        *args: The arguments of `keras.optimizers.Adam`.
        **kwargs: Likewise.

    Attributes:
        gradient_norm: A float32 variable, the norm before clipping; 0 before the first
            batch. `Checkpoints` does not keep it.

    Example:
        ```python
        import keras
        import numpy as np
        from keras_encdec.training import MeasuredAdam

        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(MeasuredAdam(1e-3), "mse")
        model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
        print(float(model.optimizer.gradient_norm))
        ```

    Reference:
        Kingma and Ba 2015, Adam: A Method for Stochastic Optimization.
    """

    def build(self, var_list: Any) -> None:
        """Creates the variables for those that are trained."""
        if self.built:
            return
        super().build(var_list)
        # The last, for checkpoints tell the others by their numbers.
        self.gradient_norm = self.add_variable(
            (), dtype="float32", name="gradient_norm"
        )

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        """Updates variables as Keras does."""
        if trainable_variables is not None and not self.built:
            self.build(trainable_variables)
        # Squares of float16 would soon be infinite.
        squares = [
            ops.sum(ops.square(ops.cast(ops.convert_to_tensor(each), "float32")))
            for each in grads
            if each is not None
        ]
        if squares:
            self.gradient_norm.assign(ops.sqrt(sum(squares[1:], squares[0])))
        return super().apply(grads, trainable_variables)
