import keras
import numpy as np
import pytest
import torch
from keras import ops
from keras.src.backend import get_keras_mask

from keras_encdec.layers import (
    Attention,
    DecoderBlock,
    EncoderBlock,
    TokenEmbedding,
    combine_masks,
    look_ahead_mask,
    padding_mask,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4, 8)).astype("float32")
MEMORY = RNG.normal(size=(3, 5, 6)).astype("float32")
X_IDS = np.array([[3, 4, 5, 1], [3, 4, 0, 0], [0, 2, 0, 1]], "int32")
MEMORY_IDS = np.array([[3, 4, 5, 1, 2], [3, 4, 0, 0, 0], [0, 2, 0, 1, 0]], "int32")
BIAS = RNG.normal(size=(1, 2, 4, 4)).astype("float32")


def to_numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def built(options=None, memory_dim=8, seed=1, **kwargs):
    """An attention of 2 heads with random weights, biases included."""
    layer = Attention(**{"num_heads": 2, **(options or {}), **kwargs})
    layer.build((None, None, 8), (None, None, memory_dim))
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(0, 0.5, size=w.shape) for w in layer.get_weights()])
    return layer


def with_mask(x, tokens):
    """The sequence as a tensor that carries a Keras mask."""
    x = ops.convert_to_tensor(x)
    keras.src.backend.set_keras_mask(x, ops.convert_to_tensor(tokens))
    return x


@pytest.mark.parametrize(
    "options, weights",
    [
        ({}, 8),
        ({"head_dim": 3, "num_key_value_heads": 1, "use_bias": False}, 4),
        ({"dropout": 0.2, "rotary": True}, 8),
    ],
)
def test_keeps_keras_rules(run_layer_test, options, weights):
    for shapes, training in (
        ((3, 4, 8), True),
        ({"x_shape": (3, 4, 8), "memory_shape": (3, 5, 6)}, False),
    ):
        run_layer_test(
            Attention,
            init_kwargs={"num_heads": 2, **options},
            input_shape=shapes,
            expected_output_shape=(3, 4, 8),
            expected_output_dtype="float32",
            expected_num_trainable_weights=weights,
            expected_num_non_trainable_weights=0,
            expected_num_seed_generators=int("dropout" in options),
            supports_masking=True,
            run_training_check=training,  # Keras trains on one tensor.
        )


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_self_attention_is_torchs(copy_from_torch, causal, masked):
    expected = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    layer = built()
    copy_from_torch(layer, expected)
    # Under the causal mask every query of these rows still has a key.
    tokens = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0]], bool)
    x = torch.tensor(X)
    y, weights = expected(
        x,
        x,
        x,
        key_padding_mask=torch.tensor(~tokens) if masked else None,
        attn_mask=torch.triu(torch.ones(4, 4, dtype=bool), 1) if causal else None,
        average_attn_weights=False,
    )
    mask = tokens if masked else None
    options = {"mask": mask, "causal": causal}
    np.testing.assert_allclose(
        to_numpy(layer(X, **options)), y.detach().numpy(), atol=1e-5
    )
    found = layer(X, **options, return_attention_weights=True)
    np.testing.assert_allclose(to_numpy(found[0]), y.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(to_numpy(found[1]), weights.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_to_a_memory_is_torchs(copy_from_torch, masked):
    expected = torch.nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)
    layer = built(memory_dim=6)
    copy_from_torch(layer, expected)
    tokens = MEMORY_IDS != 0
    memory = torch.tensor(MEMORY)
    y, _ = expected(
        torch.tensor(X),
        memory,
        memory,
        key_padding_mask=torch.tensor(~tokens) if masked else None,
    )
    np.testing.assert_allclose(
        to_numpy(layer(X, MEMORY, memory_mask=tokens if masked else None)),
        y.detach().numpy(),
        atol=1e-5,
    )


def test_bias_is_torchs_float_mask(copy_from_torch):
    expected = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    layer = built()
    copy_from_torch(layer, expected)
    x = torch.tensor(X)
    tokens = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0]], bool)
    scores = np.where(tokens[:, None, None], BIAS, -np.inf).astype("float32")
    for mask, attn_mask in (
        (None, np.broadcast_to(BIAS, (3, 2, 4, 4))),
        (tokens, scores),
    ):
        attn_mask = torch.tensor(attn_mask.reshape(6, 4, 4))
        y = expected(x, x, x, attn_mask=attn_mask)[0].detach().numpy()
        for with_weights in (False, True):
            found = layer(
                X, mask=mask, bias=BIAS, return_attention_weights=with_weights
            )
            found = found[0] if with_weights else found
            np.testing.assert_allclose(to_numpy(found), y, atol=1e-5)


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_grouped_queries_are_heads_with_repeated_keys_and_values(groups, rotary):
    options = {"num_heads": 4, "head_dim": 6, "rotary": rotary}
    layer = built(options, num_key_value_heads=groups)
    full = built(options)
    for name in ("query_dense", "output_dense"):
        getattr(full, name).set_weights(getattr(layer, name).get_weights())
    for name in ("key_dense", "value_dense"):
        repeated = [
            np.repeat(w.reshape(*w.shape[:-1], groups, 6), 4 // groups, -2).reshape(
                *w.shape[:-1], 24
            )
            for w in getattr(layer, name).get_weights()
        ]
        getattr(full, name).set_weights(repeated)
    tokens = X_IDS != 0
    expected = to_numpy(full(X, mask=tokens, causal=True))
    np.testing.assert_allclose(
        to_numpy(layer(X, mask=tokens, causal=True)), expected, atol=1e-5
    )
    found = layer(X, mask=tokens, causal=True, return_attention_weights=True)
    np.testing.assert_allclose(to_numpy(found[0]), expected, atol=1e-5)
    assert tuple(found[1].shape) == (3, 4, 4, 4)


