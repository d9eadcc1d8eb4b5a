import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec import Decoder, Encoder
from keras_encdec.backend import carried_mask
from keras_encdec.layers import attend_to

SOURCE = np.array([[3, 4, 5, 1, 2], [6, 2, 0, 0, 0]], "int32")
TARGET = np.array([[1, 4, 5, 8], [1, 3, 6, 0]], "int32")


def to_numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def both(**options):
    encoder = Encoder(11, 12, 16, num_heads=3, num_layers=2, dropout=0.0)
    decoder = Decoder(
        9, 8, 10, num_heads=2, num_layers=1, memory_dim=12, dropout=0.0, **options
    )
    return encoder, decoder


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary", "relative"])
@pytest.mark.parametrize("tied", [True, False])
def test_steps_give_what_the_whole_gives(positions, tied):
    encoder, decoder = both(positions=positions, tie_embeddings=tied)
    encoded = encoder(SOURCE)
    hidden = decoder((TARGET, encoded))
    mask = attend_to(carried_mask(encoded))
    remembered, cache, steps = decoder.remember(encoded), decoder.new_cache(2, 4), []
    for index in range(4):
        tokens = TARGET[:, index : index + 1]
        x, cache, _ = decoder.step(tokens, index, remembered, mask, cache)
        steps.append(to_numpy(decoder.logits(x))[:, 0])
    expected, tokens = to_numpy(decoder.logits(hidden)), TARGET != 0
    found = np.stack(steps, axis=1)
    np.testing.assert_allclose(found[tokens], expected[tokens], atol=1e-5)


@pytest.mark.slow
def test_padding_of_the_source_changes_nothing():
    encoder, decoder = both()
    row = SOURCE[1:, :2]
    padded = decoder((TARGET[1:], encoder(SOURCE[1:])))
    alone = decoder((TARGET[1:], encoder(row)))
    np.testing.assert_allclose(to_numpy(padded), to_numpy(alone), atol=1e-5)


def test_is_the_same_when_it_is_saved(tmp_path):
    encoder, decoder = both(tie_embeddings=False, output_bias=True)
    decoder.save(tmp_path / "decoder.keras")
    loaded = keras.models.load_model(tmp_path / "decoder.keras")
    hidden = [
        to_numpy(x.logits(x((TARGET, encoder(SOURCE))))) for x in (decoder, loaded)
    ]
    np.testing.assert_allclose(*hidden)
    assert loaded.get_config() == decoder.get_config()


def test_says_how_a_shared_table_is_saved():
    encoder = Encoder(9, 8, 10, 2, 1)
    decoder = Decoder(9, 8, 10, 2, 1, table=encoder.embedding.table)
    with pytest.raises(NotImplementedError, match="use EncoderDecoder"):
        decoder.get_config()


def test_refuses_what_are_no_ids():
    encoder, decoder = both()
    assert decoder((TARGET, to_numpy(encoder(SOURCE)))).shape == (2, 4, 8)
    with pytest.raises(ValueError, match="from 0 to 8"):
        decoder((np.array([[9]]), encoder(SOURCE[:1])))
    with pytest.raises(ValueError, match="memory_dim"):
        Decoder(9, 8, 10, 2, 1, memory_dim=0)
