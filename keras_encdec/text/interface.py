"""What every tokenizer is: `encode` and `decode`, and the checks of their inputs.

A tokenizer is one function in two forms. `encode` and `decode` are made of TensorFlow's
operations only: they run as one graph in Python, inside `tf.data` and inside a
SavedModel, where no Python is left. `ids_of` and `texts_of` are the same in Python, for
lists of texts in a program that may have no use for TensorFlow.

Each tokenizer has special ids of its own: padding, start, end, unknown, and what stands
before and behind the ids of every text. They are ids only: no text can spell them.
"""

import contextlib
import itertools
import operator
from collections.abc import Iterable, Sequence
from typing import Any, Self

import keras
import numpy as np

from keras_encdec.annotations import Ids, Tensor, Texts
from keras_encdec.backend import lazy_tensorflow
from keras_encdec.text.graph_functions import GraphFunctions
from keras_encdec.text.graph_parts import HasGraphParts

tf = lazy_tensorflow()


class Tokenizer(HasGraphParts):
    """The common interface of all tokenizers: `encode`, which a call is, and `decode`.

    A subclass defines `_to_ids(texts)`, from strings `(B,)` to ragged int32 ids
    `(B, None)` without special ids; `_to_texts(ids)`, from ragged int64 ids
    `(B, None)`, each a regular id or `unknown_id`, to strings `(B,)`; the property
    `vocabulary_size`, above all ids, the special ones included; and `get_config`, if
    its constructor takes more than the special ids. Tokenizers are copied and pickled
    by their configs. What its graphs hold, such as tables, it makes in methods that are
    a `graph_part`.

    A subclass may define the same in Python: `_ids_in_python(texts)`, from a list of
    `bytes` to lists of ids, or None for what only the graph can do, and
    `_texts_in_python(rows)`, from lists of ids to a list of `bytes`. They are taken
    from a class itself and never inherited, for what its subclasses do in a graph may
    be something else.

    Args:
        padding_id: The id that fills up rows.
        start_id: The id that a target begins with before anything is generated. It may
            be the padding id, as in T5, or the end id, as in mBART-50.
        end_id: The id that ends a text.
        unknown_id: The id of what is not in the vocabulary.
        prefix_ids: Ids that `encode` puts before those of a text, such as that of a
            language.
        suffix_ids: Ids that `encode` puts behind them; None is the end id alone.

    Raises:
        TypeError: If an id is not an integer.
        ValueError: If an id is negative; if padding, end and unknown id are not three,
            or the start id is the unknown one; or if prefix or suffix hold padding or
            unknown ids, or the prefix an end.

    Example:
        ```python
        from keras_encdec.text import ByteTokenizer

        tokenizer = ByteTokenizer()
        ids = tokenizer.encode(["hi", ""])
        print(ids.to_list())  # [[108, 109, 2], [2]]
        print(tokenizer.decode(ids).numpy())  # [b'hi' b'']
        ```
    """

    def __init__(
        self,
        *,
        padding_id: int = 0,
        start_id: int = 1,
        end_id: int = 2,
        unknown_id: int = 3,
        prefix_ids: Sequence[int] = (),
        suffix_ids: Sequence[int] | None = None,
    ) -> None:
        self.padding_id = _as_id(padding_id, "padding_id")
        self.start_id = _as_id(start_id, "start_id")
        self.end_id = _as_id(end_id, "end_id")
        self.unknown_id = _as_id(unknown_id, "unknown_id")
        suffix: Sequence[int] = [end_id] if suffix_ids is None else suffix_ids
        self.prefix_ids = tuple(_as_id(id, "prefix_ids") for id in prefix_ids)
        self.suffix_ids = tuple(_as_id(id, "suffix_ids") for id in suffix)
        self._check_special_ids()
        self._functions = GraphFunctions()

    @property
    def vocabulary_size(self) -> int:
        """A number above all ids, the special ones included; a subclass says it."""
        raise NotImplementedError

    def _to_ids(self, texts: Tensor) -> Tensor:
        raise NotImplementedError

    def _to_texts(self, ids: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def special_ids(self) -> tuple[int, ...]:
        """All ids that no text can spell, ascending, a tuple."""
        named = self.padding_id, self.start_id, self.end_id, self.unknown_id
        return tuple(sorted({*named, *self.prefix_ids, *self.suffix_ids}))

    def regular_ids(self, number: int) -> list[int]:
        """The first ids that are not special, a list of `number`, ascending."""
        special = {*self.special_ids}
        regular = (id for id in itertools.count() if id not in special)
        return [*itertools.islice(regular, number)]

    def _check_special_ids(self) -> None:
        named = {
            name: getattr(self, name)
            for name in ("padding_id", "start_id", "end_id", "unknown_id")
        }
        distinct = {self.padding_id, self.end_id, self.unknown_id}
        if len(distinct) < 3 or self.start_id == self.unknown_id:
            raise ValueError(
                "padding_id, end_id and unknown_id must differ, and start_id from "
                f"unknown_id; received {named}. Give each its own id."
            )
        around = {*self.prefix_ids, *self.suffix_ids}
        if around & {self.padding_id, self.unknown_id}:
            raise ValueError(
                "prefix_ids and suffix_ids must hold neither padding nor the unknown "
                f"id; received {self.prefix_ids} and {self.suffix_ids} with {named}. "
                "Leave these out."
            )
        # A first id that is the start is no end, even if its number is that of the end.
        begun = self.prefix_ids[:1] == (self.start_id,)
        if self.end_id in self.prefix_ids[begun:]:
            raise ValueError(
                "prefix_ids must not hold the end id, where `decode` stops; received "
                f"{self.prefix_ids} with end_id={self.end_id}. Leave it out."
            )

    def encode(self, texts: Texts) -> Tensor:
        """Turns a batch of texts into rows of ids, between prefix and suffix ids.

        Args:
            texts: The texts `(B,)`: a list or array of `str` or UTF-8 `bytes`, or a
                string tensor. The batch and any text may be empty.

        Returns:
            A `tf.RaggedTensor` of ids, int32 `(B, None)`.

        Raises:
            TypeError: If `texts` is a single string or holds anything but strings.
            ValueError: If `texts` is a tensor or array of another rank than 1.
        """
        return self._functions("encode", self._encode, as_string_tensor(texts))

    def _encode(self, texts: Tensor) -> Tensor:
        return self._enclosed(self._to_ids(texts))

    def __call__(self, texts: Texts) -> Any:
        """Returns what `encode` does."""
        return self.encode(texts)

    def _enclosed(self, ids: Tensor) -> Tensor:
        """Ragged ids `(B, None)` of texts between prefix and suffix ids."""

        def in_each_row(some: Any) -> Tensor:
            some = tf.constant([some], ids.dtype, shape=(1, len(some)))
            return tf.tile(some, tf.stack([tf.cast(ids.nrows(), tf.int32), 1]))

        before, behind = in_each_row(self.prefix_ids), in_each_row(self.suffix_ids)
        return tf.concat([before, ids, behind], axis=1)

    def decode(self, ids: Ids) -> Tensor:
        """Turns rows of ids into texts.

        Each row is cut at its first `end_id`; padding, start, prefix and suffix ids are
        dropped; an id that is no id of the vocabulary is read as `unknown_id`.

        Args:
            ids: Integer ids `(B, T)`: an array or tensor of any backend, a list of
                rows, or a `tf.RaggedTensor`.

        Returns:
            The texts, a `tf.string` tensor `(B,)`.

        Raises:
            TypeError: If `ids` are not integers.
            ValueError: If `ids` are not of rank 2.
        """
        ids = as_id_tensor(ids, self.padding_id)
        return self._functions("decode", self._decode, ids)

    def _decode(self, ids: Tensor) -> Tensor:
        first = tf.range(tf.shape(ids)[1]) == 0
        is_end = (ids == self.end_id) & ~(first & (ids == self.start_id))
        keep = tf.cumsum(tf.cast(is_end, tf.int32), axis=1) == 0
        for special in {*self.special_ids} - {self.unknown_id}:
            keep &= ids != special
        known = (ids >= 0) & (ids < self.vocabulary_size)
        ids = tf.where(known, ids, tf.constant(self.unknown_id, ids.dtype))
        return self._to_texts(tf.ragged.boolean_mask(ids, keep))

    def ids_of(self, texts: Texts) -> list[np.ndarray]:
        """Returns the rows of ids that `encode` gives, without TensorFlow if it can.

        Args:
            texts: As in `encode`.

        Returns:
            A list of NumPy arrays of int32.

        Raises:
            TypeError: As in `encode`.
            ValueError: As in `encode`.

        Example:
            ```python
            from keras_encdec.text import ByteTokenizer

            print(ByteTokenizer().ids_of(["hi"]))
            ```
        """
        in_python = vars(type(self)).get("_ids_in_python")
        rows = None
        if in_python is not None and not hasattr(texts, "numpy"):
            texts = as_bytes(texts)
            rows = in_python(self, texts)
        if rows is None:
            encoded = self.encode(texts)
            ids, ends = encoded.values.numpy(), encoded.row_splits.numpy()
            return [ids[i:j] for i, j in itertools.pairwise(ends)]
        before, behind = [*self.prefix_ids], [*self.suffix_ids]
        return [np.array([*before, *row, *behind], np.int32) for row in rows]

    def texts_of(self, ids: Ids) -> list[str]:
        """Returns the texts that `decode` gives, without TensorFlow if it can.

        Args:
            ids: As in `decode`.

        Returns:
            A list of `str`; what is no UTF-8 is U+FFFD.

        Raises:
            TypeError: As in `decode`.
            ValueError: As in `decode`.

        Example:
            ```python
            from keras_encdec.text import ByteTokenizer

            print(ByteTokenizer().texts_of([[108, 109, 2, 108]]))  # ['hi']
            ```
        """
        in_python = vars(type(self)).get("_texts_in_python")
        rows = None if in_python is None else _rows_of_numbers(ids)
        if in_python is None or rows is None:
            texts = self.decode(ids).numpy()
        else:
            texts = in_python(self, self._regular(rows))
        return [text.decode("utf-8", "replace") for text in texts]

    def _regular(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """What `decode` reads of rows of ids."""
        dropped, size = {*self.special_ids} - {self.unknown_id}, self.vocabulary_size
        regular: list[list[int]] = []
        for row in rows:
            regular.append([])
            for place, number in enumerate(row):
                if number == self.end_id and (place or number != self.start_id):
                    break
                if number not in dropped:
                    known = 0 <= number < size
                    regular[-1].append(number if known else self.unknown_id)
        return regular

    def split(self, texts: Texts) -> list[list[Any]]:
        """Splits texts into tokens, of which each is one id of `encode`.

        Args:
            texts: A list of texts, `str` or UTF-8 `bytes`.

        Returns:
            A list of lists of tokens, `str`; or of their ids, if a subclass does not
            define it.
        """
        return self._to_ids(as_string_tensor(texts)).to_list()

    def join(self, texts: Texts) -> list[str]:
        """Returns texts as `decode` would write them, were nothing unknown in them.

        Texts that come split into subwords, as the references of such a corpus, are
        joined to words; of other tokenizers they stay what they are.

        Args:
            texts: A list of texts, `str` or UTF-8 `bytes`.

        Returns:
            A list of `str`.
        """
        return [text.decode("utf-8", "replace") for text in as_bytes(texts)]

    def sample(self, texts: Texts, *, alpha: float, seed: int) -> Tensor:
        """Like `encode`, with subwords drawn at random, where a tokenizer can do so.

        Args:
            texts: As in `encode`.
            alpha: How strongly to vary.
            seed: A 32-bit int.

        Returns:
            A `tf.RaggedTensor` of ids, int32 `(B, None)`.

        Raises:
            NotImplementedError: If the tokenizer has one way to split a text.
        """
        raise NotImplementedError(
            "Only a SentencePieceTokenizer draws other subwords for a text; received "
            f"{type(self).__name__}. Leave out the sampling, or train a SentencePiece "
            "model."
        )

    def sample_ids(
        self, ids: Sequence[Any], *, alpha: float, seeds: Sequence[int]
    ) -> list[list[int]]:
        """Draws other subwords for texts that are ids already.

        Here they are decoded, and drawn by `sample`, text by text. Ids that `encode`
        would not give again, such as those of a text that was normalized in ways that
        do not repeat, stay as they are: nothing is lost. `TokenBatches` tells if they
        are many, and refuses a tokenizer that gives none again.

        Args:
            ids: Rows of ids as `encode` gives them, whole; lists or arrays.
            alpha: As in `sample`.
            seeds: A 32-bit int for each row, by which its draw is the same in any
                company.

        Returns:
            As many lists of ids.

        Raises:
            NotImplementedError: If the tokenizer has one way to split a text.
        """
        if type(self).sample is Tokenizer.sample:
            self.sample([], alpha=alpha, seed=0)  # Told whatever the ids are.
        rows = [list(map(int, row)) for row in ids]
        return [
            row
            if text is None
            else self.sample([text], alpha=alpha, seed=seed).to_list()[0]
            for row, text, seed in zip(
                rows, texts_given_back(self, rows), seeds, strict=True
            )
        ]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, here the special ids."""
        return {
            "padding_id": self.padding_id,
            "start_id": self.start_id,
            "end_id": self.end_id,
            "unknown_id": self.unknown_id,
            "prefix_ids": list(self.prefix_ids),
            "suffix_ids": list(self.suffix_ids),
        }

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Builds the tokenizer that `get_config` described."""
        return cls(**config)

    def __reduce__(self) -> tuple[Any, ...]:
        # Tables and models of TensorFlow cannot be copied, but made anew.
        return _from_config, (type(self), self.get_config())

    def __repr__(self) -> str:
        special = ", ".join(
            f"{name}={value}" for name, value in Tokenizer.get_config(self).items()
        )
        return f"<{type(self).__name__} of {self.vocabulary_size} ids: {special}>"


def _from_config(cls: type[Tokenizer], config: Any) -> Tokenizer:
    return cls.from_config(config)


def _as_id(number: Any, name: str) -> int:
    try:
        number = operator.index(number)
    except TypeError as error:
        raise TypeError(
            f"Special ids must be integers; received {number!r} in {name}. Give an id "
            "of the vocabulary."
        ) from error
    if number < 0:
        raise ValueError(
            f"Special ids must not be negative; received {number} in {name}. Give an "
            "id of the vocabulary."
        )
    return number


def require_several_texts(**batches: Any) -> None:
    """Raises unless each is an iterable of texts: not one alone, nor a table."""
    for name, texts in batches.items():
        shape = getattr(texts, "shape", None)
        if shape is not None and len(shape) != 1:
            raise ValueError(
                f"`{name}` must be a batch of strings of one dimension; received an "
                f"array of shape {tuple(shape)}. Give a column of it, as "
                f"`{name}[:, 0]`, or a list."
            )
        if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
            raise TypeError(
                f"`{name}` must be a batch of strings, such as a list; received "
                f"{texts!r:.80}. Wrap a single text in a list: `[text]`."
            )


def _as_str(text: bytes) -> str | bytes:
    """A text as `str`, which a `sample` of a user may ask for, if it is UTF-8."""
    with contextlib.suppress(UnicodeDecodeError):
        return text.decode()
    return text


def texts_given_back(
    tokenizer: Tokenizer, rows: Sequence[Sequence[int]]
) -> list[str | bytes | None]:
    """Returns the texts of ids, and None for those that are not encoded to them again.

    Args:
        tokenizer: A `Tokenizer`.
        rows: Rows of ids as `encode` gives them, whole.

    Example:
        ```python
        from keras_encdec import CharacterTokenizer
        from keras_encdec.text.interface import texts_given_back

        tokenizer = CharacterTokenizer(["a", "b"])
        print(texts_given_back(tokenizer, [[4, 5, 2], [4, 5]]))  # ['ab', None]
        ```
    """
    texts = tokenizer.decode(rows).numpy()
    again = tokenizer.encode(texts).to_list()
    return [
        _as_str(text) if [*row] == ids else None
        for text, row, ids in zip(texts, rows, again, strict=True)
    ]


def as_bytes(texts: Texts, first: int = 0) -> list[bytes]:
    """Checks `str` or `bytes`, numbered from `first` on; returns a list of `bytes`."""
    require_several_texts(texts=texts)
    encoded = []
    for index, text in enumerate(texts, first):
        if isinstance(text, str):
            # A lone surrogate becomes bytes that are not UTF-8, unknown but no error.
            text = text.encode("utf-8", "surrogatepass")
        elif not isinstance(text, bytes):
            raise TypeError(
                "`texts` must hold `str` or `bytes` only; received "
                f"{type(text).__name__} ({text!r:.80}) at index {index}. Convert it "
                "with `str`, or leave it out."
            )
        encoded.append(text)
    return encoded


def _rows_of_numbers(ids: Any) -> list[Any] | None:
    """Rows of ids as lists, or None for what only `decode` reads, or refuses."""
    if not isinstance(ids, (list, tuple)):
        if hasattr(ids, "row_splits"):
            return None
        ids = keras.ops.convert_to_numpy(ids)
        return ids.tolist() if ids.ndim == 2 and ids.dtype.kind in "iu" else None
    rows = [x.tolist() if isinstance(x, np.ndarray) else x for x in ids]
    whole = all(
        isinstance(row, (list, tuple)) and all(type(number) is int for number in row)
        for row in rows
    )
    return rows if whole else None


def as_string_tensor(texts: Any) -> Tensor:
    """Checks a batch of texts; returns a string tensor `(B,)`."""
    if not tf.is_tensor(texts):
        return tf.constant(as_bytes(texts), tf.string)
    if texts.dtype != tf.string:
        raise TypeError(
            f"`texts` must be a string tensor; received dtype {texts.dtype.name}. Use "
            "`decode` to turn ids into texts."
        )
    if texts.shape.rank not in (None, 1):
        raise ValueError(
            "`texts` must be a tensor of rank 1, one text a row; received shape "
            f"{texts.shape}. Flatten it with `tf.reshape(texts, [-1])`."
        )
    return tf.ensure_shape(texts, [None])


def as_id_tensor(ids: Any, padding_id: int) -> Tensor:
    """Checks a batch of ids; returns an int64 tensor `(B, T)`, padded."""
    rule = "`ids` must be rows of integers, (B, T)"
    if isinstance(ids, (list, tuple)):
        try:
            ids = tf.ragged.constant(ids, tf.int64, ragged_rank=1)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{rule}; received {ids!r:.80} ({error}). Pass a list of lists of "
                "integers, or an array."
            ) from error
    elif not tf.is_tensor(ids):
        ids = tf.convert_to_tensor(keras.ops.convert_to_numpy(ids))
    if not ids.dtype.is_integer:
        raise TypeError(
            f"{rule}; received dtype {ids.dtype.name}. Cast them, or take the argmax "
            "if these are logits."
        )
    if ids.shape.rank not in (None, 2):
        raise ValueError(
            f"{rule}; received shape {ids.shape}. Wrap a single row in a batch: "
            "`ids[None]`."
        )
    if isinstance(ids, tf.RaggedTensor):
        ids = ids.to_tensor(padding_id)
    return tf.cast(tf.ensure_shape(ids, [None, None]), tf.int64)


def tokens_of_rows(tokenizer: Tokenizer, texts: Texts) -> list[list[str]]:
    """Returns the tokens of each text with the special ones, one for each id of it.

    Args:
        tokenizer: A `Tokenizer`.
        texts: A list of texts.

    Example:
        ```python
        from keras_encdec import WordTokenizer
        from keras_encdec.text.interface import tokens_of_rows

        tokenizer = WordTokenizer.from_texts(["one two"])
        print(tokens_of_rows(tokenizer, ["two"]))  # [['two', '</s>']]
        ```
    """

    def special(ids: Iterable[int]) -> list[str]:
        named = {tokenizer.start_id: "<s>", tokenizer.end_id: "</s>"}
        return [named.get(id, f"<{id}>") for id in ids]

    before, behind = special(tokenizer.prefix_ids), special(tokenizer.suffix_ids)
    return [[*before, *map(str, x), *behind] for x in tokenizer.split(texts)]
