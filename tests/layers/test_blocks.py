import keras
import numpy as np
import pytest
import torch
from keras import ops
from keras.src.backend import get_keras_mask, set_keras_mask

from keras_encdec.layers import DecoderBlock, EncoderBlock, TokenEmbedding

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4, 8)).astype("float32")
MEMORY = RNG.normal(size=(3, 5, 8)).astype("float32")
# Every row begins with a token, so that PyTorch gives no NaN.
TOKENS = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0]], bool)
MEMORY_TOKENS = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0]], bool)
BIAS = RNG.normal(size=(1, 2, 4, 4)).astype("float32")

VARIANTS = [
    {},
    {"normalize_first": False, "use_bias": False, "dropout": 0.1},
    {"normalization": "rms", "gated": True, "activation": "silu", "rotary": True},
    {"head_dim": 6, "num_key_value_heads": 1, "attention_dropout": 0.1},
]


def to_numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def built(block, seed=1, **options):
    """A block of 2 heads with random weights, biases included."""
    layer = block(**{"num_heads": 2, "intermediate_dim": 12, **options})
    layer.build(*[(None, None, 8)] * (1 if block is EncoderBlock else 2))
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(0, 0.5, size=w.shape) for w in layer.get_weights()])
    return layer


def with_mask(x, tokens):
    """The sequence as a tensor that carries a Keras mask."""
    x = ops.convert_to_tensor(x)
    set_keras_mask(x, ops.convert_to_tensor(tokens))
    return x


@pytest.mark.parametrize("options", VARIANTS)
def test_encoder_block_keeps_keras_rules(run_layer_test, options):
    run_layer_test(
        EncoderBlock,
        init_kwargs={"num_heads": 2, "intermediate_dim": 12, **options},
        input_shape=(3, 4, 8),
        expected_output_shape=(3, 4, 8),
        expected_output_dtype="float32",
        supports_masking=True,
    )


@pytest.mark.parametrize("options", VARIANTS)
def test_decoder_block_keeps_keras_rules(run_layer_test, options):
    run_layer_test(
        DecoderBlock,
        init_kwargs={"num_heads": 2, "intermediate_dim": 12, **options},
        input_shape={"x_shape": (3, 4, 8), "memory_shape": (3, 5, 8)},
        expected_output_shape=(3, 4, 8),
        expected_output_dtype="float32",
        supports_masking=True,
        run_training_check=False,  # Keras trains on one tensor.
    )


def torch_layer(module, activation, normalize_first):
    return module(
        8,
        2,
        12,
        dropout=0.0,
        activation=activation,
        batch_first=True,
        norm_first=normalize_first,
    )


