"""What one generation is given, what its loop shares, and what it returns.

Legend of shapes: B batch, S source, V vocabulary, L largest length, R target rows: the
rows of a source (samples, beams) stand in turn.
"""

import dataclasses
import numbers
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from keras import ops

from keras_encdec.annotations import KerasModel, Tensor
from keras_encdec.backend import take_of_each, traced_call
from keras_encdec.generation.checks import BROKEN
from keras_encdec.generation.longest_targets import longest_targets
from keras_encdec.generation.processors.constraints import constrain
from keras_encdec.generation.processors.tokens import allow_only, forbid
from keras_encdec.generation.shortlist import Candidates, candidates_of
from keras_encdec.protocol import facts_of

if TYPE_CHECKING:
    from keras_encdec.generation.samplers.interface import Sampler


class Step(NamedTuple):
    """What a processor of logits may know beside the ids.

    Attributes:
        index: How many tokens the rows have, an int32 scalar.
        source: The source ids of each row, `(R, S)`, int32.
        limits: The largest number of tokens of each row, `(R,)`, int32.
        end_ids: The ids that end a row, a tuple of ints.
        padding_id: The id of padding, an int.

    Example:
        ```python
        from keras import ops
        from keras_encdec.generation import Step

        source, limits = ops.array([[5, 7, 2]]), ops.array([4])
        print(Step(0, source, limits, end_ids=(2,), padding_id=0).end_ids)
        ```
    """

    index: Tensor
    source: Tensor
    limits: Tensor
    end_ids: tuple[int, ...]
    padding_id: int


LogitsProcessor: TypeAlias = Callable[[Tensor, Tensor, Step], Tensor]


