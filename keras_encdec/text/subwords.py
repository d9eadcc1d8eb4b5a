"""Draws of subwords: the same for a seed in every process and on every machine.

SentencePiece draws too, but mixes into its seed what differs from process to process.
"""

import heapq
import math
from collections.abc import Mapping
from typing import Any


def merge_at_random(
    text: str, scores: Mapping[str, float], dropout: float, random: Any
) -> list[str]:
    """Merges letters into pieces and leaves out each merge with a probability.

    Args:
        text: A `str`.
        scores: A dict from each piece to its score; the best of two neighbours that
            make a piece merge first, of equal ones the first.
        dropout: The probability.
        random: A `random.Random`.

    Returns:
        A list of `str` that make up the text.

    Reference:
        Provilkov et al. 2020, BPE-Dropout: Simple and Effective Subword
        Regularization, Algorithm 1; as SentencePiece does it, which drops a merge once.
    """
    pieces = list(text)
    before = list(range(-1, len(text) - 1))
    after = list(range(1, len(text) + 1))
    merges: list[Any] = []

    def offer(left: Any) -> None:
        if left >= 0 and after[left] < len(text):
            piece = pieces[left] + pieces[after[left]]
            if piece in scores:
                heapq.heappush(merges, (-scores[piece], left, piece))

    for left in range(len(text)):
        offer(left)
    while merges:
        _, left, piece = heapq.heappop(merges)
        right = after[left]
        # One of the two has merged with another since.
        if right == len(text) or pieces[left] + pieces[right] != piece:
            continue
        if random.random() < dropout:
            continue
        pieces[left], pieces[right] = piece, ""
        after[left] = after[right]
        if after[left] < len(text):
            before[after[left]] = left
        offer(before[left])
        offer(left)
    return [piece for piece in pieces if piece]


def split_at_random(
    text: str,
    scores: Mapping[str, float],
    smoothing: float,
    random: Any,
    longest: int | None = None,
) -> list[str]:
    """Draws a way to split a text with its probability to the power of `smoothing`.

    Args:
        text: A `str` that pieces can make up.
        scores: A dict from each piece to the logarithm of its probability.
        smoothing: The power.
        random: A `random.Random`.
        longest: The length of the longest piece; None to look for it.

    Returns:
        A list of `str` that make up the text.

    Reference:
        Kudo 2018, Subword Regularization: Improving Neural Network Translation Models
        with Multiple Subword Candidates, section 3.3, by filtering forward and
        sampling backward.
    """
    longest = longest or max(map(len, scores))
    # For each place the pieces that end there, each with the logarithm of the sum over
    # all ways to come to its end; and that of all of them.
    arrivals: list[list[Any]] = [[]]
    totals = [0.0]
    for end in range(1, len(text) + 1):
        ways = [
            (start, totals[start] + smoothing * scores[text[start:end]])
            for start in range(max(0, end - longest), end)
            if text[start:end] in scores
        ]
        highest = max((way for _, way in ways), default=-math.inf)
        total = sum(math.exp(way - highest) for _, way in ways)
        arrivals.append(ways)
        totals.append(highest + math.log(total) if total else -math.inf)
    pieces, end = [], len(text)
    while end:
        starts = [start for start, _ in arrivals[end]]
        shares = [math.exp(way - totals[end]) for _, way in arrivals[end]]
        (start,) = random.choices(starts, shares)
        pieces.append(text[start:end])
        end = start
    return pieces[::-1]
