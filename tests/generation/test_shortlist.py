"""A shortlist gives what all ids give of which the others are forbidden."""

import numpy as np
import pytest
from keras import ops

from keras_encdec import (
    BeamSampler,
    ContrastiveSampler,
    EncoderDecoder,
    Generator,
    GreedySampler,
    TopPSampler,
)
from keras_encdec.generation import NoRepeatNGram, Processor, Shortlist
from keras_encdec.protocol import GenerationModel

SIZE, END = 300, 2
EVERY = [END, 9]


@pytest.fixture(scope="module")
def candidates():
    table = np.random.default_rng(0).integers(3, SIZE, (SIZE, 7))
    table[11, 2:] = -1
    table[12] = -1  # One that was not seen.
    return table


@pytest.fixture(scope="module")
def model():
    model = EncoderDecoder(SIZE, 16, 32, num_heads=2, num_layers=1)
    random = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(random.normal(scale=0.5, size=weight.shape))
    return model


@pytest.fixture(scope="module")
def sources():
    source = np.random.default_rng(2).integers(3, SIZE, (4, 5))
    source[0, 2:] = 0
    source[1, :2] = 11, 12
    return source


class Allowed(Processor):
    """Forbids what no token of a row's source has among its candidates."""

    def __init__(self, candidates):
        table = np.zeros((SIZE, SIZE + 1), "float32")
        table[np.arange(SIZE)[:, None], candidates] = 1
        table[0] = 0
        table[:, EVERY] = 1
        object.__setattr__(self, "table", table[:, :SIZE])

    def __call__(self, ids, logits, step):
        flags = ops.take(ops.convert_to_tensor(self.table), step.source, axis=0)
        return ops.where(ops.max(flags, axis=1) > 0, logits, -float("inf"))


