import inspect

import keras
import numpy as np
import pytest
import torch
from keras import ops

from keras_encdec import Decoder, Encoder, EncoderDecoder
from keras_encdec.backend import carried_mask

IDS = np.array([[3, 4, 5, 1, 2], [6, 2, 0, 0, 0]], "int32")


def to_numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def test_is_torchs_encoder(copy_from_torch):
    encoder = Encoder(11, 8, 12, 2, 2, positions=None, scale_embeddings=False)
    layer = torch.nn.TransformerEncoderLayer(
        8, 2, 12, dropout=0.0, batch_first=True, norm_first=True
    )
    norm = torch.nn.LayerNorm(8)
    expected = torch.nn.TransformerEncoder(layer, 2, norm, enable_nested_tensor=False)
    for ours, theirs in zip(encoder.blocks, expected.layers, strict=True):
        copy_from_torch(ours, theirs)
    copy_from_torch(encoder.norm, expected.norm)
    table = torch.tensor(to_numpy(encoder.embedding.table.embeddings))
    hidden = expected(table[IDS], src_key_padding_mask=torch.tensor(IDS == 0))
    np.testing.assert_allclose(
        to_numpy(encoder(IDS))[IDS != 0], hidden.detach().numpy()[IDS != 0], atol=1e-5
    )


def test_carries_the_mask_of_its_ids():
    mask = carried_mask(Encoder(11, 8, 12, 2, 1, padding_id=2)(IDS))
    np.testing.assert_array_equal(to_numpy(mask), IDS != 2)


@pytest.mark.parametrize("positions", ["learned", "rotary", "relative"])
def test_is_the_same_when_it_is_saved(positions, tmp_path):
    options = {"max_length": 5} if positions == "learned" else {}
    encoder = Encoder(
        11,
        *(8, 12, 2, 1),
        positions=positions,
        activation="gelu",
        num_key_value_heads=1,
        **options,
    )
    encoder.blocks[0].trainable = False
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_allclose(to_numpy(loaded(IDS)), to_numpy(encoder(IDS)))
    assert loaded.get_config() == encoder.get_config()
    assert len(loaded.trainable_variables) == len(encoder.trainable_variables)


@pytest.mark.parametrize(
    "ids, match", [([[11]], "from 0 to 10"), ([[1.5]], "integer"), ([3], "2D")]
)
def test_refuses_what_are_no_ids(ids, match):
    with pytest.raises(ValueError, match=match):
        Encoder(11, 8, 12, 2, 1)(np.array(ids))


@pytest.mark.parametrize(
    "options, match",
    [
        ({"positions": "nowhere"}, "positions"),
        ({"vocabulary_size": 0}, "vocabulary_size"),
        ({"num_layers": 0}, "num_layers"),
        ({"padding_id": 11}, "padding_id"),
        ({"num_heads": 3}, "heads"),
        ({"max_distance": 64}, "max_distance are given with positions='relative'"),
    ],
)
def test_refuses_bad_options(options, match):
    sizes = dict.fromkeys(("hidden_dim", "intermediate_dim"), 8)
    sizes |= {"vocabulary_size": 11, "num_heads": 2, "num_layers": 1}
    with pytest.raises(ValueError, match=match):
        Encoder(**{**sizes, **options})


@pytest.mark.once
@pytest.mark.parametrize("kind", [Encoder, Decoder, EncoderDecoder])
def test_options_are_known_by_their_names(kind):
    shown = inspect.signature(kind).parameters
    assert shown["dropout"].default == 0.1 and shown["activation"].default == "relu"
    assert "options" not in shown
    with pytest.raises(TypeError, match="dropout.*received flavour"):
        kind(11, 8, 12, 2, 1, flavour="sweet")
