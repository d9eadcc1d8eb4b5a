"""How much of some texts a tokenizer does not know, and what to do about it."""

import collections
import dataclasses
import itertools
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from keras_encdec.annotations import Ids, Text, Texts
from keras_encdec.text.interface import Tokenizer, as_bytes, require_several_texts

# Texts tokenized at a time.
_CHUNK = 4096
# A model reads a few unknown tokens as it did in training; more change what it says.
_MANY = 0.03
_REMEDIES = (
    (str.lower, "The vocabulary has them in lower case: write the texts so."),
    (
        lambda text: unicodedata.normalize("NFC", text),
        "The vocabulary has them in the Unicode form NFC: bring the texts into it.",
    ),
    (
        lambda text: unicodedata.normalize("NFKC", text),
        "The vocabulary has them in the Unicode form NFKC: bring the texts into it.",
    ),
)


@dataclasses.dataclass(frozen=True)
class UnknownTokens:
    """The tokens of some texts that are not in a vocabulary.

    Args:
        count: Their number.
        total: The number of all tokens, without prefix and suffix ids.
        examples: The most frequent ones, `str`, the first the most frequent.
        remedy: What to do about them, a sentence.

    Example:
        ```python
        from keras_encdec.text import UnknownTokens

        print(UnknownTokens(1, 20, ("A",), "Use lower case.").message("source"))
        ```
    """

    count: int
    total: int
    examples: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def share(self) -> float:
        """The share of all tokens, a `float` from 0 to 1."""
        return self.count / self.total if self.total else 0.0

    @property
    def many(self) -> bool:
        """Whether they are more than the few that do no harm: above 3%."""
        return self.share > _MANY

    def message(self, side: str) -> str:
        """One line to print, with examples and a remedy where there are any.

        Args:
            side: Whose tokens these are, such as `"source"`.

        Returns:
            A `str`.
        """
        message = (
            f"{100 * self.share:.1f}% of the {side} tokens are unknown "
            f"({self.count:,} of {self.total:,})"
        )
        if not self.count:
            return message
        examples = ", ".join(f"{example!r:.40}" for example in self.examples)
        return f"{message}, such as {examples}. {self.remedy}"


def unknown_tokens(
    tokenizer: Tokenizer,
    texts: Texts | Iterable[Text],
    *,
    ids: Ids | Iterable[Sequence[int]] | None = None,
    num_examples: int = 5,
) -> UnknownTokens:
    """Counts the tokens of texts that a tokenizer does not know.

    What the texts hold of them a model cannot read, and as targets cannot learn. For
    bytes, and for SentencePiece with `byte_fallback`, nothing is unknown.

    Args:
        tokenizer: A `Tokenizer`.
        texts: A list of texts, `str` or UTF-8 `bytes`, or an iterator of them, of which
            some thousands are held at a time.
        ids: What the tokenizer's `encode` gave for the texts, rows of ids, also cut;
            by default they are encoded here.
        num_examples: The largest number of examples.

    Returns:
        An `UnknownTokens`.

    Raises:
        TypeError: If `texts` is a single string or holds anything but strings.

    Example:
        ```python
        from keras_encdec.text import WordTokenizer, unknown_tokens

        unknown = unknown_tokens(WordTokenizer(["a", "cat"]), ["A cat", "a cat"])
        print(unknown.share)  # 0.25
        print(unknown.message("source"))
        ```
    """
    require_several_texts(texts=texts)
    remaining, given = iter(texts), None if ids is None else iter(ids)
    total, pieces = 0, collections.Counter[Any]()
    before, behind = len(tokenizer.prefix_ids), len(tokenizer.suffix_ids)
    while chunk := as_bytes(list(itertools.islice(remaining, _CHUNK))):
        if given is None:
            encoded = [row.tolist() for row in tokenizer.ids_of(chunk)]
        else:
            encoded = list(itertools.islice(given, len(chunk)))
        rows = [row[before : len(row) - behind] for row in encoded]
        total += sum(map(len, rows))
        places = [i for i, row in enumerate(rows) if tokenizer.unknown_id in row]
        some = [chunk[i] for i in places]
        split = tokenizer.split(some) if some else []
        for i, tokens in zip(places, split, strict=True):
            # Of a tokenizer that tells no tokens, the whole text is the example.
            text = chunk[i].decode("utf-8", "replace")
            unknown = [
                token if isinstance(token, str) else text
                for token, number in zip(tokens, rows[i], strict=False)
                if number == tokenizer.unknown_id
            ]
            pieces.update(unknown)
    common = pieces.most_common(max(num_examples, 100))
    examples = tuple(piece for piece, _ in common[:num_examples])
    count = sum(pieces.values())
    return UnknownTokens(count, total, examples, _remedy(tokenizer, common))


def _remedy(tokenizer: Tokenizer, common: Any) -> str:
    """What makes most of the unknown pieces known, a sentence."""
    if not common:
        return ""
    pieces, counts = zip(*common, strict=True)
    for change, remedy in _REMEDIES:
        ids = tokenizer.ids_of([change(piece) for piece in pieces])
        known = sum(
            number
            for row, number in zip(ids, counts, strict=True)
            if tokenizer.unknown_id not in row
        )
        if known > sum(counts) / 2:
            return remedy
    return "Use a model whose vocabulary has them, or texts as it was trained on."
