import json
import os
import subprocess
import sys

import keras
import pytest

from keras_encdec.pretrained.models import open_model

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "name, shares, ties",
    [
        ("marian", True, True),
        ("marian, two vocabularies", False, True),
        ("t5 1.1", True, False),
        ("bart, untied", True, False),
    ],
)
def test_tells_which_tables_are_one(name, shares, ties, checkpoint):
    folder = checkpoint(name).folder
    stored = open_model(str(folder))
    assert stored.architecture.shares_table == shares
    assert stored.architecture.decoder["tie_embeddings"] == ties
    assert stored.config == json.loads(stored.origin["config.json"])
    assert stored.folder == folder
    assert {pair.ours for pair in stored.layout.pairs} >= {"encoder.embedding"}
    assert stored.tensors.keys() == checkpoint(name).tensors.keys()


# What a model takes beyond what the library does, in numbers of its weights.
LOAD = """
import resource, sys
for name in ("torch", "transformers", "tokenizers"):
    sys.modules[name] = None
from keras_encdec import EncoderDecoder

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

EncoderDecoder.from_preset(sys.argv[1])
before = peak()
model = EncoderDecoder.from_preset(sys.argv[2])
print((peak() - before) / (4 * model.count_params()))
"""


@pytest.mark.slow
def test_loads_by_itself_and_holds_its_weights_once(checkpoint, tmp_path):
    import transformers

    sizes = {"d_model": 256, "vocab_size": 80_000, "max_position_embeddings": 64}
    layers = {"encoder_layers": 3, "decoder_layers": 3}
    config = transformers.BartConfig(**sizes, **layers)
    theirs = transformers.BartForConditionalGeneration(config)
    theirs.save_pretrained(tmp_path, max_shard_size="30MB")
    assert len([*tmp_path.glob("model-*.safetensors")]) > 2
    backend = keras.config.backend()
    # PyTorch is what must not be needed.
    backend = "jax" if backend == "torch" else backend
    command = [
        sys.executable,
        "-c",
        LOAD,
        str(checkpoint("bart").folder),
        str(tmp_path),
    ]
    found = subprocess.run(
        command,
        env={**os.environ, "KERAS_BACKEND": backend},
        check=True,
        capture_output=True,
        text=True,
    )
    assert float(found.stdout) <= 1.3
