"""Processors: what may follow a row, composed as a list for every sampler.

A processor is any function `(ids, logits, step) -> logits`. Legend of shapes: R rows, L
largest length, V vocabulary, S source, W tokens of a sequence.
"""

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar, dataclass_transform

import keras
import numpy as np
from keras import ops

from keras_encdec.annotations import Tensor

if TYPE_CHECKING:
    from keras_encdec.generation.task import Step

NEVER = -float("inf")


_Class = TypeVar("_Class")


@dataclasses.dataclass(frozen=True)
class Processor:
    """The base of processors: subclass it and write `__call__`.

    Call arguments:
        ids: The rows so far, `(R, L)`, int32: `step.index` tokens, without the start
            id, then padding. L may be more than the largest of `step.limits`.
        logits: `(R, V)`, float32; -inf for a token that must not follow.
        step: A `Step`: the index, the source ids, the largest lengths, the special ids.

    Returns:
        The logits `(R, V)`.

    What it computes is compiled. Its attributes (numbers, strings, arrays, containers
    of these, Keras variables), and what a function refers to in the functions around
    it, are compared at each call of the generator: where one has changed, another
    program is compiled. What lies deeper, or is global, is read when it is compiled; a
    `keras.Variable` is read at each call, and costs no program.

    Example:
        ```python
        import dataclasses
        import keras
        from keras import ops
        from keras_encdec import EncoderDecoder, Generator
        from keras_encdec.generation import Processor

        @keras.saving.register_keras_serializable(package="mine")
        @dataclasses.dataclass(frozen=True)
        class EvenIds(Processor):
            def __call__(self, ids, logits, step):
                even = ops.arange(logits.shape[-1]) % 2 == 0
                return ops.where(even, logits, -float("inf"))

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        print(Generator(model, processors=[EvenIds()])([[5, 7, 2]], max_length=4))
        ```
    """

    def __call__(self, ids: Tensor, logits: Tensor, step: "Step") -> Tensor:
        """Returns the logits `(R, V)`."""
        raise NotImplementedError(
            f"{type(self).__name__} must define __call__(ids, logits, step), which "
            "returns the logits."
        )

    def check(self, limits: np.ndarray, lengths: np.ndarray) -> None:
        """Raises if the processor cannot work for a batch.

        Args:
            limits: The largest number of tokens of each row `(B,)`, NumPy int.
            lengths: The number of source tokens of each row `(B,)`, NumPy int.
        """

    def get_config(self) -> dict[str, Any]:
        """Returns the options."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Builds a processor from its options."""
        return cls(**config)


@dataclass_transform(frozen_default=True)
def registered(cls: type[_Class]) -> type[_Class]:
    """Makes a class a frozen dataclass that Keras can save."""
    cls = dataclasses.dataclass(frozen=True)(cls)
    return keras.saving.register_keras_serializable(package="keras_encdec")(cls)


def require_processors(
    processors: Iterable[Any],
    limits: np.ndarray | None = None,
    lengths: np.ndarray | None = None,
) -> None:
    """Raises unless all processors are functions that can process what is asked for.

    Args:
        processors: The objects.
        limits: The largest number of tokens of each row `(B,)`, or None.
        lengths: The number of source tokens of each row `(B,)`, or None.

    Raises:
        TypeError: If one is no function.
        ValueError: If one says so of the lengths.
    """
    for processor in processors:
        if isinstance(processor, type) or not callable(processor):
            raise TypeError(
                "processors must be functions (ids, logits, step) -> logits, such as "
                f"NoRepeatNGram(3); received {processor!r}."
            )
        if limits is not None and hasattr(processor, "check"):
            processor.check(limits, lengths)


def forbid(logits: Tensor, forbidden: Tensor) -> Tensor:
    """Returns the logits with -inf for forbidden tokens."""
    return ops.where(forbidden, NEVER, logits)


def allow_only(allowed: Tensor) -> Tensor:
    """Returns logits that are 0 for allowed tokens, float32, and -inf for others."""
    # Of numbers alone Keras would make what `floatx` says.
    return ops.cast(ops.where(allowed, 0.0, NEVER), "float32")


def vocabulary_of(logits: Tensor) -> Tensor:
    """Returns all ids, `(V,)`, int32."""
    return ops.arange(logits.shape[-1], dtype="int32")


def one_of(logits: Tensor, tokens: Collection[int]) -> Tensor:
    """Returns which ids are among tokens, a tuple of ints: `(V,)`, bool."""
    inside = np.zeros(logits.shape[-1], "bool")
    if tokens and not 0 <= min(tokens) <= max(tokens) < inside.size:
        raise ValueError(
            f"Token ids must be from 0 to {inside.size - 1}, below the vocabulary's "
            f"size; received {tokens!r:.200}."
        )
    inside[list(tokens)] = True
    return ops.convert_to_tensor(inside)


