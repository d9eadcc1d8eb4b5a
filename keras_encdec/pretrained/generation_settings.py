"""How a checkpoint is meant to generate: a sampler, processors and a largest length.

Of `generation_config.json`, or of config.json where older checkpoints say it. Lengths
there count the start id, and ours do not.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from keras_encdec.generation import (
    BadWords,
    BeamSampler,
    CombinedSampler,
    EncoderNoRepeatNGram,
    ForcedFirst,
    ForcedLast,
    GreedySampler,
    LogProbabilities,
    MinimumLength,
    MinPSampler,
    NoRepeatNGram,
    Processor,
    RandomSampler,
    RepetitionPenalty,
    Sampler,
    SuppressTokens,
    TopKSampler,
    TopPSampler,
    TypicalSampler,
)

GENERATION_FILE = "generation_config.json"
# What would change answers and has no counterpart, and the value that changes nothing.
_UNKNOWN = {
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "penalty_alpha": None,
    "dola_layers": None,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "top_h": None,
    "encoder_repetition_penalty": 1.0,
    "exponential_decay_length_penalty": None,
    "sequence_bias": None,
    "guidance_scale": 1.0,
    "watermarking_config": None,
    "constraints": None,
    "force_words_ids": None,
    "stop_strings": None,
    "max_time": None,
    "token_healing": False,
}
# When beams are done, in their words and in ours.
_STOPPING: dict[Any, Any] = {False: "heuristic", True: True, "never": False}
# Where nothing is said, theirs draws among so many.
_USUAL_K = 50


class GenerationSettings(NamedTuple):
    """How a model generates.

    Attributes:
        sampler: A `Sampler`.
        processors: What may follow a row, a list.
        max_length: The largest number of tokens, without the start id; None if it is
            not said.
        unknown: What changes answers and cannot be said here, a list of strings.
    """

    sampler: Sampler
    processors: list[Processor]
    max_length: int | None
    unknown: list[str]


def read_settings(folder: str | Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a checkpoint, in its own words.

    Args:
        folder: The folder, with generation_config.json or without it.
        config: What its config.json holds, which is taken where there is no such file.

    Raises:
        ValueError: If the file is no JSON object.

    Example:
        ```python
        import tempfile
        from keras_encdec.pretrained.generation_settings import read_settings

        print(read_settings(tempfile.mkdtemp(), {"num_beams": 4}))
        ```
    """
    path = Path(folder) / GENERATION_FILE
    if not path.is_file():
        return dict(config)
    try:
        settings = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{GENERATION_FILE} must be JSON; {str(path)!r} is not: {error}. Fetch it "
            "again."
        ) from error
    if not isinstance(settings, dict):
        raise ValueError(
            f"{GENERATION_FILE} must hold a JSON object; {str(path)!r} holds "
            f"{type(settings).__name__}. Fetch it again."
        )
    return settings


def settings_of(
    settings: Mapping[str, Any], *, start_id: int, end_id: int, padding_id: int
) -> GenerationSettings:
    """Returns what settings of transformers are in this library.

    Args:
        settings: What generation_config.json holds; null is as good as nothing.
        start_id: The id that the decoder begins with.
        end_id: The id that ends a row.
        padding_id: The id of padding, which is never generated here.

    Returns:
        `GenerationSettings`.

    Raises:
        ValueError: If a setting is out of its range.

    Example:
        ```python
        from keras_encdec.pretrained.generation_settings import settings_of

        found = settings_of(
            {"num_beams": 4, "max_length": 100, "no_repeat_ngram_size": 3},
            start_id=0,
            end_id=1,
            padding_id=0,
        )
        print(found.sampler.num_beams, found.max_length, found.processors)
        ```
    """
    said = {name: value for name, value in settings.items() if value is not None}
    unknown = [
        f"{name}={said[name]!r:.60}"
        for name, neutral in _UNKNOWN.items()
        if name in said and said[name] != neutral
    ]
    beams = said.get("num_beams", 1)
    if said.get("do_sample") and beams > 1:
        unknown.append(f"do_sample=True with num_beams={beams}")
    ends = said.get("eos_token_id", end_id)
    if {*(ends if isinstance(ends, list) else [ends])} != {end_id}:
        unknown.append(f"eos_token_id={ends!r} where the tokenizer's is {end_id}")
    max_length = said.get("max_new_tokens")
    if max_length is None and "max_length" in said:
        # Theirs counts the start id.
        max_length = said["max_length"] - 1
    processors = [*_processors(said, start_id, end_id, padding_id)]
    return GenerationSettings(_sampler(said), processors, max_length, unknown)


