"""A training on several devices against the same one on one of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_encdec.cli import main
from keras_encdec.distribution import layout_map, use_all_devices

ROOT = Path(__file__).resolve().parents[1]

# Rows of uneven lengths; of a number that no number of devices divides.
PROGRAM = """
import json
import sys

import jax
import keras
import numpy as np

from keras_encdec import ByteTokenizer, TextToText, build, train
from keras_encdec.distribution import layout_map

devices = keras.distribution.list_devices()
assert len(devices) == 4, devices
words = [x * (1 + i % 5) for i, x in enumerate("abcdefghijklmnopqrstuvwxyzabc")]
sizes = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 1}
mesh = keras.distribution.DeviceMesh((2, 2), ("batch", "model"), devices)
several = keras.distribution.ModelParallel(
    layout_map=layout_map(mesh), batch_dim_name="batch"
)
found = {}
for name, way in {"one": None, "several": several}.items():
    keras.distribution.set_distribution(way)
    keras.utils.set_random_seed(0)
    tokenizer = ByteTokenizer()
    text_to_text = build(tokenizer, tokenizer, max_length=8, dropout=0.0, **sizes)
    folder = f"{sys.argv[1]}/{name}"
    options = {"batch_tokens": 48, "num_shapes": 1, "schedule": "constant"}
    options |= {"validation": (words[:7], words[:7]), "verbose": 0}
    if name == "several":  # Interrupted, and gone on with.
        train(text_to_text, words, words, folder=folder, epochs=1, **options)
        text_to_text = build(tokenizer, tokenizer, max_length=8, dropout=0.0, **sizes)
    history = train(text_to_text, words, words, folder=folder, epochs=2, **options)
    weights = text_to_text.model.weights
    kernel = next(x for x in weights if x.path.endswith("intermediate/kernel"))
    pieces = {str(piece.index) for piece in kernel.value.addressable_shards}
    loaded = TextToText.load(f"{folder}/best")
    assert loaded(words[:3], max_length=4) == text_to_text(words[:3], max_length=4)
    found[name] = {
        "losses": [[x["loss"], x["val_loss"]] for x in history],
        # A key's bias changes no attention: what moves it is rounding.
        "weights": {
            x.path: np.asarray(x.value).tolist()
            for x in weights
            if not x.path.endswith("key/bias")
        },
        "texts": text_to_text(words, max_length=6),
        "devices": len(kernel.value.devices()),
        "pieces": len(pieces),
    }
json.dump(found, sys.stdout)
"""


@pytest.mark.skipif(keras.config.backend() != "jax", reason="keras.distribution's")
def test_several_devices_train_as_one_does(tmp_path):
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=4"
    child = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    found = json.loads(child.stdout.splitlines()[-1])
    one, several = found["one"], found["several"]
    assert len(one["losses"]) == 2 and one["losses"][1][0] < one["losses"][0][0]
    assert (several["devices"], several["pieces"]) == (4, 2)
    np.testing.assert_allclose(several["losses"], one["losses"], 1e-5, 1e-5)
    for path, weight in one["weights"].items():
        np.testing.assert_allclose(
            several["weights"][path], weight, 1e-4, 1e-5, err_msg=path
        )
    assert several["texts"] == one["texts"]


@pytest.mark.once
def test_a_layout_needs_an_axis_for_models():
    device = keras.distribution.list_devices()[:1]
    mesh = keras.distribution.DeviceMesh((1,), ("batch",), device)
    with pytest.raises(ValueError, match="received the axes .*'batch'"):
        layout_map(mesh)
    mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), device)
    assert len(layout_map(mesh)) == len(layout_map(mesh, vocabulary=False)) + 1


# Interrupted, killed and gone on with, by as many processes and by one.
BEGIN_PROCESSES = """
import os
import signal
import sys

import keras
import numpy as np

from keras_encdec import ByteTokenizer, TextToText, build, train
from keras_encdec.backend import process_count, process_index
from keras_encdec.backend.torch import processes, steps
from keras_encdec.distribution import use_all_devices
from keras_encdec.interrupts import Terminated

