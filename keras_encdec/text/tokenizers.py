"""Tokenizers with a table of tokens: words, characters and bytes."""

import collections
import re
from collections.abc import Callable, Iterable
from typing import Any, Self

import keras

from keras_encdec.annotations import Tensor, Texts
from keras_encdec.backend import lazy_tensorflow
from keras_encdec.text.graph_parts import graph_part
from keras_encdec.text.interface import Tokenizer, as_bytes, as_string_tensor

tf = lazy_tensorflow()

REPLACEMENT_CHARACTER = "\ufffd"


class _TableTokenizer(Tokenizer):
    """A tokenizer that splits a text and looks each token up in a table.

    A subclass defines `_split(texts)`, from strings `(B,)` to ragged tokens.
    """

    _separator = ""
    _unknown_text = REPLACEMENT_CHARACTER

    def __init__(self, tokens: Any, **special_ids: Any) -> None:
        super().__init__(**special_ids)
        ids = self.regular_ids(len(tokens))
        self._size = 1 + max(*self.special_ids, *ids)
        tokens = [x.encode() if isinstance(x, str) else x for x in tokens]
        # Only regular tokens are keys, so a text that spells "</s>" stays a text.
        self._id_of = dict(zip(tokens, ids, strict=True))
        self._token_of = dict(zip(ids, tokens, strict=True))

    @graph_part
    def _ids(self) -> Any:
        tokens, ids = [*self._id_of], [*self._id_of.values()]
        return tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tokens, ids, tf.string, tf.int32),
            default_value=self.unknown_id,
        )

    @graph_part
    def _tokens(self) -> Any:
        ids, tokens = [*self._token_of], [*self._token_of.values()]
        return tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(ids, tokens, tf.int64, tf.string),
            default_value=self._unknown_text,
        )

    @property
    def vocabulary_size(self) -> int:
        """The number of ids, the special ones included."""
        return self._size

    def _split(self, texts: Tensor) -> Tensor:
        raise NotImplementedError

    def _to_ids(self, texts: Tensor) -> Tensor:
        return tf.ragged.map_flat_values(self._ids.lookup, self._split(texts))

    def _looked_up(self, split: Iterable[Iterable[bytes]]) -> list[list[int]]:
        ids, unknown = self._id_of, self.unknown_id
        return [[ids.get(token, unknown) for token in tokens] for tokens in split]

    def _written(self, rows: Iterable[Iterable[int]]) -> list[bytes]:
        tokens, unknown = self._token_of, self._unknown_text.encode()
        join = self._separator.encode().join
        return [join([tokens.get(number, unknown) for number in row]) for row in rows]

    def split(self, texts: Texts) -> list[list[Any]]:
        """Splits texts into tokens, a list of lists of `str`."""
        return [
            [token.decode("utf-8", "backslashreplace") for token in tokens]
            for tokens in self._split(as_string_tensor(texts)).to_list()
        ]

    def _to_texts(self, ids: Tensor) -> Tensor:
        tokens = tf.ragged.map_flat_values(self._tokens.lookup, ids)
        return tf.strings.reduce_join(tokens, axis=1, separator=self._separator)


