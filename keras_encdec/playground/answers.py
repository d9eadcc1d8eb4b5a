"""What the page asks of a model: texts that stream, the n-best, what is behind them.

Legend of shapes: T target, S source.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from keras_encdec.generation import Sampler, row_seeds
from keras_encdec.generation.random_numbers import seeds_from_numbers
from keras_encdec.option_checks import require_positive
from keras_encdec.text import Tokenizer, unknown_tokens
from keras_encdec.text.interface import tokens_of_rows
from keras_encdec.text_to_text import TextToText

# Whoever reaches the page may ask for no more than these, however large the model.
MOST_CHARACTERS = 5_000
MOST_TOKENS = 512
MOST_CANDIDATES = 16
MOST_PHRASES = 16


@dataclasses.dataclass(frozen=True)
class Request:
    """What somebody asks of a model.

    Args:
        text: The source text.
        sampler: A `Sampler`, or None for the model's own.
        number: How many candidates to give; fewer where the sampler has no more.
        max_length: The largest number of tokens, at most the model's own, which it is
            by default.
        seed: The seed of random samplers, a 32-bit int.
        phrases: What each candidate must hold.

    Example:
        ```python
        from keras_encdec import BeamSampler
        from keras_encdec.playground import Request

        print(Request("one text", BeamSampler(4), number=4, phrases=("eins",)))
        ```
    """

    text: str
    sampler: Sampler | None = None
    number: int = 1
    max_length: int | None = None
    seed: int = 0
    phrases: tuple[str, ...] = ()


class Token(NamedTuple):
    """A token of a text: of a target with its probability.

    Example:
        ```python
        from keras_encdec.playground import Token

        print(Token("cat", is_unknown=False, probability=0.9))
        ```
    """

    text: str
    is_unknown: bool
    probability: float | None = None


class Candidate(NamedTuple):
    """A target text; while it streams, what there is of it.

    Example:
        ```python
        from keras_encdec.playground import Candidate

        print(Candidate("ein").score)  # None: it is not known yet.
        ```
    """

    text: str
    ids: tuple[int, ...] = ()  # T, with the end, if there is one
    # Of beams that by which they are ranked, of others the log-probability.
    score: float | None = None
    tokens: tuple[Token, ...] = ()  # T
    attention: np.ndarray | None = None  # (T, S), float32
    is_cut: bool = False  # Whether it has no end.


class Answer(NamedTuple):
    """What there is to a request at some moment.

    Example:
        ```python
        from keras_encdec.playground import Answer

        print(Answer(source=(), candidates=()).is_whole)
        ```
    """

    source: tuple[Token, ...]  # S
    candidates: tuple[Candidate, ...]
    is_whole: bool = False  # Whether it is the last one.
    remarks: tuple[str, ...] = ()


class Answerer:
    """Answers requests by a model, whatever is asked of it.

    Args:
        text_to_text: A `TextToText`.

    Call arguments:
        request: A `Request`.

    Returns:
        An iterator of `Answer`s: what there is with each token that comes, of a sampler
        that settles one at a time; and the last, `is_whole`, with scores, the
        probability of each token, and the attention.

    Raises:
        ValueError: If the text is empty or too long, a phrase has a token that the
            model does not know, or an option is out of its range; before anything is
            generated.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, build
        from keras_encdec.playground import Answerer, Request

        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
        text_to_text = build(ByteTokenizer(), ByteTokenizer(), max_length=4, **small)
        for answer in Answerer(text_to_text)(Request("one")):
            print([candidate.text for candidate in answer.candidates])
        ```
    """

    def __init__(self, text_to_text: TextToText) -> None:
        self.text_to_text = text_to_text
        # Each keeps the programs that were compiled for it.
        self._with_sampler = functools.lru_cache(8)(text_to_text.with_sampler)

    def __call__(self, request: Request) -> Iterator[Answer]:
        """Yields what there is, the last time whole."""
        searching = self.text_to_text
        if request.sampler is not None:
            searching = self._with_sampler(request.sampler)
        source, remarks = self._read(request.text)
        most = self.text_to_text.max_length
        max_length = most if request.max_length is None else request.max_length
        require_positive(max_length=max_length, number=request.number)
        row_seeds(request.seed, 0)  # Refuses what is no seed.
        if max_length > most:
            raise ValueError(
                f"max_length is at most that of the model, {most}; received "
                f"{max_length}. Ask for fewer tokens."
            )
        number = _at_most(searching.sampler, min(request.number, MOST_CANDIDATES))
        phrases = self._phrases(request.phrases)
        arguments = max_length, number, request.seed
        if searching.sampler.one_token_a_step and not phrases:
            found = _streamed(searching, request.text, *arguments)
        else:
            found = _searched(searching, request.text, *arguments, phrases)
        candidates: tuple[Candidate, ...] = ()
        for candidates in found:
            yield Answer(source, candidates, remarks=remarks)
        candidates, more = self._explained(request.text, candidates)
        yield Answer(source, candidates, is_whole=True, remarks=remarks + more)

    def _read(self, text: str) -> tuple[tuple[Token, ...], tuple[str, ...]]:
        """Returns the tokens of a source text, and what is to be said of them."""
        if not text.strip():
            raise ValueError("A text is needed; received none. Type one.")
        if len(text) > MOST_CHARACTERS:
            raise ValueError(
                f"A text has at most {MOST_CHARACTERS:,} characters here; received "
                f"{len(text):,}. Shorten it, or use `keras-encdec generate`."
            )
        (ids,) = self.text_to_text.encode([text])
        if len(ids) > MOST_TOKENS:
            raise ValueError(
                f"A text has at most {MOST_TOKENS} tokens here; received {len(ids)}. "
                "Shorten it, or use `keras-encdec generate`."
            )
        tokenizer = self.text_to_text.source_tokenizer
        unknown = unknown_tokens(tokenizer, [text])
        remarks = (unknown.message("source"),) if unknown.count else ()
        return _tokens(tokenizer, text, ids.tolist(), [None] * len(ids)), remarks

    def _phrases(self, phrases: tuple[str, ...]) -> list[list[int]]:
        """Returns the ids of each phrase, without those around a text."""
        if len(phrases) > MOST_PHRASES:
            raise ValueError(
                f"At most {MOST_PHRASES} phrases can be asked for here; received "
                f"{len(phrases)}. Leave some out."
            )
        if (length := sum(map(len, phrases))) > MOST_CHARACTERS:
            raise ValueError(
                f"Phrases have at most {MOST_CHARACTERS:,} characters together here; "
                f"received {length:,}. Shorten them, or leave some out."
            )
        tokenizer = self.text_to_text.target_tokenizer
        rows = []
        for phrase in phrases:
            row = tokenizer.encode([phrase]).to_list()[0]
            row = row[len(tokenizer.prefix_ids) : len(row) - len(tokenizer.suffix_ids)]
            unknown = unknown_tokens(tokenizer, [phrase])
            if not row or unknown.count:
                lacks = ", ".join(f"{x!r:.40}" for x in unknown.examples) or "a word"
                raise ValueError(
                    "A phrase that must appear is made of the model's target tokens; "
                    f"received {phrase!r:.80}, and {lacks} is not among them. "
                    f"{unknown.remedy or 'Write it as the model would.'}"
                )
            rows.append(row)
        return rows

    def _explained(
        self, text: str, candidates: tuple[Candidate, ...]
    ) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
        """Returns candidates with what is behind them, where the model can tell."""
        # Of the very tokens that were generated: a text may be split otherwise.
        generator, targets = self.text_to_text.generator, [x.ids for x in candidates]
        sources = [self.text_to_text.encode([text])[0]] * len(targets)
        sums, scores = generator.score(sources, targets)
        attention: list[np.ndarray | None] = [None] * len(targets)
        remarks: tuple[str, ...] = ()
        try:
            attention = [*generator.align(sources, targets)]
        except (AttributeError, NotImplementedError, TypeError, ValueError):
            remarks = ("This model does not tell where it looks.",)
        explained = []
        for place, candidate in enumerate(candidates):
            length, weights = len(candidate.ids), attention[place]
            explained.append(
                candidate._replace(
                    score=float(sums[place])
                    if candidate.score is None
                    else candidate.score,
                    tokens=_tokens(
                        self.text_to_text.target_tokenizer,
                        candidate.text,
                        candidate.ids,
                        np.exp(scores[place, :length]).tolist(),
                    ),
                    attention=None if weights is None else weights[:length],
                )
            )
        # Samples come in the order in which they were drawn.
        explained.sort(key=lambda candidate: -(candidate.score or 0.0))
        return tuple(explained), remarks


def _tokens(
    tokenizer: Tokenizer,
    text: str,
    ids: Sequence[int],
    probabilities: Sequence[float | None],
) -> tuple[Token, ...]:
    """Returns the tokens of a text by their ids."""
    (same,), (tokens,) = tokenizer([text]).to_list(), tokens_of_rows(tokenizer, [text])
    if same[: len(ids)] == [*ids]:
        tokens = tokens[: len(ids)]
    else:
        named = {tokenizer.start_id: "<s>", tokenizer.end_id: "</s>"}
        alone = tokenizer.decode([[id] for id in ids]).numpy() if len(ids) else ()
        tokens = [
            named.get(id) or each.decode("utf-8", "replace") or f"<{id}>"
            for id, each in zip(ids, alone, strict=True)
        ]
    return tuple(
        Token(token, id == tokenizer.unknown_id, probability)
        for token, id, probability in zip(tokens, ids, probabilities, strict=True)
    )


def _at_most(sampler: Sampler, number: int) -> int:
    """Returns the largest number of candidates, up to one, that a sampler gives."""
    for fewer in range(number, 1, -1):
        try:
            sampler.rows_per_source(fewer)
        except ValueError:
            continue
        return fewer
    return 1


def _streamed(
    text_to_text: TextToText, text: str, max_length: int, number: int, seed: int
) -> Iterator[tuple[Candidate, ...]]:
    """Yields the texts so far with each token."""
    (row,) = text_to_text.encode([text])
    seeds = seeds_from_numbers(np.arange(number, dtype="int32"), seed)
    tokenizer = text_to_text.target_tokenizer
    rows: list[list[int]] = [[] for _ in range(number)]
    steps = text_to_text.generator.stream([row] * number, max_length, seeds)
    for tokens in steps:
        for ids, token in zip(rows, tokens.tolist(), strict=True):
            ids.append(token)
        # A character whose bytes are not all there yet is held back.
        yield tuple(
            candidate._replace(text=candidate.text.rstrip("\ufffd"))
            for candidate in _candidates(tokenizer, rows)
        )
    yield _candidates(tokenizer, rows)


def _searched(
    text_to_text: TextToText,
    text: str,
    max_length: int,
    number: int,
    seed: int,
    phrases: list[list[int]],
) -> Iterator[tuple[Candidate, ...]]:
    """Yields nothing yet, and then the texts of a whole search."""
    yield ()
    found = text_to_text.generator(
        text_to_text.encode([text]),
        max_length,
        seed,
        num_return_sequences=number,
        phrases=[phrases] if phrases else None,
        return_scores=True,
    )
    scores = found.scores[0].tolist()
    candidates = _candidates(text_to_text.target_tokenizer, found.ids[0].tolist())
    # Where there are fewer than asked for, the rest have no score.
    yield tuple(
        candidate._replace(score=score)
        for candidate, score in zip(candidates, scores, strict=True)
        if np.isfinite(score)
    )


def _candidates(tokenizer: Tokenizer, rows: list[list[int]]) -> tuple[Candidate, ...]:
    """Returns the candidates of rows of ids, which padding follows where they ended."""
    candidates = []
    for text, row in zip(tokenizer.decode(rows).numpy(), rows, strict=True):
        # As `decode` reads them: a first id that is the start is no end.
        first = int(row[:1] == [tokenizer.start_id])
        is_cut = tokenizer.end_id not in row[first:]
        end = len(row) if is_cut else row.index(tokenizer.end_id, first) + 1
        candidates.append(
            Candidate(
                text.decode("utf-8", "replace"),
                ids=tuple(id for id in row[:end] if id != tokenizer.padding_id),
                is_cut=is_cut,
            )
        )
    return tuple(candidates)
