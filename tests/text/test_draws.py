"""Other subwords for ids: the same for a pass and a pair, and what room they get."""

import numpy as np
import pytest
import tensorflow as tf

from keras_encdec.text import ByteTokenizer, SentencePieceTokenizer, TokenBatches
from keras_encdec.text.draws import Draws

pytestmark = pytest.mark.once

TEXTS = ["the cats sat on the mats", "a hat", "that hat sat on that öcat"] * 100


@pytest.fixture(scope="module")
def subwords():
    return SentencePieceTokenizer.train(
        TEXTS, 40, model_type="bpe", hard_vocab_limit=False, suffix_ids=[9999, 2]
    )


class Doubling(ByteTokenizer):
    """Draws each byte twice, or once, of what is decoded and encoded without loss."""

    def sample(self, texts, *, alpha, seed):
        assert all(isinstance(text, str) for text in texts)
        return self.encode([text * (1 + seed % 2) for text in texts])


class Lossy(Doubling):
    """Gives back nothing it is asked for but "a"."""

    def _to_texts(self, ids):
        return tf.strings.regex_replace(super()._to_texts(ids), "[^a]", "a")

    def sample(self, texts, *, alpha, seed):
        assert [*texts] == ["a"]
        return super().sample(texts, alpha=alpha, seed=seed)


def test_draws_depend_on_the_pass_and_the_pair_alone(subwords):
    ids = subwords.encode(TEXTS[:3]).to_list()
    draws = Draws(subwords, 0.5, [7, 0])
    first = draws(ids, [0, 10**9, 2], 0)
    assert draws(ids[1:2], [10**9], 0) == first[1:2]
    others = [draws(ids, [0, 10**9, 2], number) for number in range(1, 5)]
    assert all(other != first for other in others)
    assert Draws(subwords, 0.5, [8, 0])(ids, [0, 10**9, 2], 0) != first
    for drawn in (first, *others):
        assert all(row[-2:] == [9999, 2] for row in drawn)
        assert subwords.decode(drawn).numpy().tolist() == (
            subwords.decode(ids).numpy().tolist()
        )


def test_room_is_for_what_draws_need(subwords):
    ids = subwords.encode(TEXTS).to_list()
    lengths = np.array([len(row) for row in ids])
    draws = Draws(subwords, 0.3, [0, 0])
    room = draws.room(lambda rows: [ids[row] for row in rows], lengths)
    drawn = [len(x) for n in range(5) for x in draws(ids, range(len(ids)), n)]
    growth = np.mean(drawn) / lengths.mean()
    assert draws.growth(10**6, 10**6) == pytest.approx(growth, rel=0.02)
    assert draws.growth(room[draws.probed], 10**6) < growth
    assert np.all(room >= lengths)
    assert 0.6 < np.mean(drawn <= np.tile(room, 5)) < 1
    never = Draws(subwords, 0.0, [0, 0])
    room = never.room(lambda rows: [ids[row] for row in rows], lengths)
    assert never.growth(room, 10**6) == 1 and room.tolist() == lengths.tolist()


def test_what_is_not_encoded_again_stays_as_it_is():
    tokenizer = Doubling()
    whole, cut = tokenizer.encode(["ab"]).to_list()[0], [101, 0, 102, 2]
    assert tokenizer.encode(tokenizer.decode([cut])).to_list() != [cut]
    found = tokenizer.sample_ids([whole, cut, whole], alpha=0.1, seeds=[1, 1, 2])
    assert found == [tokenizer.encode(["abab"]).to_list()[0], cut, whole]
    [invalid] = tokenizer.encode([b"\xff"]).to_list()
    with pytest.raises(AssertionError):  # What is no UTF-8 is drawn of as `bytes`.
        tokenizer.sample_ids([invalid], alpha=0.1, seeds=[1])
    with pytest.raises(NotImplementedError, match="received ByteTokenizer"):
        ByteTokenizer().sample_ids([whole], alpha=0.1, seeds=[1])


@pytest.mark.parametrize("known", [0, 1, 17])
def test_a_tokenizer_that_does_not_give_ids_again_is_told_of(known):
    tokenizer = Lossy()
    texts = ["a"] * known + ["b"] * (18 - known)
    rule = f"received Lossy, .* {18 - known} of 18 texts: .* Define its `sample_ids`"

    def batches(tokenizer, texts):
        return TokenBatches(texts, texts, tokenizer, tokenizer, 32, sampling=0.1)

    if not known:
        with pytest.raises(ValueError, match=rule):
            batches(tokenizer, texts)
    elif known == 1:
        with pytest.warns(UserWarning, match=rule):
            batches(tokenizer, texts)
    else:
        batches(tokenizer, texts)