@pytest.mark.parametrize("bias", [None, BIAS])
def test_weights_are_a_distribution_over_what_may_be_attended_to(bias):
    mask = combine_masks(padding_mask(X_IDS), look_ahead_mask(4))
    y, weights = built()(X, mask=mask, bias=bias, return_attention_weights=True)
    allowed = np.broadcast_to(ops.convert_to_numpy(mask), (3, 2, 4, 4))
    weights = to_numpy(weights)
    assert np.all(weights[~allowed] == 0)
    assert np.all(weights[allowed] > 0)
    # The first query of the last row has no key.
    np.testing.assert_allclose(weights.sum(-1), allowed.any(-1), rtol=1e-5)
    np.testing.assert_allclose(
        to_numpy(built()(X, mask=mask, bias=bias)), to_numpy(y), atol=1e-5
    )


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("weights", [False, True])
def test_query_without_keys_gets_zeros_whatever_the_padding(weights, bias):
    layer = built(memory_dim=6)
    for length in (1, 5):
        y = layer(
            X,
            MEMORY[:, :length],
            memory_mask=np.zeros((3, length), bool),
            bias=BIAS[..., :1] if bias else None,
            return_attention_weights=weights,
        )
        y = to_numpy(y[0] if weights else y)
        output_bias = layer.output_dense.get_weights()[1]
        np.testing.assert_allclose(y, np.broadcast_to(output_bias, y.shape), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "mixed_float16"])
@pytest.mark.parametrize("weights", [False, True])
def test_mask_and_bias_together_hide_padding_in_every_dtype(dtype, weights):
    tokens = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0]], bool)
    bias = np.where(tokens[:, None, None, :], BIAS, 40)
    # Padding that would win every softmax if it were seen.
    x = np.where(tokens[..., None], X, 30 * X)
    options = {"mask": tokens, "bias": bias, "return_attention_weights": weights}
    y = built(dtype=dtype)(x, **options)
    y = to_numpy(y[0] if weights else y)
    assert np.isfinite(y).all()
    for row in range(3):
        keys = np.flatnonzero(tokens[row])
        expected = built()(X[row : row + 1, keys], bias=BIAS[:, :, keys][..., keys])
        tolerance = {"float32": 1e-5, "bfloat16": 0.05}.get(dtype, 0.01)
        np.testing.assert_allclose(
            y[row, keys], to_numpy(expected)[0], rtol=tolerance, atol=tolerance
        )


def calls(layer, tokens, bias=None, **kwargs):
    """The same call with the mask carried by x, and given in every other way."""
    masked = with_mask(X, tokens)
    yield "implicit", layer(masked, bias=bias, **kwargs)
    yield "mask", layer(X, mask=tokens, bias=bias, **kwargs)
    yield "x_mask", layer(X, x_mask=tokens, bias=bias, **kwargs)
    mask = tokens[:, None, None, :]
    yield "4D mask", layer(X, mask=mask, bias=bias, **kwargs)
    yield "4D x_mask", layer(X, x_mask=mask, bias=bias, **kwargs)
    # An explicit mask wins over one that is carried.
    other = with_mask(X, np.ones_like(tokens))
    yield "mask over carried", layer(other, mask=tokens, bias=bias, **kwargs)
    yield "x_mask over carried", layer(other, x_mask=tokens, bias=bias, **kwargs)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("bias", [None, BIAS])
