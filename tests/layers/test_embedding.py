import keras
import numpy as np
import pytest
from keras import ops
from keras.src.backend import get_keras_mask

from keras_encdec.layers import EncoderBlock, RelativePositionBias, TokenEmbedding

IDS = np.array([[5, 7, 2, 0], [3, 0, 9, 1]], "int32")


def to_numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


@pytest.mark.parametrize(
    "options, weights",
    [
        ({}, 1),
        ({"positions": "sinusoidal", "dropout": 0.1, "padding_id": None}, 1),
        ({"positions": "learned", "max_length": 6, "scale": False}, 2),
        ({"positions": "sinusoidal", "normalization": "layer", "epsilon": 0.1}, 3),
    ],
)
def test_keeps_keras_rules(run_layer_test, options, weights):
    run_layer_test(
        TokenEmbedding,
        init_kwargs={"vocabulary_size": 10, "hidden_dim": 8, **options},
        input_shape=(2, 4),
        input_dtype="int32",
        expected_output_shape=(2, 4, 8),
        expected_output_dtype="float32",
        expected_num_trainable_weights=weights,
    )


@pytest.mark.parametrize("scale", [True, False])
def test_looks_ids_up_in_the_table(scale):
    layer = TokenEmbedding(10, 16, scale=scale)
    expected = to_numpy(layer(IDS))
    table = layer.table.get_weights()[0]
    assert table.shape == (10, 16)
    np.testing.assert_allclose(expected, table[IDS] * (4 if scale else 1), rtol=1e-6)


@pytest.mark.parametrize("freeze", [True, False])
def test_cuts_vectors_and_keeps_positions_and_mask(freeze):
    layer = TokenEmbedding(10, 16, positions="sinusoidal", freeze_padding=freeze)
    cut = np.array([[True, False, False, True], [False, False, True, False]])
    found = layer(IDS, cut=ops.convert_to_tensor(cut), training=True)
    here = to_numpy(layer.position_layer(np.zeros((1, 4, 16), "float32")))
    expected = np.where(cut[..., None], here, to_numpy(layer(IDS)))
    np.testing.assert_allclose(to_numpy(found), expected, atol=1e-6)
    np.testing.assert_array_equal(ops.convert_to_numpy(get_keras_mask(found)), IDS != 0)


@pytest.mark.parametrize(
    "positions",
    [{"positions": "sinusoidal"}, {"positions": "learned", "max_length": 5}],
)
def test_adds_positions_from_the_start(positions):
    layer = TokenEmbedding(10, 16, **positions)
    plain = TokenEmbedding(10, 16, table=layer.table)
    zeros = np.zeros((1, 4, 16), "float32")
    np.testing.assert_allclose(
        to_numpy(layer(IDS)),
        to_numpy(plain(IDS)) + to_numpy(layer.position_layer(zeros)),
        atol=1e-6,
    )
    np.testing.assert_allclose(
        to_numpy(layer(IDS[:, 2:3], start=2)), to_numpy(layer(IDS))[:, 2:3], atol=1e-6
    )


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_reversed_it_projects_on_the_table_in_float32(dtype):
    layer = TokenEmbedding(10, 16, dtype=dtype)
    assert keras.backend.standardize_dtype(layer(IDS).dtype) == layer.compute_dtype
    x = np.random.default_rng(0).normal(size=(2, 3, 16))
    x = to_numpy(ops.cast(x, layer.compute_dtype))  # What the layer will see.
    logits = layer(x, reverse=True)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    # Keras hands a layer its weights rounded to the compute dtype.
    table = to_numpy(ops.cast(layer.table.get_weights()[0], layer.compute_dtype))
    np.testing.assert_allclose(to_numpy(logits), x @ table.T, rtol=1e-5, atol=1e-5)


def test_padding_is_masked_there_and_back():
    layer = TokenEmbedding(10, 16)
    x = layer(IDS)
    np.testing.assert_array_equal(to_numpy(get_keras_mask(x)), IDS != 0)
    logits = layer(x, reverse=True)
    np.testing.assert_array_equal(to_numpy(get_keras_mask(logits)), IDS != 0)


def test_any_id_may_be_padding_or_none():
    mask = get_keras_mask(TokenEmbedding(10, 16, padding_id=9)(IDS))
    np.testing.assert_array_equal(to_numpy(mask), IDS != 9)
    layer = TokenEmbedding(10, 16, padding_id=None)
    x = layer(IDS)
    assert get_keras_mask(x) is None
    assert get_keras_mask(layer(x, reverse=True)) is None


