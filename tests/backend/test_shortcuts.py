"""Each shortcut made to fail, and switched off: answers stay, and one warning comes."""

import operator
import os
import re
import subprocess
import sys
import types
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec import EncoderDecoder, TokenCrossEntropy
from keras_encdec.backend import (
    Structure,
    build_unset,
    compile_function,
    dependencies,
    draw_unset,
    fused_attention,
    set_value,
    shortcuts,
    while_loop,
    without,
    write_at,
)
from keras_encdec.backend.shortcuts import SHORTCUTS, first_run, is_on, take
from keras_encdec.training import ProjectedLoss

BACKEND = keras.config.backend()


@pytest.fixture(autouse=True)
def none_has_failed(monkeypatch):
    monkeypatch.setattr(shortcuts, "_FAILED", set())


@pytest.fixture(autouse=True)
def early(monkeypatch):
    if BACKEND == "torch":
        from keras_encdec.backend.torch import steps, tracing

        monkeypatch.setattr(tracing, "CALLS_BEFORE_TRACE", 2)
        monkeypatch.setattr(steps, "STEPS_BEFORE_RECORD", 1)
        yield
        forget_products()
    else:
        yield


def forget_products():
    from keras_encdec.backend.torch import products

    products._product.cache_clear()
    products._kept.cache_clear()


def draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def loop():
    """Products with a large table, transposed, and with itself, eight times."""
    table = keras.Variable(draw(4096, 64) / 64)

    def step(state, constants):
        number, x, cache = state
        logits = ops.matmul(x, ops.transpose(table)) + ops.ones(4096) * 0.5
        x = x + 0.1 * ops.max(logits, axis=-1, keepdims=True)
        return number + 1, x, write_at(cache, number, x[:, None])

    def repeat(x):
        state = ops.convert_to_tensor(0, "int32"), x, ops.zeros((3, 8, 64))
        return while_loop(lambda state, _: state[0] < 8, step, state)[1:]

    inputs = [keras.KerasTensor((3, 64), "float32")]
    compiled = compile_function(repeat, inputs, [table])
    return lambda: compiled(ops.array(draw(3, 64)))


def attention():
    inputs = [keras.KerasTensor((2, 1, 3, 4), "float32")] * 3
    compiled = compile_function(fused_attention, inputs)
    return lambda: compiled(*[ops.array(draw(2, 1, 3, 4))] * 3)


def training(jit=False):
    keras.utils.set_random_seed(0)
    model = EncoderDecoder(20, 8, 8, num_heads=2, num_layers=1, dropout=0.0)
    trained = ProjectedLoss(model)
    trained.compile("sgd", TokenCrossEntropy(), jit_compile=jit)
    ids = np.random.default_rng(0).integers(1, 20, (3, 4, 5))

    def train():
        for _ in range(4):
            trained.train_on_batch((ids[0], ids[1]), ids[2])
        weights = model.get_weights()
        model.set_weights([np.ones_like(x) * 0.1 for x in weights])
        return [ops.array(x) for x in weights]

    model.set_weights([np.ones_like(x) * 0.1 for x in model.get_weights()])
    return train


def compiled_training():
    return training(jit=True)


def structure():
    model = EncoderDecoder(20, 8, 8, num_heads=2, num_layers=1)

    def changes():
        before = Structure([model])
        same = before.is_of([model])
        model.decoder.mapped_to = keras.layers.Dense(1)
        more = before.is_of([model])
        del model.decoder.mapped_to
        before = Structure([model])
        its = model.source_embedding.dtype_policy
        model.source_embedding.dtype_policy = "bfloat16"
        policy = before.is_of([model])
        model.source_embedding.dtype_policy = its
        return ops.array([same, more, policy, before.is_of([model])])

    return changes


def loading():
    def load():
        model = build_unset(
            lambda: keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        )
        set_value(model.layers[0].kernel, draw(3, 2))
        draw_unset(model)
        return model(ops.array(draw(4, 3)))

    return load


def fail(*args, **kwargs):
    raise TypeError("No such thing")


