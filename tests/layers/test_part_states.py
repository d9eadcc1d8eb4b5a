"""What was changed in a model's parts is there again when it is loaded."""

import copy
import gc
import json
import pickle
import zipfile

import keras
import numpy as np
import pytest

from keras_encdec import EncoderDecoder, TokenCrossEntropy
from keras_encdec.layers.part_states import (
    part_states,
    quick_collections,
    restore_part_states,
)

SOURCE = np.array([[5, 7, 2], [9, 2, 0]])
TARGET = np.array([[1, 7, 5], [1, 9, 0]])
LABELS = np.array([[7, 5, 2], [9, 2, 0]])


def build(**options):
    return EncoderDecoder(20, 16, 32, 2, 1, dropout=0.0, **options)


def logits(model):
    return keras.ops.convert_to_numpy(model((SOURCE, TARGET)))


def trainable(model):
    return sorted(variable.path for variable in model.trainable_variables)


def words(config):
    return json.dumps(config, sort_keys=True)


def saved(model, folder):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


def pickled(model, folder):
    return pickle.loads(pickle.dumps(model))


def copied(model, folder):
    return copy.deepcopy(model)


def configured(model, folder):
    config = model.get_config()
    found = EncoderDecoder.from_config(config)
    assert words(found.get_config()) == words(config)
    found.set_weights(model.get_weights())
    return found


every_copy = pytest.mark.parametrize("copy_of", [saved, pickled, copied, configured])


@pytest.mark.filterwarnings("ignore:Keras has no float8 of the tables")
@pytest.mark.parametrize(
    "mode, copy_of, options",
    [
        ("int8", saved, {}),
        ("int8", pickled, {}),
        ("int8", configured, {}),
        ("int8", saved, {"target_vocabulary_size": 20, "tie_embeddings": False}),
        ("int4", saved, {}),
        ("float8", saved, {}),
    ],
)
def test_a_quantized_model_is_the_same(mode, copy_of, options, tmp_path):
    model = build(**options)
    plain = logits(model)
    model.quantize(mode)
    expected = logits(model)
    if mode != "float8":  # Which learns its scales first.
        assert np.abs(expected - plain).max() > 1e-4
    found = copy_of(model, tmp_path)
    np.testing.assert_allclose(logits(found), expected, atol=1e-6)
    assert [w.dtype for w in found.weights] == [w.dtype for w in model.weights]
    assert words(part_states(found)) == words(part_states(model))


@every_copy
def test_what_is_frozen_stays_frozen(copy_of, tmp_path):
    model = build()
    everything = len(model.trainable_variables)
    block = model.encoder_blocks[0]
    block.trainable = False
    block.feed_forward.trainable = True  # Counts when the block is thawed.
    model.decoder.norm.gamma.trainable = False
    assert 0 < len(model.trainable_variables) < everything - 10
    found = copy_of(model, tmp_path)
    assert trainable(found) == trainable(model)
    for each in (model, found):
        each.get_layer("encoder_block_0").trainable = False
    assert trainable(found) == trainable(model)
    whole = build()
    whole.trainable = False
    assert not copy_of(whole, tmp_path).trainable_variables


@every_copy
def test_a_layer_keeps_a_policy_of_its_own(copy_of, tmp_path):
    model = build()
    model.encoder_blocks[0].feed_forward.output_dense.dtype_policy = "mixed_bfloat16"
    found = copy_of(model, tmp_path)
    dense = found.encoder_blocks[0].feed_forward.output_dense
    assert dense.dtype_policy.name == "mixed_bfloat16"
    np.testing.assert_allclose(logits(found), logits(model), atol=1e-6)


