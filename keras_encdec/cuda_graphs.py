"""The step of a PyTorch loop on a GPU, which starts as one and not kernel by kernel.

To start a kernel takes longer than most kernels of a step of decoding.
"""

from keras_encdec.torch_graphs import copies


def capture(function, tensors):
    """Captures the step of a loop.

    Args:
        function: A function from tensors to a bool tensor, whether there are more
            steps, and those tensors that take the place of the first ones; or None.
        tensors: Its arguments, on a GPU.

    Returns:
        A `StepGraph`, or None where the GPU cannot do all that the function does.
    """
    try:
        return function and StepGraph(function, tensors)
    except RuntimeError:
        return None


class StepGraph:
    """A captured step, which reads and writes tensors of its own."""

    def __init__(self, function, tensors):
        import torch

        # Its constants must live as long as the graph, which reads their memory.
        self._function = function
        self._tensors = copies(tensors)
        # Libraries allocate what they need outside of the capture.
        function(*copies(tensors))
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._more, *changed = function(*self._tensors)
            for tensor, new in self._changes(changed):
                tensor.copy_(new)

    def _changes(self, changed):
        """Returns pairs of a tensor and what it becomes, apart from all of them."""
        places = {tensor.untyped_storage().data_ptr() for tensor in self._tensors}
        return [
            (old, new.clone() if new.untyped_storage().data_ptr() in places else new)
            for old, new in zip(self._tensors, changed, strict=False)
            # The others were written in place.
            if (old.data_ptr(), old.stride()) != (new.data_ptr(), new.stride())
        ]

    def repeat(self, tensors):
        """Repeats the step while there are more, at least once; returns all tensors."""
        for tensor, given in zip(self._tensors, tensors, strict=True):
            tensor.copy_(given)
        self._graph.replay()
        while self._more:
            self._graph.replay()
        # The next time writes into its own.
        return list(copies(self._tensors))