def _sampler(said: Mapping[str, Any]) -> Sampler:
    if (beams := said.get("num_beams", 1)) > 1:
        stopping = said.get("early_stopping", False)
        if stopping not in [*_STOPPING]:
            raise ValueError(
                "early_stopping of a checkpoint must be false, true or 'never'; "
                f"received {stopping!r}. Correct its {GENERATION_FILE}."
            )
        return BeamSampler(
            beams,
            length_penalty=float(said.get("length_penalty", 1.0)),
            early_stopping=_STOPPING[stopping],
            renormalize=bool(said.get("renormalize_logits", False)),
        )
    if not said.get("do_sample"):
        return GreedySampler()
    limits: dict[str, Any] = {
        "k": said.get("top_k", _USUAL_K) or None,
        "p": _below_1(said.get("top_p")),
        "min_p": said.get("min_p") or None,
        "typical_p": _below_1(said.get("typical_p")),
    }
    limits = {name: value for name, value in limits.items() if value is not None}
    temperature = float(said.get("temperature", 1.0))
    if len(limits) > 1:
        return CombinedSampler(temperature, **limits)
    for name, value in limits.items():
        kind, argument = _SAMPLERS[name]
        return kind(temperature, **{argument: value})
    return RandomSampler(temperature)


_SAMPLERS = {
    "k": (TopKSampler, "k"),
    "p": (TopPSampler, "p"),
    "min_p": (MinPSampler, "p"),
    "typical_p": (TypicalSampler, "p"),
}


def _below_1(share: float | None) -> float | None:
    return None if share is None or share >= 1 else share


def _processors(
    said: Mapping[str, Any], start_id: int, end_id: int, padding_id: int
) -> Iterator[Processor]:
    """Yields processors in the order in which theirs are applied."""
    if (penalty := said.get("repetition_penalty", 1.0)) != 1:
        # Their beams multiply log-probabilities.
        if said.get("num_beams", 1) > 1:
            yield LogProbabilities()
        # Their rows begin with the start id.
        yield RepetitionPenalty(penalty, () if start_id == padding_id else (start_id,))
    if n := said.get("no_repeat_ngram_size"):
        yield NoRepeatNGram(n)
    if n := said.get("encoder_no_repeat_ngram_size"):
        yield EncoderNoRepeatNGram(n)
    # Padding is never generated, and the end is no bad word.
    words = [x for x in said.get("bad_words_ids", []) if x != [end_id]]
    if words := [x for x in words if x != [padding_id]]:
        yield BadWords(tuple(words))
    least = said.get("min_new_tokens") or said.get("min_length", 0) - 1
    if least > 0:
        yield MinimumLength(least)
    first = said.get("forced_bos_token_id")
    if first is not None:
        yield ForcedFirst(first)
    last = said.get("forced_eos_token_id")
    if last is not None:
        last = last[0] if isinstance(last, list) else last
        yield ForcedLast(None if last == end_id else last)
    if tokens := said.get("suppress_tokens"):
        yield SuppressTokens(tokens)
    if tokens := said.get("begin_suppress_tokens"):
        yield SuppressTokens(tokens, index=0 if first is None else 1)


