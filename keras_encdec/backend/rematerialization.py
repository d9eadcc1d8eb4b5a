"""Layers whose inner results are computed again for the gradient, and not kept."""

import threading
from collections.abc import Callable
from typing import Any

import keras

from keras_encdec.annotations import Tensor
from keras_encdec.backend.layers import all_layers


class Draws:
    """The random numbers of a call, which are the same when it is made again.

    On TensorFlow and JAX they follow from seeds that are read before the call. PyTorch
    has a generator of its own: what was drawn is kept.

    Args:
        layer: The Keras layer that is called.
    """

    def __init__(self, layer: Any) -> None:
        self.is_again = False
        self._kept: list[Tensor] = []
        self._place = 0
        # Read outside of what is traced: within, others would see a value of there.
        self._seeds = {
            id(seed): (seed, keras.ops.copy(seed.state.value))
            for each in (() if keras.config.backend() == "torch" else all_layers(layer))
            if (seed := getattr(each, "seed_generator", None)) is not None
        }
        self._counts = dict.fromkeys(self._seeds, 0)

    def __enter__(self) -> None:
        self._place, self._counts = 0, dict.fromkeys(self._seeds, 0)
        _running.draws, self._before = self, getattr(_running, "draws", None)

    def __exit__(self, *error: Any) -> None:
        _running.draws, self.is_again = self._before, True

    def kept(self, draw: Callable[[], Tensor]) -> Tensor:
        """Returns what a function draws, or drew in its place when this was called."""
        if not self.is_again:
            self._kept.append(draw())
        self._place += 1
        return self._kept[self._place - 1]

    def seed(self, generator: Any) -> Any:
        """Returns a generator of the next seed of a generator alone."""
        _, state = self._seeds[id(generator)]
        number = self._counts[id(generator)]
        self._counts[id(generator)] += 1
        return _Drawn(_later(state, number))

    def advance(self) -> None:
        """Leaves the generators as if the seeds had been drawn from them."""
        for seed, state in self._seeds.values():
            seed.state.assign(_later(state, self._counts[id(seed)]))


_running = threading.local()


def running_draws() -> Draws | None:
    """Returns the `Draws` of the call of `rematerialized` that is running, or None.

    Example:
        ```python
        from keras_encdec.backend.rematerialization import running_draws

        print(running_draws())  # None
        ```
    """
    return getattr(_running, "draws", None)


class _Drawn(keras.random.SeedGenerator):
    """A seed that was drawn, where Keras takes but generators."""

    def __init__(self, seed: Tensor) -> None:
        self._seed = seed

    def next(self, ordered: bool = True) -> Tensor:
        return self._seed


def _later(state: Tensor, draws: int) -> Tensor:
    # As `SeedGenerator.next` goes on.
    return state + keras.ops.convert_to_tensor([0, draws], dtype=state.dtype)


def rematerialized(
    layer: Any, function: Callable[..., Tensor], *args: Tensor | None
) -> Tensor:
    """Calls a function of a layer so that its inner results are not kept.

    For the gradient it is called again, with the same random numbers, if these are
    drawn by `drop_out`.

    Args:
        layer: The Keras layer whose variables the function reads.
        function: A function from tensors to a tensor. What else it reads has no
            gradient, or is a variable.
        *args: Its arguments, floats, or None for one that it is not given.

    Returns:
        What it returns, without a mask.

    Example:
        ```python
        import keras
        from keras_encdec.backend import rematerialized

        dense = keras.layers.Dense(2)
        print(rematerialized(dense, dense, keras.ops.ones((1, 3))).shape)
        ```

    Reference:
        Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost.
    """
    draws = Draws(layer)
    given = [x is not None for x in args]

    def call(*tensors: Tensor) -> Tensor:
        left = iter(tensors)
        with draws:
            return function(*[next(left) if there else None for there in given])

    tensors = [x for x in args if x is not None]
    if keras.config.backend() == "torch":
        return _checkpointed(call, draws, tensors)
    result = keras.remat(call)(*tensors)
    draws.advance()
    return result


def _checkpointed(
    call: Callable[..., Tensor], draws: Draws, tensors: list[Tensor]
) -> Tensor:
    from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

    def call_with_own(first: Tensor, *rest: Tensor) -> Tensor:
        # Of a recorded step equal operations are merged: what is computed again must
        # be computed from something else.
        return call(first.clone() if draws.is_again else first, *rest)

    # What is random in a call is kept. An early stop is an error, whose traceback holds
    # what was computed again until garbage is collected.
    options = {"use_reentrant": False, "preserve_rng_state": False}
    with set_checkpoint_early_stop(False):
        return checkpoint(call_with_own, *tensors, **options)
