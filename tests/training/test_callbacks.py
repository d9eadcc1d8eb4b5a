"""Judging a model while it trains."""

import keras
import numpy as np
import pytest

from keras_encdec.generation import Generator
from keras_encdec.model import EncoderDecoder
from keras_encdec.training import (
    GenerationScores,
    HeldOutLoss,
    TokenAccuracy,
    TokenCrossEntropy,
    averaged_weights,
)

IDS = np.arange(4, 20).reshape(4, 4)
DATA = (IDS, IDS[:, ::-1]), IDS


def compiled(**options):
    keras.utils.set_random_seed(0)
    model = EncoderDecoder(20, 16, 32, 2, 1, dropout=0.3)
    optimizer = keras.optimizers.Adam(1e-2, **options)
    metrics = [TokenAccuracy()]
    model.compile(optimizer, TokenCrossEntropy(), metrics=metrics, jit_compile=False)
    return model


def fit(model, *callbacks, epochs=2):
    options = {"epochs": epochs, "batch_size": 2, "shuffle": False, "verbose": 0}
    return model.fit(*DATA, callbacks=list(callbacks), **options).history


class Generated(GenerationScores):
    """Scores the sum of the ids that a model generates."""

    def __init__(self, model, examples=0):
        generator = Generator(model)
        super().__init__(
            lambda sources: generator(np.array(sources), 5).tolist(),
            IDS.tolist(),
            ["a", "b", "c", "d"],
            lambda ids, references: {"sum": np.sum(ids), "rows": len(references)},
            examples=examples,
        )


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"use_ema": True, "ema_momentum": 0.5}])
def test_judging_leaves_no_trace_in_training(options):
    plain, judged = compiled(**options), compiled(**options)
    # Each with the state of random numbers of a new process.
    keras.utils.set_random_seed(1)
    expected = fit(plain, epochs=3)
    keras.utils.set_random_seed(1)
    judges = HeldOutLoss(judged_dataset()), Generated(judged)
    found = fit(judged, *judges, epochs=3)
    assert found["loss"] == expected["loss"]
    assert {"val_loss", "val_token_accuracy", "val_sum", "val_rows"} < set(found)
    assert found["val_rows"] == [4.0] * 3
    for one, other in zip(plain.get_weights(), judged.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def judged_dataset():
    import tensorflow as tf

    return tf.data.Dataset.from_tensors(DATA)


@pytest.mark.slow
def test_logs_are_of_the_averaged_weights_if_there_are_any():
    model = compiled(use_ema=True, ema_momentum=0.9)
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            with averaged_weights(model):
                seen.append(model.evaluate(*DATA, verbose=0)[0])
            seen.append(model.evaluate(*DATA, verbose=0)[0])

    logs = fit(model, HeldOutLoss(judged_dataset()), Look(), epochs=1)
    np.testing.assert_allclose(logs["val_loss"][0], seen[0], rtol=1e-6)
    assert abs(seen[0] - seen[1]) > 1e-4


@pytest.mark.slow
def test_callbacks_after_it_see_the_scores():
    scores = GenerationScores(
        lambda sources: ["x"],
        ["a"],
        ["b"],
        lambda texts, references: {"bleu": next(values)},
    )
    values = iter([1.0, 3.0, 2.0, 2.5, 0.0])
    stop = keras.callbacks.EarlyStopping("val_bleu", patience=2, mode="max")
    assert fit(compiled(), scores, stop, epochs=5)["val_bleu"] == [1.0, 3.0, 2.0, 2.5]


@pytest.mark.slow
def test_scores_are_of_the_model_while_its_lora_trains():
    keras.utils.set_random_seed(0)
    model = EncoderDecoder(20, 16, 32, 2, 1)
    generator = Generator(model)
    sources = IDS.tolist()
    before = generator(np.array(sources), 5)
    for layer in model._flatten_layers():
        if isinstance(layer, (keras.layers.Dense, keras.layers.EinsumDense)):
            layer.enable_lora(2)
    model.compile(keras.optimizers.Adam(0.3), TokenCrossEntropy(), jit_compile=False)
    anew = []

    class Anew(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            anew.append(np.sum(Generator(model)(np.array(sources), 5)))

    scores = GenerationScores(
        lambda sources: generator(np.array(sources), 5).tolist(),
        sources,
        ["a", "b", "c", "d"],
        lambda ids, references: {"sum": np.sum(ids)},
        examples=0,
    )
    found = fit(model, scores, Anew(), epochs=3)["val_sum"]
    assert found == anew
    assert {*found} != {np.sum(before)}


@pytest.mark.once
def test_shows_the_same_examples_each_time(capsys):
    scores = GenerationScores(
        lambda sources: [source.upper() for source in sources],
        ["a", "b", "c"],
        ["d", "e", "f"],
        lambda texts, references: {"bleu": 0.5},
        examples=2,
    )
    for _ in range(2):
        assert scores.measure(None) == {"val_bleu": 0.5}
        printed = capsys.readouterr().out
        assert "source     b\n  reference  e\n  generated  B\n" in printed
        assert printed.count("source") == 2


@pytest.mark.once
def test_refuses_texts_that_are_no_pairs():
    for sources, references in ((["a"], []), ([], [])):
        with pytest.raises(ValueError, match="a reference for each source"):
            GenerationScores(list, sources, references, dict)