def test_shared_table_is_one_table():
    source = TokenEmbedding(10, 16, positions="sinusoidal")
    target = TokenEmbedding(10, 16, table=source.table, scale=False)
    source(IDS)
    np.testing.assert_allclose(
        to_numpy(target(IDS)), source.table.get_weights()[0][IDS], rtol=1e-6
    )
    source.table.embeddings.assign(np.full((10, 16), 2.0))
    np.testing.assert_array_equal(to_numpy(target(IDS)), 2.0)
    # A summary, which has a line for each, counts it once.
    assert (source.count_params(), target.count_params()) == (160, 0)


def test_one_layer_serves_both_ends_of_a_saved_model(tmp_path):
    ids = keras.Input((None,), dtype="int32")
    layer = TokenEmbedding(10, 16, positions="learned", max_length=4)
    model = keras.Model(ids, layer(EncoderBlock(2, 8)(layer(ids)), reverse=True))
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert len(copy.weights) == len(model.weights)
    np.testing.assert_allclose(to_numpy(copy(IDS)), to_numpy(model(IDS)), atol=1e-6)


def test_dropout_acts_in_training_alone():
    layer = TokenEmbedding(10, 16, dropout=0.5)
    x = to_numpy(layer(IDS))
    np.testing.assert_allclose(x, 4 * layer.table.get_weights()[0][IDS], rtol=1e-6)
    dropped = to_numpy(layer(IDS, training=True))
    assert 0.2 < np.mean(dropped == 0) < 0.8


@pytest.mark.parametrize(
    "options, match",
    [
        ({"vocabulary_size": 0}, "positive integer; received vocabulary_size=0"),
        ({"hidden_dim": -1}, "positive integer; received hidden_dim=-1"),
        ({"positions": "rotary"}, "one of 'sinusoidal', 'learned', None; .*'rotary'"),
        ({"positions": "learned"}, "positions='learned' with max_length=None"),
        ({"max_length": 4}, "positions=None with max_length=4"),
        ({"positions": RelativePositionBias(2)}, "relative bias to the scores of att"),
    ],
)
def test_refuses_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        TokenEmbedding(**{"vocabulary_size": 10, "hidden_dim": 16, **options})


def test_odd_width_has_no_sinusoids():
    with pytest.raises(ValueError, match="even hidden_dim.*received hidden_dim=7"):
        TokenEmbedding(10, 7, positions="sinusoidal")(IDS)


def test_a_shared_table_is_refused_when_saved():
    first = TokenEmbedding(9, 8)
    second = TokenEmbedding(9, 8, table=first.table)
    assert first.get_config()["vocabulary_size"] == 9
    with pytest.raises(NotImplementedError, match="shares it"):
        second.get_config()


@pytest.mark.parametrize("scale", [True, False])
def test_known_ids_are_looked_up_alike(scale):
    embed, ids = TokenEmbedding(9, 4, scale=scale), ops.array([[5, 0, 8]])
    np.testing.assert_array_equal(
        *map(ops.convert_to_numpy, (embed(ids), embed(ids, known=True)))
    )
    assert np.isnan(ops.convert_to_numpy(embed(ops.array([[9]])))).all()


@pytest.mark.slow
def test_a_padding_that_is_kept_learns_as_in_pytorch():
    torch = pytest.importorskip("torch")
    ids = np.array([[1, 4, 4, 1], [5, 1, 2, 3]])
    wanted = np.random.default_rng(0).normal(size=(2, 4 * 3)).astype("float32")
    embed = TokenEmbedding(6, 3, scale=False, padding_id=1, freeze_padding=True)
    source = keras.Input((4,), dtype="int32")
    # All positions count, those of padding too.
    model = keras.Model(source, keras.ops.reshape(embed(source), (-1, 4 * 3)))
    theirs = torch.nn.Embedding(6, 3, padding_idx=1)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(model.get_weights()[0]))
    row = model.get_weights()[0][1]
    model.compile(keras.optimizers.SGD(0.5), "mse")
    optimizer = torch.optim.SGD(theirs.parameters(), 0.5)
    model.fit(ids, wanted, epochs=3, batch_size=2, verbose=0)
    for _ in range(3):
        optimizer.zero_grad()
        found = theirs(torch.tensor(ids)).reshape(2, -1)
        torch.nn.functional.mse_loss(found, torch.tensor(wanted)).backward()
        optimizer.step()
    (table,) = model.get_weights()
    np.testing.assert_allclose(table, theirs.weight.detach().numpy(), atol=1e-6)
    np.testing.assert_array_equal(table[1], row)


@pytest.mark.once
def test_refuses_to_keep_a_padding_that_is_none():
    with pytest.raises(ValueError, match="freeze_padding=True with padding_id=None"):
        TokenEmbedding(6, 3, padding_id=None, freeze_padding=True)
