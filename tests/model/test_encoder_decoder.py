import json

import keras
import numpy as np
import pytest
import torch
from keras import ops
from keras.src.backend import get_keras_mask

from keras_encdec import (
    BeamSampler,
    ByteTokenizer,
    Decoder,
    Encoder,
    EncoderDecoder,
    Generator,
    TextToText,
    TokenCrossEntropy,
)
from keras_encdec.layers import SinusoidalPosition

SOURCE = np.array([[3, 4, 5, 1, 2], [6, 2, 0, 0, 0], [7, 7, 2, 0, 0]], "int32")
TARGET = np.array([[1, 4, 5, 8], [1, 3, 6, 0], [1, 0, 0, 0]], "int32")
LABELS = np.array([[4, 5, 8, 2], [3, 6, 2, 0], [2, 0, 0, 0]], "int32")
SIZES = {
    "vocabulary_size": 11,
    "hidden_dim": 8,
    "intermediate_dim": 12,
    "num_heads": 2,
    "num_layers": 1,
    "dropout": 0.0,
}


def to_numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def build(**options):
    return EncoderDecoder(**{**SIZES, **options})


@pytest.fixture(scope="module")
def model():
    return build()


def sinusoids(length, dim):
    """Vaswani et al. 2017, section 3.5."""
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, dim, 2) / dim)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, dim)


def torch_transformer(layers, decoder_layers, activation, normalize_first):
    """PyTorch's Transformer; normalized last, the paper's has no norm at the end."""
    options = {"dropout": 0.0, "activation": activation, "batch_first": True}
    options["norm_first"] = normalize_first
    encoder = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(8, 2, 12, **options),
        layers,
        norm=torch.nn.LayerNorm(8) if normalize_first else None,
        enable_nested_tensor=False,
    )
    decoder = torch.nn.TransformerDecoder(
        torch.nn.TransformerDecoderLayer(8, 2, 12, **options),
        decoder_layers,
        norm=torch.nn.LayerNorm(8) if normalize_first else None,
    )
    return torch.nn.Transformer(
        8, 2, custom_encoder=encoder, custom_decoder=decoder, batch_first=True
    )


@pytest.mark.parametrize("layers, decoder_layers", [(1, 1), (3, 2)])
@pytest.mark.parametrize("normalize_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_is_torchs_transformer(
    copy_from_torch, activation, normalize_first, layers, decoder_layers
):
    options = {"activation": activation, "normalize_first": normalize_first}
    model = build(num_layers=layers, num_decoder_layers=decoder_layers, **options)
    expected = torch_transformer(layers, decoder_layers, **options)
    parts = [
        *zip(model.encoder_blocks, expected.encoder.layers, strict=True),
        *zip(model.decoder_blocks, expected.decoder.layers, strict=True),
    ]
    if normalize_first:
        parts.append((model.encoder.norm, expected.encoder.norm))
        parts.append((model.decoder.norm, expected.decoder.norm))
    for ours, theirs in parts:
        copy_from_torch(ours, theirs)
    table = model.source_embedding.table.get_weights()[0]

    def embed(ids):
        x = table[ids] * np.sqrt(8) + sinusoids(ids.shape[1], 8)
        return torch.tensor(x.astype("float32"))

    hidden = expected(
        embed(SOURCE),
        embed(TARGET),
        tgt_mask=torch.triu(torch.ones(4, 4, dtype=bool), 1),
        src_key_padding_mask=torch.tensor(SOURCE == 0),
        tgt_key_padding_mask=torch.tensor(TARGET == 0),
        memory_key_padding_mask=torch.tensor(SOURCE == 0),
    )
    logits = model((SOURCE, TARGET))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    np.testing.assert_allclose(
        to_numpy(logits), hidden.detach().numpy() @ table.T, atol=1e-5
    )


