"""LoRA on a whole model."""

import json

import keras
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from keras_encdec import (
    EncoderDecoder,
    TokenCrossEntropy,
    enable_lora,
    load_adapter,
    merge_lora,
    save_adapter,
)
from keras_encdec.training.adaptation import adapted, has_lora

IDS = np.array([[5, 7, 2]]), np.array([[1, 7, 5]])
LABELS = np.array([[7, 5, 2]])


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [None, 4])
def test_matrices_learn_by_small_ones(alpha, tmp_path):
    model = EncoderDecoder(200, 16, 32, num_heads=2, num_layers=1, dropout=0.0)
    total = model.count_params()
    before = model.predict(IDS, verbose=0)
    kernels = [np.array(x) for x in model.get_weights() if x.ndim > 1]
    enable_lora(model, 2, alpha)
    np.testing.assert_allclose(model.predict(IDS, verbose=0), before, atol=1e-5)
    learns = sum(int(np.prod(x.shape)) for x in model.trainable_variables)
    assert learns < total / 3
    model.compile(keras.optimizers.Adam(1e-2), TokenCrossEntropy())
    model.fit(IDS, LABELS, epochs=3, verbose=0)
    learnt = model.predict(IDS, verbose=0)
    assert np.abs(learnt - before).max() > 1e-3
    kept = {x.tobytes() for x in map(np.array, model.get_weights())}
    assert all(kernel.tobytes() in kept for kernel in kernels)
    with pytest.raises(ValueError, match="LoRA once, .* received one with LoRA in"):
        enable_lora(model, 2)
    model.save(tmp_path / "model.keras")
    merged = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert merged.count_params() == total
    np.testing.assert_allclose(merged.predict(IDS, verbose=0), learnt, atol=1e-4)


@pytest.mark.once
@pytest.mark.parametrize("rank", [0, -1, 1.5, True, None])
def test_refuses_what_is_no_rank(rank):
    with pytest.raises(ValueError, match=f"a positive integer; received {rank}"):
        enable_lora(keras.Sequential([keras.layers.Dense(3)]), rank)


@pytest.mark.once
def test_refuses_a_model_without_matrices():
    with pytest.raises(ValueError, match="received one without any"):
        enable_lora(keras.Sequential([keras.layers.ReLU()]), 2)


def small_model():
    return EncoderDecoder(200, 16, 32, num_heads=2, num_layers=1, dropout=0.0)


@pytest.mark.slow
def test_layers_are_named_saved_alone_and_merged(tmp_path):
    model = small_model()
    weights = model.get_weights()
    enable_lora(model, 2, 4, targets=("query", "cross_attention/value"))
    learning = {x.path for x in model.trainable_variables}
    assert len(learning) == 2 * 4
    assert all(x.rpartition("/")[2].startswith("lora_kernel") for x in learning)
    model.compile(keras.optimizers.Adam(1e-2), TokenCrossEntropy())
    model.fit(IDS, LABELS, epochs=3, verbose=0)
    learnt = model.predict(IDS, verbose=0)
    path = tmp_path / "adapter.safetensors"
    save_adapter(model, path)
    assert path.stat().st_size < 4000
    other = small_model()
    other.set_weights(weights)
    before = other.predict(IDS, verbose=0)
    assert np.abs(learnt - before).max() > 1e-4
    load_adapter(other, path)
    np.testing.assert_allclose(other.predict(IDS, verbose=0), learnt, atol=1e-5)
    assert {x.path for x in other.trainable_variables} == learning
    merge_lora(other)
    np.testing.assert_allclose(other.predict(IDS, verbose=0), learnt, atol=1e-5)
    assert len(other.weights) == len(weights)
    with pytest.raises(ValueError, match="must have LoRA to be merged"):
        merge_lora(other)
    enable_lora(other, 2)


def test_nothing_else_learns():
    options = {"output_bias": True, "positions": "learned", "max_length": 8}
    model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1, **options)
    enable_lora(model, 2, targets="query")
    paths = [x.path for x in model.trainable_variables]
    assert len(paths) == 2 * 3 and all("lora_kernel" in x for x in paths)


@pytest.mark.once
def test_refuses_other_names_and_other_adapters(tmp_path):
    model = small_model()
    with pytest.raises(ValueError, match="which are .*query.*; received ..nothing"):
        enable_lora(model, 2, targets=["query", "nothing"])
    enable_lora(model, 2, targets="query")
    path = tmp_path / "adapter.safetensors"
    save_adapter(model, path)
    with pytest.raises(ValueError, match="already"):
        load_adapter(model, path)
    other = EncoderDecoder(200, 8, 32, num_heads=2, num_layers=1)
    with pytest.raises(ValueError, match=r"shape \(8, 2\), not \(16, 2\)"):
        load_adapter(other, path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="save_adapter wrote"):
        load_adapter(small_model(), path)


