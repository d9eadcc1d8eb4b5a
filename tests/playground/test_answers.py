"""What a page is answered is what the model says, while it comes and when it is there.

Nothing here depends on the backend but what other tests show: streams, scores, searches
and attention.
"""

import numpy as np
import pytest

from keras_encdec import (
    BeamSampler,
    ByteTokenizer,
    RandomSampler,
    TextToText,
    WordTokenizer,
    build,
)
from keras_encdec.playground import Answerer, Request
from keras_encdec.playground.answers import MOST_CANDIDATES, MOST_PHRASES

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eagerly")]

SMALL = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 1}


@pytest.fixture(scope="module")
def text_to_text():
    source = WordTokenizer.from_texts(["one two three"])
    target = WordTokenizer.from_texts(["eins zwei drei vier"])
    return build(source, target, max_length=4, **SMALL)


def answers_to(text_to_text, *args, **options):
    return [*Answerer(text_to_text)(Request(*args, **options))]


def test_a_text_streams_and_ends_as_what_a_call_gives(text_to_text):
    *some, last = answers_to(text_to_text, "one two")
    (text,) = text_to_text(["one two"])
    assert not any(answer.is_whole for answer in some) and last.is_whole
    streamed = [answer.candidates[0].text for answer in some]
    assert streamed[-1] == last.candidates[0].text == text
    assert all(text.startswith(beginning) for beginning in streamed)
    assert len(some) > 1
    assert [token.text for token in last.source] == ["one", "two", "</s>"]
    assert last.remarks == ()


def test_a_token_has_the_probability_and_attention_of_what_was_generated(text_to_text):
    (candidate,) = answers_to(text_to_text, "one two")[-1].candidates
    rows = text_to_text.encode(["one two"])
    ids = text_to_text.generator(rows, 4)
    total, each = text_to_text.generator.score(rows, ids)
    length = len(candidate.ids)
    assert candidate.ids == tuple(ids[0, :length].tolist())
    told = [token.probability for token in candidate.tokens]
    np.testing.assert_allclose(told, np.exp(each[0, :length]), rtol=1e-5)
    assert candidate.score == pytest.approx(total[0], rel=1e-5)
    weights = text_to_text.generator.align(rows, ids)[0, :length]
    np.testing.assert_allclose(candidate.attention, weights, rtol=1e-5)
    np.testing.assert_allclose(candidate.attention.sum(axis=1), 1, rtol=1e-5)


def test_beams_are_the_n_best_of_a_call_and_no_more_than_there_are(text_to_text):
    first, last = answers_to(text_to_text, "one", BeamSampler(3), number=5)[::2]
    assert first.candidates == ()
    beams = text_to_text.with_sampler(BeamSampler(3))
    (best,) = beams(["one"], num_return_sequences=3, return_scores=True)
    found = [(candidate.text, candidate.score) for candidate in last.candidates]
    assert found == [(text, pytest.approx(score)) for text, score in best]


def test_samples_are_drawn_by_their_seed_and_come_in_the_order_of_their_scores(
    text_to_text,
):
    def draw(seed):
        options = {"number": 4, "seed": seed, "max_length": 2}
        last = answers_to(text_to_text, "one", RandomSampler(), **options)[-1]
        return [(candidate.score, candidate.ids) for candidate in last.candidates]

    drawn = draw(1)
    assert drawn == draw(1) != draw(2)
    assert len({*drawn}) > 1
    assert drawn == sorted(drawn, key=lambda each: -each[0])


@pytest.mark.parametrize("sampler", [None, BeamSampler(2)])
def test_phrases_appear(text_to_text, sampler):
    phrases = ("zwei eins", "vier")
    last = answers_to(text_to_text, "one", sampler, 2, phrases=phrases)[-1]
    assert last.candidates
    for candidate in last.candidates:
        assert all(phrase in candidate.text for phrase in phrases)


def test_what_has_no_end_is_cut_and_told_without_one(text_to_text):
    last = answers_to(text_to_text, "one", max_length=1, phrases=())[-1]
    (candidate,) = last.candidates
    assert len(candidate.tokens) == len(candidate.attention) == 1
    end = text_to_text.target_tokenizer.end_id
    assert candidate.is_cut == (end not in candidate.ids)


