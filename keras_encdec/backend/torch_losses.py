"""PyTorch losses that are computed, with their gradient, without Python after a while.

To train, Keras calls hundreds of layers a step. Their Python takes longer than the
kernels, if these are small or the GPU is fast. So the operations of the loss, and of
its gradient, are recorded once for each set of shapes, and run from then on.
"""

import functools
import weakref

import keras

from keras_encdec.backend.cuda_graphs import GradientGraph
from keras_encdec.backend.torch_graphs import copies, graph_of, tensors_of, with_tensors

# To record takes about as long as this many calls.
CALLS_BEFORE_RECORD = 32
# Of shapes; each graph of a GPU keeps some memory.
MOST_RECORDED = 32


class Loss:
    """A function to a loss, which is recorded with its gradient.

    Args:
        function: A function from nested tensors to a tuple, first the loss, a scalar,
            and then tensors without a gradient.
        variables: The Keras variables it reads; it is differentiated by those that are
            trainable.
    """

    def __init__(self, function, variables):
        self._function, self._variables, self._recorded = function, variables, {}

    def __call__(self, *args):
        """Returns what the function returns, for tensors or arrays."""
        import torch

        # What is no tensor would be taken for the same at each call.
        args = keras.tree.map_structure(
            lambda x: x if x is None else keras.ops.convert_to_tensor(x), args
        )
        parameters = [x.value for x in self._variables if x.trainable]
        recordable = torch.is_grad_enabled() and not torch.compiler.is_compiling()
        # Keras tries a step of tensors without memory first.
        if any(x.is_meta for x in tensors_of(args)) or not (parameters and recordable):
            return self._function(*args)
        key = tuple(id(parameter) for parameter in parameters)
        if key not in self._recorded:
            # A layer was frozen, or the like; the others are of no use any more.
            self._recorded = {key: _Records(self._function, parameters)}
        return self._recorded[key](*args)


class _Records:
    """The records of a function, for some parameters."""

    def __init__(self, function, parameters):
        self._function, self._parameters = function, parameters
        self._calls, self._records = {}, {}
        self._scale = self._gradients = self._pool = None
        self._last = lambda: None

    def __call__(self, *args):
        tensors = tensors_of(args)
        key = tuple((x.shape, x.dtype, x.device) for x in tensors)
        self._calls[key] = calls = self._calls.get(key, 0) + 1
        if calls == CALLS_BEFORE_RECORD + 1 and len(self._records) < MOST_RECORDED:
            self._records[key] = self._record(args, tensors)
        run = self._records.get(key)
        if run is None:
            return self._function(*args)
        return _differentiated()(self, run, tensors, *self._parameters)

    def _record(self, args, tensors):
        import torch

        parameters = self._parameters

        def loss_and_gradients(scale, *tensors):
            loss, *others = self._function(*with_tensors(args, tensors))
            found = torch.autograd.grad(loss, parameters, scale, allow_unused=True)
            return loss.detach(), *(x.detach() for x in others), *found

        if self._scale is None:
            self._scale = torch.ones((), device=parameters[0].device)
        given = self._scale, *tensors
        devices = {x.device.index for x in given if x.is_cuda}
        # The draws of dropout are the same, whenever this happens.
        with torch.random.fork_rng(devices), torch.enable_grad():
            graph = graph_of(loss_and_gradients, given)
            if graph is None or not devices:
                return graph
            if self._gradients is None:
                self._gradients = [torch.empty_like(x) for x in parameters]
                self._pool = torch.cuda.graph_pool_handle()
            return GradientGraph.of(graph, given, self._gradients, self._pool)

    def run(self, record, tensors):
        """Returns a result of which gradients can be taken, until it is forgotten."""
        import torch

        if (last := self._last()) is not None:
            last.keep()
        with torch.no_grad():
            values = record(self._scale, *tensors)
        result = _Result(values, len(self._parameters), self._scale)
        self._last = weakref.ref(result)
        return result

    def scale_like(self, upstream):
        """Takes gradients of a loss multiplied like this one, the next time.

        Half precision needs the factor before the gradients are taken; that they are
        multiplied by another one in the end is for the first time, and for when the
        factor has changed.
        """
        import torch

        usable = torch.isfinite(upstream) & (upstream != 0)
        self._scale.copy_(torch.where(usable, upstream, self._scale))


class _Result:
    """The values of a recorded loss, and its gradients."""

    def __init__(self, values, parameters, scale):
        self.values, self._gradients = values[:-parameters], values[-parameters:]
        self._scale = scale.clone()

    def keep(self):
        """Keeps the gradients from being written over."""
        self._gradients = [x if x is None else x.clone() for x in self._gradients]

    def gradients(self, upstream):
        """Returns them, the parameters' own, for the loss's gradient."""
        import torch

        found = [x for x in self._gradients if x is not None]
        scaled = iter(torch._foreach_mul(found, upstream / self._scale))
        return [x if x is None else next(scaled) for x in self._gradients]


@functools.cache
def _differentiated():
    """Returns the function that puts a recorded loss into PyTorch's own graph."""
    import torch

    class Differentiated(torch.autograd.Function):
        @staticmethod
        def forward(ctx, records, record, tensors, *parameters):
            ctx.records, ctx.result = records, records.run(record, tensors)
            loss, *others = copies(ctx.result.values)
            ctx.mark_non_differentiable(*others)
            return loss, *others

        @staticmethod
        def backward(ctx, upstream, *of_others):
            gradients = ctx.result.gradients(upstream)
            ctx.records.scale_like(upstream)
            return None, None, None, *gradients

    return Differentiated.apply