def harmed(arrays, layers, first):
    """Adapters that are none, by what an error says of each."""
    less = {name: x for name, x in arrays.items() if name != first}
    layer = first.rpartition("/")[0]
    nan = {**arrays, first: arrays[first] * np.nan}
    whole = {**arrays, first: arrays[first].astype("int32")}
    return {
        f"lacks {first}": (less, layers),
        f"{first} holds what is no number": (nan, layers),
        f"{first} holds what is no .umber": (whole, layers),
        "the rank and alpha of .* are 2.5, 2": (arrays, {**layers, layer: [2.5, 2]}),
        "the rank and alpha of .* are 2, 'a'": (arrays, {**layers, layer: [2, "a"]}),
        "not enough values": (arrays, {**layers, layer: [2]}),
        "has no attribute 'items'": (arrays, [layer]),
        "no layer nothing/query": (arrays, {**layers, "nothing/query": [2, 2]}),
    }


@pytest.mark.once
@pytest.mark.parametrize("number", range(8))
def test_a_harmed_adapter_changes_nothing(number, tmp_path):
    model, path = small_model(), tmp_path / "adapter.safetensors"
    weights = model.get_weights()
    enable_lora(model, 2, targets="query")
    save_adapter(model, path)
    arrays = load_file(path)
    with safe_open(path, "numpy") as file:
        layers = json.loads(file.metadata()["lora"])
    message, (arrays, layers) = [*harmed(arrays, layers, min(arrays)).items()][number]
    save_file(arrays, path, metadata={"lora": json.dumps(layers)})
    model = small_model()
    model.set_weights(weights)
    trainable = len(model.trainable_variables)
    with pytest.raises(ValueError, match=message):
        load_adapter(model, path)
    assert len(model.trainable_variables) == trainable
    for now, before in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, before)


@pytest.mark.once
def test_an_adapter_is_a_file_of_numbers(tmp_path):
    model, path = small_model(), tmp_path / "adapter.safetensors"
    enable_lora(model, 2, targets="query")
    save_adapter(model, path)
    before = path.read_bytes()
    learnt = model.trainable_variables[0]
    learnt.assign(np.full(learnt.shape, np.nan))
    with pytest.raises(ValueError, match="nan or infinity in .*lora_kernel_a"):
        save_adapter(model, path)
    assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError, match="but one at .*adapter.safetensors"):
        load_adapter(small_model(), tmp_path / "adaptor.safetensors")
    with pytest.raises(IsADirectoryError, match="read from a file"):
        load_adapter(small_model(), tmp_path)


@pytest.mark.slow
def test_adapters_of_a_quantized_model_are_merged_when_it_is_saved(tmp_path):
    model = small_model()
    model.quantize("int8")
    before = model.predict(IDS, verbose=0)
    enable_lora(model, 2)
    for variable in model.trainable_variables:
        if "lora" in variable.path:
            variable.assign(variable + 0.1)
    learnt = model.predict(IDS, verbose=0)
    with pytest.raises(ValueError, match="is quantized. Save and load it"):
        merge_lora(model)
    np.testing.assert_array_equal(model.predict(IDS, verbose=0), learnt)
    model.save(tmp_path / "model.keras")
    merged = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert not any("lora" in variable.path for variable in merged.variables)
    # Quantized anew, it is rounded anew.
    lost = np.abs(merged.predict(IDS, verbose=0) - learnt).mean()
    assert lost < 0.3 * np.abs(learnt - before).mean()


def test_what_learnt_before_learns_afterwards():
    model = small_model()
    model.decoder.embedding.trainable = False
    model.encoder.blocks[0].self_attention.query_dense.bias.trainable = False
    learnt = [x.trainable for x in model.variables]
    weights = model.get_weights()
    with adapted(model, 2, ("query", "value")):
        assert has_lora(model)
        assert len(model.trainable_variables) == 2 * 6
    assert not has_lora(model)
    assert [x.trainable for x in model.variables] == learnt
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
    with adapted(model, None, None):
        assert not has_lora(model)


@pytest.mark.once
def test_a_name_that_is_nearly_one_is_told():
    with pytest.raises(ValueError, match="Did you mean query, value?"):
        enable_lora(small_model(), 2, targets=["qery", "values"])


@pytest.mark.slow
def test_a_vector_that_is_kept_gets_no_product():
    options = {"padding_id": 1, "freeze_padding": True, "dropout": 0.0}
    model = EncoderDecoder(200, 16, 32, num_heads=2, num_layers=1, **options)
    table = model.source_embedding.table
    table.embeddings.assign(table.embeddings * (np.arange(200)[:, None] != 1))
    enable_lora(model, 2)
    model.compile(keras.optimizers.Adam(1e-2), TokenCrossEntropy(ignore_class=1))
    source, target = np.array([[5, 1, 1]]), np.array([[1, 7, 5]])
    model.fit((source, target), LABELS, epochs=2, verbose=0)
    merge_lora(model)
    rows = np.abs(np.array(model.get_weights()[0])).max(axis=1)
    assert rows[1] == 0 and rows[[5, 7]].min() > 0
