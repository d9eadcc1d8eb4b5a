"""Byte-level BPE: no character is unknown, and subwords are learned."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, Self

import keras
import numpy as np

from keras_encdec.annotations import AnyPath, Tensor, Text, Texts
from keras_encdec.backend import lazy_tensorflow
from keras_encdec.text.byte_pairs import Merges
from keras_encdec.text.character_classes import LETTER, NUMBER, SPACE
from keras_encdec.text.interface import (
    Tokenizer,
    as_bytes,
    as_string_tensor,
)
from keras_encdec.text.sentinels import SaidSentinel, Sentinel, Sentinels

tf = lazy_tensorflow()

# No byte of a text in UTF-8.
_BREAK = b"\xff"
_WORD = (
    rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{LETTER}]+| ?[{NUMBER}]+"
    rf"| ?[^{SPACE}{LETTER}{NUMBER}]+|[{SPACE}]+"
)
# The last white space before a word is not one with what stands before it. GPT-2's
# pattern says so by looking ahead, which RE2 cannot.
_LAST_SPACE = rf"([{SPACE}])([{SPACE}][^{SPACE}])"


def byte_alphabet() -> list[str]:
    """The character that stands for each byte in files of byte-level BPE.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners":
    its code spells bytes that are no printable Latin-1 character from U+0100 on.

    Returns:
        A list of 256 different `str` of length 1.

    Example:
        ```python
        from keras_encdec.text.byte_level import byte_alphabet

        print(byte_alphabet()[ord(" ")])  # Ġ
        ```
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(b if b in printable else next(others)) for b in range(256)]


