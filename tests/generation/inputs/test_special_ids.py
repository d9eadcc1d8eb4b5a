"""Special ids that do not agree are found before anything is generated."""

import numpy as np
import pytest

from keras_encdec import EncoderDecoder, Generator
from keras_encdec.generation.inputs.special_ids import (
    padding_of,
    require_draft,
    require_special_ids,
)
from keras_encdec.protocol import GenerationModel


class Model(GenerationModel):
    """Says nothing of itself."""


def model(size=20, **options):
    return EncoderDecoder(size, 16, 32, num_heads=2, num_layers=1, **options)


def test_padding_is_the_models():
    three = model(padding_id=3)
    assert padding_of(Model()) == 0
    assert padding_of(Model(), 4) == 4
    assert padding_of(three) == padding_of(three, 3) == 3
    with pytest.raises(
        ValueError, match="padding_id must be the model's.*padding_id=3"
    ):
        Generator(three, padding_id=0)
    generator = Generator(three)
    assert generator.padding_id == 3
    ids = generator([[5, 2], [5]], [1, 4])
    assert ids[0, 1:].tolist() == [3, 3, 3]
    # What fills up shorter rows is masked.
    np.testing.assert_array_equal(ids[1], generator([[5]], 4)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end_id": 99}, "end_id must be a target id of the model, from 0 to 19"),
        ({"end_id": 20}, "end_id must be"),
        ({"end_id": -1}, "end_id must be"),
        ({"end_id": [2, 99]}, "end_id must be"),
        ({"end_id": "2"}, "end_id must be"),
        ({"end_id": None}, "end_id must be"),
        ({"end_id": 2.0}, "end_id must be"),
        ({"end_id": True}, "end_id must be"),
        ({"end_id": []}, "a list of at least one"),
        ({"end_id": 0}, "end_id must not be padding"),
        ({"end_id": [2, 0]}, "end_id must not be padding"),
        ({"start_id": 99}, "start_id must be a target id"),
        ({"start_id": -1}, "start_id must be a target id"),
        ({"start_id": 1.0}, "start_id must be a target id"),
    ],
)
def test_ids_are_the_models(options, message):
    with pytest.raises(ValueError, match=message):
        Generator(model(), **options)


@pytest.mark.slow
def test_start_may_be_padding_or_end_and_ends_several():
    for start, end in ((0, 2), (2, 2), (np.int64(1), np.array([2, 3])), (19, (19, 4))):
        require_special_ids(model(), start, end, 0)
        assert Generator(model(), start_id=start, end_id=end)([[5]], 2).shape == (1, 2)
    require_special_ids(Model(), 1000, 2000, 0)
    with pytest.raises(ValueError, match="0 or more"):
        require_special_ids(Model(), 1, -2, 0)


def test_a_draft_has_the_models_ids():
    require_draft(model(), model())
    require_draft(Model(), model(padding_id=3))
    for draft in (model(padding_id=3), model(21), model(target_vocabulary_size=21)):
        with pytest.raises(ValueError, match="draft model with .*=(3|21) for a model"):
            Generator(model(), draft_model=draft)


@pytest.mark.slow
def test_a_drafts_positions_count():
    learned = {"positions": "learned", "max_length": 8}
    generator = Generator(model(), draft_model=model(**learned), num_draft_tokens=2)
    assert generator([[5, 2]], 6).shape == (1, 6)
    with pytest.raises(ValueError, match="max_length=6"):
        generator([[5, 2]], 7)


@pytest.mark.slow
def test_a_target_begins_with_padding_only_where_that_is_said():
    one = model(padding_id=1)
    with pytest.raises(ValueError, match="start_id must be given where padding_id=1"):
        Generator(one)
    with pytest.raises(ValueError, match="start_id must be given"):
        Generator(Model(), padding_id=1)
    # As the models of Marian and T5 do.
    for start_id in (1, 4):
        generator = Generator(one, start_id=start_id)
        assert generator.start_id == start_id
        assert generator([[5, 2]], 3).shape == (1, 3)
    assert Generator(model(padding_id=0), start_id=0).start_id == 0
    assert Generator(model(padding_id=3)).start_id == 1


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("end_id", 99, ValueError, "end_id must be a target id"),
        ("end_id", 0, ValueError, "end_id must not be padding"),
        ("start_id", 20, ValueError, "start_id must be a target id"),
        ("padding_id", 3, ValueError, "padding_id must be the model's"),
        ("model", {"size": 9}, ValueError, "end_id must be a target id"),
        ("model", {"padding_id": 3}, ValueError, "padding_id must be the model's"),
        ("sampler", max, TypeError, "A sampler must be an object"),
        ("processors", [3], TypeError, "processors must be functions"),
    ],
)
def test_what_is_set_later_is_checked_by_the_next_call(name, value, error, message):
    generator = Generator(model(), end_id=9)
    setattr(generator, name, model(**value) if name == "model" else value)
    for call in (
        lambda: generator([[5, 2]], 3),
        lambda: generator.score([[5, 2]], [[4]]),
        lambda: generator.stream([[5, 2]], 3),
    ):
        with pytest.raises(error, match=message):
            call()


def test_a_model_that_is_set_later_has_its_own_positions():
    short = model(positions="learned", max_length=4)
    generator = Generator(model())
    generator.model = short
    with pytest.raises(ValueError, match="max_length=4; received 5"):
        generator([[5, 2]], 5)
