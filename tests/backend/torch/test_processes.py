"""Two processes of PyTorch: what they refuse before they join, and exchange then."""

import keras
import pytest

pytest.importorskip("torch")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.config.backend() != "torch", reason="the processes are PyTorch's"
    ),
]

PROGRAM = """
import sys

import keras
import numpy as np
import torch

from keras_encdec import EncoderDecoder, TokenCrossEntropy
from keras_encdec import backend
from keras_encdec.backend.torch import processes
from keras_encdec.distribution import use_all_devices
from keras_encdec.training import ProjectedLoss

store, rank = sys.argv[1], int(sys.argv[2])
torch.distributed.init_process_group(
    "gloo", init_method=f"file://{store}", rank=rank, world_size=2
)
SOURCE, LABELS = np.array([[5, 7, 2], [9, 2, 0]]), np.array([[7, 5, 2], [9, 2, 0]])
TARGET = np.array([[1, 7, 5], [1, 9, 0]])


def raised(kind, function, *args):
    try:
        function(*args)
    except kind as error:
        return str(error)
    raise AssertionError("nothing was raised")


def wrapped(model):
    return torch.nn.parallel.DistributedDataParallel(model).module


for make in (lambda model: model, ProjectedLoss, wrapped):
    for verb in ("fit", "train_on_batch"):
        trained = make(EncoderDecoder(20, 16, 32, 2, 1))
        trained.compile("sgd", TokenCrossEntropy())
        before = trained.get_weights()
        message = raised(RuntimeError, getattr(trained, verb), (SOURCE, TARGET), LABELS)
        assert "a group of 2 processes. Call keras_encdec.distribution" in message
        for one, other in zip(before, trained.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

assert backend.process_count() == 1 and backend.process_index() == 0
assert "JAX alone" in raised(RuntimeError, use_all_devices, 2)
use_all_devices()
use_all_devices()
assert (backend.process_count(), backend.process_index()) == (2, rank)
assert (backend.data_replicas(), backend.data_replica()) == (2, [rank])
assert keras.config.is_interactive_logging_enabled() == (rank == 0)
assert backend.gathered(rank * 10) == [0, 10]
assert backend.any_process(rank == 1, False) == [True, False]
assert backend.from_first(lambda: rank) == 0


class Unportable(ValueError):
    pass


def fails(error):
    raise error


assert raised(OSError, backend.from_first, lambda: fails(OSError("full"))) == "full"
Unportable.__reduce__ = None
assert raised(Exception, backend.from_first, lambda: fails(Unportable("a"))) == "a"
assert backend.in_first_alone(lambda: rank)() == (None if rank else 0)

for kind in ("float32", "bfloat16", "int64"):
    variable = keras.Variable([rank, 7 - rank], dtype=kind, trainable=False)
    backend.share_variables([variable])
    assert variable.numpy().tolist() == [0, 7]

keras.utils.set_random_seed(3)
backend.part_random_numbers(None)
drawn = backend.gathered(torch.rand(2).tolist())
assert drawn[0] != drawn[1]
keras.utils.set_random_seed(3)
assert drawn[0] == torch.rand(2).tolist()
states = backend.random_state_of_all()
drawn = torch.rand(2)
torch.manual_seed(9)
backend.set_random_state(backend.own_random_state(states))
assert torch.equal(torch.rand(2), drawn)

# Means over 3 tokens and 1, against those over all 4.
numbers = [torch.tensor([1.0, 2.0, 6.0]), torch.tensor([11.0])][rank]
weight = torch.tensor(float(len(numbers)))
for sums, expected in ((False, 5.0), (True, 20.0)):
    loss = numbers.sum() if sums else numbers.mean()
    values, gradients, totals = processes.exchanged(
        (loss, numbers.mean(), weight),
        [torch.stack([loss, 2 * loss]).to(torch.bfloat16), None],
        [torch.tensor([rank, 1.0])],
        sums=sums,
    )
    assert [float(x) for x in values] == [expected, 5.0, 4.0], values
    assert gradients[1] is None and gradients[0].dtype == torch.bfloat16
    assert gradients[0].tolist() == [expected, 2 * expected], gradients
    assert totals[0].tolist() == [1.0, 2.0]
torch.distributed.destroy_process_group()
"""


def test_two_processes_exchange_what_they_find(load_test_module, tmp_path):
    load_test_module("two_processes.py").check_both(PROGRAM, tmp_path / "store")