def settings_from(
    sampler: Sampler,
    processors: Sequence[Any],
    max_length: int,
    *,
    start_id: int,
    end_id: int,
    padding_id: int,
) -> tuple[dict[str, Any], list[str]]:
    """Returns the settings of transformers that say how a model generates here.

    Args:
        sampler: A `Sampler`.
        processors: Processors, as in `Generator`.
        max_length: The largest number of tokens, without the start id.
        start_id: The id that the decoder begins with.
        end_id: The id that ends a row.
        padding_id: The id of padding.

    Returns:
        A dict for generation_config.json, and a list of what it cannot say.

    Example:
        ```python
        from keras_encdec import BeamSampler
        from keras_encdec.pretrained.generation_settings import settings_from

        ids = {"start_id": 0, "end_id": 1, "padding_id": 0}
        settings, unsaid = settings_from(BeamSampler(4), [], 99, **ids)
        print(settings["num_beams"], settings["max_length"], unsaid)  # 4 100 []
        ```
    """
    settings = {
        "decoder_start_token_id": start_id,
        "eos_token_id": end_id,
        "pad_token_id": padding_id,
        "max_length": max_length + 1,
        "bad_words_ids": [[padding_id]],
    }
    for processor in processors:
        settings |= _said_by(processor, settings, end_id)
    settings |= _said_by_sampler(sampler)
    # What they say is compared with what was meant.
    ids = {"start_id": start_id, "end_id": end_id, "padding_id": padding_id}
    again = settings_of(settings, **ids)
    unsaid = [repr(x) for x in processors if x not in again.processors]
    if not unsaid and list(processors) != again.processors:
        unsaid = [f"processors in the order {list(processors)!r}"]
    if isinstance(sampler, BeamSampler):
        sampler = dataclasses.replace(sampler, early_stopping=_stopping(sampler))
    if again.sampler != sampler:
        unsaid.append(repr(sampler))
    return settings, unsaid


def _stopping(sampler: BeamSampler) -> bool | Literal["heuristic", "never"]:
    """When beams are done; where they never are early, the best are the same."""
    never = sampler.early_stopping == "never"
    return False if never else sampler.early_stopping


def _said_by_sampler(sampler: Sampler) -> dict[str, Any]:
    if isinstance(sampler, BeamSampler):
        return {
            "num_beams": sampler.num_beams,
            "length_penalty": sampler.length_penalty,
            "early_stopping": {v: k for k, v in _STOPPING.items()}[_stopping(sampler)],
            "renormalize_logits": sampler.renormalize,
        }
    if not isinstance(sampler, RandomSampler):
        return {}
    limits: dict[str, Any] = {"top_k": 0}
    parts = sampler.limits() if isinstance(sampler, CombinedSampler) else [sampler]
    names = {TopPSampler: "top_p", MinPSampler: "min_p", TypicalSampler: "typical_p"}
    for part in parts:
        if isinstance(part, TopKSampler):
            limits["top_k"] = part.k
        elif type(part) in names:
            limits[names[type(part)]] = getattr(part, "p", None)
    return {"do_sample": True, "temperature": sampler.temperature, **limits}


def _said_by(
    processor: Any, settings: Mapping[str, Any], end_id: int
) -> dict[str, Any]:
    match processor:
        case RepetitionPenalty():
            return {"repetition_penalty": processor.penalty}
        case NoRepeatNGram():
            return {"no_repeat_ngram_size": processor.n}
        case EncoderNoRepeatNGram():
            return {"encoder_no_repeat_ngram_size": processor.n}
        case BadWords():
            words = [list(each) for each in processor.sequences]
            return {"bad_words_ids": [*settings["bad_words_ids"], *words]}
        case MinimumLength(ratio=0):
            return {"min_length": processor.length + 1}
        case ForcedFirst(token=int()):
            return {"forced_bos_token_id": processor.token}
        case ForcedLast():
            token = processor.token
            return {"forced_eos_token_id": end_id if token is None else token}
        case SuppressTokens(index=None):
            return {"suppress_tokens": list(processor.tokens)}
        case SuppressTokens(index=index) if index in (0, 1):
            return {"begin_suppress_tokens": list(processor.tokens)}
    return {}
