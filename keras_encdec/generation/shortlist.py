"""A lexical shortlist: the few target ids that may translate a source.

The logits are most of the operations of a small model. With a shortlist they are those
of the ids that the sources of a batch may have, and no others.

Legend of shapes: B batch, S source, N candidates of a batch, K of a source id, V target
ids, R target rows, D model.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from keras import ops

from keras_encdec.annotations import AnyPath, KerasModel, Tensor
from keras_encdec.generation.processors.tokens import NEVER
from keras_encdec.protocol import facts_of

# No id: what fills up the candidates of a source id that has fewer than others.
NONE = -1
# Of the candidates of a batch; sizes above are this, doubled and its half more.
FEWEST = 256
# In its file.
_ARRAYS = "candidates", "of_all"
_SIZE = "target_vocabulary_size"


class Shortlist:
    """The target ids that each source id may become.

    A row's candidates are those of its source's ids, those of every row, and what its
    prefix and phrases hold: its ids do not depend on its neighbours.

    Args:
        candidates: The target ids of each source id, `(source vocabulary, K)`, integer,
            then -1; or a list of lists of any lengths, one for each source id.
        of_all: Target ids that every row may have, such as the most frequent ones.
        target_vocabulary_size: The number of target ids V.

    Attributes:
        candidates: The candidates, a NumPy array of int32.
        of_all: Those of every row, a NumPy array of int32.
        source_vocabulary_size: The number of source ids.
        target_vocabulary_size: The number of target ids V.

    Raises:
        ValueError: If candidates are no ids of the target's vocabulary.

    Example:
        ```python
        from keras_encdec import EncoderDecoder, Generator
        from keras_encdec.generation import Shortlist

        candidates = [[source, source + 1] for source in range(18)] + [[18], [19]]
        shortlist = Shortlist(candidates, [2, 3], target_vocabulary_size=20)
        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        print(Generator(model, shortlist=shortlist)([[5, 7, 2]], max_length=6))
        ```

    Reference:
        Jean et al. 2015, On Using Very Large Target Vocabulary for Neural Machine
        Translation; L'Hostis et al. 2016, Vocabulary Selection Strategies for Neural
        Machine Translation.
    """

    def __init__(
        self,
        candidates: np.ndarray | Sequence[Sequence[int]],
        of_all: Iterable[int],
        target_vocabulary_size: int,
    ) -> None:
        self.candidates = _table(candidates)
        self.of_all = np.unique(np.asarray([*of_all], "int64")).astype("int32")
        self.source_vocabulary_size = len(self.candidates)
        self.target_vocabulary_size = target_vocabulary_size
        for name, ids, least in (
            ("candidates", self.candidates, NONE),
            ("of_all", self.of_all, 0),
        ):
            if (
                ids.size
                and not least <= ids.min() <= ids.max() < target_vocabulary_size
            ):
                raise ValueError(
                    f"{name} must be target ids, from 0 to {target_vocabulary_size - 1}"
                    f"; received ids from {ids.min()} to {ids.max()}."
                )

    def __repr__(self) -> str:
        mean = (self.candidates != NONE).sum() / max(1, len(self.candidates))
        return (
            f"Shortlist({self.source_vocabulary_size} source ids with {mean:.1f} of "
            f"{self.target_vocabulary_size} target ids each on average, "
            f"{len(self.of_all)} of all)"
        )

    def check_model(self, model: KerasModel) -> None:
        """Raises a ValueError if a model has other vocabularies.

        Args:
            model: The model.
        """
        facts, sides = facts_of(model), ("source", "target")
        if facts.source_features is not None:
            raise ValueError(
                "A shortlist is of source ids; received a model of features. Leave "
                "shortlist out."
            )
        for side in sides:
            name = f"{side}_vocabulary_size"
            theirs, ours = getattr(facts, name), getattr(self, name)
            if theirs != ours:
                raise ValueError(
                    f"A shortlist must be of the model's ids; received one of {ours} "
                    f"{side} ids for a model with {name}={theirs}. Learn it with the "
                    "tokenizers of this model."
                )

    def of_sources(
        self,
        source: np.ndarray,
        padding_id: int = 0,
        others: Iterable[np.ndarray] = (),
    ) -> dict[str, np.ndarray]:
        """Returns the candidates of a batch.

        Args:
            source: Source ids `(B, S)`, int32.
            padding_id: The id of padding, which has no candidates.
            others: Arrays of further target ids of each row, `(B, ...)`, integer;
                those below 0 are none.

        Returns:
            A dict of `candidates`, ids in order, `(N,)`, int32, and `allowed`, which of
            them each row may have, `(B, N)`, bool. N is one of few sizes: what fills it
            up no row may have.
        """
        size, rows = self.target_vocabulary_size, np.arange(len(source))[:, None]
        # The last one is of NONE.
        flags: np.ndarray = np.zeros((len(source), size + 1), "bool")
        found = self.candidates[source]  # (B, S, K)
        found[source == padding_id] = NONE
        flags[rows, found.reshape(len(source), -1)] = True
        flags[:, self.of_all] = True
        for ids in others:
            flags[rows, np.maximum(ids, NONE).reshape(len(source), -1)] = True
        flags = flags[:, :size]
        wanted = np.asarray(flags.any(axis=0))
        missing = min(_few_sizes(int(wanted.sum())), size) - int(wanted.sum())
        wanted[np.flatnonzero(~wanted)[:missing]] = True
        (ids,) = np.nonzero(wanted)
        return {"candidates": ids.astype("int32"), "allowed": flags[:, ids]}

    def save(self, path: AnyPath) -> None:
        """Writes it to a file of safetensors, for `load`.

        Args:
            path: The file to write.
        """
        from safetensors.numpy import save_file

        arrays = {name: getattr(self, name) for name in _ARRAYS}
        said = {_SIZE: str(self.target_vocabulary_size)}
        save_file(arrays, path, metadata=said)

    @classmethod
    def load(cls, path: AnyPath) -> Self:
        """Reads what `save` wrote.

        Args:
            path: The file.

        Returns:
            A `Shortlist`.

        Raises:
            FileNotFoundError: If there is no file.
            ValueError: If it is none that `save` wrote.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "numpy") as file:
                size = int((file.metadata() or {})[_SIZE])
                candidates, of_all = map(file.get_tensor, _ARRAYS)
                return cls(candidates, of_all, size)
        except (KeyError, SafetensorError, TypeError, ValueError) as error:
            raise ValueError(
                "A shortlist is read from a file that `keras-encdec shortlist` or "
                f"Shortlist.save wrote; {str(path)!r} is none: {error}"
            ) from error