@pytest.mark.parametrize(
    "options, tables",
    [
        ({}, [(11, 8)]),
        ({"tie_embeddings": False}, [(11, 8), (8, 11)]),
        ({"target_vocabulary_size": 9}, [(11, 8), (9, 8)]),
        (
            {"target_vocabulary_size": 9, "tie_embeddings": False},
            [(11, 8), (9, 8), (8, 9)],
        ),
    ],
)
def test_tables_are_shared_as_asked(options, tables):
    model = build(**options)
    shapes = [tuple(w.shape) for w in model.weights if {11, 9} & set(w.shape)]
    assert sorted(shapes) == sorted(tables)
    size = options.get("target_vocabulary_size", 11)
    assert model.output_shape == (None, None, size)


def test_logits_carry_the_mask_of_the_target():
    for options in ({}, {"tie_embeddings": False, "normalization": "rms"}):
        logits = build(**options)((SOURCE, TARGET))
        np.testing.assert_array_equal(to_numpy(get_keras_mask(logits)), TARGET != 0)


def test_relative_bias_looks_ahead_in_the_encoder_alone():
    model = build(positions="relative")
    query, keys = np.array([40], "int32"), np.array([0, 39, 40, 41, 80], "int32")
    buckets = []
    for layer in (*model.encoder.relative_biases, *model.decoder.relative_biases):
        layer.bucket_biases.assign(np.arange(32)[:, None] * np.ones((1, 2)))
        buckets.append(to_numpy(layer.between(query, keys))[0, 0, 0].tolist())
    # By T5's rule, with 32 buckets up to a distance of 128.
    assert buckets == [[12, 1, 0, 17, 28], [23, 1, 0, 0, 0]]


def test_padding_id_may_be_any():
    model, other = build(), build(padding_id=10)
    swap = [10, *range(1, 10), 0]
    shape = model.source_embedding.table.embeddings.shape
    weights = model.get_weights()
    other.set_weights([w[swap] if w.shape == tuple(shape) else w for w in weights])
    ids = tuple(np.where(x == 0, 10, x) for x in (SOURCE, TARGET))
    expected = to_numpy(model((SOURCE, TARGET)))[..., swap]
    np.testing.assert_allclose(to_numpy(other(ids)), expected, atol=1e-5)


def test_keras_loss_leaves_out_padding(model):
    """The mean over the target's tokens, in NumPy; metrics likewise."""
    labels = np.array([[4, 5, 8, 2], [3, 6, 2, 9], [2, 9, 9, 9]])
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy()],
    )
    loss, accuracy = model.evaluate((SOURCE, TARGET), labels, verbose=0)
    logits = to_numpy(model((SOURCE, TARGET))).astype("float64")
    peak = logits.max(-1, keepdims=True)
    logs = logits - peak - np.log(np.exp(logits - peak).sum(-1, keepdims=True))
    nll = -np.take_along_axis(logs, labels[..., None], -1)[..., 0]
    tokens = TARGET != 0
    np.testing.assert_allclose(loss, nll[tokens].mean(), rtol=1e-5)
    assert abs(nll.mean() - nll[tokens].mean()) > 1e-3
    hits = (logits.argmax(-1) == labels)[tokens]
    np.testing.assert_allclose(accuracy, hits.mean(), rtol=1e-5)


@pytest.mark.slow
def test_verbs_have_the_shapes_they_say():
    model = build(num_heads=4, num_key_value_heads=2, num_decoder_layers=3)
    memory = model.encode(ops.convert_to_tensor(SOURCE))
    assert [[tuple(x.shape) for x in pair] for pair in memory[0]] == [
        [(3, 2, 5, 2)] * 2
    ] * 3
    np.testing.assert_array_equal(
        ops.convert_to_numpy(memory[1]), (SOURCE != 0)[:, None, None, :]
    )
    cache = model.new_cache(6, 7)
    assert [[tuple(x.shape) for x in pair] for pair in cache] == [
        [(6, 2, 7, 2)] * 2
    ] * 3
    tokens = ops.convert_to_tensor(np.ones(6, "int32"))
    logits, written = model.step(tokens, 0, memory, cache)
    assert tuple(logits.shape) == (6, 11)
    assert [[tuple(x.shape) for x in pair] for pair in written] == [
        [(6, 2, 7, 2)] * 2
    ] * 3


