"""What makes a checkpoint's model one of texts: tokenizers, and how it generates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_encdec.annotations import AnyPath
from keras_encdec.pretrained.configurations import read_config
from keras_encdec.pretrained.generation_settings import read_settings, settings_of
from keras_encdec.pretrained.hub import local_folder
from keras_encdec.pretrained.tokenizers import tokenizers_from

# Ids that generation_config.json says anew.
_SPECIAL = "decoder_start_token_id", "forced_bos_token_id"


def text_parts(
    place: AnyPath,
    source_language: str | None = None,
    target_language: str | None = None,
    *,
    sampler: Any = None,
    max_length: int | None = None,
    **options: Any,
) -> tuple[Path, dict[str, Any]]:
    """Reads the arguments of a `TextToText` that a checkpoint's folder says.

    Args:
        place: As in `local_folder`.
        source_language: As in `tokenizers_from`.
        target_language: Likewise.
        sampler: A sampler in the place of the checkpoint's.
        max_length: A largest length likewise.
        **options: Arguments of which it says nothing.

    Returns:
        The folder, and a dict of all arguments but the model.

    Raises:
        FileNotFoundError: If files are missing.
        OSError: If it cannot be downloaded.
        ValueError: As `tokenizers_from` and `settings_of` do, or if a setting has no
            counterpart and no sampler is given.
    """
    folder = local_folder(place)
    config = read_config(folder)
    said = read_settings(folder, config)
    # Where the two differ, generation follows its own file.
    ids = {k: v for k, v in said.items() if k in _SPECIAL and v is not None}
    languages = source_language, target_language
    source, target, start = tokenizers_from(folder, {**config, **ids}, *languages)
    if start.forced_first_id is not None:
        said = {**said, "forced_bos_token_id": start.forced_first_id}
    settings = settings_of(
        said,
        start_id=start.start_id,
        end_id=target.end_id,
        padding_id=target.padding_id,
    )
    if settings.unknown and sampler is None:
        raise ValueError(
            f"How {str(place)!r} generates must be known; received "
            f"{', '.join(settings.unknown)}, which have no counterpart. Give a sampler "
            "of your own, as sampler=BeamSampler(4)."
        )
    if max_length is None:
        max_length = 64 if settings.max_length is None else settings.max_length
    return folder, {
        "source_tokenizer": source,
        "target_tokenizer": target,
        "sampler": settings.sampler if sampler is None else sampler,
        "processors": settings.processors,
        "max_length": max_length,
        **options,
    }
