"""Losses and metrics that a model of ids refuses, and those that it takes."""

import keras
import pytest

from keras_encdec import EncoderDecoder, TokenAccuracy, TokenCrossEntropy
from keras_encdec.training import Perplexity, RDrop


def build(**options):
    return EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1, **options)


@pytest.mark.once
@pytest.mark.parametrize(
    "loss, metrics, match",
    [
        ("sparse_categorical_crossentropy", [], "logits, not probabilities; .*loss='s"),
        ("crossentropy", [], "logits, not probabilities; received loss='crossentropy"),
        ("ce", [], "logits, not probabilities; received loss='ce'"),
        (keras.losses.SparseCategoricalCrossentropy(), [], "from_logits=True"),
        (keras.losses.sparse_categorical_crossentropy, [], "from_logits=True"),
        (TokenCrossEntropy(), ["sparse_categorical_crossentropy"], "metrics='sparse_"),
        (TokenCrossEntropy(ignore_class=3), [], "loss with ignore_class=3 .*id=0"),
        (
            keras.losses.SparseCategoricalCrossentropy(True, ignore_class=3),
            [],
            "loss with ignore_class=3 .*padding_id=0",
        ),
        (TokenCrossEntropy(), [TokenAccuracy(ignore_class=3)], "metrics with ignore"),
        (TokenCrossEntropy(), [Perplexity(ignore_class=3)], "metrics with ignore_cl"),
    ],
)
def test_refuses_to_compile_what_cannot_be_meant(loss, metrics, match):
    for name in ("metrics", "weighted_metrics"):
        with pytest.raises(ValueError, match=match):
            build().compile("sgd", loss, **{name: metrics})
        with pytest.raises(ValueError, match=match):
            RDrop(build()).compile("sgd", loss, **{name: metrics})


@pytest.mark.once
def test_compiles_what_keras_takes():
    logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for loss in (logits, "mse", None, TokenCrossEntropy(ignore_class=-100)):
        build().compile("sgd", loss, None, ["accuracy", TokenAccuracy()])
    build(padding_id=3).compile("sgd", TokenCrossEntropy(ignore_class=3))
    build().compile("sgd", TokenCrossEntropy(ignore_class=None))