@pytest.mark.parametrize(
    "options, match",
    [
        ({"vocabulary_size": 0}, "positive integer; received vocabulary_size=0"),
        ({"hidden_dim": 8.0}, "positive integer; received hidden_dim=8.0"),
        ({"intermediate_dim": -1}, "positive integer; received intermediate_dim=-1"),
        ({"num_heads": 0}, "positive integer; received num_heads=0"),
        ({"num_layers": 0}, "positive integer; received num_layers=0"),
        ({"num_decoder_layers": 0}, "positive integer; received num_decoder_layers=0"),
        ({"target_vocabulary_size": -5}, "positive integer; received .*_size=-5"),
        ({"positions": "absolute"}, "one of 'sinusoidal', .*positions='absolute'"),
        ({"normalization": "batch"}, "'layer', 'rms'; received normalization='batch'"),
        ({"activation": "relux"}, "relux"),
        ({"dtype": "float33"}, "float33"),
        ({"num_heads": 3}, "must be divisible.*hidden_dim=8, num_heads=3"),
        ({"hidden_dim": 7, "num_heads": 1}, "even hidden_dim.*hidden_dim=7"),
        ({"positions": "rotary", "head_dim": 3}, "even size .*received head_dim=3"),
        ({"num_heads": 2, "num_key_value_heads": 4}, "num_heads=2, num_key_value_h"),
        ({"positions": "learned"}, "positions='learned' with max_length=None"),
        ({"max_length": 5}, "positions='sinusoidal' with max_length=5"),
        ({"num_key_value_heads": 0}, "positive integer; .*num_key_value_heads=0"),
        ({"num_layers": True}, "positive integer; received num_layers=True"),
        ({"padding_id": 11}, "an id of the vocabulary, from 0 to 10; .*padding_id=11"),
        ({"padding_id": -1}, "an id of the vocabulary, from 0 to 10; .*padding_id=-1"),
        ({"padding_id": None}, "an id of the vocabulary, from 0 .*padding_id=None"),
        ({"padding_id": 9, "target_vocabulary_size": 9}, "from 0 to 8; .*padding_id=9"),
        ({"dropout": 1.5}, "number from 0 to 1; received dropout=1.5"),
        ({"dropout": "a"}, "number from 0 to 1; received dropout='a'"),
        ({"attention_dropout": -0.1}, "number from 0 to 1; received dropout=-0.1"),
        ({"activation_dropout": 2.0}, "number from 0 to 1; received dropout=2.0"),
        ({"epsilon": -1e-5}, "number from 0 to 1; received epsilon=-1e-05"),
        ({"epsilon": float("nan")}, "number from 0 to 1; received epsilon=nan"),
    ],
)
def test_refuses_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        build(**options)


def test_refuses_an_option_it_does_not_have():
    with pytest.raises(TypeError, match="num_encoder_layers"):
        build(num_encoder_layers=2)