def test_words_that_are_unknown_are_marked_and_told(text_to_text):
    last = answers_to(text_to_text, "one cat two")[-1]
    assert [token.is_unknown for token in last.source] == [False, True, False, False]
    (remark,) = last.remarks
    assert "33.3% of the source tokens are unknown" in remark and "'cat'" in remark


def test_tokens_that_a_text_is_not_split_into_are_told_by_their_ids():
    # "ein@@ s" is written "eins", which is another word of the vocabulary.
    source = WordTokenizer.from_texts(["one"])
    target = WordTokenizer(["ein@@", "s", "eins"], continuation="@@")
    ids = target.encode(["ein@@ s"]).to_list()[0][:2]
    model = build(source, target, max_length=3, **SMALL)
    last = answers_to(model, "one", phrases=("ein@@ s",))[-1]
    (candidate,) = last.candidates
    assert [*candidate.ids[:2]] == ids and candidate.text.startswith("eins")
    assert [token.text for token in candidate.tokens[:2]] == ["ein", "s"]


def test_characters_of_several_bytes_are_held_back_until_they_are_whole():
    tokenizer = ByteTokenizer()
    text_to_text = build(tokenizer, tokenizer, max_length=4, **SMALL)
    (ids,) = tokenizer.encode(["é!"]).to_list()
    row = iter(ids)
    stream = (np.array([id]) for id in row)
    text_to_text.generator.stream = lambda *args: stream
    streamed = [answer.candidates[0].text for answer in answers_to(text_to_text, "x")]
    assert streamed[:3] == ["", "é", "é!"]


class Blind(TextToText):
    """A model that does not tell where it looks."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.generator.align = self._align

    def _align(self, *args):
        raise NotImplementedError


def test_a_model_that_does_not_tell_where_it_looks_answers_all_the_same(text_to_text):
    tokenizers = text_to_text.source_tokenizer, text_to_text.target_tokenizer
    blind = Blind(*tokenizers, text_to_text.model, max_length=4)
    last = answers_to(blind, "one")[-1]
    assert last.remarks == ("This model does not tell where it looks.",)
    assert last.candidates[0].attention is None
    assert last.candidates[0].text == text_to_text(["one"])[0]


@pytest.mark.parametrize(
    "options, told",
    [
        ({"text": ""}, "A text is needed; received none"),
        ({"text": " \n"}, "A text is needed; received none"),
        ({"text": "a" * 6000}, "at most 5,000 characters here; received 6,000"),
        ({"text": "one " * 600}, "at most 512 tokens here; received 601"),
        ({"phrases": ("fünf",)}, "received 'fünf', and 'fünf' is not among them"),
        ({"phrases": (" ",)}, "received ' '"),
        ({"phrases": ("eins",) * (MOST_PHRASES + 1)}, "At most 16 phrases"),
        ({"phrases": ("eins zwei drei vier",)}, "max_length=4"),
        ({"phrases": ("eins " * 500,) * 3}, "at most 5,000 .* together here.* 7,500"),
        ({"phrases": ("x" * 4000,)}, r"received 'x{79}, and 'x{39} is not among"),
        ({"max_length": 5}, "at most that of the model, 4; received 5"),
        ({"max_length": 0}, "max_length must be a positive"),
        ({"number": 0}, "number must be a positive"),
        ({"seed": 2**40}, "seed"),
    ],
)
def test_refuses_before_anything_is_generated(text_to_text, options, told):
    answers = Answerer(text_to_text)(Request(**{"text": "one", **options}))
    with pytest.raises(ValueError, match=told):
        list(answers)


def test_gives_no_more_than_it_may(text_to_text):
    options = {"number": 1000, "max_length": 1}
    last = answers_to(text_to_text, "one", RandomSampler(), **options)[-1]
    assert len(last.candidates) == MOST_CANDIDATES


def test_a_sampler_that_comes_again_is_the_same_so_that_its_programs_are_kept(
    text_to_text,
):
    answerer = Answerer(text_to_text)
    again = [answerer._with_sampler(BeamSampler(2)) for _ in range(2)]
    assert again[0] is again[1] is not answerer._with_sampler(BeamSampler(3))
