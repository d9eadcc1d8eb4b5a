"""Words that were added to the tokenizer of a checkpoint: each is one token."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, NoReturn

from keras_encdec.pretrained import languages
from keras_encdec.pretrained.tokenizer_files import TokenizerFiles

SENTINEL = re.compile(r"<extra_id_\d+>")
# What families have beside those that `tokenizer_config.json` names: masks and unused
# ones of PEGASUS, languages, and what stands here for ids without a piece.
_OF_FAMILIES = re.compile(
    rf"{SENTINEL.pattern}|<(mask|unk|hole|special)_\d+>|__[a-z]{{2,3}}__"
    rf"|{languages.LANGUAGE.pattern}"
)


class AddedWord(NamedTuple):
    """A word that was added, as `AddedToken` of transformers describes it.

    Attributes:
        content: How it is spelled.
        number: Its id; None where no file tells it.
        special: Whether it is decoded to nothing.
        normalized: Whether it is found in the normalized text.
        single_word: Whether it is found between what is no letter alone.
        lstrip: Whether white space before it belongs to it.
        rstrip: Likewise behind it.
    """

    content: str
    number: int | None
    special: bool = False
    normalized: bool = False
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False


def added_words(files: TokenizerFiles) -> list[AddedWord]:
    """The words that somebody added: no special tokens, sentinels or languages.

    Args:
        files: The files of the tokenizer.
    """
    known = files.named_tokens
    return [
        AddedWord(
            content,
            entry.get("id"),
            special := bool(entry.get("special", False)),
            bool(entry.get("normalized", not special)),
            *(bool(entry.get(x, False)) for x in ("single_word", "lstrip", "rstrip")),
        )
        for content, entry in files.added_entries.items()
        if content and content not in known and not _OF_FAMILIES.fullmatch(content)
    ]


def overlap(first: str, second: str) -> bool:
    """Whether a text can spell two words of which one begins within the other."""
    return (
        first in second
        or second in first
        or any(
            first.endswith(second[:size]) or second.endswith(first[:size])
            for size in range(1, min(len(first), len(second)))
        )
    )


def no_added_words(files: TokenizerFiles, known: Iterable[str] = ()) -> None:
    """Refuses words that were added, for a tokenizer that would split them.

    Args:
        files: The files of the tokenizer.
        known: Those that it does not split.

    Raises:
        ValueError: If there are any.
    """
    for word in added_words(files):
        if word.content not in known:
            why = "one of this kind would split it"
            refuse_word(files, word, why, "Fine-tune without it")


def refuse_word(
    files: TokenizerFiles,
    word: AddedWord,
    why: str,
    remedy: str = "Add it as AddedToken(word, normalized=False, lstrip=True)",
) -> NoReturn:
    """Tells why a word cannot be one token, in a `ValueError`.

    Args:
        files: The files of the tokenizer.
        word: The word.
        why: The reason.
        remedy: What to do, a sentence without its end.
    """
    raise ValueError(
        "A word that was added to a tokenizer must be one token, as in transformers; "
        f"received {word.content!r} of the {files.kind} in {str(files.folder)!r}, but "
        f"{why}. {remedy}, or build a Tokenizer that has it, and a TextToText of that "
        "and EncoderDecoder.from_preset."
    )
