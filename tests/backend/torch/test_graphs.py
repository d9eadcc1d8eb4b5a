import pytest

from keras_encdec.backend.torch.graphs import copies, graph_of

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.once


def kinds(graph):
    return [
        node.target.overloadpacket.__name__
        for node in graph.graph.nodes
        if node.op == "call_function"
    ]


def test_equal_operations_and_constants_are_computed_once():
    def function(x, y):
        ones = torch.ones(3) * torch.arange(3)
        return (x @ y) * ones + (x @ y) + torch.ones(3) * torch.arange(3)

    x, y = torch.randn(2, 3), torch.randn(3, 3)
    graph = graph_of(function, [x, y])
    assert sorted(kinds(graph)) == ["add", "add", "mm", "mul"]
    for args in ((x, y), (y, x.mT @ x)):
        torch.testing.assert_close(graph(*args), function(*args))


def test_equal_constants_are_one():
    def function(x):
        return (x + torch.arange(3)) * (x + torch.arange(3)) - torch.arange(3.0)

    x = torch.randn(2, 3)
    graph = graph_of(function, [x])
    assert kinds(graph) == ["add", "mul", "sub"]
    torch.testing.assert_close(graph(x), function(x))


def test_weights_are_read_anew():
    weight = torch.nn.Parameter(torch.ones(2))
    graph = graph_of(lambda x: x + weight * 2, [torch.zeros(2)])
    with torch.no_grad():
        weight.fill_(5.0)
        assert graph(torch.zeros(2)).tolist() == [10.0, 10.0]


def test_what_is_written_is_new_each_time():
    def function(cache, x):
        one, other = torch.zeros(2), torch.zeros(2)
        one.view(2).add_(x)
        other.view(2).add_(x)
        cache.add_(x)
        return one, other, cache

    x = torch.ones(2)
    graph = graph_of(function, [torch.zeros(2), x])
    cache = torch.zeros(2)
    for i in (1.0, 2.0):
        one, other, written = graph(cache, x)
        assert one.tolist() == other.tolist() == [1.0, 1.0]
        assert one.data_ptr() != other.data_ptr()
        assert written.tolist() == cache.tolist() == [i, i]


def test_reads_before_and_after_a_write_are_two():
    def function(cache):
        before = cache * 2
        cache.add_(1)
        return before, cache * 2

    graph = graph_of(function, [torch.zeros(1)])
    assert [x.item() for x in graph(torch.ones(1))] == [2.0, 4.0]


def test_others_are_computed_once_though_what_is_written_is_read():
    def function(cache, x):
        row = cache.view(2, 1)[0]
        first = row * 2 + x.sin()
        cache.index_copy_(0, torch.tensor([0]), x)
        return first + row * 2, cache.index_copy_(0, torch.tensor([1]), x.sin())

    cache, x = torch.tensor([1.0, 2.0]), torch.tensor([3.0])
    graph = graph_of(function, copies([cache, x]))
    assert sorted(kinds(graph)).count("sin") == 1
    found, expected = graph(cache.clone(), x), function(cache.clone(), x)
    assert all(map(torch.equal, found, expected))


def test_lists_and_named_arguments_are_written_too():
    def function(x, y):
        double = y * 2
        torch._foreach_add_([x], 1)
        torch.add(x, y, out=y)
        return double, y * 2, x

    graph = graph_of(function, [torch.zeros(1), torch.zeros(1)])
    found = graph(torch.ones(1), torch.ones(1))
    assert [x.item() for x in found] == [2.0, 6.0, 2.0]


def test_random_numbers_are_drawn_each_time():
    graph = graph_of(lambda x: (x + torch.rand(9), torch.rand(9)), [torch.zeros(9)])
    drawn = [x for _ in range(2) for x in graph(torch.zeros(9))]
    assert len({tuple(x.tolist()) for x in drawn}) == 4


def test_what_depends_on_values_has_no_graph():
    assert graph_of(lambda x: x * 2 if x.sum() > 0 else x, [torch.ones(2)]) is None


def test_copies():
    x = torch.ones(2)
    (copy,) = copies([x])
    copy.add_(1)
    assert x.tolist() == [1.0, 1.0] and copy.tolist() == [2.0, 2.0]
