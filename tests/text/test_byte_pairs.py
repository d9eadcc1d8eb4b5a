"""The merging of byte pairs against a plain loop."""

import random

import pytest
import tensorflow as tf

from keras_encdec.text.byte_pairs import Merges

pytestmark = pytest.mark.once


def merged(word, merges):
    """Sennrich's loop: the earliest merge, at its first place."""
    ids = list(word)
    table = {(left, right): made for left, right, made in merges}
    order = list(table)
    while True:
        pairs = [pair for pair in zip(ids, ids[1:], strict=False) if pair in table]
        if not pairs:
            return ids
        best = min(pairs, key=order.index)
        place = list(zip(ids, ids[1:], strict=False)).index(best)
        ids[place : place + 2] = [table[best]]


@pytest.mark.parametrize("in_order", [True, False])
def test_words_are_merged_as_one_by_one(in_order):
    drawn = random.Random(3)
    letters = b"abc"
    made = list(letters)
    merges = []
    for number in range(256, 270):
        pair = drawn.choice(made), drawn.choice(made)
        if pair not in {merge[:2] for merge in merges}:
            merges.append((*pair, number))
            made.append(number)
    if not in_order:
        drawn.shuffle(merges)
    words = [bytes(drawn.choices(letters, k=drawn.randint(1, 40))) for _ in range(200)]
    table = Merges(300, range(256), merges)
    assert table._in_order == in_order
    assert table(tf.constant(words)).to_list() == [merged(x, merges) for x in words]


def test_no_words_and_no_merges():
    merges = Merges(256, range(256), [])
    assert merges(tf.constant([], tf.string)).to_list() == []
    assert merges(tf.constant(["ab"])).to_list() == [[97, 98]]