class Generated(NamedTuple):
    """What was generated: n sequences for each source, the best first.

    Attributes:
        ids: Target ids `(B, n, L)`, int32: without the start id, with the end id, then
            padding.
        scores: The score of each sequence `(B, n)`, float32: the sum of its tokens'
            log-probabilities, which beams divide by their length penalty; -inf where
            there are fewer than n sequences, or no token was allowed to follow.
        token_scores: The log-probability of each token `(B, n, L)`, float32: of the
            distribution that the processors leave, before a sampler truncates it; 0
            for forced tokens and padding, -inf where no token was allowed.

    Example:
        ```python
        from keras_encdec import EncoderDecoder, Generator

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        generated = Generator(model)([[5, 7, 2]], max_length=4, return_scores=True)
        print(generated.ids, generated.scores)
        ```
    """

    ids: Tensor
    scores: Tensor
    token_scores: Tensor

    @classmethod
    def of_no_rows(cls, number: int, length: int) -> "Generated":
        """Returns what a batch without sources has, NumPy arrays."""
        ids, scores = np.zeros((0, number, length), "int32"), np.zeros((0, number))
        return cls(ids, scores.astype("float32"), ids.astype("float32"))

    def cut(self, rows: int, length: int) -> "Generated":
        """Returns the first rows and tokens of them."""
        scores = self.token_scores
        scores = scores[:rows, :, :length] if len(scores) else scores
        return Generated(self.ids[:rows, :, :length], self.scores[:rows], scores)


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """The constants of one generation's loop.

    Args:
        model: Any object with `encode`, `new_cache` and `step`.
        memory: What `encode` returned for B sources.
        source: The source ids of each row, `(R, S)`, int32.
        limits: The largest number of tokens of each row, `(R,)`, int32.
        longest: The largest number that one of each row is expected to have, likewise.
        seeds: The seed of each row, `(R,)`, int32.
        rows_per_source: R / B, an int.
        max_length: The length L of the rows, an int: the largest number of tokens of
            any row, or more.
        cache_length: The number of steps that a new cache has room for, an int.
        start_id: The id that the target begins with.
        end_ids: The ids that end a row, a tuple of ints.
        padding_id: The id that fills up a row after its end; never picked before.
        processors: Functions `(ids, logits, step) -> logits`.
        prefix: The ids each row begins with, `(R, P)`, int32, then padding; or None.
        phrases: Token sequences of which each row must hold, `(R, C, A, W)`, int32:
            of each constraint one alternative, padded; or None.
        shortlist: The `Candidates` of the rows, or None for all ids.
        num_return_sequences: The number of sequences returned for a source, an int.
        return_scores: Whether to keep the tokens' log-probabilities.
    """

    model: KerasModel
    memory: Any
    source: Tensor
    limits: Tensor
    longest: Tensor
    seeds: Tensor
    rows_per_source: int
    max_length: int
    cache_length: int
    start_id: int
    end_ids: tuple[int, ...]
    padding_id: int
    processors: tuple[LogitsProcessor, ...] = ()
    prefix: Tensor | None = None
    phrases: Tensor | None = None
    shortlist: Candidates | None = None
    num_return_sequences: int = 1
    return_scores: bool = False

    @property
    def rows(self) -> int | Tensor:
        """The number of rows R."""
        return ops.shape(self.limits)[0]

    def new_ids(self) -> Tensor:
        """Returns rows of padding, `(R, L)`, int32."""
        return ops.full((self.rows, self.max_length), self.padding_id, dtype="int32")

    def new_token_scores(self) -> Tensor | tuple[()]:
        """Returns zeros `(R, L)`, float32, or nothing if no scores are asked for."""
        if not self.return_scores:
            return ()
        return ops.zeros((self.rows, self.max_length), dtype="float32")

    def is_end(self, tokens: Tensor) -> Tensor:
        """Returns which tokens end a row, bool, in the shape of the tokens."""
        ends = tokens == self.end_ids[0]
        for end_id in self.end_ids[1:]:
            ends = ops.logical_or(ends, tokens == end_id)
        return ends

    def step(self, tokens: Tensor, index: Any, cache: Any, **options: Any) -> Any:
        """Returns what the model's `step` returns, of a shortlist's ids where one is.

        Args:
            tokens: The last token of each row, `(R,)`, int32.
            index: The number of tokens of the rows, an int32 scalar.
            cache: What the last step returned.
            **options: Further arguments of the model's `step`.
        """
        args = tokens, index, self.memory, cache
        if self.shortlist is None:
            return self.model.step(*args, **options)
        return self.shortlist.logits_of(self.model, *args, **options)

    @property
    def _stays_short(self) -> bool:
        """Whether what follows `process` is done to the logits of a shortlist."""
        nothing = self.prefix is None and self.phrases is None
        return self.shortlist is not None and nothing and not self.processors

    def unmasked(
        self, ids: Tensor, logits: Tensor, index: int | Tensor
    ) -> tuple[Tensor, int | None]:
        """Returns logits as `process` does, but for one that is still to be left out.

        Args:
            ids: As in `process`, and the others too.
            logits: The logits that `step` returned.
            index: The number of tokens of the rows.

        Returns:
            The logits, and the id that must not follow whatever its logit is, or None:
            what a search does with some logits alone need not mask all of them.
        """
        constrained = self.prefix is not None or self.phrases is not None
        if constrained or self.processors or self.shortlist is not None:
            return self.process(ids, logits, index), None
        return ops.cast(logits, "float32"), self.padding_id

    def ids_of(self, tokens: Tensor) -> Tensor:
        """Returns the ids of tokens that are counted as logits of `process` are.

        Args:
            tokens: Of any shape, int32.
        """
        if self.shortlist is None or not self._stays_short:
            return tokens
        return ops.take(self.shortlist.ids, tokens)

    def process(self, ids: Tensor, logits: Tensor, index: int | Tensor) -> Tensor:
        """Returns the logits with -inf for tokens that must not follow.

        Args:
            ids: The rows so far, `(R, L)`, int32.
            logits: The logits that `step` returned.
            index: The number of tokens of the rows, an int32 scalar; or, of logits
                `(R, T, V)` without processors and phrases, that before each, `(R, T)`.

        Returns:
            The logits `(R, V)`, or of a shortlist alone where nothing else is asked.
        """
        logits = ops.cast(logits, "float32")
        if self.shortlist is not None:
            if self._stays_short:
                return forbid(logits, self.shortlist.ids == self.padding_id)
            size = facts_of(self.model).target_vocabulary_size
            logits = self.shortlist.of_vocabulary(logits, size)
        vocabulary = ops.arange(logits.shape[-1], dtype="int32")
        logits = forbid(logits, vocabulary == self.padding_id)
        step = Step(index, self.source, self.limits, self.end_ids, self.padding_id)
        for processor in self.processors:
            logits = ops.cast(processor(ids, logits, step), "float32")
        if self.phrases is not None:
            logits = constrain(ids, logits, step, self.phrases)
        if self.prefix is not None:
            last = ops.shape(self.prefix)[1] - 1
            if len(logits.shape) == 3:
                forced = take_of_each(self.prefix, ops.minimum(index, last))[..., None]
                index = ops.expand_dims(index, -1)
            else:
                places = ops.minimum(index, last)
                forced = ops.take(self.prefix, places, axis=1)[:, None]
            inside = ops.logical_and(forced != self.padding_id, index <= last)
            # A forced token has a probability of 1.
            logits = ops.where(inside, allow_only(vocabulary == forced), logits)
        return logits


def repeat_rows(array: Tensor | None, times: int) -> Tensor | None:
    """Returns each row of an array several times in turn, or None for None."""
    if array is None or times == 1:
        return array
    return ops.repeat(array, times, axis=0)


