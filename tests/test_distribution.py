"""A training on several devices of JAX against the same one on one of them."""

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


@pytest.mark.skipif(keras.config.backend() == "jax", reason="where JAX does not run")
def test_the_command_line_tells_where_devices_can_be_shared(tmp_path, capsys):
    (tmp_path / "pairs.tsv").write_text("a\tb\n")
    command = ["train", "--source", str(tmp_path / "pairs.tsv"), "--tokenizer", "byte"]
    command += ["--output", str(tmp_path / "run"), "--data-parallel"]
    assert main(command) == 2
    backend = keras.config.backend()
    assert f"under JAX alone, by keras.distribution; the backend is {backend}" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(keras.config.backend() != "jax", reason="keras.distribution's")
def test_devices_make_whole_groups():
    with pytest.raises(ValueError, match="received 3, and there are 1"):
        use_all_devices(3)
