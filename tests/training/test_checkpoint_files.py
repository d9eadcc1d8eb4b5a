"""The files of a training's checkpoints."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from keras_encdec.training.checkpoint_files import (
    checkpoints_in,
    positions_in,
    read_checkpoint,
)

pytestmark = pytest.mark.once


def test_names_tell_how_far_a_training_was(tmp_path):
    names = "epoch-00002.safetensors", "epoch-00002-batch-0000007.safetensors"
    for name in (*names, ".epoch-00003.safetensors.part", "epoch-00003.txt"):
        (tmp_path / name).touch()
    ends, within = (tmp_path / name for name in names)
    assert positions_in(tmp_path) == {(2, 0): ends, (2, 7): within}
    assert checkpoints_in(tmp_path) == {2: ends}
    assert positions_in(tmp_path / "none") == {}


def test_what_is_written_is_read_and_what_is_cut_is_told(tmp_path):
    path = tmp_path / "epoch-00001.safetensors"
    save_file({"model/0": np.ones(2)}, path, {"history": '[{"loss": 1.0}]'})
    history, arrays = read_checkpoint(path)
    assert history == [{"loss": 1.0}] and arrays["model/0"].tolist() == [1.0, 1.0]
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="cannot be read; it is empty, cut"):
        read_checkpoint(path)
