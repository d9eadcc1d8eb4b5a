"""The tokenizers of checkpoints that read bytes, or pairs of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_encdec.pretrained.languages import no_languages
from keras_encdec.pretrained.tokenizer_files import (
    DecoderStart,
    TokenizerFiles,
    Tokenizers,
    special_ids,
    start_id,
)
from keras_encdec.text import ByteLevelBPETokenizer, SentinelByteTokenizer
from keras_encdec.text.byte_level import merge_lines


def bart(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """Those of BART."""
    no_languages(source_language, target_language)
    names = files.token("cls_token"), files.token("sep_token")
    return _byte_pairs(files, False, lambda ids: ([ids[names[0]]], [ids[names[1]]]))


def blenderbot(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """Those of Blenderbot: a space before each text."""
    no_languages(source_language, target_language)
    return _byte_pairs(files, True, lambda ids: ([], None))


def plain_byte_pairs(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """A `tokenizer.json` of byte pairs as it is."""
    no_languages(source_language, target_language)
    said = files.description or {}
    splits = said.get("pre_tokenizer") or {}
    space_before = any(
        step.get("add_prefix_space", False)
        for step in (splits, *splits.get("pretokenizers", ()))
    )
    return _byte_pairs(
        files, space_before, lambda ids: around(said.get("post_processor"), ids)
    )


def byt5(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """Those of ByT5: bytes."""
    no_languages(source_language, target_language)
    number = files.setting("extra_ids", 0) or 125
    tokenizer = SentinelByteTokenizer(
        [f"<extra_id_{i}>" for i in range(number)],
        padding_id=0,
        start_id=start_id(files, 0),
        end_id=1,
        unknown_id=2,
    )
    return tokenizer, tokenizer, DecoderStart(tokenizer.start_id)


def _byte_pairs(
    files: TokenizerFiles,
    space_before: bool,
    around_ids: Callable[[dict[str, int]], tuple[list[int], list[int] | None]],
) -> Tokenizers:
    if files.description is not None:
        model = files.description["model"]
        table, merges = model["vocab"], model["merges"]
        added = files.description.get("added_tokens") or []
        table = {**table, **{token["content"]: token["id"] for token in added}}
    else:
        table = files.read_json("vocab.json")
        merges = merge_lines(files.read_bytes("merges.txt").decode("utf-8"))
    special = {token for token in files.special_tokens if token in table}
    size = files.config.get("vocab_size") or len(table)
    table = {
        token: number
        for token, number in table.items()
        # The mask is one that some published models leave out.
        if number < size or token not in special
    }
    before, behind = around_ids(table)
    tokenizer = ByteLevelBPETokenizer(
        table,
        merges,
        space_before=files.setting("add_prefix_space", space_before),
        control=sorted(special & table.keys()),
        prefix_ids=before,
        suffix_ids=behind,
        **special_ids(files, table, start_id(files, table[files.token("eos_token")])),
    )
    return tokenizer, tokenizer, DecoderStart(tokenizer.start_id)


def step_types(step: dict[str, Any] | None) -> set[str | None]:
    """The types of a step of a `tokenizer.json`, and of those that it is made of."""
    step = step or {}
    found = {step.get("type")}
    for each in (*step.get("pretokenizers", ()), *step.get("normalizers", ())):
        found |= step_types(each)
    return found


def around(
    step: dict[str, Any] | None, ids: dict[str, int]
) -> tuple[list[int], list[int] | None]:
    """The ids before and behind a text, of a post-processor; None for the end alone."""
    step = step or {}
    if step.get("type") == "RobertaProcessing":
        return [ids[step["cls"][0]]], [ids[step["sep"][0]]]
    if step.get("type") != "TemplateProcessing":
        return [], None
    names = [part.get("SpecialToken", {}).get("id") for part in step["single"]]
    middle = names.index(None)
    before, behind = names[:middle], names[middle + 1 :]
    return [ids[name] for name in before], [ids[name] for name in behind] or None
