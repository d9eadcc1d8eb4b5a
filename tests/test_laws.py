"""What holds for every model: cached steps, padding, look-ahead, backends, saving."""

import functools
import importlib.util
import json
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec import (
    Attention,
    DecoderBlock,
    EncoderBlock,
    EncoderDecoder,
    FeedForward,
    Generator,
    RandomSampler,
    TokenAccuracy,
    TokenCrossEntropy,
    TokenEmbedding,
)
from keras_encdec.layers import (
    LearnedPosition,
    RelativePositionBias,
    SinusoidalPosition,
)

BACKENDS = ("tensorflow", "jax", "torch")

VARIANTS = {
    "sinusoidal": {},
    "learned": {"positions": "learned", "max_length": 9},
    "rotary": {"positions": "rotary"},
    "relative": {"positions": "relative"},
    "bias per block": {
        "positions": "relative",
        "bias_per_block": True,
        "num_buckets": 4,
        "max_distance": 6,
    },
    "learned behind others": {"positions": LearnedPosition(9, offset=2)},
    "no positions": {"positions": None},
    "normalized last": {"normalize_first": False},
    "rms": {"normalization": "rms", "use_bias": False},
    "rms last": {"normalization": "rms", "normalize_first": False},
    "embedding norm": {"embedding_norm": True, "activation": "gelu_new"},
    "gated": {"gated": True, "activation": "silu"},
    "one key head": {"num_key_value_heads": 1, "positions": "rotary"},
    "two key heads": {"num_key_value_heads": 2, "positions": "relative"},
    "head size": {"head_dim": 6, "num_key_value_heads": 2},
    "two vocabularies": {"target_vocabulary_size": 9},
    "untied": {"tie_embeddings": False, "scale_embeddings": False},
    "two, untied": {"target_vocabulary_size": 9, "tie_embeddings": False},
    "shallow decoder": {"num_layers": 2, "num_decoder_layers": 1},
    "deep decoder": {"num_layers": 1, "num_decoder_layers": 3},
}
every_variant = pytest.mark.parametrize("name", VARIANTS)

# Two sources with padding and one without.
SOURCE = np.array([[3, 4, 5, 1, 2], [6, 2, 0, 0, 0], [7, 7, 2, 0, 0]], "int32")
TARGET = np.array([[1, 4, 5, 8], [1, 3, 6, 0], [1, 0, 0, 0]], "int32")
LABELS = np.array([[4, 5, 8, 2], [3, 6, 2, 0], [2, 0, 0, 0]], "int32")


