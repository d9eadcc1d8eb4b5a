"""Words that stand for an id of their own wherever a text spells them."""

from __future__ import annotations

import collections
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from keras_encdec.annotations import Tensor
from keras_encdec.backend import lazy_tensorflow
from keras_encdec.text.character_classes import SPACE, WORD
from keras_encdec.text.graph_parts import HasGraphParts, graph_part

tf = lazy_tensorflow()

# No byte of a text in UTF-8.
_BREAK = b"\xff"
_SPACED = (
    *((f" {sign}", sign) for sign in (".", "?", "!", ",")),
    (" ' ", "'"),
    *((f" {short}", short) for short in ("n't", "'m", "'s", "'ve", "'re")),
)


class Sentinel(NamedTuple):
    """A word that is one token, as `AddedToken` of transformers describes it.

    Attributes:
        content: How it is spelled.
        normalized: Whether it is found in the normalized text, as it is normalized.
        single_word: Whether it is found only where no letter, mark, digit or `_` is
            beside it.
        lstrip: Whether white space before it belongs to it.
        rstrip: Likewise behind it.

    Example:
        ```python
        from keras_encdec.text.sentinels import Sentinel

        print(Sentinel.of({"content": "<gap>", "lstrip": True}).said())
        ```
    """

    content: str
    normalized: bool = False
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False

    @classmethod
    def of(cls, said: SaidSentinel) -> Sentinel:
        """That of a config: its spelling alone, or a dict of its attributes."""
        return cls(said) if isinstance(said, str) else cls(**said)

    def said(self) -> SaidSentinel:
        """What a config says of it."""
        more = {name: True for name in self._fields[1:] if getattr(self, name)}
        return {"content": self.content, **more} if more else self.content


SaidSentinel: TypeAlias = str | Mapping[str, Any]