class Candidates(NamedTuple):
    """The shortlist of one generation."""

    ids: Tensor  # (N,), in order
    allowed: Tensor  # (R, N)
    projection: Any  # The table (N, D) and the bias (N,) or (); or () if unknown.

    def logits_of(self, model: KerasModel, *args: Any, **options: Any) -> Any:
        """Returns what a model's `step` returns, with logits `(R, N)` or `(R, T, N)`.

        Args:
            model: The model.
            *args: Arguments of its `step`.
            **options: Further ones.
        """
        if self.projection:
            options["projection"] = self.projection
        logits, *others = model.step(*args, **options)
        if not self.projection:
            logits = ops.take(logits, self.ids, axis=-1)
        # Of several positions at once.
        several = len(logits.shape) == 3
        allowed = self.allowed[:, None] if several else self.allowed
        return ops.where(allowed, logits, NEVER), *others

    def of_vocabulary(self, logits: Tensor, size: int) -> Tensor:
        """Returns logits `(R, V)`, -inf where there is no candidate, of `(R, N)`."""
        vocabulary = ops.arange(size, dtype="int32")
        number = ops.shape(self.ids)[0]
        places = ops.searchsorted(self.ids, vocabulary)
        places = ops.minimum(ops.cast(places, "int32"), number - 1)
        known = ops.take(self.ids, places) == vocabulary
        return ops.where(known, ops.take(logits, places, axis=-1), NEVER)


def candidates_of(model: KerasModel, ids: Tensor, allowed: Tensor) -> Candidates:
    """Returns the `Candidates` of one generation, with their part of the projection.

    Args:
        model: The model.
        ids: As `Shortlist.of_sources` returns them.
        allowed: Of each target row, likewise.
    """
    projection = facts_of(model).projection
    if projection is None:
        return Candidates(ids, allowed, ())
    table, bias = projection()
    rows = ops.take(ops.convert_to_tensor(table), ids, axis=0)
    rows = ops.cast(rows, "float32")
    if bias is None:
        return Candidates(ids, allowed, (rows, ()))
    bias = ops.cast(ops.take(ops.convert_to_tensor(bias), ids), "float32")
    return Candidates(ids, allowed, (rows, bias))


def _table(candidates: Any) -> np.ndarray:
    if isinstance(candidates, np.ndarray):
        if candidates.ndim != 2 or not np.issubdtype(candidates.dtype, np.integer):
            raise ValueError(
                "candidates must be integer target ids, a row for each source id; "
                f"received shape {candidates.shape}, dtype {candidates.dtype}."
            )
        return candidates.astype("int32")
    widest = max(map(len, candidates), default=0)
    table = np.full((len(candidates), max(1, widest)), NONE, "int32")
    for row, ids in zip(table, candidates, strict=True):
        row[: len(ids)] = ids
    return table


def _few_sizes(number: int) -> int:
    """The size, of few, that has room for a number of candidates."""
    size = FEWEST
    while size < number:
        if number <= size // 2 * 3:
            return size // 2 * 3
        size *= 2
    return size
