"""A generator gives what its model, sampler and processors are at each call."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec import (
    BeamSampler,
    ContrastiveSampler,
    Generator,
    GreedySampler,
    RandomSampler,
)
from keras_encdec.generation import MinimumLength, SuppressTokens, programs
from keras_encdec.generation.programs import Programs

SOURCES = [[5, 7, 2], [9, 2], [3, 4, 5, 16, 17, 18, 2], [2]]
TARGETS = [[7, 5, 2], [9, 2], [11, 12, 13, 2], [4]]
LONG = 40  # More steps than come before a trace on PyTorch.


def answers(generator):
    found = generator(SOURCES, LONG, seed=3, return_scores=True)
    return [*found, *generator.score(SOURCES, TARGETS)]


def lora(model):
    # Adds variables, and gives them values that change the answers.
    for block in model.decoder_blocks:
        dense = block.feed_forward.intermediate_dense
        dense.enable_lora(2)
        rng = np.random.default_rng(5)
        for name in ("lora_kernel_a", "lora_kernel_b"):
            variable = getattr(dense, name)
            variable.assign(rng.normal(size=variable.shape))


def quantize(model):
    for block in model.decoder_blocks:
        block.feed_forward.intermediate_dense.quantize("int8")
        block.feed_forward.output_dense.quantize("int8")


def set_weights(model):
    rng = np.random.default_rng(6)
    model.set_weights([x + 0.3 * rng.normal(size=x.shape) for x in model.get_weights()])


def freeze(model):
    model.decoder_blocks[0].trainable = False


def another_policy(model):
    for block in model.decoder_blocks:
        block.feed_forward.output_dense.dtype_policy = "mixed_bfloat16"


def through_data(model):
    if not hasattr(model.variables[0].value, "data_ptr"):
        return set_weights(model)  # PyTorch's own way.
    for number, variable in enumerate(model.weights):
        if number % 2:
            variable.value.data.mul_(1.3)
        else:
            variable.value.data = variable.value.data.clone() * 0.7


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lora,
        quantize,
        set_weights,
        freeze,
        another_policy,
        through_data,
    ],
)
def test_made_before_is_as_made_anew(small_model, change):
    model = small_model()
    generator = Generator(model, RandomSampler())
    before = answers(generator)
    assert len(list(generator.stream(SOURCES, 4))) == 4
    change(model)
    found, expected = answers(generator), answers(Generator(model, RandomSampler()))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    if change is not freeze:
        assert np.abs(found[-1] - before[-1]).max() > 1e-4
    again = np.stack(list(generator.stream(SOURCES, LONG, seed=3)), axis=1)
    np.testing.assert_array_equal(again, found[0][:, : again.shape[1]])


@pytest.mark.slow
def test_load_weights_is_seen(small_model, tmp_path):
    small_model(seed=4).save_weights(tmp_path / "other.weights.h5")
    model = small_model()
    generator = Generator(model, RandomSampler())
    answers(generator)
    model.load_weights(tmp_path / "other.weights.h5")
    for ours, theirs in zip(
        answers(generator),
        answers(Generator(small_model(seed=4), RandomSampler())),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_a_draft_model_is_seen(small_model):
    model, draft = small_model(), small_model(seed=4)
    generator = Generator(model, draft_model=draft, num_draft_tokens=2)
    expected = generator(SOURCES, LONG)
    lora(draft)
    np.testing.assert_array_equal(generator(SOURCES, LONG), expected)
    lora(model)
    np.testing.assert_array_equal(
        generator(SOURCES, LONG), Generator(model)(SOURCES, LONG)
    )


class Wrapped:
    """A model of a user's, which only holds one of Keras."""

    def __init__(self, model):
        self.parts = {"model": [model]}

    def __getattr__(self, name):
        if name in ("encode", "new_cache", "step"):
            return getattr(self.parts["model"][0], name)
        raise AttributeError(name)


@pytest.mark.slow
def test_variables_are_found_within_other_objects(small_model):
    model = small_model()
    generator = Generator(Wrapped(model))
    generator(SOURCES, LONG)
    for change in (set_weights, lora):
        change(model)
        np.testing.assert_array_equal(
            generator(SOURCES, LONG), Generator(model)(SOURCES, LONG)
        )