@pytest.mark.slow
def test_lora_is_merged_when_it_is_saved(tmp_path):
    model = build()
    (dense,) = (block.self_attention.query_dense for block in model.decoder_blocks)
    dense.bias.trainable = False  # Which LoRA leaves as it is.
    before = trainable(model)
    dense.enable_lora(2)
    dense.lora_kernel_a.trainable = False
    model.target_embedding.table.enable_lora(2)
    model.compile(keras.optimizers.SGD(0.5), TokenCrossEntropy())
    plain = logits(model)
    model.fit((SOURCE, TARGET), LABELS, epochs=3, verbose=0)
    assert np.abs(logits(model) - plain).max() > 1e-3
    found = saved(model, tmp_path)
    np.testing.assert_allclose(logits(found), logits(model), atol=1e-5)
    assert trainable(found) == before


@pytest.mark.slow
def test_what_was_trained_as_lora_is_loaded_and_trained_on(tmp_path):
    model = build()
    for block in model.encoder_blocks + model.decoder_blocks:
        block.self_attention.query_dense.enable_lora(2)
    for weight in model.trainable_weights:
        # As many as there will be without LoRA, of other shapes.
        weight.trainable = "lora" in weight.name
    model.compile("adam", TokenCrossEntropy())
    model.fit((SOURCE, TARGET), LABELS, verbose=0)
    found = saved(model, tmp_path)
    np.testing.assert_allclose(logits(found), logits(model), atol=1e-5)
    found.fit((SOURCE, TARGET), LABELS, verbose=0)
    # Now it remembers what it trains.
    again = saved(found, tmp_path)
    for each in (found, again):
        each.fit((SOURCE, TARGET), LABELS, verbose=0)
    np.testing.assert_allclose(logits(again), logits(found), atol=1e-5)


@pytest.mark.once
def test_an_unchanged_model_has_no_states():
    model = build(dtype="mixed_bfloat16", tie_embeddings=False)
    assert "parts" not in model.get_config()
    states = part_states(model)
    assert states[""]["trainable"] and "decoder_block_0/self_attention/query" in states


@pytest.mark.once
def test_saving_and_loading_add_nothing_to_a_config(tmp_path):
    model = build()
    loaded = saved(model, tmp_path)
    assert words(loaded.get_config()) == words(model.get_config())
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        assert "parts" not in json.loads(file.read("config.json"))["config"]
    model.get_layer("encoder_block_0").trainable = False
    loaded = saved(saved(model, tmp_path), tmp_path)
    assert words(loaded.get_config()) == words(model.get_config())


@pytest.mark.once
def test_a_model_of_a_later_version_is_refused(tmp_path):
    model = build()
    model.save(tmp_path / "model.keras")
    assert model.get_config()["format"] == 2
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        parts = {name: file.read(name) for name in file.namelist()}
    for written in (b"", b'"format": 1, ', b'"format": 3, "more": 0, '):
        config = parts["config.json"].replace(b'"format": 2, ', written)
        with zipfile.ZipFile(tmp_path / "other.keras", "w") as file:
            for name, content in {**parts, "config.json": config}.items():
                file.writestr(name, content)
        if b"3" not in written:
            found = keras.saving.load_model(tmp_path / "other.keras")
            np.testing.assert_allclose(logits(found), logits(model), atol=1e-6)
            continue
        with pytest.raises(ValueError, match="is of format 3. Install the version"):
            keras.saving.load_model(tmp_path / "other.keras")


def test_says_which_layer_there_is_not():
    with pytest.raises(ValueError, match=r"\['encoder_block_7'\].*does not have"):
        restore_part_states(build(), {"encoder_block_7": {"trainable": False}})


@pytest.mark.once
def test_a_model_that_was_loaded_is_as_it_was_built(tmp_path):
    model = build()
    loaded = saved(model, tmp_path)
    assert "parts" not in loaded.get_config()
    assert {**loaded.get_config(), "name": 0} == {**model.get_config(), "name": 0}


@pytest.mark.once
def test_objects_are_kept_out_of_collections_in_a_context_alone():
    gc.unfreeze()  # What the session keeps out.
    try:
        with quick_collections():
            frozen = gc.get_freeze_count()
            with quick_collections():
                pass
            assert gc.get_freeze_count() >= frozen > 0
        assert gc.get_freeze_count() == 0
    finally:
        gc.freeze()