@keras.saving.register_keras_serializable(package="keras_encdec")
class WordTokenizer(_TableTokenizer):
    """Splits texts on ASCII whitespace, and joins words with a space.

    A word outside the vocabulary is decoded as `<unk>`. Text that is already split
    into subwords or phonemes is served too.

    Args:
        vocabulary: The words, a list of different `str` without whitespace in them.
            They take the ids that are not special, ascending: with the default ones
            the word at index i has the id 4 + i.
        continuation: What ends a piece of a word that the next piece continues, such
            as `"@@"` of subword-nmt: `decode` then joins `"pul@@ ley"` to `"pulley"`.
            None if words are whole.
        **special_ids: As in `Tokenizer`.

    Raises:
        TypeError: If `vocabulary` is not a list of `str`, or an id not an integer.
        ValueError: If it is empty, repeats a word, or holds a text that is not one
            word; if `continuation` is not one; or as in `Tokenizer`.

    Example:
        ```python
        from keras_encdec.text import WordTokenizer

        tokenizer = WordTokenizer(["the", "cat"])
        ids = tokenizer.encode(["the cat", "the  dog"])
        print(ids.to_list())  # [[4, 5, 2], [4, 3, 2]]
        print(tokenizer.decode(ids).numpy())  # [b'the cat' b'the <unk>']
        ```
    """

    _separator = " "
    _unknown_text = "<unk>"

    def __init__(
        self,
        vocabulary: Iterable[str],
        continuation: str | None = None,
        **special_ids: Any,
    ) -> None:
        vocabulary = _checked_vocabulary(
            vocabulary, _is_word, "one word, without whitespace"
        )
        if continuation is not None and not _is_word(continuation):
            raise ValueError(
                "A continuation must be a sign without whitespace; received "
                f"{continuation!r}. Give '@@' for texts split by subword-nmt."
            )
        super().__init__(vocabulary, **special_ids)
        self.vocabulary = vocabulary
        self.continuation = continuation

    @classmethod
    def from_texts(
        cls,
        texts: Texts,
        *,
        max_size: int | None = None,
        continuation: str | None = None,
        **special_ids: Any,
    ) -> Self:
        """Builds the tokenizer of the words in some texts, most frequent first.

        Args:
            texts: The texts, as `encode` takes them. Words that are not valid UTF-8
                or hold U+FFFD are left out.
            max_size: The largest number of words to keep, special ids not counted;
                None keeps all. Equally frequent words stand in alphabetical order.
            continuation: As in the class.
            **special_ids: As in `Tokenizer`.

        Returns:
            A `WordTokenizer`.

        Raises:
            TypeError: If `texts` is a single string or holds anything but strings.
            ValueError: If there is no word, or `max_size` is not positive.

        Example:
            ```python
            from keras_encdec.text import WordTokenizer

            tokenizer = WordTokenizer.from_texts(["b a", "c b"], max_size=2)
            print(list(tokenizer.vocabulary))  # ['b', 'a']
            ```
        """
        words = _most_frequent(cls._split(as_string_tensor(texts)), max_size)
        return cls(words, continuation, **special_ids)

    @staticmethod
    def _split(texts: Tensor) -> Tensor:
        return tf.strings.split(texts)

    def _to_texts(self, ids: Tensor) -> Tensor:
        texts = super()._to_texts(ids)
        if self.continuation is None:
            return texts
        return tf.strings.regex_replace(
            texts, re.escape(self.continuation) + "( |$)", ""
        )

    def _ids_in_python(self, texts: list[bytes]) -> list[list[int]]:
        return self._looked_up(text.split() for text in texts)

    def _texts_in_python(self, rows: list[list[int]]) -> list[bytes]:
        return self._joined(self._written(rows))

    def _joined(self, texts: list[bytes]) -> list[bytes]:
        if self.continuation is None:
            return texts
        sign = re.compile(re.escape(self.continuation).encode() + rb"( |\Z)")
        return [sign.sub(b"", text) for text in texts]

    def join(self, texts: Texts) -> list[str]:
        """Returns texts as `decode` would write them, were nothing unknown in them."""
        joined = self._joined(as_bytes(texts))
        return [text.decode("utf-8", "replace") for text in joined]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "vocabulary": list(self.vocabulary),
            "continuation": self.continuation,
            **super().get_config(),
        }


@keras.saving.register_keras_serializable(package="keras_encdec")
class CharacterTokenizer(_TableTokenizer):
    """Splits texts into Unicode characters (code points).

    A character outside the vocabulary, and a byte that is not valid UTF-8, is
    unknown and decoded as U+FFFD.

    Args:
        vocabulary: The characters, a list of different `str` of length 1. They take
            the ids that are not special, ascending: with the default ones the
            character at index i has the id 4 + i.
        lowercase: Whether upper case is taken for lower case, as Unicode has it.
        **special_ids: As in `Tokenizer`.

    Raises:
        TypeError: If `vocabulary` is not a list of `str`, or an id not an integer.
        ValueError: If it is empty, repeats a character, holds U+FFFD, or holds a
            text that is not one character, or with `lowercase` one in upper case; or
            as in `Tokenizer`.

    Example:
        ```python
        from keras_encdec.text import CharacterTokenizer

        tokenizer = CharacterTokenizer(["a", "é"])
        ids = tokenizer.encode(["éa!"])
        print(ids.to_list())  # [[5, 4, 3, 2]]
        print(tokenizer.decode(ids).numpy()[0].decode())  # éa�
        ```
    """

    def __init__(
        self, vocabulary: Iterable[str], *, lowercase: bool = False, **special_ids: Any
    ) -> None:
        vocabulary = _checked_vocabulary(
            vocabulary,
            lambda token: len(token) == 1 and token != REPLACEMENT_CHARACTER,
            "one character, and not U+FFFD, which stands for the unknown ones",
        )
        upper = [token for token in vocabulary if lowercase and token != token.lower()]
        if upper:
            raise ValueError(
                "With lowercase=True no text has characters in upper case; received "
                f"{upper!r:.80} in the vocabulary. Give their lower case."
            )
        super().__init__(vocabulary, **special_ids)
        self.vocabulary, self.lowercase = vocabulary, lowercase

    @classmethod
    def from_texts(
        cls,
        texts: Texts,
        *,
        max_size: int | None = None,
        lowercase: bool = False,
        **special_ids: Any,
    ) -> Self:
        """Builds the tokenizer of the characters in some texts, most frequent first.

        Args:
            texts: The texts, as `encode` takes them.
            max_size: The largest number of characters to keep, special ids not
                counted; None keeps all. Equally frequent characters stand in the
                order of their code points.
            lowercase: As in the constructor.
            **special_ids: As in `Tokenizer`.

        Returns:
            A `CharacterTokenizer`.

        Raises:
            TypeError: If `texts` is a single string or holds anything but strings.
            ValueError: If there is no character, or `max_size` is not positive.

        Example:
            ```python
            from keras_encdec.text import CharacterTokenizer

            tokenizer = CharacterTokenizer.from_texts(["abc", "cb", "c"])
            print(list(tokenizer.vocabulary))  # ['c', 'b', 'a']
            ```
        """
        split = _characters(as_string_tensor(texts), lowercase)
        characters = _most_frequent(split, max_size)
        return cls(characters, lowercase=lowercase, **special_ids)

    def _split(self, texts: Tensor) -> Tensor:
        return _characters(texts, self.lowercase)

    def _ids_in_python(self, texts: list[bytes]) -> list[list[int]]:
        characters = [text.decode("utf-8", "replace") for text in texts]
        if self.lowercase:
            # TensorFlow's Unicode may be some letters older, of rare scripts.
            characters = [
                text.replace("\0", REPLACEMENT_CHARACTER).lower() for text in characters
            ]
        return self._looked_up(
            [character.encode() for character in text] for text in characters
        )

    def _texts_in_python(self, rows: list[list[int]]) -> list[bytes]:
        return self._written(rows)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = {"vocabulary": list(self.vocabulary), "lowercase": self.lowercase}
        return {**config, **super().get_config()}


