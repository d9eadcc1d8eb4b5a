"""What a training minimizes."""

import pytest

from keras_encdec.model import EncoderDecoder
from keras_encdec.run.objective import build_metrics, check_can_learn, compiled
from keras_encdec.text import ByteTokenizer, TokenBatches
from keras_encdec.training import MeasuredAdam, ProjectedLoss, RDrop, TrainingOptions

pytestmark = pytest.mark.once


def test_metrics_have_variables_before_the_first_batch():
    tokenizer = ByteTokenizer()
    model = EncoderDecoder(260, 8, 8, num_heads=1, num_layers=1)
    batches = TokenBatches(["one"], ["eno"], tokenizer, tokenizer, 16)
    trained = compiled(model, None, TrainingOptions(r_drop=1.0), 1, 10)
    assert isinstance(trained, RDrop) and isinstance(trained.optimizer, MeasuredAdam)
    before = len(trained.metrics_variables)
    build_metrics(trained, batches, 260)
    assert len(trained.metrics_variables) > before
    trained = compiled(model, None, TrainingOptions(), 1, 10)
    assert isinstance(trained, ProjectedLoss)
    before = len(trained.metrics_variables)
    build_metrics(trained, batches, 260)
    assert len(trained.metrics_variables) == before > 0


def test_there_is_an_update():
    model = EncoderDecoder(260, 8, 8, num_heads=1, num_layers=1)
    options = TrainingOptions(accumulate=11, epochs=2)
    with pytest.raises(ValueError, match="accumulate=11, and all epochs together have"):
        compiled(model, None, options, 5, 10)


def test_weights_that_are_whole_numbers_do_not_learn():
    model = EncoderDecoder(260, 8, 8, num_heads=1, num_layers=1)
    check_can_learn(model, None, None)
    model.quantize("int8", filters="table")
    for refused in (1, 2):
        with pytest.raises(ValueError, match=f"received {refused} that are int8, such"):
            check_can_learn(model, None, None)
        check_can_learn(model, None, 4)
        if refused == 1:
            model.decoder_blocks[0].feed_forward.output_dense.quantize("int8")
    for side in (model.encoder, model.decoder):
        side.trainable = False
    check_can_learn(model, None, None)
    model.decoder.trainable = True
    with pytest.raises(ValueError, match="that are int8, such"):
        check_can_learn(model, None, None)
    model.decoder_blocks[0].feed_forward.output_dense.enable_lora(2)
    check_can_learn(model, None, None)
