"""What a call of the generator is given, all of it checked before anything runs."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_encdec.annotations import Ids, Phrases
from keras_encdec.generation.inputs.rows import (
    loop_length,
    pad_phrases,
    pad_prefixes,
    pad_sources,
    require_room,
    row_limits,
    seeds_of_rows,
    source_lengths,
)
from keras_encdec.generation.processors.tokens import require_processors
from keras_encdec.generation.task import as_tuple
from keras_encdec.option_checks import require_positive
from keras_encdec.protocol import facts_of

if TYPE_CHECKING:
    from keras_encdec.generation.generator import Generator


class CallInputs(NamedTuple):
    """A checked call."""

    arrays: dict[str, np.ndarray]  # By name, each with a row for each source.
    options: dict[str, Any]  # What a program is compiled for.
    longest: int  # The largest length of a row.


def inputs_of_call(
    generator: "Generator",
    source: Ids,
    max_length: Any,
    seed: Any,
    number: int,
    prefix: Ids | None = None,
    phrases: Phrases | None = None,
    *,
    positions: int | None,
    return_scores: bool = False,
) -> CallInputs:
    """Returns a call's checked arrays, its static options, its largest length.

    Args:
        generator: A `Generator`.
        source: As in its call.
        max_length: Likewise.
        seed: Likewise.
        number: `num_return_sequences` of its call, an int.
        prefix: As in its call.
        phrases: Likewise.
        positions: The largest length of a target that its models take, or None.
        return_scores: As in its call.

    Returns:
        `CallInputs`.

    Raises:
        ValueError: As its call does.
    """
    model, padding_id = generator.model, generator.padding_id
    source = pad_sources(model, source, padding_id)
    limits = row_limits(max_length, len(source))
    seeds = seeds_of_rows(seed, len(source))
    require_positive(num_return_sequences=number)
    generator.sampler.rows_per_source(number)
    arrays = {"source": source, "limits": limits, "seeds": seeds}
    longest = int(limits.max(initial=0)) if np.ndim(max_length) else int(max_length)
    lengths = source_lengths(source, padding_id)
    require_processors(generator.processors, limits, lengths)
    size = facts_of(model).target_vocabulary_size
    ids = as_tuple(generator.end_id), padding_id, size
    if prefix is not None:
        arrays["prefix"] = pad_prefixes(prefix, limits, *ids)
    if phrases is not None:
        arrays["phrases"] = pad_phrases(phrases, limits, *ids)
    if prefix is not None and phrases is not None:
        require_room(arrays["prefix"], arrays["phrases"], limits, padding_id)
    options = {
        "max_length": loop_length(longest, positions, generator.sampler),
        "num_return_sequences": number,
        "return_scores": return_scores,
    }
    return CallInputs(arrays, options, longest)
