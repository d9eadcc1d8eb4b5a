"""What an optimizer accumulates, and when it is built."""

import keras
import numpy as np
import pytest

from keras_encdec import EncoderDecoder, TokenCrossEntropy
from keras_encdec.training import ProjectedLoss

SOURCE = np.array([[5, 7, 2], [9, 2, 0]])
LABELS = np.array([[7, 5, 2], [9, 2, 0]])
TARGET = np.array([[1, 7, 5], [1, 9, 0]])


def build(**options):
    return EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1, **options)


@pytest.mark.once
@pytest.mark.parametrize("make", [lambda model: model, ProjectedLoss])
def test_a_step_is_traced_once(make):
    """Twice, TensorFlow would take twice as long to begin."""
    trained, steps = make(build(dropout=0.0)), []
    step = trained.train_step
    trained.train_step = lambda data: steps.append(1) or step(data)
    trained.compile("adam", TokenCrossEntropy())
    for _ in range(2):
        trained.fit((SOURCE, TARGET), LABELS, verbose=0)
    assert len(steps) == 1


@pytest.mark.slow
def test_a_model_saved_with_what_is_refused_is_loaded(tmp_path):
    model = build()
    adam = keras.optimizers.Adam(gradient_accumulation_steps=4)
    model.compile(adam, TokenCrossEntropy())
    adam.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    data = (SOURCE, TARGET), LABELS
    loaded.evaluate(*data, verbose=0)
    for verb in (loaded.fit, loaded.train_on_batch):
        with pytest.raises(ValueError, match=r'"sum".*dataset\(accumulate=4\)'):
            verb(*data)


@pytest.mark.slow
def test_accumulates_sums_over_tokens_exactly():
    changed = []
    labels = np.array([[7, 5, 2], [6, 2, 0]])
    for steps in (None, 2):
        keras.utils.set_random_seed(0)
        model = build(dropout=0.0)
        rate = 0.02 if steps else 0.01  # Keras takes the mean of two sums.
        model.compile(
            keras.optimizers.SGD(rate, gradient_accumulation_steps=steps),
            TokenCrossEntropy(reduction="sum"),
            jit_compile=False,
        )
        for rows in [[0], [1]] if steps else [[0, 1]]:
            model.train_on_batch((SOURCE[rows], TARGET[rows]), labels[rows])
        changed.append(model.get_weights())
    for one, other in zip(*changed, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