def _characters(texts: Tensor, lowercase: bool) -> Tensor:
    if lowercase:
        # What follows this character would be lost.
        texts = tf.strings.regex_replace(texts, "\x00", REPLACEMENT_CHARACTER)
        texts = tf.strings.lower(texts, encoding="utf-8")
    return tf.strings.unicode_split(texts, "UTF-8", errors="replace")


@keras.saving.register_keras_serializable(package="keras_encdec")
class ByteTokenizer(_TableTokenizer):
    """Splits texts into bytes: nothing is unknown and nothing is lost.

    Bytes take the ids that are not special, ascending: with the default ones byte i has
    the id 4 + i, and `vocabulary_size` is 260.

    Source: Xue et al. 2022, "ByT5: Towards a Token-Free Future with Pre-trained
    Byte-to-Byte Models", https://arxiv.org/abs/2105.13626 (its ids begin at 3).

    Args:
        **special_ids: As in `Tokenizer`.

    Example:
        ```python
        from keras_encdec.text import ByteTokenizer

        tokenizer = ByteTokenizer()
        ids = tokenizer.encode(["é"])
        print(ids.to_list())  # [[199, 173, 2]]
        print(tokenizer.decode(ids).numpy()[0].decode())  # é
        ```
    """

    def __init__(self, **special_ids: Any) -> None:
        # A table and not `tf.io.decode_raw`, which refuses texts of unequal length.
        super().__init__([bytes([value]) for value in range(256)], **special_ids)

    @staticmethod
    def _split(texts: Tensor) -> Tensor:
        return tf.strings.bytes_split(texts)

    def _ids_in_python(self, texts: list[bytes]) -> list[list[int]]:
        return self._looked_up([bytes([value]) for value in text] for text in texts)

    def _texts_in_python(self, rows: list[list[int]]) -> list[bytes]:
        return self._written(rows)


def _is_word(text: str) -> bool:
    return text.encode().split() == [text.encode()]


def _checked_vocabulary(
    vocabulary: Any, is_token: Callable[[str], bool], rule: str
) -> tuple[str, ...]:
    """Checks the regular tokens of a vocabulary; returns them as a tuple."""
    received, vocabulary = vocabulary, tuple(vocabulary)
    if isinstance(received, str) or not all(isinstance(t, str) for t in vocabulary):
        raise TypeError(
            f"A vocabulary must be a list of `str`; received {received!r:.80}. Pass "
            "a list, or build the tokenizer with `from_texts`."
        )
    if not vocabulary:
        raise ValueError(
            "A vocabulary must hold at least one token; received none. Give it tokens, "
            "or texts that hold some."
        )
    wrong = [token for token in vocabulary if not is_token(token)]
    if wrong:
        raise ValueError(
            f"Each token of this vocabulary must be {rule}; received {wrong[:5]}. "
            "Remove them."
        )
    if len(set(vocabulary)) < len(vocabulary):
        counts = collections.Counter(vocabulary)
        repeated = [token for token, count in counts.items() if count > 1]
        raise ValueError(
            "The tokens of a vocabulary must differ; received these more than once: "
            f"{repeated[:5]}. Remove the repetitions."
        )
    return vocabulary


def _most_frequent(tokens: Any, max_size: int | None) -> list[str]:
    """Returns the different tokens, most frequent first, without the invalid ones."""
    if max_size is not None and max_size < 1:
        raise ValueError(
            f"`max_size` must be positive; received {max_size}. Leave it out to keep "
            "every token."
        )
    tokens, _, counts = tf.unique_with_counts(tokens.flat_values)
    # The order of UTF-8 bytes is the order of code points.
    ranked = sorted(zip((-counts).numpy(), tokens.numpy(), strict=True))
    texts = (token.decode("utf-8", "replace") for _, token in ranked)
    return [text for text in texts if REPLACEMENT_CHARACTER not in text][:max_size]
