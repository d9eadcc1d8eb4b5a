import json

import keras_hub
import numpy as np
import pytest
from keras import ops

from keras_encdec import EncoderDecoder
from keras_encdec.pretrained.keras_hub import (
    KerasHubWeights,
    keras_hub_architecture,
)

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def backbone():
    sizes = {"num_layers": 2, "num_heads": 4, "hidden_dim": 16, "intermediate_dim": 24}
    model = keras_hub.models.BartBackbone(60, **sizes, max_sequence_length=12)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(float("gamma" in weight.path), 0.3, weight.shape))
    return model


@pytest.fixture(scope="module")
def folder(backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras_hub")
    backbone.save_to_preset(str(folder))
    return folder


def test_logits_are_those_of_keras_hub(backbone, folder):
    model = EncoderDecoder.from_preset(folder)
    source = np.array([[0, 5, 7, 9, 2], [0, 8, 2, 1, 1]], "int32")
    target = np.array([[2, 0, 30, 31], [2, 0, 33, 1]], "int32")
    hidden = backbone(
        {
            "encoder_token_ids": source,
            "encoder_padding_mask": source != 1,
            "decoder_token_ids": target,
            "decoder_padding_mask": target != 1,
        }
    )["decoder_sequence_output"]
    expected = backbone.token_embedding(hidden, reverse=True)
    found, expected = map(ops.convert_to_numpy, (model((source, target)), expected))
    np.testing.assert_allclose(found[target != 1], expected[target != 1], atol=1e-4)
    assert model.origin is None


def test_padding_is_that_of_the_tokenizer(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    place = tmp_path / "assets" / "tokenizer"
    place.mkdir(parents=True)
    (place / "vocabulary.json").write_text(json.dumps({"<s>": 0, "<pad>": 5}))
    architecture = keras_hub_architecture(config, tmp_path)
    assert architecture.encoder["padding_id"] == 5


def test_refuses_what_lacks_sizes_or_weights(tmp_path):
    with pytest.raises(ValueError, match="without vocabulary_size, num_layers"):
        keras_hub_architecture({"class_name": "BartBackbone"}, tmp_path)
    with pytest.raises(FileNotFoundError, match="model.weights.h5"):
        KerasHubWeights(tmp_path / "model.weights.h5")
    (tmp_path / "model.weights.h5").write_bytes(b"no")
    with pytest.raises(ValueError, match="truncated"):
        KerasHubWeights(tmp_path / "model.weights.h5")


def test_another_model_of_keras_hub_is_unknown(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    config["class_name"] = "BertBackbone"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="BART of KerasHub.*'BertBackbone'"):
        EncoderDecoder.from_preset(tmp_path)


@pytest.mark.parametrize("kind", ["external", "virtual"])
def test_numbers_of_other_files_are_not_read(kind, tmp_path):
    import h5py

    (tmp_path / "secret").write_bytes(bytes(16))
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        if kind == "external":
            place = [(str(tmp_path / "secret"), 0, 16)]
            file.create_dataset("layers/a", (4,), "float32", external=place)
        else:
            layout = h5py.VirtualLayout((4,), "float32")
            layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "a", (4,))
            file.create_virtual_dataset("layers/a", layout)
    with pytest.raises(ValueError, match="'layers/a' from another file"):
        KerasHubWeights(path)
