import gc
import weakref

import pytest

from keras_encdec.backend.torch import tracing as torch_tracing
from keras_encdec.backend.torch.graphs import graph_of
from keras_encdec.backend.torch.products import LEAST_WEIGHTS, ArrangedWeights

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning"),
    pytest.mark.skipif(
        not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN"
    ),
]

SIZE = int(LEAST_WEIGHTS**0.5)


def parameter(*shape):
    return torch.nn.Parameter(torch.randn(shape) / SIZE**0.5)


def arranged(function, *args):
    with torch.inference_mode():
        graph = graph_of(function, list(args))
        return graph, ArrangedWeights(graph)


def calls(graph):
    nodes = [node for node in graph.graph.nodes if node.op.startswith("call")]
    return [getattr(node.target, "__name__", node.target) for node in nodes]


@pytest.fixture(autouse=True)
def the_same_numbers_each_time():
    torch.manual_seed(0)


@pytest.fixture
def kernel(the_same_numbers_each_time):
    return parameter(SIZE, SIZE + 3)


@pytest.fixture
def table():
    return parameter(SIZE + 5, SIZE + 3)


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_products_are_the_same(kernel, table, rows):
    def function(x):
        return torch.relu(x @ kernel + 1) @ table.T

    graph, _ = arranged(function, torch.zeros(rows, SIZE))
    assert "mm.default" not in calls(graph) and calls(graph).count("_product") == 2
    x = torch.randn(rows, SIZE)
    with torch.inference_mode():
        trace = torch.jit.trace(graph, (torch.zeros(rows, SIZE),), check_trace=False)
        for product in (graph, trace):
            torch.testing.assert_close(product(x), function(x))


@pytest.mark.parametrize(
    "kind", ["bias", "mask", "alpha", "column", "read twice", "floor", "allowed"]
)
def test_a_vector_is_added_within_the_product(table, kind):
    """And what only looks like one is not."""
    rows, width = 3, len(table)
    flags = torch.zeros(width, dtype=torch.bool)
    flags[[0, 2]] = True
    bias, column = parameter(width), parameter(rows, 1)

    def function(x):
        y = (x @ table.T).view(rows, 1, width)[:, 0]
        if kind == "read twice":
            return y + bias, y
        if kind == "alpha":
            return torch.add(y, bias, alpha=2)
        if kind == "mask":
            return torch.where(flags, -float("inf"), y)
        if kind == "floor":
            return torch.where(flags, -5.0, y)
        if kind == "allowed":
            return torch.where(flags, y, -float("inf"))
        return y + {"bias": bias, "column": column}[kind]

    x = torch.randn(rows, SIZE + 3)
    graph, _ = arranged(function, x)
    within = "add.Tensor" not in calls(graph) and "where.self" not in calls(graph)
    assert within == (kind in ("bias", "mask"))
    with torch.inference_mode():
        torch.testing.assert_close(graph(x), function(x))
        bias.mul_(3)
        torch.testing.assert_close(graph(x), function(x))


def test_a_kernel_and_the_same_transposed_are_two(kernel):
    def function(x):
        return (x @ kernel) @ kernel.T

    graph, _ = arranged(function, torch.zeros(2, SIZE))
    x = torch.randn(2, SIZE)
    with torch.inference_mode():
        torch.testing.assert_close(graph(x), function(x))


@pytest.mark.parametrize("traced", [False, True])
def test_weights_that_changed_are_arranged_anew(kernel, traced):
    x = torch.randn(2, SIZE)
    graph, weights = arranged(lambda x: x @ kernel, x)
    with torch.inference_mode():
        if traced:
            graph = torch.jit.trace(graph, (x,), check_trace=False)
        optimizer = torch.optim.SGD([kernel], lr=1.0)
    kernel.grad = torch.ones_like(kernel)
    optimizer.step()
    with torch.inference_mode():
        assert not torch.allclose(graph(x), x @ kernel)
        weights.update(graph)
        # Hundreds of numbers near -1 make sums in which more is rounded.
        torch.testing.assert_close(graph(x), x @ kernel, rtol=1e-4, atol=1e-4)
        kernel.mul_(2)
        weights.update(graph)
        torch.testing.assert_close(graph(x), x @ kernel, rtol=1e-4, atol=1e-4)