class Favourite:
    def __init__(self, token):
        self.token, self.tokens = token, [token]
        self.weight = keras.Variable(60.0)
        self.table = np.zeros(20, "float32")

    def __call__(self, ids, logits, step):
        ours = ops.arange(logits.shape[-1]) == self.token
        for token in self.tokens:
            ours = ops.logical_or(ours, ops.arange(logits.shape[-1]) == token)
        return logits + ops.array(self.table) + self.weight * ops.cast(ours, "float32")


@pytest.mark.slow
def test_attributes_of_processors_are_read_at_each_call(small_model):
    favourite = Favourite(7)
    generator = Generator(small_model(), processors=[favourite])
    favourite.tokens = []

    def tokens():
        return set(generator(SOURCES, LONG).ravel().tolist())

    assert tokens() == {7}
    favourite.token = 8
    assert tokens() == {8}
    favourite.token, favourite.tokens = -1, [9]
    assert tokens() == {9}
    favourite.tokens[0] = 10
    assert tokens() == {10}
    favourite.table[11] = 200
    assert tokens() == {11}
    favourite.table[11] = 0
    # Variables cost no program.
    kept = len(generator._programs)
    favourite.weight.assign(-60.0)
    assert 10 not in tokens()
    assert len(generator._programs) == kept
    # Nor what was there before.
    favourite.weight.assign(60.0)
    favourite.tokens[0] = 9
    assert tokens() == {9}
    assert len(generator._programs) == kept


@pytest.mark.slow
def test_functions_around_a_function_are_read_too(small_model):
    token = 7

    def forced(ids, logits, step):
        ours = ops.arange(logits.shape[-1]) == token
        return ops.where(ours, logits, -float("inf"))

    generator = Generator(small_model(), processors=[forced])
    assert set(generator(SOURCES, LONG).ravel()) == {7}
    token = 8
    assert set(generator(SOURCES, LONG).ravel()) == {8}


@pytest.mark.slow
def test_another_sampler_or_id_may_be_set(small_model):
    model = small_model()
    generator = Generator(model)
    generator(SOURCES, LONG)
    generator.sampler = RandomSampler()
    np.testing.assert_array_equal(
        generator(SOURCES, LONG, seed=1),
        Generator(model, RandomSampler())(SOURCES, LONG, seed=1),
    )
    generator.end_id = [12, 4]
    np.testing.assert_array_equal(
        generator(SOURCES, LONG, seed=1),
        Generator(model, RandomSampler(), end_id=[12, 4])(SOURCES, LONG, seed=1),
    )


class Recurrent:
    """A model whose cache is as large for all lengths; it counts to its end."""

    end = 300

    def encode(self, source):
        return ops.cast(ops.sum(source, axis=1), "int32")

    def new_cache(self, batch_size, length):
        return ops.zeros((batch_size,), "int32")

    def step(self, tokens, index, memory, cache):
        token = 3 + ops.mod(cache, 4)
        logits = ops.cast(ops.arange(9) == token[:, None], "float32")
        return logits, cache + 1


def test_loops_of_one_shape_go_on_to_their_own_ends():
    generator = Generator(Recurrent())
    expected = [3 + i % 4 for i in range(256)]
    for _ in range(2):
        assert generator([[5, 2]], 256).tolist() == [expected]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"sampler": GreedySampler()},
        {"sampler": RandomSampler()},
        {"sampler": BeamSampler(3)},
        {"sampler": BeamSampler(2, early_stopping="never")},
        {"sampler": BeamSampler(2, length_penalty=-1.0)},
        {"sampler": ContrastiveSampler(3)},
        {"sampler": RandomSampler(), "processors": [MinimumLength(3)]},
        {"sampler": GreedySampler(), "draft": 4},
    ],
    ids=str,
)
def test_one_program_serves_many_lengths(small_model, options):
    options = dict(options)
    model = small_model(positions="learned", max_length=14)
    if draft := options.pop("draft", None):
        options["draft_model"] = small_model(draft, positions="learned", max_length=14)
    options["processors"] = [*options.get("processors", ()), ForcedLastTwo()]
    generator = Generator(model, **options)
    most = 14 - generator.sampler.extra_positions
    for length in (most, 9):
        found = generator(SOURCES, length, seed=3, return_scores=True)
        # A loop whose rows are as long as the largest length, and no longer.
        alone = Generator(model, **options)
        alone.sampler = exactly(alone.sampler)
        expected = alone(SOURCES, length, seed=3, return_scores=True)
        assert found.ids.shape == found.token_scores.shape == (4, length)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)
        np.testing.assert_allclose(
            found.token_scores, expected.token_scores, rtol=1e-4, atol=1e-5
        )
        if generator.sampler.one_token_a_step:
            columns = np.stack(list(generator.stream(SOURCES, length, seed=3)), 1)
            assert columns.shape[1] <= length
            np.testing.assert_array_equal(columns, found.ids[:, : columns.shape[1]])
    assert len(generator._programs) == (3 if generator.sampler.one_token_a_step else 1)


