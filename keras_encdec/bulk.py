"""Many texts: read in windows, generated sorted by length, given back in order."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_encdec.annotations import Ids
from keras_encdec.generation import Generated, Generator
from keras_encdec.generation.inputs.batches import batches_by_length
from keras_encdec.generation.random_numbers import seeds_from_numbers

# The texts that are read and sorted at a time; and at first where answers are taken
# one by one, for the first should not have to wait for so many.
WINDOW, FIRST_WINDOW = 2048, 256


def answers_in_order(
    generator: Generator,
    texts: Iterable[Any],
    encode: Callable[[list[Any], int], Sequence[Any]],
    decode: Callable[[Ids], list[str]],
    *,
    growing: bool,
    first: int,
    seed: int,
    batch_size: int | None,
    progress: Callable[[int], object] | None,
    **call: Any,
) -> Iterator[Any]:
    """Yields what is generated for each text, as `TextToText.generate` says.

    Args:
        generator: A `Generator`.
        texts: The texts.
        encode: A function from a list of them, and the place of its first, to rows of
            ids.
        decode: A function from rows of ids to a list of `str`.
        growing: Whether the first windows are smaller: 256 texts, and each twice as
            many as the one before.
        first: The place of the first text.
        seed: The seed of random samplers.
        batch_size: The number of texts generated at once, or None.
        progress: A function that is told how many are done, or None.
        **call: `max_length`, `num_return_sequences` and `return_scores`.

    Yields:
        A `str` for each text, a pair with its score, or a list of them.
    """
    waiting, done = iter(texts), 0
    size = min(FIRST_WINDOW, WINDOW) if growing else WINDOW
    while window := [*itertools.islice(waiting, size)]:
        size = min(2 * size, WINDOW)
        rows = encode(window, first + done)
        places = np.arange(first + done, first + done + len(rows)).astype("int32")
        seeds = seeds_from_numbers(places, seed)
        answers: list[Any] = [None] * len(rows)
        ready = done
        for batch in batches_by_length([*map(len, rows)], batch_size):
            some = [rows[i] for i in batch]
            found = _answers(generator, decode, some, seeds[batch], **call)
            for i, answer in zip(batch, found, strict=True):
                answers[i] = answer
            ready += len(batch)
            if progress is not None:
                progress(ready)
        yield from answers
        done += len(rows)


def _answers(
    generator: Generator,
    decode: Callable[[Ids], list[str]],
    rows: Sequence[Any],
    seeds: np.ndarray,
    *,
    max_length: int,
    num_return_sequences: int | None,
    return_scores: bool,
) -> list[Any]:
    """What a call returns for a batch of rows."""
    number = 1 if num_return_sequences is None else num_return_sequences
    found = generator(
        rows,
        max_length,
        seeds,
        num_return_sequences=number,
        return_scores=return_scores,
    )
    ids = found.ids if isinstance(found, Generated) else found
    given: list[Any] = decode(ids.reshape(-1, max_length))
    if isinstance(found, Generated):
        given = list(zip(given, found.scores.ravel().tolist(), strict=True))
    if num_return_sequences is None:
        return given
    return [given[i : i + number] for i in range(0, len(given), number)]


def pieces_of(
    steps: Iterable[Any], decode: Callable[[Ids], list[str]]
) -> Iterator[str]:
    """Yields the pieces of a text as its tokens come.

    Args:
        steps: The tokens, each the first of an array.
        decode: As in `answers_in_order`.
    """
    ids: list[int] = []
    told = text = ""
    for tokens in steps:
        ids.append(int(tokens[0]))
        text = decode([ids])[0]
        # A character whose bytes are not all there yet is held back.
        settled = text.rstrip("\ufffd")
        if len(settled) > len(told) and settled.startswith(told):
            yield settled[len(told) :]
            told = settled
    if len(text) > len(told):
        yield text[len(told) :]