@pytest.fixture(scope="module")
def strict_model():
    model = build(
        positions="learned", max_length=6, target_vocabulary_size=9, dropout=0.0
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


CALLS = {
    "call": lambda model, ids, labels: model(ids),
    "predict": lambda model, ids, labels: model.predict(ids, verbose=0),
    "evaluate": lambda model, ids, labels: model.evaluate(ids, labels, verbose=0),
    "fit": lambda model, ids, labels: model.fit(ids, labels, verbose=0),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "source, target, match",
    [
        (SOURCE - 1, TARGET, "source ids must be from 0 to 10.* ids from -1 to 6"),
        (SOURCE + 4, TARGET, "source ids must be from 0 to 10.* ids from 4 to 11"),
        (SOURCE, TARGET + 1, "target ids must be from 0 to 8.* ids from 1 to 9"),
        (SOURCE, -TARGET, "target ids must be from 0 to 8.* ids from -8 to 0"),
        (SOURCE / 2, TARGET, "source must be integer token ids; .*dtype float64"),
        (SOURCE, TARGET > 0, "target must be integer token ids; .*dtype bool"),
        (SOURCE[0], TARGET[0], r"source must be 2D.* received shape \(5,\)"),
        (SOURCE, TARGET[..., None], r"target must be 2D.* shape \(3, 4, 1\)"),
        (SOURCE[:2], TARGET, r"row each for every pair.*\(2, 5\) and \(3, 4\)"),
        (np.tile(SOURCE, 2), TARGET, "source must not be longer.*=6; .*length 10"),
        (SOURCE, np.tile(TARGET, 2), "target must not be longer.*=6; .*length 8"),
    ],
)
def test_refuses_bad_ids(strict_model, call, source, target, match):
    before = strict_model.get_weights()
    with pytest.raises(ValueError, match=match):
        CALLS[call](strict_model, (source, target), TARGET)
    for old, new in zip(before, strict_model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("call", CALLS)
def test_takes_good_ids(strict_model, call):
    CALLS[call](strict_model, (SOURCE, TARGET), LABELS)


@pytest.mark.parametrize(
    "inputs",
    [
        {"source": SOURCE, "target": TARGET + 1},
        [SOURCE, TARGET + 1],
        (SOURCE.tolist(), (TARGET + 1).tolist()),
    ],
)
def test_refuses_bad_ids_however_they_are_given(strict_model, inputs):
    with pytest.raises(ValueError, match="target ids must be from 0 to 8"):
        strict_model(inputs)


def test_check_ids_takes_one_side_and_lists(strict_model):
    strict_model.check_ids()
    strict_model.check_ids(SOURCE)
    strict_model.check_ids(target=TARGET.tolist())
    strict_model.check_ids(np.zeros((0, 0), "int64"))
    with pytest.raises(ValueError, match="source ids must be from 0 to 10"):
        strict_model.check_ids([[11]])
    with pytest.raises(ValueError, match="target ids must be from 0 to 8"):
        strict_model.check_ids(target=[[9]])


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_the_saved_optimizer_is_of_no_backend(dtype):
    model = build(dtype=dtype)
    model.compile("adam", TokenCrossEntropy())
    config = model.get_compile_config()
    assert "keras.src.backend" not in json.dumps(config)
    again = build(dtype=dtype)
    again.compile_from_config(config)
    assert again.optimizer.get_config() == model.optimizer.get_config()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_a_model_that_was_compiled_and_not_trained_is_loaded_silently(dtype, tmp_path):
    model = build(dtype=dtype)
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9), TokenCrossEntropy())
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    losses = [
        [each.train_on_batch((SOURCE, TARGET), LABELS) for _ in range(2)]
        for each in (model, again)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tie_embeddings": False},
        {"tie_embeddings": False, "dtype": "mixed_bfloat16"},
    ],
)
def test_the_projection_of_a_quantized_model_is_that_of_its_logits(mode, options):
    model = build(hidden_dim=64, output_bias=True, **options)
    model.quantize(mode)
    hidden = model.decode_hidden(TARGET, model.encode_hidden(SOURCE))
    table, bias = (ops.cast(x, "float32") for x in model.projection())
    found = ops.matmul(ops.cast(hidden, "float32"), ops.transpose(table)) + bias
    expected = to_numpy(model((SOURCE, TARGET)))
    # The layer rounds what comes in too.
    np.testing.assert_allclose(to_numpy(found), expected, atol=0.05 * expected.std())


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"tie_embeddings": False}])
def test_eight_bits_are_nearly_as_good(options):
    model = build(hidden_dim=64, intermediate_dim=128, num_heads=4, **options)
    expected = ops.convert_to_numpy(model((SOURCE, TARGET)))
    model.quantize("int8")
    found = ops.convert_to_numpy(model((SOURCE, TARGET)))
    # Not the same, or nothing was quantized; the logits have a deviation of 1.
    assert 1e-4 < np.abs(found - expected).max() < 0.2 * expected.std()
    assert Generator(model)(SOURCE, max_length=5).shape == (len(SOURCE), 5)