folder, rank = sys.argv[1], int(sys.argv[2])
steps.STEPS_BEFORE_RECORD = 4
"""

PROCESSES = """

def terminated(*args, **options):
    try:
        trained(*args, [Signalled(signal.SIGTERM)], **options)
    except Terminated as error:
        assert error.code == 143 and "up to batch 2 of epoch 2" in str(error), error
        return
    raise AssertionError("SIGTERM did not come")


WAYS = {
    "all": {"accumulate": 2, "clip_norm": 0.1, "ema": 0.9, "weight_decay": 0.1},
    "r_drop": {"r_drop": 5.0, "clip_norm": 0.1},
    "teacher": {"teacher": built(5).model, "average": 2},
}
one = {name: trained(**options) for name, options in WAYS.items()}
keras.config.set_dtype_policy("mixed_bfloat16")
rounded = trained()
use_all_devices()
assert (process_count(), process_index()) == (2, rank)
# Each process rounds gradients of its rows: as far as that, and not as float32.
found = trained()
for name in ("loss", "val_loss"):
    losses, others = ([x[name] for x in each] for each in (found[0], rounded[0]))
    np.testing.assert_allclose(losses, others, 2e-3)
for left, right in zip(found[1], rounded[1], strict=True):
    assert np.abs(left - right).mean() < 2e-3
keras.config.set_dtype_policy("float32")
for name, options in WAYS.items():
    check_same(trained(**options), one[name], name)

whole = trained("whole", dropout=0.3)
terminated("again", dropout=0.3)
again = trained("again", dropout=0.3)
assert again[0] == whole[0]
for left, right in zip(again[1], whole[1], strict=True):
    np.testing.assert_array_equal(left, right)

terminated("fewer", **WAYS["all"])
fails_with_a_full_disk("full", **WAYS["all"])
try:
    trained("killed", [Signalled(signal.SIGKILL)], **WAYS["all"])
except RuntimeError as error:
    assert rank == 0, error
else:
    raise AssertionError("the others go on")
processes.leave()
for name in ("fewer", "full", "killed"):
    check_same(trained(name, **WAYS["all"]), one["all"], name)
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.config.backend() != "torch", reason="PyTorch's processes")
def test_two_processes_train_as_one_does(load_test_module, tmp_path):
    two_processes = load_test_module("two_processes.py")
    program = BEGIN_PROCESSES + two_processes.TRAINING + two_processes.FAILING
    program += PROCESSES
    run_both = two_processes.run_both
    (status, said), (other, _) = run_both(program, tmp_path)
    assert status == 0, said
    assert other == -9, "the second process is killed"
    names = {x.name for x in tmp_path.iterdir()}
    assert names == {"whole", "again", "fewer", "full", "killed"}
    for name in names:
        lines = (tmp_path / name / "log.csv").read_text().splitlines()
        assert [x.split(",")[0] for x in lines] == ["epoch", "1", "2"]
        assert [x.name for x in (tmp_path / name / "checkpoints").iterdir()] == [
            "epoch-00002.safetensors"
        ]


SAID = {
    "tensorflow": ("--model-parallel 2", "parallel is 2. Set KERAS_BACKEND=jax"),
    "torch": ("--data-parallel", "received one process alone. Start them by `torchrun"),
}


@pytest.mark.skipif(keras.config.backend() == "jax", reason="one process is enough")
def test_the_command_line_tells_where_devices_can_be_shared(tmp_path, capsys):
    option, said = SAID[keras.config.backend()]
    (tmp_path / "pairs.tsv").write_text("a\tb\n")
    command = ["train", "--source", str(tmp_path / "pairs.tsv"), "--tokenizer", "byte"]
    command += ["--output", str(tmp_path / "run"), *option.split()]
    assert main(command) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(keras.config.backend() != "jax", reason="keras.distribution's")
def test_devices_make_whole_groups():
    with pytest.raises(ValueError, match="received 3, and there are 1"):
        use_all_devices(3)
