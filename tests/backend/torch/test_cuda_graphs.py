"""Loops and training of PyTorch on a GPU; run them where there is one."""

import keras
import numpy as np
import pytest

from keras_encdec import (
    BeamSampler,
    EncoderDecoder,
    Generator,
    GreedySampler,
    TokenCrossEntropy,
)
from keras_encdec.backend import compile_function, while_loop
from keras_encdec.backend.torch import cuda_graphs
from keras_encdec.backend.torch import steps as torch_steps
from keras_encdec.backend.torch import tracing as torch_tracing
from keras_encdec.backend.torch.cuda_graphs import capture
from keras_encdec.generation import TopKSampler
from keras_encdec.training import ProjectedLoss

torch = pytest.importorskip("torch")


def test_nothing_to_capture():
    assert capture(None, []) is None


@pytest.fixture
def gpu():
    if keras.config.backend() != "torch" or not torch.cuda.is_available():
        pytest.skip("needs PyTorch and a GPU")


def test_a_captured_step_writes_in_place_swaps_and_counts(gpu, monkeypatch):
    captures = count_captures(monkeypatch)

    def step(state, constants):
        index, cache, a, b = state
        cache.index_copy_(0, index[None], (a + constants)[None])
        return index + 1, cache, b, a + b

    def loop(index, cache, a, b, constant, last):
        def more(state, constants):
            return state[0] < last

        return while_loop(more, step, (index, cache, a, b), constant)

    number = 2 * torch_tracing.CALLS_BEFORE_TRACE
    compiled = compile_function(loop, None)
    for constant in (1.0, 5.0, 7.0):
        start = [0, np.zeros((number, 1)), np.ones(1), np.ones(1)]
        args = [torch.tensor(x, device="cuda") for x in (*start, constant)]
        found = compiled(*args, number)
        a, b, expected = 1.0, 1.0, []
        for _ in range(number):
            expected.append(a + constant)
            a, b = b, a + b
        assert found[0].item() == number
        np.testing.assert_allclose(found[1][:, 0].cpu(), expected)
        assert (found[2].item(), found[3].item()) == (a, b)
    assert captures == [True]


def count_captures(monkeypatch):
    captures = []

    def counted(function, tensors):
        found = capture(function, tensors)
        captures.append(found is not None)
        return found

    monkeypatch.setattr(torch_tracing, "capture", counted)
    return captures


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("greedy", "float32"), ("beam", "bfloat16"), ("top_k", "float32")],
)
def test_generation_is_as_without_graphs(gpu, monkeypatch, name, dtype):
    captures = count_captures(monkeypatch)
    keras.utils.set_random_seed(0)
    model = EncoderDecoder(50, 32, 64, num_heads=2, num_layers=2, dtype=dtype)
    samplers = {
        "greedy": GreedySampler(),
        "beam": BeamSampler(3),
        "top_k": TopKSampler(5),
    }
    random = np.random.default_rng(0)
    sources = [random.integers(4, 50, (3, 7)) for _ in range(4)]

    def generate():
        generator = Generator(model, samplers[name], end_id=3)
        return [generator(source, 80, seed=1) for source in sources]

    found = generate()
    assert captures and all(captures)
    monkeypatch.setattr(torch_tracing, "CALLS_BEFORE_TRACE", 10**9)
    for a, b in zip(found, generate(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_training_is_as_without_graphs(gpu, monkeypatch, dtype):
    graphs, make = [], cuda_graphs.FunctionGraph.of
    monkeypatch.setattr(
        torch_steps.FunctionGraph,
        "of",
        lambda *args: graphs.append(make(*args)) or graphs[-1],
    )
    found = []
    for steps in (10**9, 1):
        monkeypatch.setattr(torch_steps, "STEPS_BEFORE_RECORD", steps)
        keras.utils.set_random_seed(0)
        model = EncoderDecoder(50, 16, 32, num_heads=2, num_layers=2, dtype=dtype)
        trained = ProjectedLoss(model)
        trained.compile(keras.optimizers.Adam(1e-2), TokenCrossEntropy())
        random = np.random.default_rng(0)
        for step in range(8):
            # Two shapes, whose graphs share their memory.
            source, target, labels = random.integers(0, 50, (3, 4, 5 + step % 2))
            trained.train_on_batch((source, target), labels)
        found.append(model.get_weights())
    assert len(graphs) == 2 and all(graphs)
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