def require_ids(name: str, ids: Iterable[object]) -> None:
    """Raises unless all of some ids are ints of 0 or more."""
    if not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids):
        raise ValueError(
            f"{name} must be token ids, ints of 0 or more; received {ids!r:.200}."
        )


def _lengths(length: int, ratio: float, step: "Step") -> Tensor:
    source = ops.sum(ops.cast(step.source != step.padding_id, "float32"), axis=1)
    return ops.cast(ops.floor(source * ratio), "int32") + length


@dataclasses.dataclass(frozen=True)
class _Length(Processor):
    length: int = 0
    ratio: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.length, int) or isinstance(self.length, bool):
            raise ValueError(f"length must be an integer; received {self.length!r}.")
        if not 0 <= self.ratio < float("inf"):
            raise ValueError(
                f"ratio must be 0 or more, and finite; received {self.ratio!r}."
            )
        if self.length < 0 or not self.length and not self.ratio:
            raise ValueError(
                "length must be 0 or more, and it or ratio above 0; received "
                f"length={self.length}, ratio={self.ratio}."
            )

    def _of(self, lengths: np.ndarray) -> np.ndarray:
        return (
            np.floor(lengths.astype("float32") * np.float32(self.ratio)).astype("int64")
            + self.length
        )


@registered
class MinimumLength(_Length):
    """Forbids the end before a row has so many tokens.

    Args:
        length: The smallest number of tokens before the end id.
        ratio: Added to it, this many times the number of source tokens, rounded down.

    Raises:
        ValueError: If neither is above 0, or one below; in a call, if a row's smallest
            number is not below its largest.

    Example:
        ```python
        from keras_encdec.generation import MinimumLength

        print(MinimumLength(5), MinimumLength(ratio=0.5))
        ```
    """

    def check(self, limits: np.ndarray, lengths: np.ndarray) -> None:
        """Raises if a row must be longer than it may be."""
        smallest = self._of(lengths)
        bad = np.flatnonzero(smallest >= limits)
        if bad.size:
            raise ValueError(
                "The minimum length must be below max_length, which counts the end id; "
                f"received a minimum of {smallest[bad[0]]} and max_length="
                f"{limits[bad[0]]} for row {bad[0]}. Raise max_length."
            )

    def __call__(self, ids: Tensor, logits: Tensor, step: "Step") -> Tensor:
        """Returns the logits `(R, V)`."""
        early = step.index < _lengths(self.length, self.ratio, step)
        ends = one_of(logits, step.end_ids)
        return forbid(logits, ops.logical_and(early[:, None], ends))


@registered
class MaximumLength(_Length):
    """Ends a row, with its end id, after so many tokens.

    `max_length` of a call cuts a row off where it is; this makes it end. Phrases that
    a row still lacks then cannot appear: leave room for them.

    Args:
        length: The largest number of tokens before the end id.
        ratio: Added to it, this many times the number of source tokens, rounded down.

    Raises:
        ValueError: If neither is above 0, or one below.

    Example:
        ```python
        from keras_encdec.generation import MaximumLength

        print(MaximumLength(10, ratio=1.5))
        ```
    """

    def __call__(self, ids: Tensor, logits: Tensor, step: "Step") -> Tensor:
        """Returns the logits `(R, V)`."""
        late = step.index >= _lengths(self.length, self.ratio, step)
        others = ops.logical_not(one_of(logits, step.end_ids))
        return forbid(logits, ops.logical_and(late[:, None], others))


@registered
class LogProbabilities(Processor):
    """Gives log-probabilities in place of logits, to processors that follow it.

    What they do to numbers below 0, as `RepetitionPenalty`, may not be the same.

    Example:
        ```python
        from keras_encdec.generation import LogProbabilities

        print(LogProbabilities())
        ```
    """

    def __call__(self, ids: Tensor, logits: Tensor, step: "Step") -> Tensor:
        """Returns the logits `(R, V)`."""
        return ops.log_softmax(logits, axis=-1)


@registered
class SuppressTokens(Processor):
    """Forbids tokens, everywhere or at one place.

    Args:
        tokens: The ids.
        index: The place at which they are forbidden, counted from 0; by default all.

    Raises:
        ValueError: If they are not ids.

    Example:
        ```python
        from keras_encdec.generation import SuppressTokens

        print(SuppressTokens([3]), SuppressTokens([2], index=0))
        ```
    """

    tokens: Sequence[int]
    index: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(map(_as_int, self.tokens)))
        require_ids("tokens", self.tokens)

    def __call__(self, ids: Tensor, logits: Tensor, step: "Step") -> Tensor:
        """Returns the logits `(R, V)`."""
        forbidden = one_of(logits, self.tokens)
        if self.index is not None:
            forbidden = ops.logical_and(forbidden, step.index == self.index)
        return forbid(logits, forbidden)


