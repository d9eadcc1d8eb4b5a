"""LoRA on a whole model."""

import keras
import numpy as np
import pytest

from keras_encdec import (
    EncoderDecoder,
    TokenCrossEntropy,
    enable_lora,
    load_adapter,
    merge_lora,
    save_adapter,
)

IDS = np.array([[5, 7, 2]]), np.array([[1, 7, 5]])
LABELS = np.array([[7, 5, 2]])


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


@pytest.mark.once
def test_refuses_other_names_and_other_adapters(tmp_path):
    model = small_model()
    with pytest.raises(ValueError, match="such as .*query.*; received ..nothing"):
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