# The backend, the use, and what of it may go or fail, of each shortcut.
USES = {
    "keras-lists": (BACKEND, structure, ["keras_encdec.backend.dependencies._OWN"]),
    "keras-unset-variables": (
        BACKEND,
        loading,
        ["keras.Variable._deferred_initialize"],
    ),
    "torch-graphs": (
        "torch",
        loop,
        ["torch.fx.experimental.proxy_tensor.make_fx"],
    ),
    "torch-merging": (
        "torch",
        training,
        ["torch.fx.passes.dialect.common.cse_pass.CSEPass"],
    ),
    "torch-traces": ("torch", loop, ["torch.jit.trace"]),
    "torch-arranged-weights": (
        "torch",
        loop,
        [
            "torch.jit.script",
            "torch.ops.mkldnn._reorder_linear_weight",
            "torch.utils.weak.WeakTensorKeyDictionary",
        ],
    ),
    "torch-inductor": ("torch", compiled_training, ["torch._inductor.compile"]),
    "jax-transposed-tables": (
        "jax",
        loop,
        ["jax.extend.core.jaxpr_as_fun", "jax.extend.core.ClosedJaxpr"],
    ),
    "tensorflow-short-attention": (
        "tensorflow",
        attention,
        ["tensorflow.raw_ops.BatchMatMulV3"],
    ),
    "tensorflow-writes": (
        "tensorflow",
        loop,
        ["tensorflow.raw_ops.TensorStridedSliceUpdate"],
    ),
}
# Inductor takes a minute.
NOT_BY_IT = {"torch-inductor": training}
CASES = [
    pytest.param(name, use, target, id=f"{name}-{target}")
    for name, (backend, use, targets) in USES.items()
    for target in targets
    if backend == BACKEND
]


def break_it(monkeypatch, target, how):
    owner, _, attribute = target.rpartition(".")
    first, *rest = owner.split(".")
    owner = __import__(first)
    for part in rest:
        __import__(owner.__name__ + "." + part) if isinstance(
            owner, types.ModuleType
        ) and part not in vars(owner) else None
        owner = getattr(owner, part)
    if how == "missing" and attribute in vars(owner):
        monkeypatch.delattr(owner, attribute)
        if hasattr(owner, attribute):  # It comes back when it is asked for.
            monkeypatch.setattr(owner, attribute, None)
    else:
        how = types.SimpleNamespace() if how == "missing" else how
        monkeypatch.setattr(owner, attribute, how)
    if BACKEND == "torch":
        forget_products()  # They were made once for all.


def check(found, expected):
    found, expected = keras.tree.flatten(found), keras.tree.flatten(expected)
    for one, other in zip(found, expected, strict=True):
        one, other = ops.convert_to_numpy(one), ops.convert_to_numpy(other)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def messages(told):
    return [str(x.message) for x in told if "shortcut" in str(x.message)]


@pytest.mark.parametrize("how", ["missing", fail], ids=["missing", "raises"])
@pytest.mark.parametrize(("name", "use", "target"), CASES)
def test_one_that_fails_is_done_without_and_told_once(
    name, use, target, how, monkeypatch
):
    expected = NOT_BY_IT.get(name, use)()()
    break_it(monkeypatch, target, how)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):  # Programs, of which each is called twice.
            again = use()
            check(again(), expected)
            check(again(), expected)
    (message,) = messages(told)
    assert message.startswith(f"The shortcut '{name}' failed")
    assert how == "missing" or "TypeError: No such thing" in message


@pytest.mark.parametrize(("name", "use", "target"), CASES)
def test_one_that_is_switched_off_is_not_tried(name, use, target, monkeypatch):
    call = NOT_BY_IT.get(name, use)()
    expected = call()
    with monkeypatch.context() as broken, without(name):
        break_it(broken, target, fail)
        check(call(), expected)  # It was compiled with the shortcut.
        check(use()(), expected)
    assert is_on(name)
    check(call(), expected)


def test_all_are_tested():
    assert {*SHORTCUTS} - {*USES} == {"torch-cuda-graphs"}


@pytest.mark.skipif(BACKEND != "torch", reason="CUDA graphs are PyTorch's")
@pytest.mark.parametrize("switched_off", [False, True])
def test_without_cuda_graphs_there_is_none(switched_off, monkeypatch):
    import torch

    from keras_encdec.backend.torch.cuda_graphs import FunctionGraph, capture

    monkeypatch.delattr(torch.cuda, "CUDAGraph")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    names = ["torch-cuda-graphs"] if switched_off else []
    with warnings.catch_warnings(record=True) as told, without(*names):
        warnings.simplefilter("always")
        assert capture(torch.neg, [torch.ones(1)]) is None
        assert FunctionGraph.of(torch.neg, [torch.ones(1)], None) is None
    found = messages(told)
    assert len(found) == (not switched_off)
    assert all("has no attribute 'CUDAGraph'" in x for x in found)


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX")
def test_what_jax_cannot_compile_is_done_without(monkeypatch):
    import jax

    expected = loop()()

    def unknown(closed):
        def call(*args):
            return [
                jax.ffi.ffi_call("unknown", jax.ShapeDtypeStruct(x.shape, x.dtype))(x)
                for x in args
            ]

        return call

    monkeypatch.setattr("jax.extend.core.jaxpr_as_fun", unknown)
    with pytest.warns(UserWarning, match="'jax-transposed-tables' failed.*unknown"):
        check(loop()(), expected)
    check(loop()(), expected)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow")