def to_numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def randomize(model):
    """Random weights, biases and scales too, large enough that all of them matter."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        mean = 1.0 if weight.name in ("gamma", "scale") else 0.0
        weight.assign(rng.normal(mean, 0.4, size=weight.shape))
    return model


def build(**options):
    sizes = {"vocabulary_size": 11, "hidden_dim": 16, "intermediate_dim": 12}
    sizes |= {"num_heads": 4, "num_layers": 2, "dropout": 0.1}
    return randomize(EncoderDecoder(**{**sizes, **options}))


@functools.cache
def variant(name):
    """The model of a variant, made once for all tests, which only ask it."""
    return build(**VARIANTS[name])


# 1. Cached decoding gives the logits of the full forward pass.


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, beams",
    [*((name, 3) for name in VARIANTS), ("sinusoidal", 1), ("two key heads", 1)],
)
def test_steps_give_the_logits_of_the_full_pass(name, beams):
    check_steps(variant(name), beams)


def check_steps(model, beams):
    rng = np.random.default_rng(2)
    target = rng.integers(1, 9, size=(len(SOURCE) * beams, 4)).astype("int32")
    expected = to_numpy(model((SOURCE.repeat(beams, 0), target)))
    memory = model.encode(ops.convert_to_tensor(SOURCE))
    cache = model.new_cache(len(target), 6)
    for index in range(4):
        tokens = ops.convert_to_tensor(target[:, index])
        logits, cache = model.step(tokens, index, memory, cache)
        np.testing.assert_allclose(to_numpy(logits), expected[:, index], atol=1e-4)
    # Some rows a place behind where they were, others at it, two positions at once.
    index, here = 1 + np.arange(len(target), dtype="int32") % 2, np.arange(2)
    assert model.steps_by_row
    places = np.arange(len(target))[:, None], index[:, None] + here
    tokens = ops.convert_to_tensor(target[places])
    logits, _ = model.step(tokens, ops.convert_to_tensor(index), memory, cache)
    np.testing.assert_allclose(to_numpy(logits), expected[places], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("normalize_first", [True, False])
def test_a_part_may_have_a_dtype_of_its_own(normalize_first):
    options = {"positions": "relative", "gated": True, "tie_embeddings": False}
    model = build(**options, num_layers=1, normalize_first=normalize_first)
    (encoder,), (decoder,) = model.encoder_blocks, model.decoder_blocks
    plain = to_numpy(model((SOURCE, TARGET)))
    for part in (
        encoder,
        encoder.feed_forward.gate_dense,
        decoder,
        decoder.self_attention,
        decoder.cross_attention.key_dense,
        model.source_embedding,
        model.source_embedding.table,
        model.decoder.relative_biases[0],
        model.decoder.logits_dense,
    ):
        part.dtype_policy = "mixed_bfloat16"
        found = model((SOURCE, TARGET))
        assert keras.backend.standardize_dtype(found.dtype) == "float32", part.path
        rounded = to_numpy(found)
        change = np.abs(rounded - plain).max()
        assert 0 < change < 0.05 * np.abs(plain).max(), part.path
        check_steps(model, beams=2)
        part.dtype_policy = "float32"


@pytest.mark.slow
def test_a_map_gives_parts_their_dtypes():
    mixed = keras.DTypePolicy("mixed_bfloat16")
    policies = keras.dtype_policies.DTypePolicyMap(
        "float32", {"decoder_block_0.*": mixed, "decoder_block_1/cross.*": mixed}
    )
    model = build(dtype=policies)
    blocks = model.decoder_blocks
    assert [block.compute_dtype for block in blocks] == ["bfloat16", "float32"]
    assert blocks[1].cross_attention.compute_dtype == "bfloat16"
    check_steps(model, beams=2)
    again = EncoderDecoder.from_config(model.get_config())
    assert [each.compute_dtype for each in again._flatten_layers()] == [
        each.compute_dtype for each in model._flatten_layers()
    ]


# 2. Padding never changes an answer; neither does the rest of the batch.


def padded(ids, more):
    return np.pad(ids, ((0, 0), (0, more)))


def nested(model):
    inputs = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    return keras.Model(inputs, keras.layers.Rescaling(2.0)(model(inputs)))


@pytest.mark.slow
@pytest.mark.parametrize("dtype, atol", [("float32", 1e-5), ("mixed_bfloat16", 0.1)])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_padding_changes_no_logits(num_layers, dtype, atol):
    model = build(num_layers=num_layers, dtype=dtype)
    long = padded(SOURCE, 3), padded(TARGET, 2)
    tokens = TARGET != 0
    expected = to_numpy(model((SOURCE, TARGET)))[tokens]
    found = [to_numpy(model(long)), to_numpy(nested(model)(long)) / 2]
    if num_layers == 3:
        found.append(model.predict(long, verbose=0))
    for y in found:
        np.testing.assert_allclose(y[:, :4][tokens], expected, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize(
    "dtype, tolerance", [("float32", 1e-4), ("mixed_bfloat16", 0.1)]
)
def test_padding_changes_no_training(dtype, tolerance):
    trained = []
    for more in (0, 3):
        model = build(dropout=0.0, dtype=dtype, positions="relative")
        model.compile(keras.optimizers.SGD(0.1), TokenCrossEntropy())
        x, y = (padded(SOURCE, more), padded(TARGET, more)), padded(LABELS, more)
        loss = model.fit(x, y, verbose=0).history["loss"][0]
        trained.append((loss, to_numpy(model((SOURCE, TARGET)))[TARGET != 0]))
    untrained = build(dropout=0.0, dtype=dtype, positions="relative")
    before = to_numpy(untrained((SOURCE, TARGET)))[TARGET != 0]
    assert np.abs(trained[0][1] - before).max() > 3 * tolerance
    for short, long in zip(*trained, strict=True):
        np.testing.assert_allclose(long, short, rtol=tolerance, atol=tolerance)


@every_variant
def test_rows_and_padding_do_not_matter_to_a_row(name):
    model = variant(name)
    together = to_numpy(model((SOURCE, TARGET)))
    alone = to_numpy(model((SOURCE[1:2, :2], TARGET[1:2, :3])))
    np.testing.assert_allclose(together[1, :3], alone[0], atol=1e-4)


@pytest.mark.slow
def test_source_of_padding_has_one_answer():
    model = variant("sinusoidal")
    target = TARGET[:1]
    expected = to_numpy(model((np.zeros((1, 1), "int32"), target)))
    assert np.isfinite(expected).all()
    for length in (2, 5):
        source = np.zeros((1, length), "int32")
        found = to_numpy(model((source, target)))
        np.testing.assert_allclose(found, expected, atol=1e-5)


# 3. Look-ahead: changing token t changes no logit before t.


@every_variant
def test_no_token_changes_a_logit_before_it(name):
    model = variant(name)
    target = np.array([[1, 4, 5, 8]], "int32").repeat(3, 0)
    changed = target.copy()
    np.fill_diagonal(changed[:, 1:], 7)  # Row r at position r + 1.
    difference = to_numpy(model((SOURCE, changed))) - to_numpy(model((SOURCE, target)))
    difference = np.abs(difference).max(axis=-1)
    for row, position in enumerate((1, 2, 3)):
        assert np.all(difference[row, :position] < 1e-5)
        assert difference[row, position] > 1e-2


# 5 and 6. A saved model is the same in a fresh process, under every backend.

CHILD = """
    import json
    import sys

    import keras
    import numpy as np

    from keras_encdec import Generator, RandomSampler

    folder, backend = sys.argv[1:]
    assert keras.config.backend() == backend
    source, target, labels = np.load(f"{folder}/ids.npz").values()

    def logits(model):
        return keras.ops.convert_to_numpy(model((source, target))).tolist()

    model = keras.saving.load_model(f"{folder}/float32.keras")
    mixed = keras.saving.load_model(f"{folder}/mixed_bfloat16.keras")
    changed = keras.saving.load_model(f"{folder}/changed.keras")
    answers = {
        "logits": logits(model),
        "mixed_logits": logits(mixed),
        "mixed_dtype": mixed.encoder_blocks[0].compute_dtype,
        "changed_logits": logits(changed),
        "changed_trainable": [x.path for x in changed.trainable_variables],
        "ids": Generator(model, RandomSampler(1.5))(source, 7, seed=3).tolist(),
    }
    # JAX saves that it compiles, which in PyTorch takes minutes.
    model.jit_compile = backend == "jax"
    # The second loss shows what the optimizer remembered for the first step.
    answers["training"] = [
        model.train_on_batch((source, target), labels, return_dict=True)
        for _ in range(2)
    ]
    print(json.dumps(answers, default=float))
