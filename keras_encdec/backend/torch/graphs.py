"""The operations of a PyTorch function, each of them once.

Layers are called one by one, and many compute the same: masks, positions, constants.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import keras

from keras_encdec.annotations import Nested, Tensor
from keras_encdec.backend.shortcuts import is_on, take

# PyTorch's `GraphModule`, and one of the operations in it.
Graph: TypeAlias = Any
Node: TypeAlias = Any

# Bytes of a constant.
MOST_KEPT = 2**20
# What PyTorch raises where the values of tensors decide what is computed.
NEEDS_VALUES = {
    "DataDependentOutputException",
    "DynamicOutputShapeException",
    "GuardOnDataDependentSymNode",
}


def graph_of(
    function: Callable[..., Sequence[Tensor]], tensors: Sequence[Tensor]
) -> Graph | None:
    """Returns the operations of a function.

    Args:
        function: A function from tensors to tensors; it may write into them.
        tensors: Its arguments.

    Returns:
        A `torch.fx.GraphModule`, which computes the same for arguments of these shapes,
        or None where operations depend on the values of tensors.
    """
    if not is_on("torch-graphs"):
        return None
    return take(
        "torch-graphs",
        lambda: _graph_of(function, tensors),
        lambda: find_its_own_error(function, tensors),
    )


def find_its_own_error(function: Callable[..., Any], tensors: Sequence[Tensor]) -> None:
    """Raises what is wrong in a function itself, if anything is."""
    run_once(function, tensors)


def run_once(
    function: Callable[..., Any], tensors: Sequence[Tensor]
) -> Callable[..., Any]:
    """Calls a function with copies of tensors, and returns it."""
    import torch

    with torch.no_grad():
        function(*copies(tensors))
    return function


def _graph_of(
    function: Callable[..., Sequence[Tensor]], tensors: Sequence[Tensor]
) -> Graph | None:
    try:
        graph = _operations(function, tensors)
    except RuntimeError as error:
        # That is no failure: not all functions have a graph.
        if type(error).__name__ in NEEDS_VALUES or ".numpy() is not" in str(error):
            return None
        raise
    return take(
        "torch-merging",
        lambda: run_once(_merged(graph), tensors),
        # A new one, for where merging fails it may have begun.
        lambda: run_once(_operations(function, tensors), tensors),
    )


def _operations(
    function: Callable[..., Sequence[Tensor]], tensors: Sequence[Tensor]
) -> Graph:
    from torch.fx.experimental.proxy_tensor import make_fx

    # Of tensors without memory, but for those that the function finds elsewhere.
    fakes = {"tracing_mode": "fake", "_allow_non_fake_inputs": True}
    return make_fx(function, **fakes)(*tensors)


def _merged(module: Graph) -> Graph:
    written = {x for node in module.graph.nodes for x in _written(node)}
    # What reads it may read something else the next time.
    readers = {reader for node in written for reader in _readers(node)}
    apart = written | readers | {node for node in module.graph.nodes if _acts(node)}
    _fold_constants(module, apart)
    module = _merge_equals(module, apart)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


class Flattened:
    """A function of nested tensors, from and to a list of them.

    Args:
        function: A function from nested tensors to nested tensors.
        args: Its arguments; what is no tensor in them stays the same.
    """

    def __init__(self, function: Callable[..., Nested], args: Nested) -> None:
        self._function, self._args = function, _without_tensors(args)
        self._result: Nested = None

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """Returns the tensors of what the function returns."""
        result = self._function(*with_tensors(self._args, tensors))
        self._result = _without_tensors(result)
        return tensors_of(result)

    def restore(self, tensors: Sequence[Tensor]) -> Nested:
        """Returns what the function returns, given what a call returned."""
        return with_tensors(self._result, tensors)


def copies(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Copies tensors that a function may write into, a tuple."""
    return tuple(tensor.clone() for tensor in tensors)


