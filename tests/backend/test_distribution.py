"""Trainings that would be split among devices with a wrong result do not begin."""

import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).resolve().parents[2]

TENSORFLOW = """
import numpy as np
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)

from keras_encdec import EncoderDecoder, TokenCrossEntropy
from keras_encdec.training import ProjectedLoss

SOURCE, LABELS = np.array([[5, 7, 2], [9, 2, 0]]), np.array([[7, 5, 2], [9, 2, 0]])
TARGET = np.array([[1, 7, 5], [1, 9, 0]])


def made():
    return EncoderDecoder(20, 16, 32, 2, 1)


def compiled(model, **options):
    model.compile("sgd", TokenCrossEntropy(), **options)
    return model


def refused(trained, *verbs):
    before = trained.get_weights()
    for verb in verbs:
        try:
            getattr(trained, verb)((SOURCE, TARGET), LABELS)
        except (RuntimeError, ValueError) as error:
            print(error)
        else:
            raise AssertionError("not refused")
    for one, other in zip(before, trained.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


CPUS = ["CPU:0", "CPU:1"]
with tf.distribute.experimental.CentralStorageStrategy(CPUS).scope():
    central = compiled(made())
refused(central, "fit", "train_on_batch")
mirrored = tf.distribute.MirroredStrategy(CPUS)
with mirrored.scope():
    model = compiled(made())
    refused(model, "fit", "evaluate", "train_on_batch", "test_on_batch")
refused(compiled(ProjectedLoss(model)), "fit", "train_on_batch")
with mirrored.scope():
    refused(compiled(model, steps_per_execution=2), "fit")
    refused(compiled(model, jit_compile=True), "fit")


class Own(EncoderDecoder):
    def train_step(self, data):
        return {}


with mirrored.scope():
    own = compiled(Own(20, 16, 32, 2, 1))
refused(own, "fit")
with tf.distribute.OneDeviceStrategy("CPU:0").scope():
    model = compiled(made())
model.fit((SOURCE, TARGET), LABELS, verbose=0)
"""


def run(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="a strategy of TensorFlow"
)
def test_what_replicas_would_train_otherwise_is_refused_under_tensorflow():
    child = run(TENSORFLOW)
    output, _ = child.communicate()
    assert child.returncode == 0, output
    for message, number in {
        "received CentralStorageStrategy with 2 replicas. Build and train it": 2,
        "received a call of `fit` or `evaluate` within it": 4,
        "received a ProjectedLoss and a EncoderDecoder of which one": 2,
        "received steps_per_execution=2. Leave it out": 1,
        "received jit_compile=True. Leave it out": 1,
        "train_step is another, Own. Call": 1,
    }.items():
        assert output.count(message) == number, message