"""


SAVED = {
    "float32": {"positions": "rotary", "gated": True, "num_key_value_heads": 2},
    "mixed_bfloat16": {
        "positions": "relative",
        "normalization": "rms",
        "normalize_first": False,
        "target_vocabulary_size": 9,
    },
}


def trained(dtype):
    """A compiled model; the one in float32 has learnt something."""
    model = build(
        num_layers=1, dropout=0.0, use_bias=False, dtype=dtype, **SAVED[dtype]
    )
    # Not Adam, whose step TensorFlow takes from the sparse gradients of tables.
    model.compile(
        keras.optimizers.Lamb(0.02),
        TokenCrossEntropy(label_smoothing=0.1),
        metrics=[TokenAccuracy()],
    )
    for _ in range(3 if dtype == "float32" else 0):
        model.train_on_batch((SOURCE, TARGET), LABELS)
    return model


def changed():
    """A model whose parts are quantized, adapted and frozen, each in another way."""
    model = build(num_layers=1, dropout=0.0, tie_embeddings=False)
    (encoder,), (decoder,) = model.encoder_blocks, model.decoder_blocks
    for layer, mode in (
        (model.source_embedding.table, "int8"),
        (encoder.feed_forward.intermediate_dense, "int8"),
        (encoder.feed_forward.output_dense, "int4"),
        (encoder.self_attention.output_dense, "float8"),
        (decoder.feed_forward.intermediate_dense, "int8"),
        (decoder.feed_forward.output_dense, "int4"),
        (model.decoder.logits_dense, "int8"),
    ):
        layer.quantize(mode)
    for layer in (
        decoder.self_attention.query_dense,
        decoder.feed_forward.intermediate_dense,
        decoder.feed_forward.output_dense,
    ):
        layer.enable_lora(2)
        for part in (layer.lora_kernel_a, layer.lora_kernel_b):
            part.assign(np.random.default_rng(3).normal(0, 0.4, part.shape))
        layer.bias.trainable = False
    for name in ("inputs_scale", "kernel_scale"):  # As if it had learned them.
        getattr(encoder.self_attention.output_dense, name).assign(0.01)
    encoder.self_attention.query_dense.trainable = False
    model.decoder.norm.beta.trainable = False
    return model


def start(backend, script, *args):
    """A fresh process under a backend."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = {**os.environ, "KERAS_BACKEND": backend}
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [root, os.environ.get("PYTHONPATH")])
    )
    # It runs beside the tests: threads would spin on the cores that these need.
    environment["OMP_NUM_THREADS"] = "1"
    # What tests/conftest.py does to JAX.
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    environment.pop("XLA_FLAGS", None)
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, args)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    output, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    return output


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two trained models, a changed one, and the process that loads their copies."""
    folder = tmp_path_factory.mktemp("saved")
    models = {name: trained(name) for name in SAVED}
    for name, model in models.items():
        model.save(folder / f"{name}.keras")
    changed().save(folder / "changed.keras")
    # As it is when what was adapted is merged, and quantized again.
    models["changed"] = keras.saving.load_model(folder / "changed.keras")
    np.savez(folder / "ids.npz", SOURCE, TARGET, LABELS)
    # Round in a circle, so that each backend reads what another wrote.
    others = dict(zip(BACKENDS, (*BACKENDS[1:], BACKENDS[0]), strict=True))
    backend = others[keras.config.backend()]
    if not importlib.util.find_spec(backend):
        pytest.skip(f"needs {backend}")
    process = start(backend, CHILD, folder, backend)
    yield models, process
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def answers(saved):
    """What the child will answer, answered here by the models that were saved."""
    model, mixed, changed = saved[0].values()
    return {
        "logits": to_numpy(model((SOURCE, TARGET))),
        "mixed_logits": to_numpy(mixed((SOURCE, TARGET))),
        "mixed_dtype": "bfloat16",
        "changed_logits": to_numpy(changed((SOURCE, TARGET))),
        "changed_trainable": [x.path for x in changed.trainable_variables],
        "ids": Generator(model, RandomSampler(1.5))(SOURCE, 7, seed=3).tolist(),
        "training": [
            model.train_on_batch((SOURCE, TARGET), LABELS, return_dict=True)
            for _ in range(2)
        ],
    }


@pytest.mark.slow
def test_saved_model_is_the_same_in_a_fresh_process(saved, answers):
    found = json.loads(finish(saved[1]))
    assert found.keys() == answers.keys()
    np.testing.assert_allclose(found["logits"], answers["logits"], atol=1e-4)
    np.testing.assert_allclose(found["mixed_logits"], answers["mixed_logits"], atol=0.1)
    for name in ("mixed_dtype", "changed_trainable"):
        assert found[name] == answers[name]
    np.testing.assert_allclose(
        found["changed_logits"], answers["changed_logits"], atol=1e-3
    )
    assert found["ids"] == answers["ids"]
    assert len(np.unique(answers["ids"])) > 3
    for step, expected in zip(found["training"], answers["training"], strict=True):
        assert step.keys() == expected.keys() == {"loss", "token_accuracy"}
        for name, value in expected.items():
            np.testing.assert_allclose(step[name], value, atol=1e-4)


# 6. The model and every layer survive their configuration, mixed precision and a
# symbolic call.

X = np.random.default_rng(0).normal(size=(3, 4, 8)).astype("float32")
MEMORY = np.random.default_rng(1).normal(size=(3, 5, 8)).astype("float32")
LAYERS = {
    "Attention": (Attention, {"num_heads": 2, "rotary": True}, [X, MEMORY]),
    "FeedForward": (FeedForward, {"intermediate_dim": 12, "gated": True}, [X]),
    "TokenEmbedding": (
        TokenEmbedding,
        {
            "vocabulary_size": 11,
            "hidden_dim": 8,
            "positions": "learned",
            "max_length": 6,
            "padding_id": 3,
        },
        [SOURCE],
    ),
    "SinusoidalPosition": (SinusoidalPosition, {}, [X]),
    "LearnedPosition": (LearnedPosition, {"max_length": 6}, [X]),
    "RelativePositionBias": (
        RelativePositionBias,
        {"num_heads": 2, "num_buckets": 6, "max_distance": 9, "bidirectional": False},
        [X],
    ),
    "EncoderBlock": (
        EncoderBlock,
        {"num_heads": 2, "intermediate_dim": 12, "epsilon": 0.1},
        [X],
    ),
    "DecoderBlock": (
        DecoderBlock,
        {"num_heads": 2, "intermediate_dim": 12, "normalize_first": False},
        [X, MEMORY],
    ),
}
every_layer = pytest.mark.parametrize(
    "layer, options, inputs", LAYERS.values(), ids=LAYERS
)


@every_layer
def test_layer_survives_its_configuration(layer, options, inputs):
    first = layer(**options)
    first(*inputs)
    expected = randomize(first)(*inputs)
    config = json.loads(json.dumps(first.get_config()))
    assert options.items() <= config.items()
    copy = layer.from_config(config)
    copy(*inputs)
    copy.set_weights(first.get_weights())
    np.testing.assert_allclose(to_numpy(copy(*inputs)), to_numpy(expected), atol=1e-6)


@pytest.mark.parametrize(
    "dtype, atol", [("mixed_bfloat16", 0.15), ("mixed_float16", 0.02)]
)
@every_layer
def test_layer_computes_in_mixed_precision(layer, options, inputs, dtype, atol):
    first, mixed = layer(**options), layer(**options, dtype=dtype)
    first(*inputs)
    randomize(first)
    mixed(*inputs)
    mixed.set_weights(first.get_weights())
    y = mixed(*inputs)
    assert keras.backend.standardize_dtype(y.dtype) == dtype.removeprefix("mixed_")
    assert all(w.dtype == "float32" for w in mixed.weights)
    np.testing.assert_allclose(
        to_numpy(y), to_numpy(first(*inputs)), atol=atol, rtol=atol
    )


@every_layer
def test_layer_takes_symbolic_inputs_of_unknown_length(layer, options, inputs):
    symbolic = [keras.Input((None, *x.shape[2:]), dtype=x.dtype.name) for x in inputs]
    model = keras.Model(symbolic, layer(**options)(*symbolic))
    expected = model.layers[-1](*inputs)
    np.testing.assert_allclose(to_numpy(model(inputs)), to_numpy(expected), atol=1e-6)
    for known, length in zip(model.output_shape, expected.shape, strict=True):
        assert known in (None, length)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "target_vocabulary_size": 9,
            "num_decoder_layers": 1,
            "head_dim": 6,
            "num_key_value_heads": 2,
            "positions": "learned",
            "max_length": 9,
            "activation": "silu",
            "gated": True,
            "normalization": "rms",
            "normalize_first": False,
            "epsilon": 0.1,
            "use_bias": False,
            "tie_embeddings": False,
            "scale_embeddings": False,
            "dropout": 0.2,
            "attention_dropout": 0.3,
            "activation_dropout": 0.4,
            "padding_id": 7,
            "name": "other",
        },
    ],
)
def test_model_survives_its_configuration(options):
    model = build(**options)
    config = json.loads(json.dumps(model.get_config()))
    assert {k: config[k] for k in options} == options
    copy = EncoderDecoder.from_config(config)
    assert copy.get_config() == model.get_config()
    assert [w.path for w in copy.weights] == [w.path for w in model.weights]
    copy.set_weights(model.get_weights())
    np.testing.assert_allclose(
        to_numpy(copy((SOURCE, TARGET))), to_numpy(model((SOURCE, TARGET))), atol=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("options", [{}, {"tie_embeddings": False}])
def test_model_computes_in_mixed_precision(dtype, options):
    model, mixed = build(**options), build(dtype=dtype, **options)
    assert all(w.dtype == "float32" for w in mixed.weights)
    assert mixed.encoder_blocks[0].compute_dtype == dtype.removeprefix("mixed_")
    logits = mixed((SOURCE, TARGET))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    expected = to_numpy(model((SOURCE, TARGET)))
    tolerance = 0.3 if dtype == "mixed_bfloat16" else 0.05
    np.testing.assert_allclose(to_numpy(logits), expected, atol=tolerance)


def test_model_tells_its_layers():
    lines = []
    model = build()
    model.summary(print_fn=lines.append)
    text = "\n".join(lines)
    for name in ("source_embedding", "encoder_block_1", "decoder_block_0"):
        assert name in text
    assert f"{model.count_params():,}" in text


# Without TensorFlow everything but graphs of texts works.

ALONE = """
    import sys
    import tempfile

    BLOCKED = {"tensorflow", "tensorflow_text", "keras_hub", "keras_nlp"}

    class Without:
        def __init__(self, finder):
            self.finder = finder

        def __getattr__(self, name):
            return getattr(self.finder, name)

        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] not in BLOCKED:
                return self.finder.find_spec(name, path, target)

    sys.meta_path[:] = map(Without, sys.meta_path)

    import keras
    import numpy as np

    import keras_encdec
    from keras_encdec import EncoderDecoder, Generator, RandomSampler

    source, target = np.array([[3, 4, 2, 0]]), np.array([[1, 5, 6]])
    model = EncoderDecoder(11, 8, 12, num_heads=2, num_layers=1)
    model.compile("adam", keras_encdec.TokenCrossEntropy())
    loss = model.fit((source, target), target[:, ::-1], verbose=0).history["loss"][0]
    assert np.isfinite(loss)
    assert Generator(model, RandomSampler())(source, max_length=4).shape == (1, 4)
    texts = ["a cat", "a hat"]
    for tokenizer in (
        keras_encdec.WordTokenizer(["a", "cat", "hat"]),
        keras_encdec.CharacterTokenizer([*"acht "]),
        keras_encdec.ByteTokenizer(),
        keras_encdec.SentencePieceTokenizer.train(texts, 10),
    ):
        size = tokenizer.vocabulary_size
        model = EncoderDecoder(size, 8, 12, num_heads=2, num_layers=1)
        folder = tempfile.mkdtemp() + "/saved"
        text_to_text = keras_encdec.TextToText(tokenizer, tokenizer, model)
        text_to_text.save(folder)
        loaded = keras_encdec.TextToText.load(folder)
        assert loaded(texts, max_length=4) == text_to_text(texts, max_length=4)
    for room in ("generation", "layers", "serving", "training"):
        getattr(keras_encdec, room)
    try:
        keras_encdec.text_dataset(["a"], ["b"], tokenizer, tokenizer)
    except ImportError as error:
        assert "pip install tensorflow" in str(error), error
    else:
        raise AssertionError("text needs TensorFlow")
    assert not BLOCKED & set(sys.modules)
"""


@pytest.mark.skipif(
    keras.config.backend() == "tensorflow", reason="the backend is TensorFlow itself"
)
def test_trains_and_generates_without_tensorflow():
    finish(start(keras.config.backend(), ALONE))