def tensors_of(structure: Nested) -> list[Tensor]:
    """Returns the tensors of a nested structure, a list."""
    import torch

    return [x for x in keras.tree.flatten(structure) if torch.is_tensor(x)]


def with_tensors(structure: Nested, tensors: Iterable[Tensor]) -> Nested:
    """Returns a nested structure with other tensors in the place of its own."""
    import torch

    others, leaves = iter(tensors), keras.tree.flatten(structure)
    filled = [next(others) if torch.is_tensor(x) else x for x in leaves]
    return keras.tree.pack_sequence_as(structure, filled)


def _without_tensors(structure: Nested) -> Nested:
    """Returns a nested structure with others in the place of its tensors."""
    import torch

    return with_tensors(structure, [torch.empty(0) for _ in tensors_of(structure)])


def _written(node: Node) -> Iterator[Node]:
    """Yields the nodes that an operation writes into, with those they are views of."""
    for argument, info in _aliases(node):
        if info.is_write:
            yield argument
            yield from _viewed(argument)


def _readers(node: Node) -> Iterator[Node]:
    """Yields the operations that read what a node is, also through its views."""
    for user in node.users:
        yield user
        if any(argument is node for argument, _ in _aliases(user)):
            yield from _readers(user)


def _viewed(node: Node) -> Iterator[Node]:
    for argument, _ in _aliases(node):
        yield argument
        yield from _viewed(argument)


def _aliases(node: Node) -> Iterator[tuple[Node, Any]]:
    """Yields the nodes whose memory an operation writes or returns, and which."""
    import torch

    schema = getattr(node.target, "_schema", None)
    for i, argument in enumerate(schema.arguments if schema else ()):
        if argument.alias_info is not None:
            given = (
                node.args[i] if i < len(node.args) else node.kwargs.get(argument.name)
            )
            for x in given if isinstance(given, list | tuple) else [given]:
                if isinstance(x, torch.fx.Node):
                    yield x, argument.alias_info


def _acts(node: Node) -> bool:
    """Whether an operation writes, or draws random numbers."""
    import torch

    random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    return random or any(info.is_write for _, info in _aliases(node))


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tensor.device, tensor.shape, tensor.stride()


def _fold_constants(module: Graph, apart: Collection[Node]) -> None:
    """Computes once what depends on neither the arguments nor weights."""
    import torch

    values: dict[Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr" and node not in apart:
            value = getattr(module, node.target)
            # Weights change their values.
            if not isinstance(value, torch.nn.Parameter):
                values[node] = value
        elif node.op == "call_function" and node not in apart:
            if all(x in values for x in node.all_input_nodes):
                arguments = torch.fx.map_arg((node.args, node.kwargs), values.get)
                value = node.target(*arguments[0], **arguments[1])
                if not _is_large(value):
                    values[node] = value
    # Equal ones become one, so that what is computed from them is found to be equal.
    kept: list[tuple[Node, Tensor]] = []
    for number, (node, value) in enumerate(values.items()):
        if torch.is_tensor(value) and any(user not in values for user in node.users):
            same = next((x for x, other in kept if _are_equal(value, other)), None)
            if same is None:
                same = node
                if node.op == "call_function":
                    module.register_buffer(f"_folded{number}", value)
                    with module.graph.inserting_before(node):
                        same = module.graph.get_attr(f"_folded{number}")
                kept.append((same, value))
            if same is not node:
                node.replace_all_uses_with(same)


def _are_equal(one: Tensor, other: Tensor) -> bool:
    import torch

    return _kind(one) == _kind(other) and torch.equal(one, other)


def _is_large(value: Any) -> bool:
    """Whether to keep it would take more memory than time to compute it again."""
    import torch

    return torch.is_tensor(value) and value.untyped_storage().nbytes() > MOST_KEPT


def _merge_equals(module: Graph, apart: Collection[Node]) -> Graph:
    from torch.fx.passes.dialect.common.cse_pass import CSEPass

    kinds = {x.target.overloadpacket for x in apart if x.op == "call_function"}
    return CSEPass(kinds)(module).graph_module
