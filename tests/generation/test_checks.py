"""Checks of logits in every loop."""

import dataclasses

import numpy as np
import pytest
from keras import ops

from keras_encdec import (
    BeamSampler,
    ContrastiveSampler,
    Generator,
    GreedySampler,
    LookupSampler,
    Sampler,
    TopKSampler,
)
from keras_encdec.generation import generate, row_seeds


class Nan:
    """Logits that go wrong for some sources from some step on."""

    def __init__(self, wrong, value=np.nan, at=None):
        self.wrong, self.value, self.at = wrong, value, at

    def encode(self, source):
        return source[:, 0]

    def new_cache(self, batch_size, length):
        return ops.zeros((batch_size,), "int32")

    def step(self, tokens, index, memory, cache, return_hidden=False):
        several = len(tokens.shape) == 2
        steps = ops.shape(tokens)[1] if several else 1
        rows = ops.shape(tokens)[0] // ops.shape(memory)[0]
        sources = ops.arange(ops.shape(tokens)[0], dtype="int32") // rows
        memory = ops.take(memory, sources, axis=0)
        here = index + ops.arange(steps, dtype="int32")
        wrong = (memory == self.wrong)[:, None] & (here >= 3)[None]
        vocabulary = ops.arange(9)
        logits = -ops.cast(ops.abs(vocabulary - 5), "float32")
        if self.at is None:
            places = vocabulary >= 0
        else:
            places = vocabulary == self.at
        logits = ops.where(wrong[..., None] & places, self.value, logits)
        hidden = ops.ones((ops.shape(tokens)[0], steps, 2))
        outputs = (logits, hidden) if several else (logits[:, 0], hidden[:, 0])
        return outputs[0], cache, *(outputs[1:] if return_hidden else ())


SAMPLERS = {
    "greedy": {"sampler": GreedySampler()},
    "random": {"sampler": TopKSampler(k=3)},
    "beams": {"sampler": BeamSampler(3)},
    "groups": {"sampler": BeamSampler(4, num_groups=2)},
    "contrastive": {"sampler": ContrastiveSampler(3)},
    "speculative": {"num_draft_tokens": 2},
    "lookup": {"sampler": LookupSampler(2)},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "at"),
    [
        *((name, np.nan, None) for name in SAMPLERS),
        *((name, np.inf, 5) for name in SAMPLERS),
        ("greedy", np.nan, 5),
        ("beams", np.inf, None),
    ],
)
def test_logits_that_are_no_numbers_are_raised(name, value, at):
    options = SAMPLERS[name]
    sources, limits = [[4, 2], [7, 2], [5, 2]], [6, 6, 5]
    model = Nan(7, value, at)
    if "num_draft_tokens" in options:
        options = {**options, "draft_model": model}
    generator = Generator(model, **options)
    message = "nan or infinite for 1 of 3 rows, since step 3 of row 1"
    with pytest.raises(FloatingPointError, match=message):
        generator(sources, limits)
    with pytest.raises(FloatingPointError, match="since step 3 of row 0"):
        generator([[7, 2]], 6, return_scores=True)
    if generator.sampler.one_token_a_step:
        stream, told = generator.stream(sources, limits), []
        with pytest.raises(FloatingPointError, match=message):
            told.extend(stream)
        assert len(told) <= 3
    # Rows that end before, others, and those that fill up the batch.
    found = generator(sources, [6, 3, 5], return_scores=True)
    assert np.isfinite(found.scores).all() and (found.ids >= 0).all()
    # In a graph that cannot raise, the row ends.
    ids = generate(
        model,
        generator.sampler,
        ops.array(sources, "int32"),
        ops.array([6, 6, 5], "int32"),
        row_seeds(0, 3),
        max_length=6,
    ).ids
    ids = ops.convert_to_numpy(ids)
    assert (ids >= 0).all() and not ids[1, :, 3:].any()


@pytest.mark.slow
def test_given_pairs_raise_too(small_model):
    generator = Generator(Nan(7))
    sources, targets = [[4, 2], [7, 2]], [[5, 6, 5, 4], [5, 6, 5]]
    assert np.isfinite(generator.score(sources, targets)[0]).all()
    with pytest.raises(FloatingPointError, match="since step 3 of row 1"):
        generator.score(sources, [*targets[:1], [5, 6, 5, 4]])
    model = small_model()
    generator = Generator(model)
    generator.score([[5, 2]], [[4]])
    model.set_weights([np.full(x.shape, np.nan) for x in model.get_weights()])
    for function in (
        lambda: generator([[5, 2]], 4),
        lambda: generator.score([[5, 2]], [[4]]),
        lambda: generator.align([[5, 2]], [[4]]),
        lambda: list(generator.stream([[5, 2]], 4)),
    ):
        with pytest.raises(FloatingPointError, match="since step 0 of row 0"):
            function()


class Never:
    """A processor that allows nothing from a step on."""

    def __call__(self, ids, logits, step):
        over = ops.logical_and(step.index >= 2, step.source[:, :1] == 7)
        return ops.where(over, -float("inf"), logits)


@pytest.mark.parametrize("options", SAMPLERS.values(), ids=SAMPLERS)
def test_rows_that_nothing_may_follow_score_nothing(options):
    model = Nan(-1)
    if "num_draft_tokens" in options:
        options = {**options, "draft_model": model}
    generator = Generator(model, processors=[Never()], **options)
    found = generator([[4, 2], [7, 2]], 6, return_scores=True)
    assert np.isfinite(found.scores).tolist() == [True, False]
    assert found.scores[1] == -np.inf
    assert not found.ids[1, 2:].any()
    np.testing.assert_array_equal(found.ids, generator([[4, 2], [7, 2]], 6))


@dataclasses.dataclass(frozen=True)
class BeyondSampler(Sampler):
    """Picks what is no id, at the last step."""

    def __call__(self, logits, uniform):
        return ops.full((ops.shape(logits)[0],), 20, dtype="int32")


@pytest.mark.slow
def test_a_sampler_that_picks_no_id_is_told(small_model):
    generator = Generator(small_model(), BeyondSampler())
    for call in (generator, lambda *args: list(generator.stream(*args))):
        with pytest.raises(ValueError, match="ids from 0 to 19; received 20"):
            call([[5, 2]], 1)
