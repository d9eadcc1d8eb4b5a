"""What a call of the generator is given, checked on the host and padded.

Legend of shapes: B batch, P prefix, C constraints, A alternatives, W tokens of a
phrase.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from keras_encdec.annotations import Ids, KerasModel, Phrases
from keras_encdec.generation.processors.constraints import phrase_progress
from keras_encdec.generation.random_numbers import seeds_from_numbers
from keras_encdec.protocol import check_ids, facts_of

if TYPE_CHECKING:
    from keras_encdec.generation.samplers.interface import Sampler

# Of a row: a bound for models whose positions have none.
MOST_TOKENS = 2**16


def pad_rows(name: str, rows: Ids, padding_id: int) -> np.ndarray:
    """Returns rows of ids as one array, `(B, the largest length)`.

    Args:
        name: What to call the rows in an error.
        rows: `(B, S)`, integer, or a list of lists of any lengths.
        padding_id: The id that fills up the shorter ones.

    Raises:
        ValueError: If they are not rows of integers.
    """
    rows = _as_list(rows)
    if isinstance(rows, (list, tuple)):
        arrays = [_as_array(row) for row in rows]
        if any(array.ndim != 1 for array in arrays):
            raise ValueError(
                f"{name} must be a list of rows of ids, such as [[5, 7, 2], [9, 2]];"
                f" received {rows!r:.200}."
            )
        for array in arrays:
            if array.size and not np.issubdtype(array.dtype, np.integer):
                raise ValueError(
                    f"{name} must be integer token ids; received a row of dtype "
                    f"{array.dtype}. Encode the text with a tokenizer."
                )
        # int64, for in int32 an id too large might wrap around to a good one.
        longest = max(map(len, arrays), default=0)
        padded = np.full((len(arrays), longest), padding_id, "int64")
        for padded_row, array in zip(padded, arrays, strict=True):
            padded_row[: len(array)] = array
        return padded
    rows = _as_array(rows)
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(
            f"{name} must be 2D integer ids, a row for each sequence; received "
            f"shape {rows.shape}, dtype {rows.dtype}."
        )
    return rows


def _as_list(rows: Any) -> Any:
    """Returns ragged and nested tensors as a list, others as they are."""
    if getattr(rows, "is_nested", False):  # PyTorch's.
        return list(rows.unbind())
    if hasattr(rows, "to_list"):  # TensorFlow's, whichever backend runs.
        return rows.to_list()
    if isinstance(rows, np.ndarray) and rows.dtype == object:
        return list(rows)
    return rows


def _as_array(ids: Any) -> np.ndarray:
    if ops.is_tensor(ids):
        return np.asarray(ops.convert_to_numpy(ids))
    try:
        return np.asarray(ids)
    except ValueError:  # Of lists of several lengths.
        return np.asarray(ids, dtype=object)


def pad_sources(model: KerasModel, source: Any, padding_id: int) -> np.ndarray:
    """Returns sources as one array that the model takes.

    Args:
        model: The model.
        source: Ids as in `pad_rows`; or features `(B, S, F)`, float, or a list of
            `(S, F)` of any lengths.
        padding_id: The id of padding; features are padded with zeros.

    Returns:
        `(B, S)`, int32, or `(B, S, F)`, float32.

    Raises:
        ValueError: If they are not what the model takes, or of several lengths for one
            that does not mask padding.
    """
    facts = facts_of(model)
    number = facts.source_features
    if facts.masks_padding is False:
        rows = _as_list(source)
        rows = rows if isinstance(rows, (list, tuple)) else []
        lengths = {len(row) for row in map(_as_array, rows) if row.ndim}
        if len(lengths) > 1:
            raise ValueError(
                "Sources of several lengths are padded, and the model's encoder would "
                "attend to padding, for its output carries no mask of it; received "
                f"lengths {sorted(lengths)!r:.80}. Give sources of one length, or "
                "build an encoder that passes on a mask, as keras.layers.Masking makes."
            )
    if number is None:
        source = pad_rows("source", source, padding_id)
    else:
        source = _pad_features(source, number)
    check_ids(model, source)
    return source.astype("int32" if number is None else "float32")


def _pad_features(source: Any, number: int) -> np.ndarray:
    source = _as_list(source)
    if not isinstance(source, (list, tuple)):
        return _as_array(source)
    arrays = [_as_array(each) for each in source]
    if any(array.ndim != 2 or array.shape[1] != number for array in arrays):
        raise ValueError(
            f"source must be features, (S, {number}) for each sequence; received "
            f"shapes {[array.shape for array in arrays]!r:.200}."
        )
    longest = max(map(len, arrays), default=0)
    dtype = np.result_type("float32", *(array.dtype for array in arrays))
    padded = np.zeros((len(arrays), longest, number), dtype)
    for rows, array in zip(padded, arrays, strict=True):
        rows[: len(array)] = array
    return padded


def source_lengths(source: np.ndarray, padding_id: int) -> np.ndarray:
    """Returns how many positions of each source are no padding, `(B,)`.

    Args:
        source: What `pad_sources` returned.
        padding_id: The id of padding.
    """
    if source.ndim == 3:
        return np.any(source != 0, axis=2).sum(axis=1)
    return (source != padding_id).sum(axis=1)


def pad_pairs(
    model: KerasModel, source: Any, target: Ids, padding_id: int
) -> dict[str, np.ndarray]:
    """Returns given pairs as arrays by name, as the model takes them.

    Args:
        model: The model.
        source: Sources, as in `pad_sources`.
        target: Target ids, as in `pad_rows`.
        padding_id: The id of padding.

    Returns:
        The source, `(B, S)`, int32, or `(B, S, F)`, float32; the target `(B, T)`,
        int32.

    Raises:
        ValueError: If they are not ids, or not as many sources as targets.
    """
    source = pad_sources(model, source, padding_id)
    target = pad_rows("target", target, padding_id)
    if len(source) != len(target):
        raise ValueError(
            "source and target must have a row each for every pair; received "
            f"{len(source)} and {len(target)}."
        )
    check_ids(model, target=target)
    return {"source": source, "target": target.astype("int32")}


def loop_length(longest: int, positions: int | None, sampler: "Sampler") -> int:
    """Returns the length of a loop for a largest length; one serves several.

    Args:
        longest: The largest number of tokens, an int.
        positions: The number of the model's positions, or None.
        sampler: A `Sampler`.

    Raises:
        ValueError: If the model has not as many positions.
    """
    room = bucketed_length(longest) if sampler.obeys_limits else longest
    if positions is None:
        return room
    largest = positions - sampler.extra_positions
    if longest > largest:
        raise ValueError(
            "max_length must not be above the model's positions, "
            f"max_length={largest}; received {longest}."
        )
    return min(room, largest)


def row_limits(max_length: int | Sequence[int] | np.ndarray, rows: int) -> np.ndarray:
    """Returns the largest number of tokens of each row, `(B,)`, int32.

    Args:
        max_length: An int, or one for each row.
        rows: The number of rows B.

    Raises:
        ValueError: If they are not as many integers from 1 to `MOST_TOKENS`.
    """
    limits = np.asarray(max_length)
    if not np.issubdtype(limits.dtype, np.integer) or limits.shape not in (
        (),
        (rows,),
    ):
        raise ValueError(
            "max_length must be an int, or an int for each row of the source; "
            f"received {max_length!r:.200} for {rows} rows."
        )
    if limits.size and limits.min() < 1:
        raise ValueError(f"max_length must be at least 1; received {limits.min()}.")
    if limits.size and limits.max() > MOST_TOKENS:
        raise ValueError(
            f"max_length must not be above {MOST_TOKENS}, for memory is taken for as "
            f"many tokens of each row; received {limits.max()}. Give the length that "
            "rows should end at if they do not end by themselves."
        )
    return np.broadcast_to(limits, (rows,)).astype("int32")


def seeds_of_rows(seed: int | Sequence[int] | np.ndarray, rows: int) -> np.ndarray:
    """Returns the seed of each row, `(B,)`, int32.

    Args:
        seed: An int of 32 bits, or one for each row.
        rows: The number of rows B.

    Raises:
        ValueError: If they are not as many integers of 32 bits.
    """
    seeds = np.asarray(seed)
    if not np.issubdtype(seeds.dtype, np.integer) or seeds.shape not in ((), (rows,)):
        raise ValueError(
            "seed must be an int, or an int for each row of the source; received "
            f"{seed!r:.200} for {rows} rows."
        )
    if seeds.size and not -(2**31) <= seeds.min() <= seeds.max() < 2**31:
        raise ValueError(
            "seed must fit in 32 bits, from -2**31 to 2**31 - 1; received "
            f"{seed!r:.200}."
        )
    if seeds.ndim == 0:
        # By NumPy, which takes a thirtieth of the time of a tensor's operations.
        return seeds_from_numbers(np.arange(rows, dtype="int32"), int(seeds))
    return seeds.astype("int32")


def pad_prefixes(
    prefix: Ids,
    limits: np.ndarray,
    end_ids: tuple[int, ...],
    padding_id: int,
    vocabulary_size: int | None = None,
) -> np.ndarray:
    """Returns the tokens that rows begin with, `(B, P)`, int32, padded.

    Args:
        prefix: A list of ids for each row, which may be empty.
        limits: The largest number of tokens of each row `(B,)`.
        end_ids: The ids that end a row.
        padding_id: The id of padding.
        vocabulary_size: The number of target ids, or None if it is not known.

    Raises:
        ValueError: If they are not as many rows, hold an end id or padding between
            tokens or an unknown id, or are longer than the rows may be.
    """
    padded = pad_rows("prefix", prefix, padding_id)
    if len(padded) != len(limits):
        raise ValueError(
            "prefix must have a row for each row of the source; received "
            f"{len(padded)} for {len(limits)}."
        )
    tokens = padded != padding_id
    lengths = tokens.sum(axis=1)
    for row, (length, limit) in enumerate(zip(lengths, limits, strict=True)):
        if (
            not tokens[row, :length].all()
            or np.isin(padded[row, :length], end_ids).any()
        ):
            raise ValueError(
                "A prefix must hold neither an end id nor padding; received "
                f"{padded[row].tolist()} for row {row}. Leave them out."
            )
        if length > limit:
            raise ValueError(
                "A prefix must not be longer than max_length; received "
                f"{length} tokens with max_length={limit} for row {row}."
            )
    if vocabulary_size is not None and padded.size:
        if not 0 <= padded.min() <= padded.max() < vocabulary_size:
            raise ValueError(
                f"prefix ids must be from 0 to {vocabulary_size - 1}; received ids "
                f"from {padded.min()} to {padded.max()}."
            )
    # Not empty, and of a few widths.
    width = max(8, -(-padded.shape[1] // 8) * 8)
    extra = width - padded.shape[1]
    return np.pad(padded, ((0, 0), (0, extra)), constant_values=padding_id).astype(
        "int32"
    )


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _alternatives(constraint: Any) -> list[list[Any]]:
    """Returns the alternatives of a constraint, or nothing if it is not one."""
    if not _is_list(constraint) or not len(constraint):
        return []
    nested = [_is_list(words) for words in constraint]
    if all(nested):
        return [list(words) for words in constraint]
    return [] if any(nested) else [list(constraint)]


def pad_phrases(
    phrases: Phrases,
    limits: np.ndarray,
    end_ids: tuple[int, ...],
    padding_id: int,
    vocabulary_size: int | None = None,
) -> np.ndarray:
    """Returns the phrases that rows must hold, `(B, C, A, W)`, int32, padded with -1.

    Args:
        phrases: For each row a list of constraints: each a list of ids, or a list of
            alternatives, which are lists of ids.
        limits: The largest number of tokens of each row `(B,)`.
        end_ids: The ids that end a row.
        padding_id: The id of padding.
        vocabulary_size: The number of target ids, or None if it is not known.

    Raises:
        ValueError: If they are not as many rows, not lists of ids, hold an end id or
            padding, or have no room in a row.
    """
    if len(phrases) != len(limits):
        raise ValueError(
            "phrases must have a list for each row of the source; received "
            f"{len(phrases)} for {len(limits)}."
        )
    rows = [list(map(_alternatives, row)) for row in phrases if _is_list(row)]
    if len(rows) != len(limits) or not all(all(row) for row in rows):
        raise ValueError(
            "phrases must have a list of phrases for each row, each a list of token "
            "ids or a list of such lists, one of which must appear: [[[5, 6]], []] for "
            f"two rows; received {phrases!r:.200} for {len(limits)} rows."
        )
    for i, (row, limit) in enumerate(zip(rows, limits, strict=True)):
        for alternative in (words for constraint in row for words in constraint):
            good = all(isinstance(t, (int, np.integer)) and t >= 0 for t in alternative)
            known = vocabulary_size is None or all(
                t < vocabulary_size for t in alternative if good
            )
            if (
                not alternative
                or not good
                or not known
                or ({padding_id, *end_ids} & set(alternative))
            ):
                raise ValueError(
                    "A phrase must be a list of token ids, without the end id and "
                    f"padding; received {alternative!r:.200} for row {i}."
                )
        shortest = sum(min(map(len, constraint)) for constraint in row)
        if shortest + 1 > limit:
            raise ValueError(
                "The phrases of a row and its end must not be longer than max_length; "
                f"received {shortest} tokens and the end with max_length={limit} for "
                f"row {i}. Raise max_length, or leave out a phrase."
            )
    every = [constraint for row in rows for constraint in row]
    shape = (
        len(rows),
        max(map(len, rows), default=0),
        max(map(len, every), default=0),
        max((len(words) for constraint in every for words in constraint), default=0),
    )
    padded = np.full(tuple(max(1, size) for size in shape), -1, "int32")
    for i, row in enumerate(rows):
        for j, constraint in enumerate(row):
            for k, words in enumerate(constraint):
                padded[i, j, k, : len(words)] = words
    return padded[: len(rows)]


def require_room(
    prefix: np.ndarray, phrases: np.ndarray, limits: np.ndarray, padding_id: int
) -> None:
    """Raises if rows cannot hold their phrases after their prefixes.

    Args:
        prefix: What `pad_prefixes` returned.
        phrases: What `pad_phrases` returned.
        limits: The largest number of tokens of each row `(B,)`.
        padding_id: The id of padding.

    Raises:
        ValueError: If a prefix, what its phrases lack then, and the end are too long.
    """
    for row, limit in enumerate(limits):
        length = int((prefix[row] != padding_id).sum())
        arrays = prefix[row : row + 1], phrases[row : row + 1]
        ids, wanted = map(ops.convert_to_tensor, arrays)
        missing = int(phrase_progress(ids, length, wanted)[0][0])
        if missing and length + missing + 1 > limit:
            raise ValueError(
                "A prefix, the rest of its phrases and the end must not be longer than "
                f"max_length; received {length} tokens, {missing} and the end with "
                f"max_length={limit} for row {row}. Raise max_length."
            )


def bucketed_length(length: int) -> int:
    """Returns a length of at least another one: few of them, each for a program.

    Example:
        ```python
        from keras_encdec.generation.inputs.rows import bucketed_length

        print([bucketed_length(length) for length in (5, 20, 40, 100)])
        ```
    """
    return _round_up(length, 8)


def pad_to_few_sizes(
    arrays: dict[str, np.ndarray],
    padding_id: int,
    max_source_length: int | None = None,
    max_length: int | None = None,
    masks_padding: bool | None = None,
) -> dict[str, np.ndarray]:
    """Returns arrays of a few sizes, for each of which JAX compiles once.

    Args:
        arrays: Arrays `(B, ...)` by name.
        padding_id: The id of padding.
        max_source_length: The largest length of a source, or None.
        max_length: The largest length of a target, or None.
        masks_padding: False if sources must stay as long as they are.
    """
    padded, largest = {}, {"source": max_source_length, "target": max_length}
    for name, array in arrays.items():
        fill = [(0, _round_up(len(array), 1) - len(array))]
        if name in largest and not (name == "source" and masks_padding is False):
            width = min(bucketed_length(array.shape[1]), largest[name] or np.inf)
            fill += [(0, max(0, width - array.shape[1]))]
        fill += [(0, 0)] * (array.ndim - len(fill))
        # Rows that fill up have a limit of 0: they end before their first token.
        value = {"phrases": -1, "limits": 0, "seeds": 0}.get(name, padding_id)
        if array.dtype.kind == "f":
            value = 0  # Of features.
        padded[name] = np.pad(array, fill, constant_values=value)
    return padded


def _round_up(size: int, smallest: int) -> int:
    """Returns a size of at least `size`: doubled up to 32, then multiples of 32."""
    rounded = smallest
    while rounded < min(size, 32):
        rounded *= 2
    return rounded if rounded >= size else -(-size // 32) * 32