def test_mask_may_be_carried_or_given(bias, causal):
    layer = built()
    tokens = X_IDS != 0
    found = dict(calls(layer, tokens, bias, causal=causal))
    # By hand: the keys that are padding are cut off, row by row.
    for row in range(3):
        keys = np.flatnonzero(tokens[row])
        mask = np.ones((4, len(keys)), bool)
        if causal:
            mask = keys[None, :] <= np.arange(4)[:, None]
        expected = layer.attend(
            ops.convert_to_tensor(X[row : row + 1]),
            layer.remember(ops.convert_to_tensor(X[row : row + 1, keys])),
            ops.convert_to_tensor(mask[None, None]),
            bias=None if bias is None else ops.convert_to_tensor(bias[..., keys]),
        )
        for name, y in found.items():
            np.testing.assert_allclose(
                to_numpy(y)[row], to_numpy(expected)[0], atol=1e-5, err_msg=name
            )


@pytest.mark.parametrize("bias", [None, RNG.normal(size=(1, 1, 4, 5))])
def test_memory_mask_may_be_carried_or_given(bias):
    layer = built(memory_dim=6)
    tokens = MEMORY_IDS != 0
    x, memory = with_mask(X, X_IDS != 0), with_mask(MEMORY, tokens)
    other = with_mask(MEMORY, np.ones_like(tokens))
    found = [
        layer(x, memory, bias=bias),
        layer(X, memory, bias=bias),
        layer(x, MEMORY, memory_mask=tokens, bias=bias),
        layer(x, other, memory_mask=tokens, bias=bias),
        layer(X, MEMORY, memory_mask=tokens[:, None, None, :], bias=bias),
        # A mask of x says nothing of the memory.
        layer(X, memory, mask=X_IDS == 0, bias=bias),
    ]
    for row in range(3):
        keys = np.flatnonzero(tokens[row])
        expected = layer(
            X[row : row + 1],
            MEMORY[row : row + 1, keys],
            bias=None if bias is None else bias[..., keys],
        )
        for y in found:
            np.testing.assert_allclose(
                to_numpy(y)[row], to_numpy(expected)[0], atol=1e-5
            )


def test_output_carries_the_mask_of_the_queries():
    layer, tokens = built(memory_dim=8), X_IDS != 0
    x, memory = with_mask(X, tokens), np.ones((3, 5, 8), "float32")
    for y in (
        layer(x),
        layer(X, mask=tokens),
        layer(x, bias=BIAS),
        layer(x, memory),
        layer(x, with_mask(memory, MEMORY_IDS != 0)),
        layer(x, return_attention_weights=True)[0],
    ):
        np.testing.assert_array_equal(to_numpy(get_keras_mask(y)), tokens)
    assert get_keras_mask(layer(X)) is None
    assert get_keras_mask(layer(X, mask=tokens[:, None, None, :])) is None
    assert get_keras_mask(layer(x, return_attention_weights=True)[1]) is None


@pytest.mark.parametrize("rotary", [False, True])
def test_call_is_remember_and_attend(rotary):
    layer = built(rotary=rotary)
    x = ops.convert_to_tensor(X)
    mask = combine_masks(padding_mask(X_IDS), look_ahead_mask(4))
    keys_values = layer.remember(x)
    assert [tuple(part.shape) for part in keys_values] == [(3, 2, 4, 4)] * 2
    expected = to_numpy(layer(X, mask=X_IDS != 0, causal=True))
    np.testing.assert_allclose(
        to_numpy(layer.attend(x, keys_values, mask)), expected, atol=1e-6
    )
    # In two parts, each from its own start.
    parts = zip(
        layer.remember(x[:, :3]), layer.remember(x[:, 3:], start=3), strict=True
    )
    keys_values = tuple(ops.concatenate(part, axis=2) for part in parts)
    last = layer.attend(x[:, 3:], keys_values, mask[:, :, 3:], start=3)
    np.testing.assert_allclose(to_numpy(last), expected[:, 3:], atol=1e-5)


def test_rotary_attention_does_not_see_where_a_sequence_starts():
    layer = built(rotary=True)
    x = ops.convert_to_tensor(X)
    here = layer.attend(x, layer.remember(x))
    there = layer.attend(x, layer.remember(x, start=90), start=90)
    np.testing.assert_allclose(to_numpy(there), to_numpy(here), atol=1e-4)
    turned = layer.attend(x, layer.remember(x), start=2)
    assert np.abs(to_numpy(turned) - to_numpy(here)).max() > 1e-2


