"""Products of PyTorch with weights that lie as oneDNN reads them.

PyTorch leaves float32 products to MKL, which arranges the weights anew each time. With
the few rows of a step of decoding that takes as long as the product, or longer.
"""

import contextlib
import contextvars
import functools
import threading
import warnings
from collections.abc import Iterator, MutableMapping
from typing import Any

from keras_encdec.annotations import Tensor
from keras_encdec.backend.torch.graphs import Graph, Node

# With fewer, a call of oneDNN costs more than it saves.
LEAST_WEIGHTS = 2**18
# A trace must not be given weights while another thread runs it.
_UPDATING = threading.Lock()
# The weights whose numbers were looked at since a call began.
_SEEN: contextvars.ContextVar[set[tuple[int, bool]] | None] = contextvars.ContextVar(
    "seen", default=None
)


@contextlib.contextmanager
def weights_seen_once() -> Iterator[None]:
    """Has the numbers of weights looked at once meanwhile, as a call takes them.

    Example:
        ```python
        from keras_encdec.backend.torch.products import weights_seen_once

        with weights_seen_once():
            pass
        ```
    """
    token = _SEEN.set(set())
    try:
        yield
    finally:
        _SEEN.reset(token)


class ArrangedWeights:
    """The weights of a graph's products on a CPU, arranged.

    Args:
        graph: A `torch.fx.GraphModule` as in `graphs.graph_of`; its products with
            many weights are replaced.
    """

    def __init__(self, graph: Graph) -> None:
        self._weights: dict[str, tuple[Tensor, bool]] = {}
        self._given: dict[str, Tensor] = {}
        import torch

        if torch.backends.mkldnn.is_available():
            self._replace_products(graph)

    def _replace_products(self, graph: Graph) -> None:
        import torch

        for node in list(graph.graph.nodes):
            if node.target != torch.ops.aten.mm.default:
                continue
            # A kernel `(K, N)`, or a table `(N, K)` transposed.
            weight, table = node.args[1], False
            if weight.target == torch.ops.aten.permute.default:
                weight, table = weight.args[0], weight.args[1] == [1, 0]
            value = weight.op == "get_attr" and getattr(graph, weight.target)
            if not _may_be_arranged(value):
                continue
            name = f"_arranged{len(self._weights)}"
            self._weights[name] = value, table
            self._given[name] = _arranged(value, table)
            graph.register_buffer(name, self._given[name])
            if not hasattr(graph, "_product"):
                graph.add_module("_product", _product())
            after, vector = _vector_after(graph, node)
            with graph.graph.inserting_before(node):
                given = [node.args[0], graph.graph.get_attr(name), None]
                if after is not None:
                    given[2] = graph.graph.get_attr(vector)
                    (before,) = (x for x in after.args if x.op != "get_attr")
                    after.replace_all_uses_with(before)
                product = graph.graph.call_module("_product", tuple(given))
            node.replace_all_uses_with(product)
        graph.graph.eliminate_dead_code()
        graph.recompile()

    def __len__(self) -> int:
        return len(self._weights)

    def update(self, module: Any) -> None:
        """Gives the graph, or its trace, the weights as they have been changed."""
        with _UPDATING:
            for name, (value, table) in self._weights.items():
                arranged = _arranged(value, table)
                if arranged is not self._given[name]:
                    self._given[name] = arranged
                    setattr(module, name, arranged)


def _vector_after(graph: Graph, product: Node) -> tuple[Node, str] | tuple[None, None]:
    """Finds a bias or mask that is added to a product which nothing else reads.

    Returns:
        The operation and the name of the vector, or twice None.
    """
    from torch import fx, ops, where
    from torch.nn import Parameter

    node, value = product, product.meta["val"]
    width, nothing = value.shape[-1], (None, None)
    while len(node.users) == 1:
        (user,) = node.users
        match user.target, user.args:
            case ops.aten.view.default | ops.aten._unsafe_view.default, _:
                rows_stay = user.meta["val"].shape[-1] == width
            case ops.aten.select.int, (_, dim, _):
                rows_stay = dim % node.meta["val"].ndim < node.meta["val"].ndim - 1
            case ops.aten.add.Tensor, (first, fx.Node(op="get_attr") as other):
                vector = getattr(graph, other.target)
                fits = vector.shape == (width,) and vector.dtype == value.dtype
                fits = fits and first is node and not user.kwargs
                return (user, other.target) if fits else nothing
            case (
                ops.aten.where.self,
                (fx.Node(op="get_attr") as flags, fx.Node(op="get_attr") as never, _),
            ):
                flags, never = (getattr(graph, x.target) for x in (flags, never))
                if any(isinstance(x, Parameter) for x in (flags, never)):
                    return nothing  # Its values may change.
                if flags.shape != (width,) or never.ndim or never > -float("inf"):
                    return nothing
                # Forbidding is adding minus infinity.
                name = f"_forbidden_{user.name}"
                graph.register_buffer(name, where(flags, never, 0).to(value.dtype))
                return user, name
            case _:
                return nothing
        if not rows_stay:
            return nothing
        node = user
    return nothing


def _may_be_arranged(value: Any) -> bool:
    import torch

    return (
        isinstance(value, torch.nn.Parameter)
        and value.device.type == "cpu"
        and value.dtype == torch.float32
        and value.numel() >= LEAST_WEIGHTS
        and not value.is_inference()  # It would not count its versions.
    )


def _arranged(value: Tensor, table: bool) -> Tensor:
    import torch

    kept = _kept().setdefault(value, {})
    version, contents, arranged = kept.get(table, (None, None, None))
    seen, this = _SEEN.get(), (id(value), table)
    if version == value._version and seen is not None and this in seen:
        return arranged
    now = _contents(value)
    # PyTorch does not count what is done through `Tensor.data`.
    if version != value._version or not torch.equal(contents, now):
        rows = value.detach() if table else value.detach().T.contiguous()
        arranged = torch.ops.mkldnn._reorder_linear_weight(rows)
        kept[table] = value._version, now, arranged
    if seen is not None:
        seen.add(this)
    return arranged


def _contents(value: Tensor) -> Tensor:
    """Returns what changes with the weights `(K, N)`, at the cost of reading them.

    The sums of rows are of integers, in which no difference is lost, and one row is
    there for the order of the columns.
    """
    import torch

    weights = value.detach().contiguous()
    bits = weights.view(torch.int32 if weights.shape[1] % 2 else torch.int64)
    return torch.cat((bits.sum(1), bits[0]))


@functools.cache
def _kept() -> MutableMapping[Tensor, dict[bool, tuple[Any, ...]]]:
    """What was arranged and the version of its weights, shared by all graphs."""
    from torch.utils.weak import WeakTensorKeyDictionary

    return WeakTensorKeyDictionary()


@functools.cache
def _product() -> Any:
    """Returns the module of a product."""
    import torch

    # A trace takes the call from a script alone, for the sake of its empty list.
    class Product(torch.nn.Module):
        def forward(
            self, x: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor | None
        ) -> torch.Tensor:
            return torch.ops.mkldnn._linear_pointwise(x, weights, bias, "none", [], "")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Scripts are deprecated.
        return torch.jit.script(Product())
