"""Windows, batches and order, by a generator whose answers are its sources."""

import numpy as np
import pytest

import keras_encdec.bulk
from keras_encdec.bulk import answers_in_order, pieces_of

pytestmark = pytest.mark.once


def test_answers_stand_in_order_and_no_window_is_read_before_its_turn(monkeypatch):
    monkeypatch.setattr(keras_encdec.bulk, "WINDOW", 3)
    seen, read = [], []

    def generator(rows, length, seeds, **options):
        seen.append([len(row) for row in rows])
        return np.array(
            [[len(row), seed] for row, seed in zip(rows, seeds, strict=True)]
        )

    def texts():
        for text in ("a", "bbb", "cc", "dddd", ""):
            read.append(text)
            yield text

    def encode(window, place):
        assert place == len(read) - len(window) + 10
        return [[*text] for text in window]

    call = {"max_length": 2, "num_return_sequences": None, "return_scores": False}
    options = {"growing": False, "first": 10, "seed": 0}
    options |= {"batch_size": 2, "progress": None}
    answers = answers_in_order(generator, texts(), encode, list, **options, **call)
    first = next(answers)
    assert read == ["a", "bbb", "cc"] and seen == [[3, 2], [1]]
    found = [first, *answers]
    assert [int(length) for length, _ in found] == [1, 3, 2, 4, 0]
    # A row's seed is that of its place among all texts.
    assert len({int(seed) for _, seed in found}) == 5
    alone = answers_in_order(
        generator,
        ["cc"],
        lambda texts, _: texts,
        list,
        **{**options, "first": 12},
        **call,
    )
    assert next(alone)[1] == found[2][1]


def test_windows_grow_where_answers_are_taken_one_by_one(monkeypatch):
    monkeypatch.setattr(keras_encdec.bulk, "WINDOW", 8)
    monkeypatch.setattr(keras_encdec.bulk, "FIRST_WINDOW", 2)
    windows = []

    def encode(window, place):
        windows.append((place, len(window)))
        return [[text] for text in window]

    call = {"max_length": 1, "num_return_sequences": None, "return_scores": False}
    options = {"first": 0, "seed": 0, "batch_size": None, "progress": None, **call}
    for growing, expected in (
        (True, [(0, 2), (2, 4), (6, 8), (14, 8), (22, 1)]),
        (False, [(0, 8), (8, 8), (16, 7)]),
    ):
        windows.clear()
        answers = answers_in_order(
            lambda rows, *_, **__: np.array(rows),
            range(23),
            encode,
            lambda ids: ids.ravel().tolist(),
            growing=growing,
            **options,
        )
        assert [*answers] == [*range(23)] and windows == expected


def test_half_a_character_is_held_back():
    texts = {1: "a", 2: "a\ufffd", 3: "aé", 4: "aé\ufffd"}
    steps = [np.array([i]) for i in range(1, 5)]
    assert [*pieces_of(steps, lambda rows: [texts[len(rows[0])]])] == [
        "a",
        "é",
        "\ufffd",
    ]
