"""The tokenizers of checkpoints that read bytes, or pairs of them."""

from __future__ import annotations

from collections.abc import Callable

from keras_encdec.pretrained.added_words import (
    added_words,
    check_words,
    refuse_word,
)
from keras_encdec.pretrained.languages import no_languages
from keras_encdec.pretrained.tokenizer_files import (
    DecoderStart,
    TokenizerFiles,
    Tokenizers,
    ids_of_vocabulary,
    special_ids,
    start_id,
)
from keras_encdec.pretrained.tokenizer_steps import around, check_byte_steps, steps_of
from keras_encdec.text import ByteLevelBPETokenizer, SentinelByteTokenizer
from keras_encdec.text.byte_level import merge_lines


def bart(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """Those of BART."""
    no_languages(source_language, target_language)
    names = files.token("cls_token"), files.token("sep_token")
    space_before = files.setting("add_prefix_space", False)
    return _byte_pairs(
        files, space_before, lambda ids: ([ids[names[0]]], [ids[names[1]]])
    )


def blenderbot(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """Those of Blenderbot: a space before each text."""
    no_languages(source_language, target_language)
    space_before = files.setting("add_prefix_space", True)
    return _byte_pairs(files, space_before, lambda ids: ([], None))


def plain_byte_pairs(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """A `tokenizer.json` of byte pairs as it is."""
    no_languages(source_language, target_language)
    said = files.description or files.read_json("tokenizer.json")
    splits = steps_of(said.get("pre_tokenizer"))
    space_before = any(step.get("add_prefix_space", False) for step in splits)
    return _byte_pairs(
        files, space_before, lambda ids: around(files, said, ids.values())
    )


def byt5(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """Those of ByT5: bytes."""
    no_languages(source_language, target_language)
    for word in added_words(files):
        refuse_word(files, word, "one of this kind would split it")
    number = files.number("extra_ids", 0) or 125
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
        check_byte_steps(files, files.description)
        model = files.description["model"]
        table, merges = model["vocab"], model["merges"]
        added = files.description.get("added_tokens") or []
        table = {**table, **{token["content"]: token["id"] for token in added}}
    else:
        table = files.read_json("vocab.json")
        merges = merge_lines(files.read_bytes("merges.txt").decode("utf-8"))
    words = added_words(files)
    numbers = {word.content: word.number for word in words if word.number is not None}
    table = ids_of_vocabulary(files, {**numbers, **table})
    check_words(files, words, table)
    special = {token for token in files.special_tokens if token in table}
    special |= {word.content for word in words if word.special}
    size = files.config.get("vocab_size") or len(table)
    table = {
        token: number
        for token, number in table.items()
        # The mask is one that some published models leave out.
        if number < size or token not in special
    }
    before, behind = around_ids(table)

    def of(behind: list[int] | None) -> ByteLevelBPETokenizer:
        start = start_id(files, table[files.token("eos_token")])
        return ByteLevelBPETokenizer(
            table,
            merges,
            space_before=space_before,
            control=sorted(special & table.keys()),
            sentinels=[word.sentinel.said() for word in words],
            prefix_ids=before,
            suffix_ids=behind,
            **special_ids(files, table, start),
        )

    source = of(behind)
    # What is generated must end, where a file has nothing behind a text too.
    target = of(None) if behind == [] else source
    return source, target, DecoderStart(target.start_id)
