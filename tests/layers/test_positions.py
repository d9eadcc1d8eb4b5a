import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec.layers import (
    LearnedPosition,
    RelativePositionBias,
    SinusoidalPosition,
    rotate,
    sinusoidal_positions,
)


def to_numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def sinusoids(positions, dim):
    """Vaswani et al. 2017, section 3.5, feature by feature, in double precision."""
    waves = np.zeros((len(positions), dim))
    for row, position in enumerate(positions):
        for i in range(dim // 2):
            angle = position / 10000 ** (2 * i / dim)
            waves[row, 2 * i : 2 * i + 2] = np.sin(angle), np.cos(angle)
    return waves


def test_layers_keep_keras_rules(run_layer_test):
    shapes = {"input_shape": (2, 5, 8), "expected_output_dtype": "float32"}
    run_layer_test(
        SinusoidalPosition,
        **shapes,
        init_kwargs={},
        expected_output_shape=(2, 5, 8),
        expected_num_trainable_weights=0,
        supports_masking=True,
        run_training_check=False,  # There is nothing to train.
    )
    run_layer_test(
        LearnedPosition,
        **shapes,
        init_kwargs={"max_length": 6, "offset": 2},
        expected_output_shape=(2, 5, 8),
        expected_num_trainable_weights=1,
        supports_masking=True,
    )
    for bidirectional in (True, False):
        run_layer_test(
            RelativePositionBias,
            **shapes,
            init_kwargs={"num_heads": 4, "bidirectional": bidirectional},
            expected_output_shape=(1, 4, 5, 5),
            expected_num_trainable_weights=1,
        )


@pytest.mark.parametrize("dim", [2, 8, 64])
def test_sinusoids_follow_the_paper(dim):
    positions = [0, 1, 2, 17, 511]
    np.testing.assert_allclose(
        to_numpy(sinusoidal_positions(np.array(positions), dim)),
        sinusoids(positions, dim),
        atol=1e-4,
    )


@pytest.mark.parametrize(
    "dtype, atol",
    [("float32", 1e-3), ("mixed_float16", 2e-3), ("mixed_bfloat16", 1e-2)],
)
def test_sinusoids_count_in_float32(dtype, atol):
    """float16 knows no 3001, bfloat16 no 257."""
    x = np.zeros((1, 3, 16), "float32")
    y = SinusoidalPosition(dtype=dtype)(x, start=3000)
    expected = sinusoids([3000, 3001, 3002], 16)
    np.testing.assert_allclose(to_numpy(y)[0], expected, atol=atol)


@pytest.mark.parametrize(
    "make",
    [
        SinusoidalPosition,
        lambda: LearnedPosition(9),
        lambda: LearnedPosition(9, offset=2),
    ],
)
def test_positions_are_added_from_the_start(make):
    x = np.random.default_rng(0).normal(size=(2, 7, 8)).astype("float32")
    layer = make()
    whole = to_numpy(layer(x))
    if layer.weights:
        expected = x + layer.get_weights()[0][layer.offset :][:7]
    else:
        expected = x + sinusoids(range(7), 8)
    np.testing.assert_allclose(whole, expected, atol=1e-5)
    tensor = ops.convert_to_tensor(4, "int32")
    for start in (4, tensor):
        part = to_numpy(layer(x[:, 4:6], start=start))
        np.testing.assert_allclose(part, whole[:, 4:6], atol=1e-6)


@pytest.mark.parametrize("make", [SinusoidalPosition, lambda: LearnedPosition(9)])
def test_positions_keep_the_mask(make):
    ids = np.array([[3, 4, 0]])
    y = make()(keras.layers.Embedding(5, 4, mask_zero=True)(ids))
    mask = keras.src.backend.get_keras_mask(y)
    np.testing.assert_array_equal(ops.convert_to_numpy(mask), ids != 0)


def test_odd_width_is_refused():
    with pytest.raises(ValueError, match="even hidden_dim.*received hidden_dim=7"):
        SinusoidalPosition()(np.zeros((1, 2, 7)))


def test_learned_positions_end():
    layer = LearnedPosition(4)
    layer(np.zeros((1, 4, 8)))
    with pytest.raises(ValueError, match="received length 5 with max_length=4"):
        layer(np.zeros((1, 5, 8)))
    with pytest.raises(ValueError, match="received length 5 with max_length=4"):
        layer(np.zeros((1, 1, 8)), start=4)
    with pytest.raises(ValueError, match="received length 6 with max_length=4"):
        layer(keras.Input((6, 8)))
    with pytest.raises(ValueError, match="received max_length=0"):
        LearnedPosition(0)


def test_rotation_turns_pairs_of_features():
    """Su et al. 2021, equation 15, with the features i and i + H/2 as a pair."""
    x = np.random.default_rng(0).normal(size=(1, 3, 2, 6)).astype("float32")
    positions = np.array([0, 5, 2])
    z = (x[..., :3] + 1j * x[..., 3:]) * np.exp(
        1j * positions[None, :, None, None] * 10000.0 ** (-np.arange(3) / 3)
    )
    np.testing.assert_allclose(
        to_numpy(rotate(ops.convert_to_tensor(x), positions)),
        np.concatenate([z.real, z.imag], axis=-1),
        atol=1e-5,
    )


def test_rotated_scores_depend_on_distances_alone():
    rng = np.random.default_rng(0)
    query, key = rng.normal(size=(2, 1, 1, 1, 8)).astype("float32")
    rows = np.ones((1, 6, 1, 1), "float32")

    def scores(start):
        positions = np.arange(6) + start
        turned = [
            to_numpy(rotate(ops.convert_to_tensor(v * rows), positions))[0, :, 0]
            for v in (query, key)
        ]
        return turned[0] @ turned[1].T

    first = scores(0)
    np.testing.assert_allclose(scores(100), first, atol=1e-4)
    for distance in range(-5, 6):
        diagonal = np.diagonal(first, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-4)
    assert np.ptp(first) > 0.5


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_rotation_keeps_norms_and_dtype(dtype):
    x = np.random.default_rng(0).normal(size=(2, 4, 2, 8)).astype("float32")
    x = ops.cast(x, dtype)
    y = rotate(x, np.arange(3000, 3004))
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    np.testing.assert_allclose(
        np.linalg.norm(to_numpy(y), axis=-1),
        np.linalg.norm(to_numpy(x), axis=-1),
        rtol={"float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}[dtype],
    )


def test_rotation_needs_an_even_head():
    with pytest.raises(ValueError, match="even size.*received head_dim=5"):
        rotate(ops.ones((1, 2, 1, 5)), np.arange(2))


def t5_bucket(query, key, num_buckets, max_distance, bidirectional):
    """Raffel et al. 2020, as in T5's code, in exact arithmetic.

    A distance n above the exact half of the buckets, e, falls in the bucket
    `e + floor(log(n / e) / log(max / e) * (b - e))`, the last integer j for which
    `(n / e) ** (b - e) >= (max / e) ** j`.
    """
    distance = query - key
    first = 0
    if bidirectional:
        num_buckets //= 2
        first = num_buckets if distance < 0 else 0
        distance = abs(distance)
    distance = max(distance, 0)
    exact = num_buckets // 2
    if distance < exact:
        return first + distance
    far, widest = num_buckets - exact, 0
    for j in range(far):
        if distance**far * exact**j >= max_distance**j * exact**far:
            widest = j
    return first + exact + widest


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_buckets, max_distance", [(32, 128), (8, 20), (10, 64)])
def test_relative_bias_has_t5s_buckets(num_buckets, max_distance, bidirectional):
    layer = RelativePositionBias(
        2,
        num_buckets=num_buckets,
        max_distance=max_distance,
        bidirectional=bidirectional,
    )
    layer.build((None, None, 8))
    biases = np.arange(2 * num_buckets, dtype="float32").reshape(num_buckets, 2)
    layer.set_weights([biases])
    queries, keys = np.array([0, 3, 150], "int32"), np.arange(300, dtype="int32")
    expected = [
        [
            biases[t5_bucket(q, k, num_buckets, max_distance, bidirectional)]
            for k in keys.tolist()
        ]
        for q in queries.tolist()
    ]
    bias = to_numpy(layer.between(queries, keys))
    np.testing.assert_array_equal(bias, np.transpose(expected, (2, 0, 1))[None])


def test_relative_bias_of_a_sequence_is_between_its_positions():
    layer = RelativePositionBias(4)
    bias = to_numpy(layer(np.zeros((2, 6, 8), "float32")))
    positions = np.arange(6, dtype="int32")
    assert bias.shape == (1, 4, 6, 6)
    np.testing.assert_array_equal(bias, to_numpy(layer.between(positions, positions)))
    assert np.ptp(bias) > 0


@pytest.mark.parametrize(
    "options, received",
    [
        ({"num_buckets": 3}, "num_buckets=3, max_distance=128, bidirectional=True"),
        (
            {"num_buckets": 1, "bidirectional": False},
            "num_buckets=1, max_distance=128, bidirectional=False",
        ),
        ({"max_distance": 8}, "num_buckets=32, max_distance=8"),
    ],
)
def test_relative_bias_needs_enough_buckets(options, received):
    with pytest.raises(ValueError, match=f"at least 2 buckets.*received {received}"):
        RelativePositionBias(4, **options)


@pytest.mark.parametrize("name", ["num_heads", "num_buckets", "max_distance"])
def test_relative_bias_needs_positive_sizes(name):
    with pytest.raises(ValueError, match=f"positive integer; received {name}=0"):
        RelativePositionBias(**{"num_heads": 4, name: 0})
