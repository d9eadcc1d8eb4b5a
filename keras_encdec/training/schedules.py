"""Learning rates over time."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_encdec")
class InverseSquareRoot(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to a peak, then falls with the square root of the step.

    With `peak_learning_rate = (hidden_dim * warmup_steps) ** -0.5` this is the schedule
    of the original Transformer.

    Args:
        peak_learning_rate: Positive float, the rate at step `warmup_steps`.
        warmup_steps: Positive integer, the number of steps of the linear rise.
        initial_learning_rate: Non-negative float, the rate at step 0.
        name: Name of the schedule.

    Call arguments:
        step: The number of updates made so far, a scalar or a tensor of any shape.

    Returns:
        The rate, float32, in the shape of `step`.

    Raises:
        ValueError: If a rate or `warmup_steps` is out of its range.

    Example:
        ```python
        import keras
        from keras_encdec.training import InverseSquareRoot

        schedule = InverseSquareRoot(5e-4, 4000)
        optimizer = keras.optimizers.Adam(schedule, beta_2=0.98)
        assert abs(float(schedule(2000)) - 2.5e-4) < 1e-9
        assert abs(float(schedule(16000)) - 2.5e-4) < 1e-9
        ```

    Reference:
        Vaswani et al. 2017, Attention Is All You Need, section 5.3, equation 3.
    """

    def __init__(
        self,
        peak_learning_rate,
        warmup_steps,
        initial_learning_rate=0.0,
        *,
        name="inverse_square_root",
    ):
        super().__init__()
        if peak_learning_rate <= 0:
            raise ValueError(
                "peak_learning_rate must be positive; "
                f"received peak_learning_rate={peak_learning_rate!r}. "
                "A Transformer of 512 dimensions is usually trained with 5e-4 to 1e-3."
            )
        if warmup_steps < 1 or warmup_steps != int(warmup_steps):
            raise ValueError(
                "warmup_steps must be a positive integer; "
                f"received warmup_steps={warmup_steps!r}. "
                "Use 1 to start at the peak after one step, 4000 as the paper does."
            )
        if initial_learning_rate < 0:
            raise ValueError(
                "initial_learning_rate must not be negative; "
                f"received initial_learning_rate={initial_learning_rate!r}. "
                "Leave it at 0 to rise from nothing."
            )
        self.peak_learning_rate = peak_learning_rate
        self.warmup_steps = warmup_steps
        self.initial_learning_rate = initial_learning_rate
        self.name = name

    def __call__(self, step):
        step = ops.cast(step, "float32")
        warmup = float(self.warmup_steps)
        rise = self.peak_learning_rate - self.initial_learning_rate
        return ops.where(
            step < warmup,
            self.initial_learning_rate + rise * step / warmup,
            self.peak_learning_rate * ops.sqrt(warmup / ops.maximum(step, warmup)),
        )

    def get_config(self):
        return {
            "peak_learning_rate": self.peak_learning_rate,
            "warmup_steps": self.warmup_steps,
            "initial_learning_rate": self.initial_learning_rate,
            "name": self.name,
        }
