"""The options of a training and their bounds."""

import dataclasses
import json
import re

import numpy as np
import pytest

from keras_encdec.training_options import (
    MONITORS,
    SCHEDULES,
    Names,
    Numbers,
    SomeNames,
    TrainingOptions,
    bounds_of,
    plain_options,
)

pytestmark = pytest.mark.once

NAMES = [field.name for field in dataclasses.fields(TrainingOptions)]
WRONG = {
    "epochs": [0, 10**400],
    "batch_tokens": [0, -4],
    "num_shapes": [0],
    "updates_per_epoch": [0, -1],
    "schedule": ["linear", ""],
    "learning_rate": [0, -1, 10**400, float("nan"), float("inf")],
    "warmup": [0, -5],
    "clip_norm": [0, -1.0],
    "weight_decay": [-1, -1e-9],
    "accumulate": [0],
    "label_smoothing": [-0.1, 1],
    "r_drop": [0, -1],
    "simcut": [0, -1],
    "cutoff": [0, 1],
    "teacher_weight": [0, 1.1],
    "temperature": [0, -2],
    "sampling": [-0.1, 1.1],
    "source_dropout": [0, 1.1],
    "source_deletion": [0, 1.1],
    "source_infilling": [0, 1.1],
    "source_shuffle": [0, -1],
    "ema": [-0.1, 1],
    "average": [0],
    "monitor": ["ter"],
    "patience": [0],
    "max_length": [0, -1],
    "seed": [-1, 2**32],
    "lora": [0, -1],
    "lora_targets": [(), "query", [""]],
    "checkpoint_minutes": [0, -1],
    "keep_checkpoints": [0],
    "log_seconds": [0, -2],
}
RIGHT = {
    "epochs": [1, 10**6],
    "learning_rate": [1e-12, 1, 1e30],
    "weight_decay": [0, 0.1],
    "label_smoothing": [0, 0.9],
    "cutoff": [1e-6, 0.9],
    "teacher_weight": [1],
    "sampling": [0, 1],
    "ema": [0, 0.9999],
    "seed": [0, 2**32 - 1],
    "schedule": SCHEDULES,
    "monitor": MONITORS,
    "lora_targets": [("query",), ("key", "output")],
}


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_its_bounds(name):
    bounds = bounds_of(name)
    words = re.escape(str(bounds))
    # The last one even where 1 will do: no option is a choice of yes or no.
    always = [float("nan"), float("inf"), "1", "many", [3], np.ones(2), True]
    if bounds.kind is int:
        always += [1.5, 2.0]
    if getattr(TrainingOptions(), name) is not None:
        always.append(None)
    for value in [*WRONG[name], *always]:
        with pytest.raises(ValueError, match=f"`{name}` must be {words}; received"):
            TrainingOptions(**{name: value})
    # Noam's is not given.
    other = {"learning_rate": None, "lora": 2, "simcut": 3.0}
    for value in RIGHT[name] if name in RIGHT else [bounds.kind(1)]:
        options = TrainingOptions(**{**other, name: value})
        assert getattr(options, name) == value


def test_numbers_of_numpy_are_numbers():
    options = TrainingOptions(
        epochs=np.int64(3), learning_rate=np.float32(0.5), clip_norm=1, seed=np.uint8(7)
    )
    held = json.loads(json.dumps(dataclasses.asdict(options)))
    assert TrainingOptions(**held) == options
    assert type(options.epochs) is int and type(options.clip_norm) is float


def test_options_fit_each_other():
    with pytest.raises(ValueError, match="received learning_rate=0.1"):
        TrainingOptions(schedule="noam", learning_rate=0.1)
    with pytest.raises(ValueError, match="'key',.* without its rank"):
        TrainingOptions(lora_targets=["key"])
    with pytest.raises(ValueError, match="monitor='bleu' and none"):
        TrainingOptions(monitor="bleu").check_company(validation=False, teacher=False)
    with pytest.raises(ValueError, match="received 0.1 without its weight"):
        TrainingOptions(cutoff=0.1)
    TrainingOptions(simcut=3, cutoff=0.1).check_company(validation=True, teacher=False)
    for options, message in (
        ({"r_drop": 5}, "r_drop=5.0 and a teacher"),
        ({"simcut": 3}, "simcut=3.0 and a teacher"),
        ({"simcut": 3, "r_drop": 5}, "r_drop=5.0 and simcut=3.0 and a teacher"),
    ):
        with pytest.raises(ValueError, match=message):
            TrainingOptions(**options).check_company(validation=True, teacher=True)
    TrainingOptions(r_drop=5, monitor="bleu").check_company(
        validation=True, teacher=False
    )


def test_they_come_back_from_json():
    options = TrainingOptions(lora=2, lora_targets=["key"])
    assert options.lora_targets == ("key",)
    held = plain_options(options)
    assert json.loads(json.dumps(held)) == held
    assert TrainingOptions(**held) == options


def test_bounds_say_what_they_hold():
    assert str(Numbers(kind=int, least=1)) == "a whole number of at least 1"
    share = Numbers(kind=float, least=0, below=1)
    assert str(share) == "a number of at least 0 and less than 1"
    assert str(Names(("a", "b"))) == "one of a, b"
    assert str(SomeNames('"a"')) == 'a list of names, such as "a"'
    assert SomeNames("").read("a b") == ("a", "b")
    assert share.read("0.5") == 0.5 and share.read("half") == "half"
    assert Numbers(kind=int, least=1).read("1.5") == "1.5"