@pytest.mark.slow
def test_refuses_to_save_an_activation_that_cannot_be_loaded(tmp_path):
    def unknown(x):
        return keras.activations.relu(x)

    for activation in (lambda x: x, unknown):
        model = build(activation=activation)
        with pytest.raises(ValueError, match="saved by its name.*register_keras_seri"):
            model.save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match="saved by its name.*register_keras_seri"):
            model.encoder_blocks[0].get_config()
        assert not (tmp_path / "model.keras").exists()
    for activation in ("gelu", keras.activations.gelu, doubled):
        build(activation=activation).save(tmp_path / "model.keras")
        copy = keras.saving.load_model(tmp_path / "model.keras")
        assert copy.encoder_blocks[0].activation in (doubled, keras.activations.gelu)


@keras.saving.register_keras_serializable(package="tests")
def doubled(x):
    return 2 * x


@pytest.mark.once
def test_says_how_a_model_is_cloned():
    for options in ({"target_vocabulary_size": 9}, {}):
        model = build(**options)
        with pytest.raises((TypeError, NotImplementedError), match="from_config"):
            keras.models.clone_model(model)


def two_stacks(shared=False):
    encoder = Encoder(11, 12, 16, num_heads=3, num_layers=2, positions="rotary")
    options = {"memory_dim": 12, "num_layers": 1, "positions": "relative"}
    if shared:
        options |= {"table": encoder.embedding.table}
    decoder = Decoder(11, 12 if shared else 8, 10, num_heads=2, **options)
    return encoder, decoder


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_two_stacks_are_saved_with_what_changed_in_them(shared, tmp_path):
    encoder, decoder = two_stacks(shared)
    encoder.blocks[0].trainable = False
    model = EncoderDecoder(encoder, decoder)
    decoder.blocks[0].feed_forward.trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        to_numpy(loaded((SOURCE, TARGET))), to_numpy(model((SOURCE, TARGET)))
    )
    paths = [[v.path for v in m.trainable_variables] for m in (model, loaded)]
    assert paths[0] == paths[1]
    assert loaded.encoder.blocks[0].num_heads == 3
    tables = loaded.decoder.embedding.table, loaded.encoder.embedding.table
    assert (tables[0] is tables[1]) == shared
    expected, found = (Generator(m)(SOURCE, max_length=6) for m in (model, loaded))
    np.testing.assert_array_equal(found, expected)


def test_two_stacks_are_the_model_of_their_sizes():
    whole = build(num_layers=2, num_decoder_layers=1, positions="relative")
    encoder = Encoder(11, 8, 12, 2, 2, positions="relative", dropout=0.0)
    decoder = Decoder(
        *(11, 8, 12, 2, 1),
        positions="relative",
        dropout=0.0,
        table=encoder.embedding.table,
    )
    model = EncoderDecoder(encoder, decoder)
    model.set_weights(whole.get_weights())
    np.testing.assert_allclose(
        to_numpy(model((SOURCE, TARGET))), to_numpy(whole((SOURCE, TARGET))), atol=1e-6
    )


