"""Words that were added to the tokenizer of a checkpoint: each is one token."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, NoReturn

from keras_encdec.pretrained import languages
from keras_encdec.pretrained.tokenizer_files import TokenizerFiles
from keras_encdec.text.sentinels import Sentinel

SENTINEL = re.compile(r"<extra_id_\d+>")
# What families have beside those that `tokenizer_config.json` names: masks and unused
# ones of PEGASUS, languages, and what stands here for ids without a piece.
_OF_FAMILIES = re.compile(
    rf"{SENTINEL.pattern}|<(mask|unk|hole|special)_\d+>|__[a-z]{{2,3}}__"
    rf"|{languages.LANGUAGE.pattern}"
)


class AddedWord(NamedTuple):
    """A word that was added.

    Attributes:
        sentinel: How it is spelled and found.
        number: Its id; None where no file tells it.
        special: Whether it is decoded to nothing.
    """

    sentinel: Sentinel
    number: int | None
    special: bool = False

    @property
    def content(self) -> str:
        """How it is spelled."""
        return self.sentinel.content


def added_words(files: TokenizerFiles) -> list[AddedWord]:
    """The words that somebody added: no special tokens, sentinels or languages.

    Args:
        files: The files of the tokenizer.
    """
    known = files.named_tokens
    return [
        AddedWord(
            Sentinel(
                content,
                bool(entry.get("normalized", not special)),
                *(bool(entry.get(x, False)) for x in Sentinel._fields[2:]),
            ),
            entry.get("id"),
            special,
        )
        for content, entry in files.added_entries.items()
        for special in [bool(entry.get("special", False))]
        if content and content not in known and not _OF_FAMILIES.fullmatch(content)
    ]


def check_words(
    files: TokenizerFiles, words: Iterable[AddedWord], ids: Mapping[str, int]
) -> None:
    """Refuses a word that is not in a vocabulary, or there with another id.

    Args:
        files: The files of the tokenizer.
        words: What was added.
        ids: The id of each piece.

    Raises:
        ValueError: If there is one.
    """
    for word in words:
        if word.number is None and word.content not in ids:
            refuse_word(files, word, "no file tells its id")
        if word.number is not None and ids.get(word.content) != word.number:
            refuse_word(files, word, f"its id, {word.number}, is that of another piece")


def refuse_word(files: TokenizerFiles, word: AddedWord, why: str) -> NoReturn:
    """Tells why a word cannot be one token, in a `ValueError`.

    Args:
        files: The files of the tokenizer.
        word: The word.
        why: The reason.
    """
    raise ValueError(
        "A word that was added to a tokenizer must be one token, as in transformers; "
        f"received {word.content!r} of the {files.kind} in {str(files.folder)!r}, but "
        f"{why}. Fine-tune without it, or build a Tokenizer that has it, and a "
        "TextToText of that and EncoderDecoder.from_preset."
    )
