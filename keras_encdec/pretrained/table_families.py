"""The tokenizers of checkpoints whose pieces take their ids from a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from keras_encdec.pretrained import languages
from keras_encdec.pretrained.added_words import (
    AddedWord,
    added_words,
    check_words,
    refuse_word,
)
from keras_encdec.pretrained.languages import two_languages
from keras_encdec.pretrained.tokenizer_files import (
    DecoderStart,
    TokenizerFiles,
    Tokenizers,
    ids_of_vocabulary,
    special_ids,
    start_id,
)
from keras_encdec.text import PieceTableTokenizer


def marian(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """Those of Marian: two models of pieces and a table, or two."""
    table = files.read_json("vocab.json")
    target_table = table
    if files.setting("separate_vocabs", False):
        target_table = files.read_json("target_vocab.json")
    for each in (table, target_table):
        ids_of_vocabulary(files, each)
    marked = {m: i for m, i in table.items() if re.fullmatch(">>.*<<", m)}
    words = [word for word in added_words(files) if word.content not in marked]
    table, target_table = (_with_words(files, x, words) for x in (table, target_table))
    marks = {mark[2:-2]: number for mark, number in marked.items()}
    prefix = []
    if source_language is not None:
        # A Marian model reads what it was trained on, and is not told which.
        known = files.setting("source_lang", source_language)
        languages.language_id({known: 0}, source_language, "source_language")
    if target_language is not None and marks:
        prefix = [languages.language_id(marks, target_language, "target_language")]
    elif target_language is not None:
        known = files.setting("target_lang", target_language)
        languages.language_id({known: 0}, target_language, "target_language")
    close_up = files.setting("clean_up_tokenization_spaces", False)

    def of(
        name: str, table: dict[str, int], prefix: Iterable[int] = ()
    ) -> PieceTableTokenizer:
        return PieceTableTokenizer(
            files.read_bytes(name),
            table,
            marked=True,
            **_sentinels(words),
            close_up=close_up,
            prefix_ids=prefix,
            **special_ids(files, table),
        )

    source = of("source.spm", table, prefix)
    target = of("target.spm", target_table)
    return source, target, DecoderStart(target.start_id)


def m2m_100(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """Those of M2M100: a table, and languages above it."""
    table = ids_of_vocabulary(files, files.read_json("vocab.json"))
    names = languages.M2M_100[files.setting("language_codes", "m2m100")]
    ids = {name: len(table) + i for i, name in enumerate(names)}
    source_id, target_id = two_languages(files, ids, source_language, target_language)
    table = {**table, **{f"__{name}__": number for name, number in ids.items()}}
    words = added_words(files)
    table = _with_words(files, table, words)
    found = _sentinels(words, [f"__{name}__" for name in names])
    special = special_ids(
        files, table, start_id(files, table[files.token("eos_token")])
    )
    proto = files.read_bytes("sentencepiece.bpe.model")

    def of(language: int) -> PieceTableTokenizer:
        return PieceTableTokenizer(
            proto,
            table,
            **found,
            close_up=files.setting("clean_up_tokenization_spaces", False),
            prefix_ids=[language],
            **special,
        )

    start = DecoderStart(special["start_id"], target_id)
    return of(source_id), of(target_id), start


def _with_words(
    files: TokenizerFiles, table: dict[str, int], words: Sequence[AddedWord]
) -> dict[str, int]:
    """A table with the words that were added to it."""
    numbers = {word.content: word.number for word in words if word.number is not None}
    table = ids_of_vocabulary(files, {**numbers, **table})
    check_words(files, words, table)
    strips = any(word.sentinel.lstrip or word.sentinel.rstrip for word in words)
    for word in words:
        if word.sentinel.single_word:
            why = "transformers finds it alone in a way of its own for this kind"
            refuse_word(files, word, why)
        if strips and word.content != word.content.strip():
            why = "a word beside it takes its white space, for this kind"
            refuse_word(files, word, why)
    return table


def _sentinels(
    words: Sequence[AddedWord], control: Iterable[str] = ()
) -> dict[str, Any]:
    """The options of a tokenizer that has these words, and such control pieces."""
    return {
        # Of these families none is looked for in normalized text.
        "sentinels": [x.sentinel._replace(normalized=False).said() for x in words],
        "control": [*control, *(word.content for word in words if word.special)],
    }