def test_refuses_stacks_that_do_not_fit():
    encoder, decoder = two_stacks()
    with pytest.raises(ValueError, match="memory_dim=12"):
        EncoderDecoder(encoder, Decoder(11, 8, 10, 2, 1))
    with pytest.raises(ValueError, match="one padding id"):
        EncoderDecoder(encoder, Decoder(11, 12, 10, 2, 1, padding_id=3))
    with pytest.raises(TypeError, match="hidden_dim as well"):
        EncoderDecoder(encoder=encoder, decoder=decoder, hidden_dim=8)
    with pytest.raises(TypeError, match="must be a Decoder"):
        EncoderDecoder(encoder, encoder)
    with pytest.raises(TypeError, match="with its input"):
        EncoderDecoder(keras.layers.Dense(12), decoder)
    with pytest.raises(ValueError, match="its own or its encoder's"):
        table = two_stacks()[0].embedding.table
        EncoderDecoder(encoder, Decoder(11, 12, 10, 2, 1, table=table))
    with pytest.raises(TypeError, match="no hidden_dim, intermediate_dim"):
        EncoderDecoder(11)


@pytest.mark.once
def test_stacks_are_taken_in_either_way():
    encoder, decoder = two_stacks()
    for model in (
        EncoderDecoder(encoder, decoder=decoder),
        EncoderDecoder(encoder=encoder, decoder=decoder),
    ):
        assert (model.encoder, model.decoder) == (encoder, decoder)


@pytest.mark.once
def test_a_class_of_the_users_own_is_found_or_named():
    class Mine(Encoder):
        pass

    encoder = Mine(11, 8, 12, 2, 1)
    config = EncoderDecoder(encoder, Decoder(11, 8, 12, 2, 1)).get_config()
    with pytest.raises(TypeError, match="part of Mine, which is unknown"):
        EncoderDecoder.from_config(config)
    loaded = EncoderDecoder.from_config(config, {"Mine": Mine})
    assert type(loaded.encoder) is Mine


# An encoder of another kind


def features_of(ids):
    """Noisy vectors, one direction for each id; zeros for padding."""
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.normal(size=(12, 12)))[0][:, :11].T * 3
    features = vectors[ids] + 0.1 * rng.normal(size=(*ids.shape, 12))
    return (features * (ids != 0)[..., None]).astype("float32")


def model_of_features():
    encoder = keras.Sequential(
        [
            keras.Input((None, 12)),
            keras.layers.Masking(),
            keras.layers.Dense(16),
            SinusoidalPosition(),
        ],
        name="features",
    )
    decoder = Decoder(11, 16, 32, num_heads=2, num_layers=1, dropout=0.0)
    return EncoderDecoder(encoder, decoder)


@pytest.mark.slow
def test_padding_of_features_changes_nothing():
    model = model_of_features()
    features = features_of(SOURCE[1:])
    assert model.source_features == 12
    long, short = model((features, TARGET[1:])), model((features[:, :3], TARGET[1:]))
    np.testing.assert_allclose(to_numpy(long), to_numpy(short), atol=1e-5)
    generator = Generator(model, BeamSampler(3))
    batch = generator([*map(np.array, features_of(SOURCE))], max_length=5)
    alone = [generator(x[None], max_length=5)[0] for x in features_of(SOURCE)]
    np.testing.assert_array_equal(batch, alone)


@pytest.mark.slow
def test_learns_to_copy_features(tmp_path):
    keras.utils.set_random_seed(0)
    rng, model = np.random.default_rng(1), model_of_features()
    labels = rng.integers(3, 11, (1024, 4))
    labels[:, -1] = 2
    target = np.concatenate([np.ones((1024, 1), int), labels[:, :-1]], axis=1)
    source = labels.copy()
    source[::2, 1] = 2  # A short one, padded.
    short = np.arange(1024) % 2 == 0
    source[short, 2:] = labels[short, 2:] = target[short, 3:] = 0
    labels[short, 1], target[short, 2] = 2, 0
    target[short, 2:] = 0
    model.compile(keras.optimizers.Adam(0.005), TokenCrossEntropy())
    model.fit(
        (features_of(source), target), labels, batch_size=32, epochs=10, verbose=0
    )
    held_out = np.array([[4, 7, 9, 2], [8, 2, 0, 0], [3, 10, 5, 2]])
    generator = Generator(model)
    ids = generator(features_of(held_out), max_length=4)
    np.testing.assert_array_equal(ids, held_out)
    scores, _ = generator.score(features_of(held_out), held_out)
    assert np.all(scores > -2)
    attention = generator.align(features_of(held_out), held_out)
    assert attention.shape == (3, 4, 4) and attention[1, :, 2:].max() < 1e-6
    model.save(tmp_path / "copies.keras")
    loaded = keras.models.load_model(tmp_path / "copies.keras")
    found = Generator(loaded)(features_of(held_out), max_length=4)
    np.testing.assert_array_equal(found, held_out)


