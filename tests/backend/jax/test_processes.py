"""Two processes of JAX: what they exchange, and a training of both against one's."""

import os
import signal
import time

import keras
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.config.backend() != "jax", reason="the processes are JAX's"
    ),
]

BEGIN = """
import os
import signal
import sys

import keras
import numpy as np

from keras_encdec import ByteTokenizer, TextToText, backend, build, train
from keras_encdec.backend.jax import processes
from keras_encdec.distribution import use_all_devices
from keras_encdec.interrupts import Terminated

folder, rank = sys.argv[1], int(sys.argv[2])
ALL = {"accumulate": 2, "clip_norm": 0.1, "ema": 0.9, "weight_decay": 0.1}
"""

EXCHANGE = """

def raised(kind, function, *args):
    try:
        function(*args)
    except kind as error:
        return str(error)
    raise AssertionError("nothing was raised")


assert backend.process_count() == 1
use_all_devices()
use_all_devices()
keras.layers.Dropout(0.5)  # All have one seed, or this is an error.
assert (backend.process_count(), backend.process_index()) == (2, rank)
assert (backend.data_replicas(), backend.data_replica()) == (2, [rank])
assert keras.config.is_interactive_logging_enabled() == (rank == 0)
assert "received model_parallel=2 and 2" in raised(RuntimeError, use_all_devices, 2)
assert backend.gathered("x" * 2000 * rank) == ["", "x" * 2000]
assert backend.any_process(rank == 1, False) == [True, False]
assert backend.from_first(lambda: rank) == 0
assert backend.in_first_alone(lambda: rank)() == (None if rank else 0)


class Unportable(ValueError):
    pass


def fails(error):
    raise error


assert raised(OSError, backend.from_first, lambda: fails(OSError("full"))) == "full"
Unportable.__reduce__ = None
assert raised(Exception, backend.from_first, lambda: fails(Unportable("a"))) == "a"
for kind in ("float32", "bfloat16", "uint32"):
    variable = keras.Variable([1, 2], dtype=kind, trainable=False)
    assert not variable.value.is_fully_addressable
    if rank == 0:
        backend.assign(variable, [0, 7])  # By one process alone.
    backend.share_variables([variable])
    assert keras.ops.convert_to_numpy(variable).tolist() == [0, 7]


def terminated(*args, **options):
    try:
        trained(*args, [Signalled(signal.SIGTERM)], **options)
    except Terminated as error:
        assert error.code == 143 and "up to batch 2 of epoch 2" in str(error), error
        return
    raise AssertionError("SIGTERM did not come")


WAYS = {"all": ALL, "r_drop": {"r_drop": 5.0, "average": 2}}
several = {name: trained(**options) for name, options in WAYS.items()}
dropping = {"dropout": 0.3, "ema": 0.9}
whole = trained("whole", **dropping)
terminated("again", **dropping)
again = trained("again", **dropping)
assert again[0] == whole[0]
for left, right in zip(again[1], whole[1], strict=True):
    np.testing.assert_array_equal(left, right)
terminated("fewer", **ALL)
fails_with_a_full_disk("full", **ALL)

processes.leave()
assert backend.process_count() == 1
for name, options in WAYS.items():
    check_same(several[name], trained(**options), name)
"""

KILLED = """
use_all_devices()
trained("killed", [Signalled(signal.SIGKILL)], dropout=0.3, ema=0.9)
"""

AFTER_A_KILL = """
use_all_devices()
whole, again = (trained(name, dropout=0.3, ema=0.9) for name in ("whole", "killed"))
for left, right in zip(again[1], whole[1], strict=True):
    np.testing.assert_array_equal(left, right)
"""

# In a process that no other shares a training with.
ALONE = """
for name in ("fewer", "full"):
    check_same(trained(name, **ALL), trained(**ALL), name)
assert TextToText.load(folder + "/whole/best")(words[:2], max_length=4)
"""


@pytest.fixture
def compiled_once(tmp_path, monkeypatch):
    """Each training compiles the same."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def test_what_is_killed_ends_the_other_and_goes_on(
    load_test_module, tmp_path, compiled_once
):
    two_processes = load_test_module("two_processes.py")
    begin = BEGIN + two_processes.TRAINING + two_processes.FAILING
    (status, said), (killed, last) = two_processes.run_both(begin + KILLED, tmp_path)
    assert killed == -9 and status == -signal.SIGABRT, said
    assert "another task died" in said
    assert time.time() - float(last.rsplit("killed at ", 1)[1]) < 60
    two_processes.check_both(begin + AFTER_A_KILL, tmp_path)


def test_two_processes_train_as_one_does(load_test_module, tmp_path, compiled_once):
    two_processes = load_test_module("two_processes.py")
    begin = BEGIN + two_processes.TRAINING + two_processes.FAILING
    two_processes.check_both(begin + EXCHANGE, tmp_path)
    names = {"whole", "again", "fewer", "full"}
    assert {x.name for x in tmp_path.iterdir()} == {*names, "compiled"}
    two_processes.run_alone(begin + ALONE, tmp_path, 0)
    for name in names:
        lines = (tmp_path / name / "log.csv").read_text().splitlines()
        assert [x.split(",")[0] for x in lines] == ["epoch", "1", "2"]
        assert os.listdir(tmp_path / name / "checkpoints") == [
            "epoch-00002.safetensors"
        ]
