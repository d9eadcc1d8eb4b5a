import copy

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec import (
    BeamSampler,
    EncoderDecoder,
    Ensemble,
    Generator,
    TokenCrossEntropy,
)
from keras_encdec.training import WordDistillation

SOURCE = np.array([[5, 7, 9, 2], [6, 3, 2, 0]], "int32")
TARGET = np.array([[1, 8, 4], [1, 6, 0]], "int32")


def made(width=16, seed=0, **options):
    keras.utils.set_random_seed(seed)
    return EncoderDecoder(12, width, 32, num_heads=2, num_layers=2, **options)


def probabilities(model):
    return np.asarray(
        ops.convert_to_numpy(ops.softmax(model((SOURCE, TARGET)), axis=-1)), "float64"
    )


@pytest.mark.slow
def test_is_the_mean_of_the_probabilities_or_the_geometric_mean():
    models, weights = [made(), made(32, seed=1)], np.array([3, 1])
    shares = (weights / weights.sum())[:, None, None, None]
    each = np.stack([probabilities(model) for model in models])
    found = probabilities(Ensemble(models, weights))
    np.testing.assert_allclose(found, (shares * each).sum(0), atol=1e-6)
    expected = np.exp((shares * np.log(each)).sum(0))
    expected /= expected.sum(-1, keepdims=True)
    found = probabilities(Ensemble(models, weights, mean="log_probability"))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mean", ["probability", "log_probability"])
@pytest.mark.parametrize("number", [1, 2])
def test_of_one_model_or_of_two_equal_ones_is_the_model(number, mean):
    model = made()
    ensemble = Ensemble([model, copy.deepcopy(model)][:number], mean=mean)
    np.testing.assert_allclose(probabilities(ensemble), probabilities(model), atol=1e-6)
    for sampler in ("greedy", BeamSampler(3)):
        expected, found = (
            Generator(x, sampler)(SOURCE, 8, return_scores=True)
            for x in (model, ensemble)
        )
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


@pytest.mark.slow
def test_decodes_step_by_step_what_it_predicts_at_once():
    ensemble = Ensemble([made(), made(32, seed=1)])
    logits = ops.convert_to_numpy(ensemble((SOURCE, TARGET)))
    memory = ensemble.encode(ops.convert_to_tensor(SOURCE))
    cache = ensemble.new_cache(2, 3)
    for index in range(3):
        tokens = ops.convert_to_tensor(TARGET[:, index])
        found, cache = ensemble.step(tokens, index, memory, cache)
        there = TARGET[:, index] != 0
        np.testing.assert_allclose(
            ops.convert_to_numpy(found)[there], logits[there, index], atol=1e-5
        )


@pytest.mark.slow
def test_scores_and_aligns_by_all_heads():
    models = [made(), made(32, seed=1)]
    generator = Generator(Ensemble(models))
    sums, tokens = generator.score(SOURCE, TARGET[:, 1:])
    assert tokens.shape == (2, 2) and np.all(sums < 0)
    weights = [Generator(model).align(SOURCE, TARGET[:, 1:]) for model in models]
    found = generator.align(SOURCE, TARGET[:, 1:])
    np.testing.assert_allclose(found, np.mean(weights, axis=0), atol=1e-5)
    contrastive = Generator(Ensemble(models), "contrastive")
    assert contrastive(SOURCE, 4).shape == (2, 4)


@pytest.mark.slow
def test_is_saved_whole_with_equal_names_frozen_parts_and_int8(tmp_path):
    first, second = made(), made(32, seed=1)
    second.encoder_blocks[0].trainable = False
    first.quantize("int8", filters="feed_forward")
    ensemble = Ensemble([first, second], [2, 1])
    ensemble.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        probabilities(loaded), probabilities(ensemble), atol=1e-6
    )
    assert loaded.models[0].encoder_blocks[0].trainable
    assert not loaded.models[1].encoder_blocks[0].trainable
    assert loaded.get_config() == ensemble.get_config()


@pytest.mark.slow
def test_gives_what_its_models_are_now():
    models, target = [made(), made(32, seed=1)], TARGET[:, 1:]
    generator = Generator(Ensemble(models))
    before, _ = generator.score(SOURCE, target)
    models[0].set_weights(made(seed=5).get_weights())
    models[1].set_weights(made(32, seed=6).get_weights())
    others = Ensemble([made(seed=5), made(32, seed=6)])
    expected, _ = Generator(others).score(SOURCE, target)
    found, _ = generator.score(SOURCE, target)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.all(np.abs(found - before) > 1e-3)
    np.testing.assert_array_equal(generator(SOURCE, 6), Generator(others)(SOURCE, 6))


@pytest.mark.slow
def test_teaches_another_model_and_is_trained_by_fit():
    teacher, student = Ensemble([made(), made(32, seed=1)]), made(seed=2)
    before = [x.copy() for x in teacher.get_weights()]
    trained = WordDistillation(student, teacher, weight=1.0)
    trained.compile(keras.optimizers.Adam(0.01), TokenCrossEntropy())
    labels = np.array([[8, 4, 2], [6, 2, 0]])
    history = trained.fit((SOURCE, TARGET), labels, epochs=8, verbose=0).history
    assert history["word_distillation"][-1] < history["word_distillation"][0]
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    teacher.compile(keras.optimizers.Adam(0.01), TokenCrossEntropy())
    losses = teacher.fit((SOURCE, TARGET), labels, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_refuses_models_and_weights_that_do_not_fit():
    with pytest.raises(ValueError, match="at least one model"):
        Ensemble([])
    with pytest.raises(TypeError, match="EncoderDecoders"):
        Ensemble([made(), keras.layers.Dense(2)])
    other = EncoderDecoder(13, 16, 32, num_heads=2, num_layers=1)
    with pytest.raises(ValueError, match="source_vocabulary_size of 12, 13"):
        Ensemble([made(), other])
    with pytest.raises(ValueError, match="padding_id of 0, 3"):
        Ensemble([made(), made(padding_id=3)])
    for weights in ([1], [1, 0], [1, float("nan")], [[1, 1]]):
        with pytest.raises(ValueError, match="a positive weight for each"):
            Ensemble([made(), made()], weights)
    with pytest.raises(ValueError, match="mean"):
        Ensemble([made()], mean="median")
    with pytest.raises(ValueError, match="must be from 0 to 11"):
        Ensemble([made()])((SOURCE + 7, TARGET))


def test_of_models_of_few_positions():
    learned = {"positions": "learned", "max_length": 4}
    models = [made(**learned), made(32, seed=1)]
    ensemble = Ensemble(models)
    assert ensemble.output.shape == (None, None, 12)
    assert ensemble.output.dtype == "float32"
    expected = np.mean([probabilities(model) for model in models], axis=0)
    np.testing.assert_allclose(probabilities(ensemble), expected, atol=1e-6)


def test_what_it_teaches_is_the_mean_of_what_its_models_predict():
    members, student = [made(), made(32, seed=1)], made(seed=2, dropout=0.0)
    predicted = [probabilities(model) for model in (*members, student)]
    taught = 0.25 * predicted[0] + 0.75 * predicted[1]
    divergence = (taught * (np.log(taught) - np.log(predicted[2]))).sum(-1)
    labels = np.array([[8, 4, 2], [6, 2, 0]])
    trained = WordDistillation(student, Ensemble(members, [1, 3]), weight=1.0)
    trained.compile(keras.optimizers.SGD(0.0), TokenCrossEntropy(), jit_compile=False)
    found = trained.train_on_batch((SOURCE, TARGET), labels, return_dict=True)
    expected = divergence[labels != 0].mean()
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-4)
