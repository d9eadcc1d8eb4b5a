"""Two replicas of a MirroredStrategy against one device, on the same batches."""

from pathlib import Path

import keras
import pytest

PROGRAM = """
import contextlib
import sys

import keras
import numpy as np
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)

from keras_encdec import ByteTokenizer, EncoderDecoder, TokenAccuracy, TokenBatches
from keras_encdec import TokenCrossEntropy
from keras_encdec.training import MeasuredAdam, ProjectedLoss, RDrop, WordDistillation

# Rows of uneven lengths; of a number that no number of devices divides.
words = [x * (1 + i % 5) for i, x in enumerate("abcdefghijklmnopqrstuvwxyzabc")]
tokenizer = ByteTokenizer()
batches = TokenBatches(words, words, tokenizer, tokenizer, 48, num_shapes=1)
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def built(seed=0):
    keras.utils.set_random_seed(seed)
    return EncoderDecoder(260, 16, 32, num_heads=2, num_layers=1, dropout=0.0)


teacher = built(1)
smoothed = TokenCrossEntropy(label_smoothing=0.1)
ALL = {"global_clipnorm": 0.1, "weight_decay": 0.1, "use_ema": True}
ACCUMULATED = {"gradient_accumulation_steps": 2}
WAYS = {
    "projected": (
        lambda model: ProjectedLoss(model, weights_are_shares=True),
        smoothed,
        {**ALL, **ACCUMULATED},
    ),
    "plain": (lambda model: model, smoothed, {"clipnorm": 0.1}),
    "sum": (lambda model: model, TokenCrossEntropy(reduction="sum"), ACCUMULATED),
    "r_drop": (RDrop, smoothed, ALL),
    "r_drop_shares": (
        lambda model: RDrop(model, weights_are_shares=True), smoothed, ACCUMULATED
    ),
    "teacher": (lambda model: WordDistillation(model, teacher), smoothed, {}),
}


class Losses(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.logs = []

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append({name: float(value) for name, value in logs.items()})


def trained(name, strategy):
    objective, loss, options = WAYS[name]
    shares = 2 if name in ("projected", "r_drop_shares") else 1
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = built()
        fitted = objective(model)
        metrics = [] if name == "projected" else [TokenAccuracy()]
        fitted.compile(MeasuredAdam(1e-2, **options), loss, metrics=metrics)
    losses = Losses()
    dataset = batches.dataset(accumulate=shares, replicas=2 if strategy else 1)
    fitted.fit(
        dataset, steps_per_epoch=10, epochs=2, callbacks=[losses], verbose=0
    )
    if name == "plain":
        dataset = batches.dataset(count=2, replicas=2)
        losses.logs.append(fitted.evaluate(dataset, verbose=0, return_dict=True))
        (batch,) = batches.dataset(count=1)
        losses.logs.append(fitted.test_on_batch(*batch, return_dict=True))
        losses.logs.append(fitted.train_on_batch(*batch, return_dict=True))
    norm = keras.ops.convert_to_numpy(fitted.optimizer.gradient_norm)
    losses.logs.append({"norm": float(norm)})
    # A key's bias changes no attention: what moves it is rounding.
    return losses.logs, [
        keras.ops.convert_to_numpy(x)
        for x in model.weights
        if not x.path.endswith("key/bias")
    ]


for name in sys.argv[1:]:
    (logs, weights), (other_logs, other_weights) = (
        trained(name, strategy) for strategy in (None, mirrored)
    )
    for one, other in zip(logs, other_logs, strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            np.testing.assert_allclose(other[key], value, 1e-5, 1e-5, err_msg=key)
    for one, other in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(other, one, 1e-5, 1e-5, err_msg=name)
    assert logs[-2]["loss"] < logs[0]["loss"], name
    print(name, "is that of one device")
"""

TRAINED = """
import sys

import keras
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)

import numpy as np
from keras_encdec import ByteTokenizer, TextToText, build, train
from keras_encdec.backend import all_layers
from keras_encdec.distribution import use_all_devices
from keras_encdec.interrupts import Terminated

words = [x * (1 + i % 5) for i, x in enumerate("abcdefghijklmnopqrstuvwxyzabc")]
sizes = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 1}
tokenizer = ByteTokenizer()


class Stopped(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if self.model.optimizer.iterations.numpy() == 6:
            raise Terminated


def trained(folder, callbacks=(), dropout=0.3):
    keras.utils.set_random_seed(0)
    text_to_text = build(tokenizer, tokenizer, max_length=8, dropout=dropout, **sizes)
    options = {"batch_tokens": 48, "num_shapes": 1, "verbose": 0, "epochs": 2}
    options |= {"lora": 2} if dropout == 0.0 else {}
    logs = train(
        *(text_to_text, words, words),
        validation=(words[:3], words[:3]),
        folder=f"{sys.argv[1]}/{folder}",
        callbacks=callbacks,
        checkpoint_minutes=1e-9,
        **options,
    )
    return text_to_text, logs


def weights(text_to_text):
    return [keras.ops.convert_to_numpy(x) for x in text_to_text.model.weights]


one, logs = trained("one", dropout=0.0)
use_all_devices()
use_all_devices()
several, other_logs = trained("several", dropout=0.0)
for left, right in zip(logs, other_logs, strict=True):
    for name, value in left.items():
        np.testing.assert_allclose(right[name], value, 1e-4, 1e-5, err_msg=name)
whole, logs = trained("whole")
values = several.model.weights[0].value.values
assert [x.device[-5:] for x in values] == ["CPU:0", "CPU:1"]
np.testing.assert_array_equal(*values)
(dropout, *_) = [
    x for x in all_layers(whole.model) if type(x).__name__ == "Dropout"
]
first, second = (x.numpy() for x in dropout.seed_generator.state.value.values)
assert (second - first).tolist() == [1, 0], "each draws numbers of its own"
try:
    trained("again", [Stopped()])
except Terminated as error:
    assert "batch" in str(error), error
else:
    raise AssertionError("not terminated")
again, other_logs = trained("again")
for left, right in zip(weights(whole), weights(again), strict=True):
    np.testing.assert_array_equal(left, right)
for left, right in zip(logs, other_logs, strict=True):
    for name, value in left.items():
        np.testing.assert_allclose(right[name], value, 1e-6, err_msg=name)
loaded = TextToText.load(f"{sys.argv[1]}/again/best")
assert loaded(words[:3], max_length=4) == again(words[:3], max_length=4)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.config.backend() != "tensorflow", reason="a strategy of TensorFlow"
    ),
]


def test_replicas_have_the_losses_of_one_device_by_every_objective(load_test_module):
    run = load_test_module("two_processes.py").run_alone
    names = ["projected", "plain", "sum", "r_drop", "r_drop_shares", "teacher"]
    assert run(PROGRAM, *names).count("is that of one device") == len(names)


def test_a_training_of_all_devices_goes_on_to_the_bit(load_test_module, tmp_path):
    load_test_module("two_processes.py").run_alone(TRAINED, tmp_path)
    folders = sorted(x.name for x in Path(tmp_path).iterdir())
    assert folders == ["again", "one", "several", "whole"]
