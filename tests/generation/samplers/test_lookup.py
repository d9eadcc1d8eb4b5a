"""Prompt lookup gives what greedy decoding gives, in fewer steps where it copies."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec import BeamSampler, Generator, GreedySampler, RandomSampler
from keras_encdec.generation import LookupSampler, NoRepeatNGram, Shortlist
from keras_encdec.generation.samplers.drafts import Drafting
from keras_encdec.generation.samplers.interface import State
from keras_encdec.generation.task import make_task

SOURCES = [[5, 7, 2], [9, 2], [3, 4, 5, 16, 17, 18, 2], [2], [4, 4, 4, 2], [6, 7, 8, 2]]
LIMITS = [9, 4, 40, 1, 30, 23]  # More than the first cache has room for.
PREFIX = [[4, 5], [], [3], [], [], [7]]


def check(model, sampler=None, inner=None, call=(), **options):
    """What a lookup gives is what the sampler within it gives."""
    inner = inner or GreedySampler()
    sampler = sampler or LookupSampler(4, sampler=inner)
    expected, found = (
        Generator(model, each, **options)(
            SOURCES, LIMITS, seed=3, return_scores=True, **dict(call)
        )
        for each in (inner, sampler)
    )
    np.testing.assert_array_equal(found.ids, expected.ids)
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert len(np.unique(found.ids)) > 3


@pytest.mark.slow
@pytest.mark.parametrize("positions", ["relative", "rotary"])
def test_ids_and_scores_are_the_greedy_ones(small_model, positions):
    check(small_model(positions=positions))


@pytest.mark.slow
def test_a_random_sampler_draws_the_same(small_model):
    check(small_model(), inner=RandomSampler(0.7), call={"prefix": PREFIX})


@pytest.mark.slow
def test_processors_and_phrases_are_asked_in_turn(small_model):
    phrases = [[], [], [[7, 8]], [], [[3]], []]
    call = {"prefix": PREFIX, "phrases": phrases}
    check(small_model(), processors=[NoRepeatNGram(2)], call=call)


@pytest.mark.slow
def test_a_shortlist_narrows_it(small_model):
    random = np.random.default_rng(4)
    shortlist = Shortlist(random.integers(3, 20, (20, 4)), [2, 9], 20)
    check(small_model(), shortlist=shortlist)


@pytest.mark.slow
def test_tokens_are_streamed_in_order(small_model):
    generator = Generator(small_model(), LookupSampler(4))
    expected = Generator(small_model())(SOURCES, LIMITS)
    streamed = np.stack([*generator.stream(SOURCES, LIMITS)], axis=1)
    np.testing.assert_array_equal(streamed, expected[:, : streamed.shape[1]])
    assert not expected[:, streamed.shape[1] :].any()


# Short enough for PyTorch to trace no step.
SOURCE = [[5, *range(20, 40), 15, *range(40, 48)], [*range(56, 90, 2), *range(10, 23)]]


@pytest.mark.parametrize("rows", [SOURCE, SOURCE[:1], SOURCE[1:], SOURCE * 3])
def test_a_copy_takes_few_steps(counted, edits, rows):
    expected, steps = counted(edits(11), GreedySampler(), rows)
    assert steps == len(rows[0])
    found, fewer = counted(edits(11), LookupSampler(), rows)
    np.testing.assert_array_equal(found, expected)
    assert fewer * 2 <= steps


def test_where_most_rows_have_no_draft_steps_are_of_one_token(counted, edits):
    model, widths = edits(0), []
    step, vocabulary = model.step, 100
    # Of no source, of which ids could be written.
    model.source_vocabulary_size = None
    model.target_vocabulary_size = vocabulary

    def seen(tokens, *args):
        widths.append(tokens.shape[1])
        return step(tokens, *args)

    model.step = seen
    repeats = [[5, 6, 7] * 4, [*range(20, 32)], [*range(40, 52)]]
    ids, _ = counted(model, LookupSampler(3), repeats)
    np.testing.assert_array_equal(ids, repeats)
    assert {*widths} == {1}
    ids, _ = counted(model, LookupSampler(3), repeats[:2])
    np.testing.assert_array_equal(ids, repeats[:2])
    assert {*widths} == {1, 4}


def test_large_batches_are_left_to_the_sampler(counted, edits):
    for most, drafted in ((5, False), (6, True)):
        sampler = LookupSampler(max_rows=most)
        ids, steps = counted(edits(11), sampler, SOURCE * 3)
        assert (steps < len(SOURCE[0])) == drafted
        expected, _ = counted(edits(11), GreedySampler(), SOURCE * 3)
        np.testing.assert_array_equal(ids, expected)


def best_follower(text, offset, count, ngram, number, padding_id):
    """What the documentation says, place by place."""
    last, found = offset + count - 1, []
    for place in range(last):
        length = 0
        while (
            length < min(ngram, count)
            and place - length >= 0
            and text[place - length] == text[last - length]
        ):
            length += 1
        inside = place < offset
        near = -abs(place + 1 - count) if inside else place - 10**6
        if length:
            found.append((length, near, -place))
    if not found:
        return [-1] * number
    place = -max(found)[2]
    end = offset - 1 if place < offset else last
    ids = [text[i] if i <= end else -1 for i in range(place + 1, place + 1 + number)]
    return [-1 if x == padding_id else x for x in ids]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("ngram", [1, 3])
def test_the_draft_is_what_followed_the_longest_ngram(edits, shared, ngram):
    random, model = np.random.default_rng(5), edits(0)
    model.source_vocabulary_size = 9 if shared else 8
    model.target_vocabulary_size = 9
    rows, length, sizes = 64, 8, {"max_length": 8, "padding_id": 0, "start_id": 1}
    source = random.integers(1, 6, (rows, 7)).astype("int32")
    source[::3, 4:] = 0
    counts = random.integers(0, length, rows).astype("int32")
    ids = random.integers(1, 6, (rows, length)).astype("int32")
    ids[np.arange(length) >= counts[:, None]] = 0
    sampler = LookupSampler(4, ngram)
    limits, seeds = np.full(rows, length, "int32"), np.zeros(rows, "int32")
    arrays = map(ops.convert_to_tensor, (source, limits, seeds))
    task = make_task(model, sampler, *arrays, **sizes)
    index, ids = ops.convert_to_tensor(counts), ops.convert_to_tensor(ids)
    state = State(index, index, index < 0, ids, (), ())
    drafts = ops.convert_to_numpy(sampler.drafts(task, state))
    texts = [[1, *ids] for ids in ops.convert_to_numpy(ids)]
    if shared:
        texts = [[1, *x, *y] for x, y in zip(source, texts, strict=True)]
    offset = 8 if shared else 0
    expected = [
        best_follower(text, offset, count + 1, ngram, 4, 0)
        for text, count in zip(texts, counts, strict=True)
    ]
    np.testing.assert_array_equal(drafts, expected)
    assert (drafts >= 0).sum() > rows


@pytest.mark.once
def test_is_saved_with_its_sampler():
    sampler = LookupSampler(3, ngram=2, sampler=RandomSampler(0.7))
    config = keras.saving.serialize_keras_object(sampler)
    assert keras.saving.deserialize_keras_object(config) == sampler
    assert dataclasses.replace(sampler, ngram=1) != sampler
    assert Drafting._fields == ("state", "drafter")


@pytest.mark.parametrize(
    "options, says",
    [
        ({"num_draft_tokens": 0}, "num_draft_tokens must be a positive integer"),
        ({"ngram": 1.0}, "ngram must be a positive integer"),
        ({"max_rows": 0}, "max_rows must be a positive integer"),
        ({"sampler": BeamSampler(2)}, "a sampler that picks token by token"),
        ({"sampler": LookupSampler()}, "a sampler that picks token by token"),
    ],
)
def test_refuses_bad_options(options, says):
    with pytest.raises(ValueError, match=says):
        LookupSampler(**options)


def test_refuses_lengths_without_room_for_drafts(small_model):
    model = small_model(positions="learned", max_length=12)
    with pytest.raises(ValueError, match="positions, max_length=4; received 5"):
        Generator(model, "lookup")([[5, 2]], 5)