@keras.saving.register_keras_serializable(package="keras_encdec")
class ByteLevelBPETokenizer(Tokenizer):
    """Splits texts into words, and these into pieces merged from bytes, as GPT-2 does.

    Nothing is unknown and nothing is lost. It runs in TensorFlow's graph as the other
    tokenizers do, and gives the ids of the `tokenizers` package.

    Source: Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword
    Units", https://arxiv.org/abs/1508.07909; of bytes: Radford et al. 2019, "Language
    Models are Unsupervised Multitask Learners".

    Args:
        vocabulary: A dict from each piece to its id, spelled in `byte_alphabet` as in
            a file `vocab.json`. It holds all 256 bytes and all that is merged.
        merges: The pairs of pieces that are merged, first ones first: a list of pairs
            of `str`, or of `str` with a space between the two as in `merges.txt`.
        space_before: Whether a text that begins without a space is read as if it had
            one, so that its first word is a word like the others.
        control: Pieces of the vocabulary that are decoded to nothing and that no text
            spells, such as `["<mask>"]`; special ids need not be named.
        sentinels: Pieces of the vocabulary that are one token wherever a text spells
            them, each a `str` or a dict of the attributes of `Sentinel`.
        **special_ids: As in `Tokenizer`.

    Raises:
        TypeError: If `vocabulary` is no dict of `str` and `int`, or an id no integer.
        ValueError: If a byte or a piece of a merge is not in the vocabulary, an id is
            given twice, or a special id is that of a byte or of a merge.

    Example:
        ```python
        from keras_encdec.text import ByteLevelBPETokenizer

        texts = ["a cat sat", "a hat sat", "a cat has a hat"]
        tokenizer = ByteLevelBPETokenizer.train(texts, 266)
        print(tokenizer.decode(tokenizer.encode(["a cat é"])).numpy()[0].decode())
        ```
    """

    def __init__(
        self,
        vocabulary: dict[str, int],
        merges: Iterable[str | Sequence[str]],
        *,
        space_before: bool = False,
        control: Iterable[str] = (),
        sentinels: Iterable[SaidSentinel] = (),
        **special_ids: Any,
    ) -> None:
        super().__init__(**special_ids)
        pairs = [_as_pair(merge) for merge in merges]
        self._check(vocabulary, pairs)
        self._vocabulary = tuple(vocabulary.items())
        self.merges = tuple(pairs)
        self.space_before = space_before
        self.control = tuple(control)
        size = 1 + max(*vocabulary.values(), *self.special_ids)
        alphabet = {sign: byte for byte, sign in enumerate(byte_alphabet())}
        silent = {*self.special_ids, *(vocabulary[word] for word in self.control)}
        spelled = {
            # A piece that was added later may hold anything.
            number: bytes(alphabet[sign] for sign in piece)
            if alphabet.keys() >= set(piece)
            else piece.encode()
            for piece, number in vocabulary.items()
            if number not in silent
        }
        self._spelled = tuple(spelled.get(number, b"") for number in range(size))
        self._pieces = tf.constant(self._spelled, tf.string)
        self._merges = Merges(
            size,
            [vocabulary[sign] for sign in byte_alphabet()],
            [
                (vocabulary[left], vocabulary[right], vocabulary[left + right])
                for left, right in pairs
            ],
        )
        self._words = self._whole_words(spelled)
        words = [Sentinel.of(word) for word in sentinels]
        missing = [word.content for word in words if word.content not in vocabulary]
        if missing:
            raise ValueError(
                "Sentinels must be pieces of the vocabulary; received "
                f"{missing[:5]}, which are none. Give each an id."
            )
        self._sentinels = tuple(words)
        self._around = Sentinels({word: vocabulary[word.content] for word in words})

    def _check(self, vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> None:
        if not isinstance(vocabulary, dict) or not all(
            isinstance(piece, str) and type(number) is int
            for piece, number in vocabulary.items()
        ):
            raise TypeError(
                "A vocabulary of pieces must be a dict from `str` to `int`; received "
                f"{vocabulary!r:.80}. Give each piece its id."
            )
        numbers = set(vocabulary.values())
        if len(numbers) < len(vocabulary) or min(numbers, default=0) < 0:
            raise ValueError(
                "Each piece of a vocabulary must have an id of its own, from zero on; "
                f"received {len(vocabulary)} pieces with {len(numbers)} different ids, "
                f"the least {min(numbers)}. Give each piece its own."
            )
        merged = [left + right for left, right in merges]
        parts = (part for pair in merges for part in pair)
        needed = dict.fromkeys([*byte_alphabet(), *parts, *merged])
        missing = [piece for piece in needed if piece not in vocabulary]
        if missing:
            raise ValueError(
                "A vocabulary of byte-level BPE must hold all bytes and all that is "
                f"merged; received none of {missing[:5]}. Read vocabulary and merges "
                "of one training, of bytes."
            )
        special = {*self.special_ids}
        usual = [piece for piece in needed if vocabulary[piece] in special]
        if usual:
            raise ValueError(
                "A special id must be none that a text is split into; received those "
                f"of {usual[:5]} in {self.special_ids}. Give ids of pieces that are "
                "made for this, or ids above the vocabulary."
            )

    def _whole_words(self, spelled: dict[int, bytes]) -> Any:
        """A table of the words that are one piece: most are, and need no merging."""
        numbers = np.array(sorted(spelled), np.int32)
        pieces = [spelled[number] for number in numbers.tolist()]
        rows = self._merges(tf.constant(pieces, tf.string))
        whole = (rows.row_lengths() == 1).numpy()
        first = rows[:, :1].to_tensor(-1, shape=[len(pieces), 1]).numpy()[:, 0]
        whole &= first == numbers
        return tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                np.array(pieces, object)[whole].tolist(), numbers[whole]
            ),
            default_value=-1,
        )

    @classmethod
    def train(
        cls,
        texts: Iterable[Text],
        vocabulary_size: int,
        *,
        min_frequency: int = 2,
        space_before: bool = False,
        **special_ids: Any,
    ) -> Self:
        """Learns the merges of some texts by the `tokenizers` package.

        Args:
            texts: An iterable of `str` or UTF-8 `bytes`, one sentence each.
            vocabulary_size: The largest number of ids, the special ones included: 256
                bytes and merges, fewer of them if the texts have no more.
            min_frequency: How often a pair must occur to be merged.
            space_before: As in the class.
            **special_ids: As in `Tokenizer`.

        Returns:
            A `ByteLevelBPETokenizer`. The pieces take the ids that are not special,
            ascending.

        Raises:
            ImportError: If `tokenizers` cannot be imported.
            TypeError: If `texts` is a single string or holds anything but strings.
            ValueError: If `vocabulary_size` has no room for the bytes.

        Example:
            ```python
            from keras_encdec.text import ByteLevelBPETokenizer

            print(ByteLevelBPETokenizer.train(["a cat", "a cat"], 262).merges)
            ```
        """
        try:
            import tokenizers
        except ImportError as error:
            raise ImportError(
                "Byte-level BPE is learned by `tokenizers`, which could not be "
                f"imported ({error}). Install it with `pip install tokenizers`, read "
                "what has been learned with `ByteLevelBPETokenizer.from_files`, or use "
                "another tokenizer."
            ) from error
        texts = [text.decode("utf-8", "replace") for text in as_bytes(texts)]
        special = Tokenizer(**special_ids)
        number = vocabulary_size - len(special.special_ids)
        if number < 256:
            raise ValueError(
                "A vocabulary of byte-level BPE must have room for 256 bytes and "
                f"{len(special.special_ids)} special ids; received vocabulary_size="
                f"{vocabulary_size}. Give more, or use a ByteTokenizer."
            )
        learner = tokenizers.Tokenizer(tokenizers.models.BPE())
        learner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
            add_prefix_space=space_before
        )
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=number,
            min_frequency=min_frequency,
            show_progress=False,
            initial_alphabet=byte_alphabet(),
        )
        learner.train_from_iterator(texts, trainer)
        learned = json.loads(learner.to_str())["model"]
        pieces = sorted(learned["vocab"], key=learned["vocab"].get)
        numbers = special.regular_ids(len(pieces))
        return cls(
            dict(zip(pieces, numbers, strict=True)),
            learned["merges"],
            space_before=space_before,
            **special_ids,
        )

    @classmethod
    def from_files(
        cls,
        vocabulary: AnyPath,
        merges: AnyPath | None = None,
        **options: Any,
    ) -> Self:
        """Reads what GPT-2's code or the `tokenizers` package has learned and written.

        Args:
            vocabulary: The path of `vocab.json`, or of `tokenizer.json`, which holds
                both.
            merges: The path of `merges.txt`, beside a `vocab.json`.
            **options: Of the class. By default the special ids are those of `<pad>`,
                `<s>`, `</s>` and `<unk>` where the vocabulary has them.

        Returns:
            A `ByteLevelBPETokenizer`.

        Raises:
            ValueError: If the files hold no byte-level BPE.
            OSError: If a file cannot be read.

        Example:
            ```python
            from keras_encdec.text import ByteLevelBPETokenizer

            try:
                ByteLevelBPETokenizer.from_files("vocab.json", "merges.txt")
            except OSError as error:
                print(error)
            ```
        """
        with open(vocabulary, encoding="utf-8") as file:
            found = json.load(file)
        model = found.get("model")
        if isinstance(model, dict):
            table, pairs = model.get("vocab"), model.get("merges")
            if not isinstance(table, dict) or pairs is None:
                raise ValueError(
                    "A tokenizer.json of byte-level BPE must hold a model of type BPE; "
                    f"received {model.get('type')!r} in {os.fspath(vocabulary)!r}. "
                    "Read it with the tokenizer of its kind."
                )
            added = found.get("added_tokens", [])
            table = {**table, **{token["content"]: token["id"] for token in added}}
        elif merges is None:
            raise ValueError(
                "The merges of a vocab.json stand in a file of their own; received "
                f"{os.fspath(vocabulary)!r} alone. Give the path of merges.txt too."
            )
        else:
            table = found
            with open(merges, encoding="utf-8") as file:
                pairs = merge_lines(file.read())
        names = {
            "padding_id": "<pad>",
            "start_id": "<s>",
            "end_id": "</s>",
            "unknown_id": "<unk>",
        }
        own = {id: table[piece] for id, piece in names.items() if piece in table}
        return cls(table, pairs, **{**own, **options})

    @property
    def vocabulary(self) -> dict[str, int]:
        """Each piece and its id, a new dict."""
        return dict(self._vocabulary)

    @property
    def vocabulary_size(self) -> int:
        """The number of ids, the special ones included."""
        return len(self._spelled)

    @property
    def sentinels(self) -> tuple[SaidSentinel, ...]:
        """The sentinels, as the constructor takes them."""
        return tuple(word.said() for word in self._sentinels)

    def _to_ids(self, texts: Tensor) -> Tensor:
        return self._around.encode(texts, self._ids_between)

    def _ids_between(self, texts: Tensor) -> Tensor:
        if self.space_before:
            texts = tf.strings.regex_replace(
                texts, r"(?s)^([^ ])", r" \1", replace_global=False
            )
        texts = tf.strings.regex_replace(texts, _LAST_SPACE, b"\\1\xff\\2")
        texts = tf.strings.regex_replace(texts, _WORD, b"\\0\xff")
        words = tf.strings.split(texts, _BREAK)
        words = tf.ragged.boolean_mask(words, words != "")
        return words.with_values(self._of_words(words.flat_values)).merge_dims(1, 2)

    def _of_words(self, words: Tensor) -> Tensor:
        """Ragged ids `(W, None)` of words `(W,)`, each word merged once."""
        words, places = tf.unique(words)
        ids = self._words.lookup(words)
        whole = ids >= 0
        merged = self._merges(tf.boolean_mask(words, ~whole))
        ids = tf.boolean_mask(ids, whole)
        rows = tf.concat([tf.RaggedTensor.from_tensor(ids[:, None]), merged], axis=0)
        among_whole = tf.cumsum(tf.cast(whole, tf.int32)) - 1
        among_merged = tf.cumsum(tf.cast(~whole, tf.int32)) - 1 + tf.size(ids)
        order = tf.where(whole, among_whole, among_merged)
        return tf.gather(rows, tf.gather(order, places))

    def split(self, texts: Texts) -> list[list[str]]:
        """Splits texts into pieces as the vocabulary spells them, lists of `str`."""
        pieces = {number: piece for piece, number in self._vocabulary}
        return [
            [pieces[number] for number in row]
            for row in self._to_ids(as_string_tensor(texts)).to_list()
        ]

    def _to_texts(self, ids: Tensor) -> Tensor:
        pieces = tf.ragged.map_flat_values(lambda i: tf.gather(self._pieces, i), ids)
        return tf.strings.reduce_join(pieces, axis=1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "vocabulary": self.vocabulary,
            "merges": [" ".join(pair) for pair in self.merges],
            "space_before": self.space_before,
            "control": list(self.control),
            "sentinels": list(self.sentinels),
            **super().get_config(),
        }


def merge_lines(text: str) -> list[str]:
    """The merges that a file `merges.txt` holds, a list of lines without its head."""
    lines = text.split("\n")
    head = 1 if lines[0].startswith("#version") else 0
    return [line for line in lines[head:] if line]


def _as_pair(merge: str | Sequence[str]) -> tuple[str, str]:
    pair = tuple(merge.split(" ") if isinstance(merge, str) else merge)
    if len(pair) != 2 or not all(isinstance(part, str) and part for part in pair):
        raise ValueError(
            "A merge must be two pieces, a pair or with a space between; received "
            f"{merge!r:.80}. Read the lines of merges.txt without its head."
        )
    return pair[0], pair[1]
