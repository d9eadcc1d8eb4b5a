"""Trainings that would be split among devices with a wrong result do not begin."""

import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).resolve().parents[2]

MODEL = """
import numpy as np
from keras_encdec import EncoderDecoder, TokenCrossEntropy
from keras_encdec.training import ProjectedLoss

SOURCE, LABELS = np.array([[5, 7, 2], [9, 2, 0]]), np.array([[7, 5, 2], [9, 2, 0]])
TARGET = np.array([[1, 7, 5], [1, 9, 0]])

def refused(make):
    for verb in ("fit", "train_on_batch"):
        trained = make(EncoderDecoder(20, 16, 32, 2, 1))
        trained.compile("sgd", TokenCrossEntropy())
        before = trained.get_weights()
        try:
            getattr(trained, verb)((SOURCE, TARGET), LABELS)
        except RuntimeError as error:
            print(error)
        else:
            raise AssertionError("not refused")
        for one, other in zip(before, trained.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
"""

TENSORFLOW = (
    """
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
"""
    + MODEL
    + """
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    refused(lambda model: model)
    refused(ProjectedLoss)
with strategy.scope():
    model = EncoderDecoder(20, 16, 32, 2, 1)
refused(lambda _: ProjectedLoss(model))
with tf.distribute.OneDeviceStrategy("CPU:0").scope():
    model = EncoderDecoder(20, 16, 32, 2, 1)
    model.compile("sgd", TokenCrossEntropy())
    model.fit((SOURCE, TARGET), LABELS, verbose=0)
"""
)


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
def test_several_replicas_are_refused_under_tensorflow():
    child = run(TENSORFLOW)
    output, _ = child.communicate()
    assert child.returncode == 0, output
    assert output.count("MirroredStrategy with 2 replicas. Build and train it") == 6