class ForcedLastTwo:
    """Looks at how long rows may be, and at how long they are."""

    def __call__(self, ids, logits, step):
        only = ops.where(ops.arange(20) == 2, 0.0, -float("inf"))
        last = (step.index + 2 >= step.limits)[:, None]
        return ops.where(last, only, logits)


def exactly(sampler):
    class Exactly(type(sampler)):
        obeys_limits = False

    return Exactly(**{k: getattr(sampler, k) for k in sampler.__dataclass_fields__})


@pytest.mark.slow
def test_only_the_last_programs_are_kept(small_model, monkeypatch):
    monkeypatch.setattr(programs, "MOST_PROGRAMS", 2)
    favourite = Favourite(7)
    generator = Generator(small_model(), processors=[favourite])
    for token in range(3, 8):
        favourite.token, favourite.tokens = token, []
        assert set(generator(SOURCES, 3).ravel()) == {token}
    assert len(generator._programs) == 2


@pytest.mark.slow
def test_threads_share_a_generator(small_model):
    model = small_model()
    samplers = RandomSampler(), BeamSampler(2)
    expected = [
        Generator(model, s)(SOURCES, LONG, return_scores=True) for s in samplers
    ]
    sums = Generator(model).score(SOURCES, TARGETS)[0]
    generators = [Generator(model, sampler) for sampler in samplers]
    together = threading.Barrier(6)

    def run(number):
        together.wait(timeout=60)
        kind = number % 2
        for _ in range(2):
            found = generators[kind](SOURCES, LONG, return_scores=True)
            np.testing.assert_array_equal(found.ids, expected[kind].ids)
            np.testing.assert_allclose(found.scores, expected[kind].scores, rtol=1e-4)
            ours = generators[kind].score(SOURCES, TARGETS)[0]
            np.testing.assert_allclose(ours, sums, rtol=1e-4)
            if not kind:
                list(generators[kind].stream(SOURCES, 5))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(run, range(6)))


@pytest.mark.slow
def test_a_used_generator_can_be_copied(small_model):
    generator = Generator(
        small_model(),
        RandomSampler(0.7),
        processors=[SuppressTokens([3])],
        end_id=[2, 9],
        draft_model=small_model(4),
    )
    expected = generator(SOURCES, LONG, seed=2)
    for other in (copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))):
        np.testing.assert_array_equal(other(SOURCES, LONG, seed=2), expected)
        assert other.model is not generator.model
        assert repr(other) == repr(generator)


def test_repr_says_what_it_is_made_of(small_model):
    model = small_model()
    generator = Generator(model, RandomSampler(0.7), processors=[SuppressTokens([3])])
    assert repr(generator) == (
        f"Generator(model={model!r}, sampler=RandomSampler(temperature=0.7), "
        "processors=(SuppressTokens(tokens=(3,), index=None),), start_id=1, end_id=2, "
        "padding_id=0)"
    )


def test_programs_are_those_of_their_options():
    arrays, kept = {"x": np.array([21], "int32")}, Programs()
    kept.see([])
    for times in (2, 3, 2):
        function = kept.get("f", lambda x, n: n * x, arrays, {"n": times}, [], False)
        assert ops.convert_to_numpy(function(ops.array([21], "int32"))) == 21 * times
    assert len(kept) == 2
    kept.see([keras.layers.Dense(1)])
    assert len(kept) == 0