@pytest.mark.parametrize(
    "source, match",
    [
        (np.zeros((1, 3, 11), "float32"), "12 features"),
        (np.zeros((1, 3, 12), "int32"), "floats"),
        (np.full((1, 3, 12), np.nan, "float32"), "finite"),
        (np.full((1, 3, 12), 1e39), "finite"),
        ([[5, 7, 2]], "12"),
    ],
)
def test_refuses_what_are_no_features(source, match):
    model = model_of_features()
    with pytest.raises(ValueError, match=match):
        Generator(model)(source, max_length=3)
    if isinstance(source, np.ndarray):
        with pytest.raises(ValueError, match=match):
            model.predict((source, TARGET[:1]), verbose=0)


def model_of_ids(frozen=False, padding_id=0, mask_zero=True):
    encoder = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(11, 16, mask_zero=mask_zero),
            keras.layers.Dense(16),
        ],
        name="ids",
    )
    if frozen:
        encoder.layers[0].trainable = False
    decoder = Decoder(11, 16, 32, 2, 1, padding_id=padding_id)
    return EncoderDecoder(encoder, decoder)


@pytest.mark.slow
def test_ids_for_an_encoder_of_another_kind():
    model = model_of_ids()
    alone = Generator(model)([[5, 7, 2]], max_length=4)[0]
    batch = Generator(model)([[5, 7, 2], [5, 7, 9, 4, 3, 2]], max_length=4)
    np.testing.assert_array_equal(batch[0], alone)
    assert model((SOURCE, TARGET)).shape == (*TARGET.shape, 11)
    with pytest.raises(ValueError, match="source ids must be 0 or more.*from -1"):
        model((np.array([[5, -1]]), TARGET[:1]))


@pytest.mark.once
def test_an_encoder_of_another_kind_that_came_frozen_is_loaded_so(tmp_path):
    model = model_of_ids(frozen=True)
    model.save(tmp_path / "frozen.keras")
    loaded = keras.models.load_model(tmp_path / "frozen.keras")
    assert len(loaded.trainable_variables) == len(model.weights) - 1
    assert not loaded.encoder.layers[0].trainable


@pytest.mark.parametrize("options", [{"mask_zero": False}, {"padding_id": 3}])
def test_adds_no_padding_where_the_encoder_does_not_mask_it(options):
    model = model_of_ids(**options)
    generator = Generator(model)
    target = np.array([[5, 9, 4, 2]])
    for length in (3, 5):
        source = np.full((1, length), 7)
        given = np.concatenate([[[1]], target[:, :-1]], axis=1)
        logits = to_numpy(model((source, given))).copy()
        logits[..., model.padding_id] = -np.inf  # Which is never generated.
        expected = to_numpy(ops.log_softmax(logits))
        expected = np.take_along_axis(expected, target[..., None], axis=2)
        _, found = generator.score(source, target)
        np.testing.assert_allclose(found, expected[..., 0], atol=1e-5)
    with pytest.raises(ValueError, match="of several lengths.*carries no mask"):
        generator([[5, 7, 2], [9, 2]], max_length=4)
    assert generator([[5, 7, 2], [9, 7, 2]], max_length=4).shape == (2, 4)
    with pytest.raises(ValueError, match="must mask padding"):
        TextToText(*[ByteTokenizer()] * 2, model)