def test_graphs_share_what_they_arranged(kernel):
    x = torch.zeros(1, SIZE)
    graphs = [arranged(lambda x: x @ kernel, x)[0] for _ in range(2)]
    assert graphs[0]._arranged0 is graphs[1]._arranged0


def test_nothing_is_kept_of_weights_that_are_gone():
    def arranged_once():
        weight = parameter(SIZE, SIZE)
        graph, _ = arranged(lambda x: x @ weight, torch.zeros(1, SIZE))
        return weakref.ref(graph._arranged0)

    gone = arranged_once()
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("kind", ["small", "half", "no parameter", "of inference"])
def test_other_weights_stay_as_they_are(kind):
    weight = parameter(SIZE, SIZE - 1 if kind == "small" else SIZE)
    if kind == "half":
        weight = torch.nn.Parameter(weight.detach().bfloat16())
    if kind == "no parameter":
        weight = weight.detach()
    if kind == "of inference":
        with torch.inference_mode():
            weight = torch.nn.Parameter(torch.randn(SIZE, SIZE))
    x = torch.randn(2, SIZE, dtype=weight.dtype)
    graph, weights = arranged(lambda x: x @ weight, x)
    assert "mm.default" in calls(graph)
    with torch.inference_mode():
        torch.testing.assert_close(graph(x), x @ weight)
        weights.update(graph)


STEPS = torch_tracing.CALLS_BEFORE_TRACE + 2


def loop(function, x):
    """A function again and again, as a loop."""

    def step(state, constants):
        return state[0] + 1, function(state[1])

    start = torch.zeros((), dtype=torch.int32), x
    return torch_tracing.while_loop(lambda s, _: s[0] < STEPS, step, start, ())[1]


def calls_in_turn(function, x):
    for _ in range(STEPS):
        x = torch_tracing.traced_call(function, x)
    return x


@pytest.mark.parametrize("repeat", [loop, calls_in_turn])
def test_traces_go_on_with_weights_as_they_are_now(repeat):
    weight = parameter(SIZE, SIZE)
    traces, x = torch_tracing.Traces(), torch.randn(3, SIZE)

    def function(x):
        return torch.tanh(x @ weight)

    def swap_columns():
        weight.data[:, [0, 2]] = weight.data[:, [2, 0]]

    changes = [
        lambda: None,
        lambda: weight.mul_(0.5),
        # PyTorch does not count these.
        lambda: weight.data.mul_(-2.0),
        lambda: weight.data[7, 3:5].add_(1.0),
        swap_columns,
        lambda: setattr(weight, "data", weight.data.clone() * 0.7),
    ]
    for change in changes:
        with torch.no_grad():
            change()
        with traces.kept(), torch.inference_mode():
            found = repeat(function, x)
        expected = x
        for _ in range(STEPS):
            expected = torch.tanh(expected @ weight)
        torch.testing.assert_close(found, expected.detach(), atol=1e-4, rtol=1e-4)
    (trace,) = traces._traces.values()
    assert isinstance(trace.traced, torch.jit.ScriptModule)
    assert [x for x in trace.traced.state_dict() if x.startswith("_arranged")]


def test_flags_that_may_change_are_read():
    weight, x = parameter(SIZE, SIZE), torch.randn(3, SIZE)
    flags = torch.nn.Parameter(torch.arange(SIZE) < 4, requires_grad=False)
    never = torch.tensor(-float("inf"))

    def function(x):
        return torch.where(flags, never, x @ weight)

    graph, _ = arranged(function, x)
    for _ in range(2):
        with torch.inference_mode():
            torch.testing.assert_close(graph(x), function(x), atol=1e-4, rtol=1e-4)
        flags.data.copy_(torch.arange(SIZE) < 9)