SAMPLERS = {
    "greedy": GreedySampler(),
    "beams": BeamSampler(3),
    "groups": BeamSampler(4, num_groups=2, diversity_penalty=0.5),
    "samples": TopPSampler(p=0.9),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_shortlist_is_all_others_forbidden(model, candidates, sources, name):
    shortlist, sampler = Shortlist(candidates, EVERY, SIZE), SAMPLERS[name]
    call = {"max_length": 6, "seed": 3, "return_scores": True}
    given = Generator(model, sampler, shortlist=shortlist)(sources, **call)
    wanted = Generator(model, sampler, processors=[Allowed(candidates)])
    wanted = wanted(sources, **call)
    np.testing.assert_array_equal(given.ids, wanted.ids)
    np.testing.assert_allclose(given.scores, wanted.scores, atol=1e-4)
    np.testing.assert_allclose(given.token_scores, wanted.token_scores, atol=1e-4)


@pytest.mark.parametrize("name", ["greedy", "beams"])
def test_processors_prefixes_and_phrases_see_all_ids(model, candidates, sources, name):
    shortlist, sampler = Shortlist(candidates, EVERY, SIZE), SAMPLERS[name]
    # Of which no source has any.
    free = np.setdiff1d(np.arange(3, SIZE), np.append(candidates[sources], EVERY))
    prefix, phrases = [[int(free[0])]] * 4, [[[int(free[1]), int(free[2])]]] * 4
    generator = Generator(
        model, sampler, processors=[NoRepeatNGram(1)], shortlist=shortlist
    )
    ids = generator(sources, 6, prefix=prefix)
    assert (ids[:, 0] == free[0]).all()
    ids = generator(sources, 6, phrases=phrases)
    for row in ids.tolist():
        assert phrases[0][0] in [row[i : i + 2] for i in range(5)]
    wanted = [Allowed(candidates), NoRepeatNGram(1)]
    wanted = Generator(model, sampler, processors=wanted)(sources, 6)
    np.testing.assert_array_equal(generator(sources, 6), wanted)


def test_a_row_does_not_depend_on_its_neighbours(model, candidates, sources):
    shortlist = Shortlist(candidates, EVERY, SIZE)
    for sampler in (BeamSampler(3, renormalize=False), GreedySampler()):
        generator = Generator(model, sampler, shortlist=shortlist)
        together = generator(sources, 6, return_scores=True)
        for row, source in enumerate(sources):
            alone = generator([source], 6, return_scores=True)
            np.testing.assert_array_equal(alone.ids[0], together.ids[row])
            np.testing.assert_allclose(
                alone.token_scores[0], together.token_scores[row], atol=1e-4
            )


@pytest.mark.parametrize("tied", [True, False])
def test_logits_keep_their_bias(candidates, sources, tied):
    options = {"tie_embeddings": tied, "output_bias": True}
    model = EncoderDecoder(SIZE, 16, 32, num_heads=2, num_layers=1, **options)
    random = np.random.default_rng(4)
    for weight in model.trainable_weights:
        weight.assign(random.normal(scale=0.5, size=weight.shape))
    shortlist = Shortlist(candidates, EVERY, SIZE)
    given = Generator(model, shortlist=shortlist)(sources, 6, return_scores=True)
    wanted = Generator(model, processors=[Allowed(candidates)])
    wanted = wanted(sources, 6, return_scores=True)
    np.testing.assert_array_equal(given.ids, wanted.ids)
    np.testing.assert_allclose(given.scores, wanted.scores, atol=1e-4)


def test_a_stream_keeps_to_it(model, candidates, sources):
    generator = Generator(model, shortlist=Shortlist(candidates, EVERY, SIZE))
    streamed = np.stack([*generator.stream(sources, 4)], axis=1)
    np.testing.assert_array_equal(streamed, generator(sources, 4))


class Table(GenerationModel):
    """A model that knows of no projection: logits by the step's index alone."""

    source_vocabulary_size = target_vocabulary_size = SIZE

    def encode(self, source):
        return source

    def new_cache(self, batch_size, length):
        return ()

    def step(self, tokens, index, memory, cache):
        logits = ops.cast((tokens[:, None] * 7 + ops.arange(SIZE)) % 31, "float32")
        return logits, cache


def test_of_a_model_without_a_projection(candidates, sources):
    call = {"source": sources, "max_length": 5}
    given = Generator(Table(), shortlist=Shortlist(candidates, EVERY, SIZE))(**call)
    wanted = Generator(Table(), processors=[Allowed(candidates)])(**call)
    np.testing.assert_array_equal(given, wanted)


def test_candidates_are_those_of_the_sources(candidates):
    shortlist = Shortlist(candidates, EVERY, SIZE)
    source = np.array([[11, 0], [12, 20]])
    found = shortlist.of_sources(source, 0, [np.array([[5], [-1]])])
    ids, allowed = found["candidates"], found["allowed"]
    assert len(ids) == 256 and (np.diff(ids) > 0).all()
    assert {*ids[allowed[0]]} == {*candidates[11, :2], *EVERY, 5}
    assert {*ids[allowed[1]]} == {*candidates[20], *EVERY}


@pytest.mark.once
def test_it_is_saved_and_read(candidates, tmp_path):
    shortlist = Shortlist([[3, 4], [], [5]], [2], 6)
    shortlist.save(tmp_path / "file")
    loaded = Shortlist.load(tmp_path / "file")
    assert loaded.candidates.tolist() == [[3, 4], [-1, -1], [5, -1]]
    assert repr(loaded) == repr(shortlist)
    (tmp_path / "other").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="none: .*"):
        Shortlist.load(tmp_path / "other")


@pytest.mark.once
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Shortlist([[6]], [], 6), "candidates must be target ids, from 0 to 5"),
        (lambda: Shortlist([[1]], [-1], 6), "of_all must be target ids"),
        (lambda: Shortlist(np.ones((2, 2)), [], 6), "dtype float64"),
    ],
)
def test_bad_candidates_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_one_of_other_ids_is_refused(model, candidates):
    shortlist = Shortlist(candidates[:-1], EVERY, SIZE)
    with pytest.raises(ValueError, match=f"of {SIZE - 1} source ids for a model with"):
        Generator(model, shortlist=shortlist)
    shortlist = Shortlist(candidates, EVERY, SIZE)
    with pytest.raises(ValueError, match="greedy, random and beams; received Contra"):
        Generator(model, ContrastiveSampler(), shortlist=shortlist)