class Sentinels(HasGraphParts):
    """Words at which a text is split first: what stands between is a text of its own.

    They are found as by the `tokenizers` package: the leftmost one, and of those the
    longest; first in the text as it is, then in what is left of it, normalized.

    Args:
        ids: A dict from each `Sentinel` to its id.
        normalize: How a text is normalized, a function of strings `(B,)`; None is not
            at all.

    Attributes:
        forms: The words in their order, spelled as they are found.

    Raises:
        ValueError: If nothing is left of a word that is normalized, or of two the same.

    Example:
        ```python
        from keras_encdec.text import ByteTokenizer
        from keras_encdec.text.sentinels import Sentinel, Sentinels

        tokenizer = ByteTokenizer(suffix_ids=())
        around = Sentinels({Sentinel("<gap>"): 260})
        print(around.encode(["a<gap>b"], tokenizer.encode).to_list())
        ```
    """

    def __init__(
        self,
        ids: Mapping[Sentinel, int],
        normalize: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._normalize = normalize
        self.forms = tuple(_normal_form(word, normalize) for word in ids)
        found = collections.Counter((x.content, x.normalized) for x in self.forms)
        alike = [
            word.content
            for word, form in zip(ids, self.forms, strict=True)
            if found[form.content, form.normalized] > 1
        ]
        if alike:
            raise ValueError(
                "Sentinels must differ where they are looked for, in texts as they are "
                f"or normalized; received {alike[:5]}. Leave all but one out."
            )
        pairs = [*zip(self.forms, ids.values(), strict=True)]
        self._first = _Level([pair for pair in pairs if not pair[0].normalized])
        self._then = _Level([pair for pair in pairs if pair[0].normalized])

    def encode(self, texts: Tensor, to_ids: Callable[[Tensor], Tensor]) -> Tensor:
        """Ragged ids of texts `(B,)`, with `to_ids` for all that is no sentinel.

        Where that gives strings these are pieces, and sentinels as they are spelled.
        """

        def between(texts: Tensor) -> Tensor:
            if self._normalize is not None:
                texts = self._normalize(texts)
            return self._then.encode(texts, to_ids)

        return self._first.encode(texts, between)


def _normal_form(
    word: Sentinel, normalize: Callable[[Tensor], Tensor] | None
) -> Sentinel:
    if normalize is None or not word.normalized:
        return word
    content = normalize(tf.constant([word.content])).numpy()[0].decode()
    if not content:
        raise ValueError(
            "A sentinel that is found in normalized texts must have a letter that the "
            f"normalization leaves; received {word.content!r}. Say normalized=False of "
            "it."
        )
    return word._replace(content=content)


class _Level(HasGraphParts):
    """Words that are found in one text, all at once."""

    def __init__(self, pairs: list[tuple[Sentinel, int]]) -> None:
        # Of two words that begin alike, the longer one.
        ids = dict(sorted(pairs, key=lambda pair: len(pair[0].content), reverse=True))
        self._of_words = ids
        self._pattern = "|".join(re.escape(word.content) for word in ids)

    @graph_part
    def _ids(self) -> Any:
        contents = [word.content for word in self._of_words]
        return _table(contents, [*self._of_words.values()], -1) if contents else None

    @graph_part
    def _flags(self) -> dict[str, Any]:
        words = [*self._of_words]
        contents = [word.content for word in words]
        return {
            flag: _table(contents, [getattr(word, flag) for word in words], False)
            for flag in ("single_word", "lstrip", "rstrip")
            if any(getattr(word, flag) for word in words)
        }

    def encode(self, texts: Tensor, to_ids: Callable[[Tensor], Tensor]) -> Tensor:
        if not self._pattern:
            return to_ids(texts)
        broken = tf.strings.regex_replace(texts, self._pattern, b"\xff\\0\xff")
        parts = tf.strings.split(broken, _BREAK)
        if "single_word" in self._flags:
            parts = self._without_parts_of_words(parts)
        ids = tf.where(_is_between(parts), -1, self._ids.lookup(parts.flat_values))
        is_text = ids < 0
        between = to_ids(tf.where(is_text, self._stripped(parts, is_text), ""))
        own = parts.flat_values if between.dtype == tf.string else ids
        own = tf.RaggedTensor.from_tensor(
            own[:, None], lengths=tf.cast(~is_text, tf.int64)
        )
        return parts.with_values(tf.concat([between, own], axis=1)).merge_dims(1, 2)

    def _without_parts_of_words(self, parts: Tensor) -> Tensor:
        """Puts words back into the texts where they are parts of longer ones."""
        flat = parts.flat_values
        places = _places(parts)
        single = self._flags["single_word"].lookup(flat) & ~_is_between(parts)
        last = tf.gather(parts.row_lengths(), parts.value_rowids()) - 1 - places
        # Where nothing is between two of them, one is beside the other.
        before = tf.roll(flat, 1, 0)
        further = tf.where(places > 1, tf.roll(flat, 2, 0), "")
        before = tf.where(before == "", further, before)
        behind = tf.roll(flat, -1, 0)
        further = tf.where(last > 1, tf.roll(flat, -2, 0), "")
        behind = tf.where(behind == "", further, behind)
        joined = tf.strings.regex_full_match(before, rf"(?s).*[{WORD}]")
        joined |= tf.strings.regex_full_match(behind, rf"(?s)[{WORD}].*")
        is_word = ~_is_between(parts) & ~(single & joined)
        broken = tf.where(is_word, tf.strings.join([_BREAK, flat, _BREAK]), flat)
        texts = tf.strings.reduce_join(parts.with_values(broken), axis=1)
        return tf.strings.split(texts, _BREAK)

    def _stripped(self, parts: Tensor, is_text: Tensor) -> Tensor:
        """The parts without the white space that belongs to words beside them."""
        flat = stripped = parts.flat_values
        sides = ("lstrip", -1, f"[{SPACE}]+$"), ("rstrip", 1, f"^[{SPACE}]+")
        for flag, step, pattern in sides:
            if flag in self._flags:
                takes = tf.where(is_text, False, self._flags[flag].lookup(flat))
                without = tf.strings.regex_replace(stripped, pattern, "")
                stripped = tf.where(tf.roll(takes, step, 0), without, stripped)
        return stripped


def _places(parts: Tensor) -> Tensor:
    """The place of each part in its row."""
    return tf.ragged.range(parts.row_lengths()).flat_values


def _is_between(parts: Tensor) -> Tensor:
    """Which parts stand between words: one before each, and one behind the last."""
    return _places(parts) % 2 == 0


def _table(words: list[str], values: list[Any], default: Any) -> Any:
    kind = tf.bool if default is False else tf.int32
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(words, values, tf.string, kind),
        default_value=default,
    )


def without_gaps_in_python(text: str) -> str:
    """The same as `without_gaps`, for one text."""
    for spaced, plain in _SPACED:
        text = text.replace(spaced, plain)
    return text


def without_gaps(texts: Tensor) -> Tensor:
    """Takes the spaces before English signs and short forms out of texts."""
    for spaced, plain in _SPACED:
        texts = tf.strings.regex_replace(texts, re.escape(spaced), plain)
    return texts