def as_tuple(end_id: int | Iterable[int]) -> tuple[int, ...]:
    """Returns one id or several as a tuple."""
    # No checker takes an int for an `Integral`.
    if isinstance(end_id, numbers.Integral):
        return (end_id,)  # type: ignore[return-value]
    return tuple(end_id)  # type: ignore[arg-type]


# From one sample of a source to the next; odd, so that no two seeds are the same.
_NEXT_SAMPLE = 0x632BE5AB


def make_task(
    model: KerasModel,
    sampler: "Sampler",
    source: Tensor,
    limits: Tensor,
    seeds: Tensor,
    prefix: Tensor | None = None,
    phrases: Tensor | None = None,
    candidates: Tensor | None = None,
    allowed: Tensor | None = None,
    *,
    max_length: int,
    start_id: int = 1,
    end_id: int | Iterable[int] = 2,
    padding_id: int = 0,
    processors: Iterable[LogitsProcessor] = (),
    num_return_sequences: int = 1,
    return_scores: bool = False,
    longest_of: tuple[float, float] | None = None,
    memory: Any = None,
) -> Task:
    """Returns the `Task` of one generation; the arguments are those of `generate`."""
    times = sampler.rows_per_source(num_return_sequences)
    seeds = repeat_rows(seeds, times)
    samples = ops.arange(ops.shape(seeds)[0], dtype="int32") % times
    longest = limits
    if longest_of is not None:
        longest = longest_targets(source, limits, longest_of, padding_id)
    shortlist = None
    if candidates is not None:
        allowed = repeat_rows(allowed, times)
        shortlist = candidates_of(model, candidates, allowed)
    return Task(
        model=model,
        memory=traced_call(model.encode, source) if memory is None else memory,
        source=repeat_rows(source, times),
        limits=repeat_rows(limits, times),
        longest=repeat_rows(longest, times),
        seeds=seeds + samples * _NEXT_SAMPLE,
        rows_per_source=times,
        max_length=max_length,
        cache_length=max_length + sampler.extra_positions,
        start_id=start_id,
        end_ids=as_tuple(end_id),
        padding_id=padding_id,
        processors=tuple(processors),
        prefix=repeat_rows(prefix, times),
        phrases=repeat_rows(phrases, times),
        shortlist=shortlist,
        num_return_sequences=num_return_sequences,
        return_scores=return_scores,
    )


def generate(
    model: KerasModel,
    sampler: "Sampler",
    source: Tensor,
    limits: Tensor,
    seeds: Tensor,
    prefix: Tensor | None = None,
    phrases: Tensor | None = None,
    candidates: Tensor | None = None,
    allowed: Tensor | None = None,
    *,
    mark_nan: bool = False,
    **options: Any,
) -> Generated:
    """Generates target ids; made of tensor operations alone, to be compiled.

    Args:
        model: Any object with `encode(source) -> memory`, `new_cache(batch_size,
            length) -> cache` and `step(tokens, index, memory, cache) -> (logits,
            cache)`, as `EncoderDecoder` has them. Where the shapes of a cache depend
            on its length, more room is made by zeros at the end. On PyTorch beams move
            the rows of a cache in place.
        sampler: A `Sampler`.
        source: Source ids `(B, S)`, int32.
        limits: The largest number of tokens of each row `(B,)`, int32.
        seeds: The random seed of each row `(B,)`, int32.
        prefix: The ids each row begins with `(B, P)`, int32, padded, P above 0; or
            None.
        phrases: What each row must hold `(B, C, A, W)`, int32, padded with -1; or None.
        candidates: The ids of a shortlist, in order, `(N,)`, int32; or None.
        allowed: Which of them each row may have, `(B, N)`, bool.
        mark_nan: Whether ids are -1 where a row ended because its logits were nan, and
            not padding.
        **options: `max_length`, the largest number of tokens of any row, an int;
            `start_id=1`, `end_id=2` (or a tuple of several), `padding_id=0`,
            `processors=()`, `num_return_sequences=1`, `return_scores=False`,
            `longest_of=None`, as a `Generator`'s `longest_targets`.

    Returns:
        A `Generated`; without `return_scores` its scores are empty tuples.

    Example:
        ```python
        from keras import ops
        from keras_encdec import EncoderDecoder, GreedySampler
        from keras_encdec.generation import generate, row_seeds

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        source, limits = ops.array([[5, 7, 2]]), ops.array([4])
        seeds = row_seeds(0, 1)
        print(generate(model, GreedySampler(), source, limits, seeds, max_length=4).ids)
        ```
    """
    rows = source, limits, seeds, prefix, phrases, candidates, allowed
    task = make_task(model, sampler, *rows, **options)
    found = sampler.run(task)
    if mark_nan:
        return found
    return found._replace(
        ids=ops.where(found.ids == BROKEN, task.padding_id, found.ids)
    )
