"""What replicas cannot share is refused."""

import keras
import pytest

from keras_encdec.keras_model.shares import check_shares
from keras_encdec.model import EncoderDecoder
from keras_encdec.training import TokenCrossEntropy

pytestmark = pytest.mark.once


def compiled(loss=None, regularizer=None, activity=None, **options):
    model = EncoderDecoder(20, 16, 32, 2, 1)
    model.trainable_variables[0].regularizer = regularizer
    model.encoder.layers[-1].activity_regularizer = activity
    model.compile("sgd", loss or TokenCrossEntropy(), jit_compile=False, **options)
    return model


def test_means_and_sums_over_tokens_are_shared():
    l2 = keras.regularizers.L2(0.1)
    check_shares(compiled(regularizer=l2))
    check_shares(compiled(TokenCrossEntropy(reduction="sum")))
    for loss in (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        TokenCrossEntropy(reduction="mean"),
    ):
        with pytest.raises(ValueError, match="a mean or a sum over tokens"):
            check_shares(compiled(loss))
    with pytest.raises(ValueError, match="add the regularizers of weights to its sum"):
        check_shares(compiled(TokenCrossEntropy(reduction="sum"), l2))
    with pytest.raises(ValueError, match="has an activity_regularizer"):
        check_shares(compiled(activity=l2))
    model = compiled()
    model.jit_compile = True
    with pytest.raises(ValueError, match="received jit_compile=True"):
        check_shares(model)