def test_what_tensorflow_cannot_run_is_done_without(monkeypatch):
    import tensorflow as tf

    expected = attention()()
    monkeypatch.setattr(
        tf.raw_ops,
        "BatchMatMulV3",
        lambda x, **options: tf.debugging.check_numerics(x * np.nan, "No kernel"),
    )
    with pytest.warns(UserWarning, match="'tensorflow-short-attention' f.*No kernel"):
        check(attention()(), expected)
    check(attention()(), expected)


def test_errors_of_the_user_are_raised_and_no_fault_of_a_shortcut():
    def step(state, constants):
        return state[0] + 1, ops.matmul(state[1], ops.ones((5, 5)))

    def repeat(x):
        state = ops.convert_to_tensor(0, "int32"), x
        return while_loop(lambda state, _: state[0] < 8, step, state)[1]

    compiled = compile_function(repeat, [keras.KerasTensor((2, 4), "float32")])
    for _ in range(3):
        with pytest.raises(Exception, match=r"(?i)shape|dimension|size|5"):
            compiled(ops.array(draw(2, 4)))
    assert shortcuts._FAILED == set()


def test_a_program_is_for_what_was_on_when_it_was_compiled():
    seen = []

    def function(x):
        seen.append(is_on("keras-lists"))
        return x * 2

    compiled = compile_function(function, [keras.KerasTensor((1,), "float32")])
    x = ops.ones((1,))
    compiled(x)
    with without("keras-lists"):
        compiled(x)
        with without("keras-lists"):
            pass
        assert not is_on("keras-lists")
    assert is_on("keras-lists")
    compiled(x)
    expected = [True, False, True] if BACKEND == "torch" else [True, False]
    assert seen == expected


@pytest.mark.once
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_no_shortcut_is_to_blame_for_is_raised(error):
    def stop():
        raise error

    with pytest.raises(error):
        take("keras-lists", stop, lambda: None)

    def stop_within():
        take("keras-lists", lambda: None, lambda: None)
        raise error

    with pytest.raises(error):
        first_run(stop_within)
    assert is_on("keras-lists")


@pytest.mark.once
def test_what_fails_in_the_plain_way_too_is_raised_from_there():
    def plain():
        raise ValueError("Ids must be at least 0")

    with pytest.raises(ValueError, match="at least 0") as caught:
        take("keras-lists", fail, plain)
    assert caught.value.__context__ is None
    assert is_on("keras-lists")

    def run():
        take("keras-lists", lambda: None, lambda: None)
        plain()

    with pytest.raises(ValueError, match="at least 0"):
        first_run(run)
    assert is_on("keras-lists")


@pytest.mark.once
def test_a_first_run_that_fails_is_tried_again_without():
    def run():
        return take("keras-lists", lambda: {}, lambda: {"a": 1})["a"]

    with pytest.warns(UserWarning, match="'keras-lists' failed.*KeyError: 'a'"):
        assert first_run(run) == 1
    assert not is_on("keras-lists")


@pytest.mark.once
def test_lists_that_change_their_names_are_noticed(monkeypatch):
    monkeypatch.setattr(dependencies, "_OWN", operator.attrgetter("_sublayers"))
    with pytest.warns(UserWarning, match="no attribute '_sublayers'"):
        found = ops.convert_to_numpy(structure()())
        assert found.tolist() == [True, False, False, True]


@pytest.mark.once
def test_unknown_names_are_told_with_the_nearest_first():
    message = r"received 'torch-trace'. The names are torch-traces, .*keras-lists"
    with pytest.raises(ValueError, match=message):
        with without("torch-trace"):
            pass
    found = import_with("torch-trace")
    assert found.returncode and re.search(message, found.stderr)


@pytest.mark.slow
@pytest.mark.once
def test_a_variable_switches_off():
    found = import_with("torch-traces, keras-lists,")
    assert found.stdout.split() == ["keras-lists", "torch-traces"], found.stderr


def import_with(names):
    code = (
        "import keras_encdec.backend.shortcuts as s; print(*sorted(s.switched_off()))"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_ENCDEC_WITHOUT": names},
        capture_output=True,
        text=True,
        check=False,
    )
