"""LoRA on a whole model."""

import keras
import numpy as np
import pytest

from keras_encdec import EncoderDecoder, TokenCrossEntropy, enable_lora

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
