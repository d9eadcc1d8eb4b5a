"""Tokenizers of SentencePiece models as checkpoints of other libraries use them."""

import base64
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Self

import keras

from keras_encdec.annotations import AnyPath, Tensor, Texts
from keras_encdec.backend import lazy_tensorflow
from keras_encdec.text.character_classes import SPACE, STRIPPED
from keras_encdec.text.graph_parts import graph_part
from keras_encdec.text.interface import Tokenizer, as_string_tensor
from keras_encdec.text.normalizers import Normalizer, Step
from keras_encdec.text.sentence_piece import SentencePieceTokenizer
from keras_encdec.text.sentinels import (
    SaidSentinel,
    Sentinel,
    Sentinels,
    without_gaps,
    without_gaps_in_python,
)
from keras_encdec.text.tokenizers import ByteTokenizer

tf = lazy_tensorflow()


@keras.saving.register_keras_serializable(package="keras_encdec")
class SentinelPieceTokenizer(SentencePieceTokenizer):
    """Splits texts into pieces, and at sentinels first, as T5 fills gaps.

    Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a
    Unified Text-to-Text Transformer", https://arxiv.org/abs/1910.10683, section 3.1.4.

    Args:
        proto: As in `SentencePieceTokenizer`.
        sentinels: Pieces of the model, such as `["<extra_id_0>"]`: wherever a text
            spells one it is that id, and what stands between is split alone. They are
            decoded as they are spelled, if they are no control symbols. Each is a
            `str` or a dict of the attributes of `Sentinel`.
        close_up: Whether `decode` takes out the spaces before English signs and short
            forms: `"it 's here ."` becomes `"it's here."`.
        normalizer: How what stands between sentinels is normalized, where that is not
            left to the model: steps as in `Normalizer`, of which `{"type":
            "Precompiled"}` is the model's own. Sentinels that are `normalized` are
            found in what these steps leave.
        keep_spaces: Whether spaces in a row, and behind a text, are pieces too, if
            there is a `normalizer`. Else white space is where words begin.
        **special_ids: As in `SentencePieceTokenizer`. The unknown id is decoded to
            nothing.

    Raises:
        ValueError: If a sentinel is no piece of the model; as in `Sentinels` and
            `Normalizer`; or as in `SentencePieceTokenizer`.

    Example:
        ```python
        from keras_encdec.text import SentencePieceTokenizer, SentinelPieceTokenizer

        texts, options = ["a cat sat", "a hat"], {"user_defined_symbols": ["<gap>"]}
        proto = SentencePieceTokenizer.train(texts, 12, **options).proto
        tokenizer = SentinelPieceTokenizer(proto, sentinels=["<gap>"])
        print(tokenizer.decode(tokenizer.encode(["a <gap> sat"])).numpy())
        ```
    """

    def __init__(
        self,
        proto: bytes | AnyPath,
        *,
        sentinels: Sequence[SaidSentinel] = (),
        close_up: bool = False,
        normalizer: Sequence[Step] | None = None,
        keep_spaces: bool = False,
        **special_ids: Any,
    ) -> None:
        words = [Sentinel.of(word) for word in sentinels]
        self._sentinels = tuple(words)
        self._steps = None if normalizer is None else json.dumps([*normalizer])
        super().__init__(proto, **special_ids)
        from sentencepiece import sentencepiece_model_pb2

        model = sentencepiece_model_pb2.ModelProto.FromString(self.proto)
        ids = {piece.piece: number for number, piece in enumerate(model.pieces)}
        missing = [word.content for word in words if word.content not in ids]
        if missing:
            raise ValueError(
                "Sentinels must be pieces of the SentencePiece model; received "
                f"{missing[:5]}, which are none. Add them to the model as user-defined "
                "symbols, or leave them out."
            )
        self.close_up = close_up
        self.keep_spaces = keep_spaces
        normalize = None
        if self.normalizer is not None:
            charsmap = model.normalizer_spec.precompiled_charsmap
            normalize = Normalizer(self.normalizer, charsmap)
        self._around = Sentinels({x: ids[x.content] for x in words}, normalize)
        spelled = [
            "" if piece.type in (piece.CONTROL, piece.UNKNOWN) else piece.piece
            for piece in model.pieces
        ]
        spelled += (self.vocabulary_size - len(spelled)) * [""]
        for word, form in zip(words, self._around.forms, strict=True):
            # The `tokenizers` package spells what it finds, and knows what is special
            # by its own spelling.
            if form.content != word.content:
                spelled[ids[word.content]] = form.content
        self._spellings = tuple(spelled)

    @graph_part
    def _spelled(self) -> Tensor:
        return tf.constant(self._spellings, tf.string)

    def _splitting_proto(self, proto: bytes) -> bytes:
        from sentencepiece import sentencepiece_model_pb2

        model = sentencepiece_model_pb2.ModelProto.FromString(proto)
        words = {word.content for word in self._sentinels}
        for piece in model.pieces:
            if piece.piece in words:
                # The model would find it in normalized text and in parts of words.
                piece.type = piece.CONTROL
        if self._steps is not None:
            model.normalizer_spec.precompiled_charsmap = b""
            model.normalizer_spec.add_dummy_prefix = False
            model.normalizer_spec.remove_extra_whitespaces = False
        return model.SerializeToString()

    @property
    def sentinels(self) -> tuple[SaidSentinel, ...]:
        """The sentinels, as the constructor takes them."""
        return tuple(word.said() for word in self._sentinels)

    @property
    def normalizer(self) -> list[dict[str, Any]] | None:
        """The steps of the normalizer, or None where it is left to the model."""
        return None if self._steps is None else json.loads(self._steps)

    def _to_ids(self, texts: Tensor) -> Tensor:
        return self._around.encode(texts, self._ids_between)

    def _ids_between(self, texts: Tensor) -> Tensor:
        if self._steps is not None:
            if not self.keep_spaces:
                texts = tf.strings.regex_replace(texts, f"[{SPACE}]+", " ")
                texts = tf.strings.regex_replace(texts, "^ | $", "")
                texts = tf.strings.regex_replace(texts, " ▁", " ")
            texts = tf.strings.regex_replace(texts, " ", "▁")
            texts = tf.strings.regex_replace(texts, "(?s)^([^▁])", r"▁\1")
        return super()._to_ids(texts)

    def split(self, texts: Texts) -> list[list[str]]:
        """Splits texts into pieces, a list of lists of `str`."""
        rows = self._to_ids(as_string_tensor(texts))
        rows = tf.ragged.map_flat_values(self._model.id_to_string, rows)
        return [
            [piece.decode("utf-8", "replace") for piece in row]
            for row in rows.to_list()
        ]

    def _to_texts(self, ids: Tensor) -> Tensor:
        # SentencePiece would take away all space that a text begins with.
        pieces = tf.ragged.map_flat_values(lambda i: tf.gather(self._spelled, i), ids)
        texts = tf.strings.reduce_join(pieces, axis=1)
        texts = tf.strings.regex_replace(texts, "^▁", "")
        texts = tf.strings.regex_replace(texts, "▁", " ")
        return without_gaps(texts) if self.close_up else texts

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the model as base64 text."""
        return {
            "sentinels": list(self.sentinels),
            "close_up": self.close_up,
            "normalizer": self.normalizer,
            "keep_spaces": self.keep_spaces,
            **super().get_config(),
        }


@keras.saving.register_keras_serializable(package="keras_encdec")
class SentinelByteTokenizer(ByteTokenizer):
    """Splits texts into bytes, and at sentinels first, as ByT5 fills gaps.

    Bytes that are no text in UTF-8 are left out by `decode`.

    Source: Xue et al. 2022, "ByT5: Towards a Token-Free Future with Pre-trained
    Byte-to-Byte Models", https://arxiv.org/abs/2105.13626.

    Args:
        sentinels: Words, such as `["<extra_id_0>"]`, that take the ids behind those of
            the bytes, ascending. Elsewhere as in `SentinelPieceTokenizer`.
        **special_ids: As in `Tokenizer`.

    Example:
        ```python
        from keras_encdec.text import SentinelByteTokenizer

        tokenizer = SentinelByteTokenizer(
            ["<gap>"], padding_id=0, start_id=0, end_id=1, unknown_id=2
        )
        print(tokenizer.encode(["a<gap>"]).to_list())  # [[100, 259, 1]]
        ```
    """

    def __init__(self, sentinels: Sequence[str] = (), **special_ids: Any) -> None:
        super().__init__(**special_ids)
        self.sentinels = tuple(sentinels)
        ids = self.regular_ids(256 + len(self.sentinels))
        words = dict(zip(self.sentinels, ids[256:], strict=True))
        self._size = 1 + max(*self.special_ids, *ids)
        spelled = [b""] * self._size
        for value, number in enumerate(ids[:256]):
            spelled[number] = bytes([value])
        for word, number in words.items():
            spelled[number] = word.encode()
        self._spellings = tuple(spelled)
        self._around = Sentinels({Sentinel(x): i for x, i in words.items()})

    @graph_part
    def _spelled(self) -> Tensor:
        return tf.constant(self._spellings, tf.string)

    def _to_ids(self, texts: Tensor) -> Tensor:
        return self._around.encode(texts, super()._to_ids)

    def split(self, texts: Texts) -> list[list[str]]:
        """Splits texts into bytes and sentinels, a list of lists of `str`."""
        rows = tf.ragged.map_flat_values(
            lambda ids: tf.gather(self._spelled, ids),
            self._to_ids(as_string_tensor(texts)),
        )
        return [
            [piece.decode("utf-8", "backslashreplace") for piece in row]
            for row in rows.to_list()
        ]

    def _to_texts(self, ids: Tensor) -> Tensor:
        pieces = tf.ragged.map_flat_values(lambda i: tf.gather(self._spelled, i), ids)
        texts = tf.strings.reduce_join(pieces, axis=1)
        return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="ignore")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"sentinels": list(self.sentinels), **super().get_config()}


@keras.saving.register_keras_serializable(package="keras_encdec")
class PieceTableTokenizer(Tokenizer):
    """Splits texts into a SentencePiece model's pieces, whose ids a table tells.

    The table may hold what the model does not know: a run of letters without a piece
    takes the id that the table has for it. So do Marian's models and M2M100.

    Source: Junczys-Dowmunt et al. 2018, "Marian: Fast Neural Machine Translation in
    C++", https://arxiv.org/abs/1804.00344.

    Args:
        proto: A trained SentencePiece model, as `bytes`.
        vocabulary: A dict from each piece to its id. The ids from zero on that it has
            no piece for are read as unknown.
        marked: Whether a text may begin with a mark such as `>>fra<<`, the language to
            translate into, which is split off and is one id.
        control: Pieces of the table that are decoded to nothing and that no text
            spells, such as those of languages.
        sentinels: Pieces of the table that are one token wherever a text spells them,
            as in `SentinelPieceTokenizer`.
        close_up: As in `SentinelPieceTokenizer`.
        **special_ids: As in `Tokenizer`. No text can spell the first four of them.

    Raises:
        ImportError: If `sentencepiece` cannot be imported.
        TypeError: If `vocabulary` is no dict of `str` and `int`; or as in `Tokenizer`.
        ValueError: If it repeats an id or has a negative one, or `proto` is no
            SentencePiece model; or as in `Tokenizer`.

    Example:
        ```python
        from keras_encdec.text import PieceTableTokenizer, SentencePieceTokenizer

        proto = SentencePieceTokenizer.train(["a cat", "a hat"], 10).proto
        vocabulary = {"▁a": 4, "c": 5, "at": 6, "▁": 7, ">>fra<<": 8}
        tokenizer = PieceTableTokenizer(proto, vocabulary, marked=True)
        print(tokenizer.encode([">>fra<< a"]).to_list())  # [[8, 4, 2]]
        ```
    """

    def __init__(
        self,
        proto: bytes,
        vocabulary: dict[str, int],
        *,
        marked: bool = False,
        control: Iterable[str] = (),
        sentinels: Iterable[SaidSentinel] = (),
        close_up: bool = False,
        **special_ids: Any,
    ) -> None:
        super().__init__(**special_ids)
        vocabulary = dict(_checked_table(vocabulary))
        words = [Sentinel.of(word) for word in sentinels]
        self._sentinels = tuple(words)
        self._around = Sentinels({x: vocabulary[x.content] for x in words})
        # Refused there in words if it is none; ids are the table's, none of its own.
        above = 10**9
        checked = SentencePieceTokenizer(
            proto, padding_id=above, start_id=above + 1, end_id=above + 2
        )
        self._proto, self._processor = checked.proto, checked.processor
        self._vocabulary = vocabulary
        self.marked = marked
        self.control = tuple(control)
        self.close_up = close_up
        self._size = 1 + max(*vocabulary.values(), *self.special_ids)
        silent = {self.padding_id, self.start_id, self.end_id, self.unknown_id}
        silent |= {vocabulary[piece] for piece in self.control}
        spelled = {word.content for word in words}
        known = {
            piece: number
            for piece, number in vocabulary.items()
            if number not in silent or piece in spelled
        }
        self._id_of = known
        pieces = {number: piece for piece, number in known.items()}
        pieces |= dict.fromkeys(silent, "")
        self._spellings = tuple(pieces.get(number, "") for number in range(self._size))

    @graph_part
    def _model(self) -> Any:
        from keras_encdec.text.piece_models import load_pieces

        return load_pieces(self._proto, tf.string)

    @graph_part
    def _ids(self) -> Any:
        pieces, ids = [*self._id_of], [*self._id_of.values()]
        return tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(pieces, ids, tf.string, tf.int32),
            default_value=self.unknown_id,
        )

    @graph_part
    def _pieces(self) -> Tensor:
        return tf.constant(self._spellings, tf.string)

    @property
    def proto(self) -> bytes:
        """The serialized model, `bytes`."""
        return self._proto

    @property
    def vocabulary(self) -> dict[str, int]:
        """Each piece and its id, a new dict."""
        return dict(self._vocabulary)

    @property
    def vocabulary_size(self) -> int:
        """The number of ids, the special ones included."""
        return self._size

    @property
    def sentinels(self) -> tuple[SaidSentinel, ...]:
        """The sentinels, as the constructor takes them."""
        return tuple(word.said() for word in self._sentinels)

    def _split(self, texts: Tensor) -> Tensor:
        return self._around.encode(texts, self._pieces_between)

    def _pieces_between(self, texts: Tensor) -> Tensor:
        if not self.marked:
            return self._model.tokenize(texts)
        mark = r"(?s)^(>>.*?<<)"
        marked = tf.strings.regex_full_match(texts, f"{mark}.*")
        marks = tf.strings.regex_replace(texts, f"{mark}.*", r"\1")
        marks = tf.RaggedTensor.from_tensor(
            marks[:, None], lengths=tf.cast(marked, tf.int64)
        )
        texts = tf.strings.regex_replace(texts, mark, "", replace_global=False)
        return tf.concat([marks, self._model.tokenize(texts)], axis=1)

    def _to_ids(self, texts: Tensor) -> Tensor:
        return tf.ragged.map_flat_values(self._ids.lookup, self._split(texts))

    def _ids_in_python(self, texts: list[bytes]) -> list[list[int]] | None:
        if self._sentinels:
            return None
        mark = re.compile(rb"(?s)(>>.*?<<)?" if self.marked else b"()")
        heads = [mark.match(text)[1] or b"" for text in texts]  # type: ignore[index]
        try:
            marks = [[head.decode()] if head else [] for head in heads]
        except UnicodeDecodeError:
            return None
        texts = [text[len(head) :] for head, text in zip(heads, texts, strict=True)]
        split = self._processor.encode(texts, out_type=str, num_threads=1)
        ids, unknown = self._id_of, self.unknown_id
        return [
            [ids.get(piece, unknown) for piece in (*mark, *pieces)]
            for mark, pieces in zip(marks, split, strict=True)
        ]

    def _texts_in_python(self, rows: list[list[int]]) -> list[bytes]:
        spellings = self._spellings
        texts = ("".join([spellings[number] for number in row]) for row in rows)
        texts = (text.replace("▁", " ").strip() for text in texts)
        change = without_gaps_in_python if self.close_up else str
        return [change(text).encode() for text in texts]

    def split(self, texts: Texts) -> list[list[str]]:
        """Splits texts into pieces, a list of lists of `str`."""
        return [
            [piece.decode("utf-8", "replace") for piece in pieces]
            for pieces in self._split(as_string_tensor(texts)).to_list()
        ]

    def _to_texts(self, ids: Tensor) -> Tensor:
        pieces = tf.ragged.map_flat_values(lambda i: tf.gather(self._pieces, i), ids)
        texts = tf.strings.reduce_join(pieces, axis=1)
        texts = tf.strings.regex_replace(texts, "▁", " ")
        texts = tf.strings.regex_replace(texts, f"^[{STRIPPED}]+|[{STRIPPED}]+$", "")
        return without_gaps(texts) if self.close_up else texts

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, the model as base64 text."""
        return {
            "proto": base64.b64encode(self._proto).decode("ascii"),
            "vocabulary": self.vocabulary,
            "marked": self.marked,
            "control": list(self.control),
            "sentinels": list(self.sentinels),
            "close_up": self.close_up,
            **super().get_config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Builds the tokenizer that `get_config` described."""
        return cls(**{**config, "proto": base64.b64decode(config["proto"])})


def _checked_table(vocabulary: dict[str, int]) -> dict[str, int]:
    if not isinstance(vocabulary, dict) or not all(
        isinstance(piece, str) and type(number) is int
        for piece, number in vocabulary.items()
    ):
        raise TypeError(
            "A table of pieces must be a dict from `str` to `int`; received "
            f"{vocabulary!r:.80}. Give each piece its id."
        )
    numbers = set(vocabulary.values())
    if not numbers or min(numbers) < 0 or len(numbers) < len(vocabulary):
        raise ValueError(
            "A table of pieces must give each piece an id of its own, from zero on; "
            f"received {len(vocabulary)} pieces with {len(numbers)} different ids, the "
            f"least {min(numbers, default=None)}. Give each piece its own."
        )
    return vocabulary