@pytest.mark.parametrize("tokens", [None, TOKENS])
@pytest.mark.parametrize("normalize_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_block_is_torchs(copy_from_torch, activation, normalize_first, tokens):
    options = {"activation": activation, "normalize_first": normalize_first}
    block = built(EncoderBlock, **options)
    expected = torch_layer(torch.nn.TransformerEncoderLayer, **options)
    copy_from_torch(block, expected)
    y = expected(
        torch.tensor(X),
        src_key_padding_mask=None if tokens is None else torch.tensor(~tokens),
    )
    np.testing.assert_allclose(
        to_numpy(block(X, mask=tokens)), y.detach().numpy(), atol=1e-5
    )


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("normalize_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_decoder_block_is_torchs(copy_from_torch, activation, normalize_first, masked):
    options = {"activation": activation, "normalize_first": normalize_first}
    block = built(DecoderBlock, **options)
    expected = torch_layer(torch.nn.TransformerDecoderLayer, **options)
    copy_from_torch(block, expected)
    y = expected(
        torch.tensor(X),
        torch.tensor(MEMORY),
        tgt_mask=torch.triu(torch.ones(4, 4, dtype=bool), 1),
        tgt_key_padding_mask=torch.tensor(~TOKENS) if masked else None,
        memory_key_padding_mask=torch.tensor(~MEMORY_TOKENS) if masked else None,
    )
    masks = {"mask": TOKENS, "memory_mask": MEMORY_TOKENS} if masked else {}
    np.testing.assert_allclose(
        to_numpy(block(X, MEMORY, **masks)), y.detach().numpy(), atol=1e-5
    )


@pytest.mark.parametrize("bias", [None, BIAS])
def test_encoder_mask_may_be_carried_or_given(bias):
    block = built(EncoderBlock)
    other = with_mask(X, np.ones_like(TOKENS))
    found = {
        "carried": block(with_mask(X, TOKENS), bias=bias),
        "mask": block(X, mask=TOKENS, bias=bias),
        "x_mask": block(X, x_mask=TOKENS, bias=bias),
        "4D mask": block(X, mask=TOKENS[:, None, None, :], bias=bias),
        "4D x_mask": block(X, x_mask=TOKENS[:, None, None, :], bias=bias),
        "mask over carried": block(other, mask=TOKENS, bias=bias),
        "x_mask over carried": block(other, x_mask=TOKENS, bias=bias),
    }
    for row in range(3):
        keys = np.flatnonzero(TOKENS[row])
        expected = block(
            X[row : row + 1, keys],
            bias=None if bias is None else bias[:, :, keys][..., keys],
        )
        for name, y in found.items():
            np.testing.assert_allclose(
                to_numpy(y)[row, keys], to_numpy(expected)[0], atol=1e-5, err_msg=name
            )


@pytest.mark.parametrize("bias", [None, BIAS])
def test_decoder_masks_may_be_carried_or_given(bias):
    block = built(DecoderBlock)
    x, memory = with_mask(X, TOKENS), with_mask(MEMORY, MEMORY_TOKENS)
    given = {"mask": TOKENS, "memory_mask": MEMORY_TOKENS}
    wide = {name: mask[:, None, None, :] for name, mask in given.items()}
    others = [with_mask(a, np.ones(a.shape[:2], bool)) for a in (X, MEMORY)]
    found = {
        "carried": block(x, memory, bias=bias),
        "given": block(X, MEMORY, bias=bias, **given),
        "x_mask": block(X, MEMORY, x_mask=TOKENS, memory_mask=MEMORY_TOKENS, bias=bias),
        "4D": block(X, MEMORY, bias=bias, **wide),
        "one of each": block(x, MEMORY, memory_mask=MEMORY_TOKENS, bias=bias),
        "the other": block(X, memory, mask=TOKENS, bias=bias),
        "given over carried": block(*others, bias=bias, **given),
    }
    for row in range(3):
        keys = np.flatnonzero(TOKENS[row])
        expected = block(
            X[row : row + 1, keys],
            MEMORY[row : row + 1, MEMORY_TOKENS[row]],
            bias=None if bias is None else bias[:, :, keys][..., keys],
        )
        for name, y in found.items():
            np.testing.assert_allclose(
                to_numpy(y)[row, keys], to_numpy(expected)[0], atol=1e-5, err_msg=name
            )


def test_outputs_carry_the_mask_of_x():
    x, memory = with_mask(X, TOKENS), with_mask(MEMORY, MEMORY_TOKENS)
    encoder, decoder = built(EncoderBlock), built(DecoderBlock)
    for y in (
        encoder(x),
        encoder(X, mask=TOKENS),
        encoder(x, bias=BIAS),
        decoder(x, memory),
        decoder(x, MEMORY, bias=BIAS),
        decoder(X, memory, mask=TOKENS),
        decoder(x, memory, return_attention_weights=True)[0],
    ):
        np.testing.assert_array_equal(to_numpy(get_keras_mask(y)), TOKENS)
    assert get_keras_mask(encoder(X)) is None
    assert get_keras_mask(decoder(X, memory)) is None
    assert get_keras_mask(encoder(X, mask=TOKENS[:, None, None, :])) is None


def test_decoder_does_not_look_ahead():
    block = built(DecoderBlock)
    before = to_numpy(block(X, MEMORY))
    changed = X.copy()
    changed[:, 2] += 1
    after = to_numpy(block(changed, MEMORY))
    np.testing.assert_allclose(after[:, :2], before[:, :2], atol=1e-6)
    assert np.abs(after[:, 2:] - before[:, 2:]).min(axis=-1).max() > 1e-3


def test_decoder_returns_the_weights_of_the_memory():
    block = built(DecoderBlock)
    options = {"mask": TOKENS, "memory_mask": MEMORY_TOKENS}
    y, weights = block(X, MEMORY, **options, return_attention_weights=True)
    np.testing.assert_allclose(
        to_numpy(y), to_numpy(block(X, MEMORY, **options)), atol=1e-5
    )
    weights = to_numpy(weights)
    assert weights.shape == (3, 2, 4, 5)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    seen = np.broadcast_to(MEMORY_TOKENS[:, None, None, :], weights.shape)
    np.testing.assert_array_equal(weights > 0, seen)


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("beams", [1, 2])
def test_steps_are_the_rows_of_the_call(options, beams):
    block = built(DecoderBlock, **options)
    x = RNG.normal(size=(3 * beams, 4, 8)).astype("float32")
    mask = MEMORY_TOKENS[:, None, None, :]
    expected = block(
        x, MEMORY.repeat(beams, 0), memory_mask=MEMORY_TOKENS.repeat(beams, 0)
    )
    memory = block.remember(ops.convert_to_tensor(MEMORY))
    cache = block.new_cache(3 * beams, 6)
    heads = options.get("num_key_value_heads", 2), options.get("head_dim", 4)
    assert [tuple(part.shape) for part in cache] == [
        (3 * beams, heads[0], 6, heads[1])
    ] * 2
    for index in range(4):
        y, cache = block.step(
            ops.convert_to_tensor(x[:, index : index + 1]), index, cache, memory, mask
        )
        np.testing.assert_allclose(
            to_numpy(y), to_numpy(expected)[:, index : index + 1], atol=1e-5
        )


@pytest.mark.parametrize("block", [EncoderBlock, DecoderBlock])
@pytest.mark.parametrize("name", ["dropout", "attention_dropout", "activation_dropout"])
def test_every_dropout_acts_in_training_alone(block, name):
    inputs = [X] if block is EncoderBlock else [X, MEMORY]
    layer, expected = built(block, **{name: 0.5}), to_numpy(built(block)(*inputs))
    np.testing.assert_allclose(to_numpy(layer(*inputs)), expected, atol=1e-5)
    dropped = to_numpy(layer(*inputs, training=True))
    assert np.abs(dropped - expected).max() > 0.05


def by_hand(dtype=None):
    """A small Transformer as a user assembles it."""
    source = keras.Input((None,), dtype="int32")
    target = keras.Input((None,), dtype="int32")
    memory = TokenEmbedding(9, 8, positions="sinusoidal", dtype=dtype)(source)
    x = TokenEmbedding(9, 8, positions="learned", max_length=6, dtype=dtype)(target)
    for _ in range(2):
        memory = EncoderBlock(2, 12, dtype=dtype)(memory)
    for _ in range(2):
        x = DecoderBlock(2, 12, rotary=True, dtype=dtype)(x, memory)
    return keras.Model([source, target], keras.layers.Dense(9, dtype=dtype)(x))


SOURCE = np.array([[3, 4, 5, 1, 0], [2, 2, 0, 0, 0]], "int32")
TARGET = np.array([[1, 4, 5, 0], [1, 2, 0, 0]], "int32")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_model_made_by_hand_is_saved_whole(tmp_path, dtype):
    model = by_hand(dtype)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.4, size=w.shape) for w in model.get_weights()])
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    for expected, weight in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    np.testing.assert_array_equal(
        to_numpy(copy([SOURCE, TARGET])), to_numpy(model([SOURCE, TARGET]))
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype, atol", [("float32", 1e-5), ("mixed_bfloat16", 0.05)])
def test_padding_flows_through_a_model_made_by_hand(dtype, atol):
    model = by_hand(dtype)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.4, size=w.shape) for w in model.get_weights()])
    y = model([SOURCE, TARGET])
    np.testing.assert_array_equal(to_numpy(get_keras_mask(y)), TARGET != 0)
    for row in range(2):
        source, target = (ids[row][ids[row] != 0][None] for ids in (SOURCE, TARGET))
        np.testing.assert_allclose(
            to_numpy(y)[row, : target.size],
            to_numpy(model([source, target]))[0],
            atol=atol,
        )


@pytest.mark.parametrize("block", [EncoderBlock, DecoderBlock])
@pytest.mark.parametrize(
    "options, match",
    [
        ({"num_heads": 0}, "positive integer; received num_heads=0"),
        ({"intermediate_dim": 0}, "positive integer; received intermediate_dim=0"),
        ({"normalization": "batch"}, "'layer', 'rms'; received normalization='batch'"),
        ({"activation": "relux"}, "relux"),
        ({"num_heads": 3}, "hidden_dim must be divisible.*hidden_dim=8, num_heads=3"),
        ({"num_heads": 8, "rotary": True}, "even size .*received head_dim=1"),
        ({"num_key_value_heads": 3}, "num_heads=2, num_key_value_heads=3"),
    ],
)
def test_refuses_bad_options(block, options, match):
    inputs = [X] if block is EncoderBlock else [X, MEMORY]
    with pytest.raises(ValueError, match=match):
        block(**{"num_heads": 2, "intermediate_dim": 12, **options})(*inputs)
