"""PyTorch's training steps, which run without Python after a while.

To train, Keras calls hundreds of layers a step and looks up hundreds of variables. That
takes longer than the kernels, if these are small or the GPU is fast. So the operations
of a step are recorded once for each set of shapes, and run from then on.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras

from keras_encdec.annotations import Nested, Tensor
from keras_encdec.backend.shortcuts import switched_once, take
from keras_encdec.backend.torch import processes
from keras_encdec.backend.torch.cuda_graphs import FunctionGraph, waiting_is_an_error
from keras_encdec.backend.torch.graphs import (
    Flattened,
    copies,
    graph_of,
    run_once,
    tensors_of,
)

# From tensors to tensors: a graph of PyTorch, or what was made of it.
Flat: TypeAlias = Callable[..., Sequence[Tensor]]
Logs: TypeAlias = dict[str, Tensor]

# To record takes about as long as this many steps.
STEPS_BEFORE_RECORD = 32
# Of shapes; each graph of a GPU keeps some memory.
MOST_RECORDED = 32


class TrainStep:
    """A training step, which is recorded; see `backend.compile_train_step`."""

    def __init__(
        self,
        step: Callable[[Any], Logs],
        loss: Callable[[Nested, Nested, Nested], Sequence[Tensor]],
        log: Callable[..., Logs],
        optimizer: Any,
        variables: Sequence[Any],
        jit: bool,
        sums: bool,
    ) -> None:
        self._step, self._loss, self._log, self._jit = step, loss, log, jit
        self._sums = sums
        self._optimizer, self._variables = optimizer, variables
        self._trainable: list[bool] | None = None
        self._pool = None
        self._steps: dict[tuple[Any, ...], float] = {}
        self._records: dict[tuple[Any, ...], Callable[[Sequence[Tensor]], Logs]] = {}

    def __call__(self, data: Any) -> Logs:
        """Takes a step; returns what there is to log of it."""
        import torch

        alone = processes.count() == 1
        if torch.compiler.is_compiling() or (alone and not self._optimizer.built):
            return self._step(data)
        # What is no tensor would be taken for the same at each step.
        args = keras.tree.map_structure(
            lambda x: x if x is None else keras.ops.convert_to_tensor(x),
            keras.utils.unpack_x_y_sample_weight(data),
        )
        trainable = [variable.trainable for variable in self._variables]
        if trainable != self._trainable:
            # A layer was frozen, or the like; the records are of no use any more.
            self._trainable, self._steps, self._records = trainable, {}, {}
        tensors = tensors_of(args)
        with switched_once() as off:
            return self._step_without(off, data, args, tensors)

    def _step_without(
        self,
        off: frozenset[str],
        data: Any,
        args: Nested,
        tensors: Sequence[Tensor],
    ) -> Logs:
        import torch

        key = off, processes.count(), *((x.shape, x.dtype, x.device) for x in tensors)
        self._steps[key] = steps = self._steps.get(key, 0) + 1
        if key in self._records:
            with torch.no_grad():
                return self._records[key](tensors)
        if steps > STEPS_BEFORE_RECORD and len(self._records) < MOST_RECORDED:
            if (gradients := self._recorded_gradients(args, tensors)) is not None:
                with torch.no_grad():
                    self._records[key], logs = self._recorded(*gradients, tensors)
                return logs
            self._steps[key] = -float("inf")  # Not to be tried again.
        if processes.count() > 1:
            return self._shared_step(args, len(tensors[0]))
        return self._step(data)

    def _differentiate(
        self, x: Nested, y: Nested, sample_weight: Nested
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """Returns the loss, with what comes with it, and the gradients."""
        import torch

        values = [each.value for each in self._variables if each.trainable]
        loss, *others = self._loss(x, y, sample_weight)
        scaled = self._optimizer.scale_loss(loss)
        gradients = torch.autograd.grad(scaled, values, allow_unused=True)
        return [each.detach() for each in (loss, *others)], list(gradients)

    def _of_all(self, found: Any) -> tuple[list[Tensor], list[Tensor | None]]:
        """Returns what was found of all rows, of which each process has its share."""
        if processes.count() == 1:
            return found
        return processes.exchanged(*found, sums=self._sums)[:2]

    def _update(
        self, rows: int, values: Sequence[Tensor], gradients: Sequence[Tensor | None]
    ) -> Logs:
        variables = [x for x in self._variables if x.trainable]
        self._optimizer.apply(gradients, variables)
        return self._log(rows * processes.count(), *values)

    def _shared_step(self, args: Nested, rows: int) -> Logs:
        import torch

        found = self._differentiate(*args)
        with torch.no_grad():
            return self._update(rows, *self._of_all(found))

    def _recorded_gradients(
        self, args: Nested, tensors: Sequence[Tensor]
    ) -> tuple[Flat, Flattened] | None:
        """Returns the graph of the gradients, flat, and what gives it structure."""
        import torch

        flat = Flattened(self._differentiate, args)
        # The draws of dropout are the same, whenever this happens.
        with torch.random.fork_rng(_gpus(tensors)), torch.enable_grad():
            graph = graph_of(flat, tensors)
            if self._jit and graph is not None:
                graph = _compiled(graph, tensors)
        return graph and (graph, flat)

    def _recorded(
        self, graph: Flat, flat: Flattened, tensors: Sequence[Tensor]
    ) -> tuple[Callable[[Sequence[Tensor]], Logs], Logs]:
        """Takes a step; returns a function from tensors that takes others, and logs."""
        rows, gpus = len(tensors[0]), _gpus(tensors)
        variables = [x for x in self._variables if x.trainable]
        for variable in variables:
            variable.value.grad = None  # Of steps before.
        # Libraries allocate what they need outside of a capture.
        with waiting_is_an_error(gpus) as waited:
            found = graph(*tensors)
        if waited:
            found, gpus = graph(*tensors), []

        def shared(found: Sequence[Tensor]) -> Sequence[Tensor]:
            return tensors_of(self._of_all(flat.restore(found)))

        found = shared(found)

        # All variables that a step may change, once each.
        state = {id(x): x for x in (*self._variables, *self._optimizer.variables)}
        values = [x.value for x in state.values()]

        def update_from(values: Sequence[Tensor], found: Nested) -> Logs:
            # Variables that are no arguments PyTorch would take for constants.
            pairs = list(zip(state.values(), values, strict=True))
            with keras.StatelessScope(state_mapping=pairs) as scope:
                logs = self._update(rows, *found)
                new = [scope.get_current_value(x) for x in state.values()]
            for old, value in zip(values, new, strict=True):
                if value is not old:  # Else it was written in place, if at all.
                    old.copy_(value)
            return logs

        flat_update = Flattened(update_from, (values, flat.restore(found)))
        # What an optimizer does may depend on values, as with float16.
        updates = graph_of(flat_update, [*values, *found])
        if updates is None:
            run = self._captured(graph, tensors) if gpus else graph
            logs = self._update(rows, *flat.restore(found))
            return lambda tensors: self._update(
                rows, *flat.restore(shared(run(*tensors)))
            ), logs

        if self._jit:
            updates = _compiled(updates, [*values, *found])

        def renew(*found: Tensor) -> Sequence[Tensor]:
            return updates(*values, *found)

        def whole(*tensors: Tensor) -> Sequence[Tensor]:
            return renew(*graph(*tensors))

        logs = flat_update.restore(renew(*found))
        if processes.count() > 1:
            # What the processes exchange lies between, and is no part of a capture.
            run_graph = self._captured(graph, tensors) if gpus else graph
            run_renew = self._captured(renew, found) if gpus else renew

            def run(*tensors: Tensor) -> Sequence[Tensor]:
                return run_renew(*shared(run_graph(*tensors)))

        else:
            run = self._captured(whole, tensors) if gpus else whole
        # Logs are read later, when the next step may have been taken.
        return lambda tensors: flat_update.restore(copies(run(*tensors))), logs

    def _captured(self, function: Flat, tensors: Sequence[Tensor]) -> Flat:
        import torch

        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        return FunctionGraph.of(function, tensors, self._pool) or function


def _compiled(graph: Flat, tensors: Sequence[Tensor]) -> Flat:
    """Compiles a graph by Inductor; returns it as it is where that fails."""
    return take("torch-inductor", lambda: _by_inductor(graph, tensors), lambda: graph)


def _by_inductor(graph: Flat, tensors: Sequence[Tensor]) -> Flat:
    import torch

    with torch.no_grad(), warnings.catch_warnings():
        # PyTorch imports what it deprecates itself.
        warnings.simplefilter("ignore", DeprecationWarning)
        compiled = torch._inductor.compile(graph, list(tensors))
    # Kernels choose their sizes in the first call, which no capture holds.
    return run_once(lambda *tensors: tuple(compiled(*tensors)), tensors)


def _gpus(tensors: Sequence[Tensor]) -> list[int]:
    return sorted({x.device.index for x in tensors if x.is_cuda})
