"""The whole road at a small size: what is trained generates what it was taught."""

import keras
import numpy as np
import pytest

from keras_encdec import (
    EncoderDecoder,
    Generator,
    TextToText,
    TokenAccuracy,
    TokenCrossEntropy,
    WordTokenizer,
    teacher_forcing,
    text_dataset,
)

END = 2
FIRST_DIGIT = 4  # Of ids: as a tokenizer's, after the four special ones.
LENGTH = 6


def random_digits(rows, seed):
    """Rows of 1 to 6 digits as ids, and the same reversed, each with its end."""
    random = np.random.default_rng(seed)
    source = np.zeros((rows, LENGTH + 1), "int32")
    reversed_ = np.zeros_like(source)
    for row in range(rows):
        digits = random.integers(FIRST_DIGIT, FIRST_DIGIT + 10, random.integers(1, 7))
        source[row, : len(digits) + 1] = [*digits, END]
        reversed_[row, : len(digits) + 1] = [*digits[::-1], END]
    return source, reversed_


def compiled_model(learning_rate=3e-3):
    model = EncoderDecoder(
        FIRST_DIGIT + 10, 64, 128, num_heads=4, num_layers=1, dropout=0.0
    )
    model.compile(
        keras.optimizers.Adam(learning_rate),
        TokenCrossEntropy(),
        metrics=[TokenAccuracy()],
    )
    return model


@pytest.mark.slow
def test_learns_to_reverse_digits():
    source, labels = random_digits(12_800, seed=0)
    inputs, labels, weights = teacher_forcing(source, labels)
    schedule = keras.optimizers.schedules.CosineDecay(
        1e-4, 470, warmup_target=5e-3, warmup_steps=30
    )
    model = compiled_model(schedule)
    model.fit(
        inputs, labels, sample_weight=weights, batch_size=128, epochs=5, verbose=0
    )
    seen = {tuple(row) for row in source}
    source, labels = random_digits(2_000, seed=1)
    unseen = np.array([tuple(row) not in seen for row in source])
    assert unseen.sum() > 500
    ids = Generator(model)(source[unseen], max_length=LENGTH + 1)
    exact = np.all(ids == labels[unseen], axis=1).mean()
    assert exact >= 0.99


@pytest.mark.slow
def test_strings_train_as_arrays_do():
    source, labels = random_digits(256, seed=2)
    tokenizer = WordTokenizer([str(digit) for digit in range(10)])

    def texts(ids):
        return [text.decode() for text in tokenizer.decode(ids).numpy()]

    dataset = text_dataset(
        texts(source), texts(labels), tokenizer, tokenizer, batch_size=256
    )
    inputs, labels, weights = teacher_forcing(source, labels)
    model = compiled_model()
    of_strings = model.evaluate(dataset, verbose=0)
    of_arrays = model.evaluate(
        inputs, labels, sample_weight=weights, batch_size=256, verbose=0
    )
    np.testing.assert_allclose(of_strings, of_arrays, rtol=1e-5)

    model.fit(dataset, epochs=1, verbose=0)
    expected = texts(Generator(model)(source, max_length=8))
    text_to_text = TextToText(tokenizer, tokenizer, model, max_length=8)
    assert text_to_text(texts(source)) == expected