def _as_int(token: Any) -> Any:
    return int(token) if isinstance(token, np.integer) else token


@registered
class ForcedFirst(Processor):
    """Makes each row begin with a token, or with several in turn.

    Args:
        token: The id, or a sequence of ids.

    Raises:
        ValueError: If it is not an id, or there are none.

    Example:
        ```python
        from keras_encdec.generation import ForcedFirst

        print(ForcedFirst(4), ForcedFirst([4, 7]))
        ```
    """

    token: int | tuple[int, ...]

    def __post_init__(self) -> None:
        given = self.token
        tokens = given if isinstance(given, (tuple, list)) else (given,)
        tokens = tuple(map(_as_int, tokens))
        require_ids("token", [*tokens])
        if not tokens:
            raise ValueError(
                f"token must be an id, or several; received {given!r}. Leave the "
                "processor out."
            )
        # One is the same, however it was given.
        object.__setattr__(self, "token", tokens[0] if len(tokens) == 1 else tokens)

    @property
    def tokens(self) -> tuple[int, ...]:
        """The ids in turn."""
        return self.token if isinstance(self.token, tuple) else (self.token,)

    def __call__(self, ids: Tensor, logits: Tensor, step: "Step") -> Tensor:
        """Returns the logits `(R, V)`."""
        for place, token in enumerate(self.tokens):
            logits = _force(logits, token, step.index == place)
        return logits


@registered
class ForcedLast(Processor):
    """Makes a row that reaches its largest length end with a token.

    Args:
        token: The id; by default the (first) end id.

    Raises:
        ValueError: If it is not an id.

    Example:
        ```python
        from keras_encdec.generation import ForcedLast

        print(ForcedLast())
        ```
    """

    token: int | None = None

    def __post_init__(self) -> None:
        require_ids("token", [] if self.token is None else [self.token])

    def __call__(self, ids: Tensor, logits: Tensor, step: "Step") -> Tensor:
        """Returns the logits `(R, V)`."""
        token = step.end_ids[0] if self.token is None else self.token
        return _force(logits, token, (step.index + 1 == step.limits)[:, None])


def _force(logits: Tensor, token: int, where: Tensor) -> Tensor:
    return ops.where(where, allow_only(one_of(logits, (token,))), logits)


def recent_tokens(ids: Tensor, index: int | Tensor, number: int) -> Tensor:
    """Returns the last tokens of the rows, `(R, number)`, int32."""
    places = index - number + ops.arange(number, dtype="int32")
    return ops.take(ids, ops.maximum(places, 0), axis=1)


@registered
class BadWords(Processor):
    """Forbids sequences of tokens.

    Args:
        sequences: The sequences, lists of ids.

    Raises:
        ValueError: If one is empty or holds anything but ids.

    Example:
        ```python
        from keras_encdec.generation import BadWords

        print(BadWords([[5, 6], [9]]))
        ```
    """

    sequences: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        sequences = tuple(tuple(map(_as_int, words)) for words in self.sequences)
        object.__setattr__(self, "sequences", sequences)
        for words in sequences:
            require_ids("sequences", words)
            if not words:
                raise ValueError(
                    "sequences must not be empty lists of ids; received "
                    f"{self.sequences!r:.200}."
                )

    def __call__(self, ids: Tensor, logits: Tensor, step: "Step") -> Tensor:
        """Returns the logits `(R, V)`."""
        for *before, last in self.sequences:
            forbidden = one_of(logits, (last,))[None]
            if before:
                recent = recent_tokens(ids, step.index, len(before))
                same = ops.all(recent == ops.convert_to_tensor(before, "int32"), -1)
                same = ops.logical_and(same, step.index >= len(before))
                forbidden = ops.logical_and(forbidden, same[:, None])
            logits = forbid(logits, forbidden)
        return logits


def with_forced_prefix(
    processors: Iterable[Any], prefix_ids: tuple[int, ...]
) -> list[Any]:
    """Returns processors, and one by which rows begin with ids, if none says it yet.

    Args:
        processors: The processors.
        prefix_ids: The ids, or none.

    Example:
        ```python
        from keras_encdec.generation.processors.tokens import with_forced_prefix

        print(with_forced_prefix([], (4, 7)))
        ```
    """
    processors = [*processors]
    if prefix_ids and not any(isinstance(x, ForcedFirst) for x in processors):
        processors.append(ForcedFirst(prefix_ids))
    return processors
