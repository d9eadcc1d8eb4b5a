"""Steps of Keras in two processes against the same ones in one, of all their rows."""

import keras
import pytest

pytest.importorskip("torch")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.config.backend() != "torch", reason="the processes are PyTorch's"
    ),
]

# Rows of uneven numbers of tokens: the first process has nearly all of them.
PROGRAM = """
import sys

import keras
import numpy as np
import torch

from keras_encdec import EncoderDecoder, TokenAccuracy, TokenCrossEntropy
from keras_encdec.distribution import use_all_devices
from keras_encdec.training import Perplexity, ProjectedLoss
from keras_encdec.backend.torch import steps

store, rank = sys.argv[1], int(sys.argv[2])
steps.STEPS_BEFORE_RECORD = 2
random = np.random.default_rng(0)
labels = random.integers(3, 20, (12, 4, 6))
labels[:, 1::2, 2:] = 0
labels[:, 3, :] = 0
target = np.pad(labels, ((0, 0), (0, 0), (1, 0)), constant_values=1)[:, :, :-1]
target[labels == 0] = 0
source = random.integers(3, 20, (12, 4, 5))
weights = random.uniform(0.5, 2, labels.shape).astype("float32")


def adam(**options):
    return keras.optimizers.Adam(1e-2, **options)


def scaled():
    inner = adam(global_clipnorm=0.1)
    return keras.optimizers.LossScaleOptimizer(inner, dynamic_growth_steps=3)


WAYS = {
    "mean": (lambda model: model, lambda: adam(clipnorm=0.1), "default"),
    "sum": (lambda model: model, lambda: adam(gradient_accumulation_steps=3), "sum"),
    "scaled": (lambda model: model, scaled, "default"),
    "recorded": (ProjectedLoss, lambda: adam(use_ema=True), "default"),
    "shares": (
        lambda model: ProjectedLoss(model, weights_are_shares=True),
        lambda: adam(gradient_accumulation_steps=3),
        "default",
    ),
}


def trained(name, rows):
    wrap, optimizer, reduction = WAYS[name]
    keras.utils.set_random_seed(0 if rows.start is None else rank)
    regularizer = None if name == "sum" else keras.regularizers.L2(1e-2)
    model = EncoderDecoder(20, 16, 32, 2, 1, dropout=0.0)
    model.trainable_variables[1].regularizer = regularizer
    learner = wrap(model)
    options = {} if reduction == "default" else {"reduction": reduction}
    plain = learner is model
    learner.compile(
        optimizer(),
        TokenCrossEntropy(label_smoothing=0.1, **options),
        weighted_metrics=[TokenAccuracy(), Perplexity()] if plain else None,
    )

    def batches():
        for i in range(len(labels)):
            yield (source[i][rows], target[i][rows]), labels[i][rows], weights[i][rows]

    history = learner.fit(batches(), epochs=1, steps_per_epoch=12, verbose=0).history
    held_out = learner.evaluate(batches(), steps=12, verbose=0, return_dict=True)
    recorded = getattr(getattr(learner, "_train_step", None), "_records", None)
    # A key's bias changes no attention: what moves it is rounding.
    values = [
        keras.ops.convert_to_numpy(x)
        for x in model.weights
        if not x.path.endswith("key/bias")
    ]
    found = [{k: v[0] for k, v in history.items()}, held_out, values]
    return *found, None if plain else len(recorded)


one = {name: trained(name, slice(None)) for name in WAYS}
torch.distributed.init_process_group(
    "gloo", init_method=f"file://{store}", rank=rank, world_size=2
)
use_all_devices()
for name, (history, held_out, values, recorded) in one.items():
    found = trained(name, slice(rank, None, 2))
    for expected, logs in zip((history, held_out), found, strict=False):
        assert expected.keys() == logs.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(logs[key], value, 1e-5, 1e-5, err_msg=key)
    for expected, value in zip(values, found[2], strict=True):
        np.testing.assert_allclose(value, expected, 1e-5, 1e-5, err_msg=name)
    assert found[3] == recorded != 0
torch.distributed.destroy_process_group()
"""


def test_two_processes_take_the_steps_of_one(load_test_module, tmp_path):
    load_test_module("two_processes.py").check_both(PROGRAM, tmp_path / "store")