def test_dropout_acts_in_training_alone():
    layer, plain = built(dropout=0.5), built()
    expected = to_numpy(plain(X))
    np.testing.assert_allclose(to_numpy(layer(X)), expected, atol=1e-5)
    np.testing.assert_allclose(to_numpy(plain(X, training=True)), expected, atol=1e-6)
    y, weights = layer(X, training=True, return_attention_weights=True)
    assert np.abs(to_numpy(y) - expected).max() > 0.05
    # What is returned are the weights before some are dropped.
    np.testing.assert_allclose(to_numpy(weights).sum(-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("bias", [False, True])
def test_gradients_are_finite_with_rows_of_padding(dropout, bias):
    """Without dropout the fused path is trained, with it the other one."""
    ids = keras.Input((4,), dtype="int32")
    x = TokenEmbedding(6, 8)(ids)
    y = Attention(2, dropout=dropout)(x, bias=BIAS if bias else None, causal=True)
    model = keras.Model(ids, keras.layers.Dense(3)(y))
    model.compile(keras.optimizers.SGD(1.0), "mse")
    before = model.get_weights()
    rows = np.array([[0, 0, 0, 0], [0, 3, 0, 0], [1, 2, 0, 0]])
    history = model.fit(rows, np.ones((3, 4, 3)), verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    changed = [
        np.isfinite(new).all() and np.abs(new - old).max() > 0
        for old, new in zip(before, model.get_weights(), strict=True)
    ]
    # A bias of the keys moves all scores of a query alike, hence learns nothing.
    names = [w.path for w, c in zip(model.weights, changed, strict=True) if not c]
    assert all("key/bias" in name for name in names)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_symbolic_call_knows_its_shapes():
    x, memory = keras.Input((None, 8)), keras.Input((None, 6))
    layer = Attention(2, dtype="mixed_bfloat16")
    y, weights = layer(x, memory, return_attention_weights=True)
    assert y.shape == (None, None, 8)
    assert y.dtype == "bfloat16"
    assert weights.shape == (None, 2, None, None)
    assert weights.dtype == "float32"
    found = keras.Model([x, memory], [y, weights])([X, MEMORY])
    assert [tuple(part.shape) for part in found] == [(3, 4, 8), (3, 2, 4, 5)]
    assert [keras.backend.standardize_dtype(part.dtype) for part in found] == [
        "bfloat16",
        "float32",
    ]


@pytest.mark.parametrize(
    "options, match",
    [
        ({"num_heads": 0}, "positive integer; received num_heads=0"),
        ({"num_heads": 2.0}, "positive integer; received num_heads=2.0"),
        ({"head_dim": -4}, "positive integer; received head_dim=-4"),
        ({"num_key_value_heads": -1}, "received num_key_value_heads=-1"),
        (
            {"num_heads": 4, "num_key_value_heads": 3},
            "divisible by num_key_value_heads.*num_heads=4, num_key_value_heads=3",
        ),
        (
            {"num_heads": 3},
            "hidden_dim must be divisible by num_heads.*hidden_dim=8, num_heads=3",
        ),
        ({"num_heads": 8, "rotary": True}, "even size .*received head_dim=1"),
    ],
)
@pytest.mark.parametrize("x", [X, keras.KerasTensor((None, None, 8))])
def test_refuses_bad_options(x, options, match):
    with pytest.raises(ValueError, match=match):
        Attention(**{"num_heads": 2, **options})(x)


def test_a_mask_of_three_axes_is_the_same_for_all_heads():
    """As Keras's own attention takes it; with B = N a broadcast says nothing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 8)).astype("float32")
    memory = rng.normal(size=(2, 5, 8)).astype("float32")
    mask, own = rng.random((2, 3, 5)) < 0.6, rng.random((2, 3, 3)) < 0.6
    attention, encoder, decoder = Attention(2), EncoderBlock(2, 8), DecoderBlock(2, 8)
    calls = [
        lambda m, o: attention(x, memory, memory_mask=m),
        lambda m, o: attention(x, mask=o),
        lambda m, o: encoder(x, mask=o),
        lambda m, o: decoder(x, memory, mask=o, memory_mask=m),
    ]
    for call in calls:
        expected = ops.convert_to_numpy(call(mask[:, None], own[:, None]))
        found = call(mask, own)
        np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-6)
        assert get_keras_mask(found) is None
        assert np.abs(ops.convert_to_numpy(call(~mask, ~own)) - expected).max() > 1e-3
