"""The tokenizer of SentencePiece models."""

import base64
import functools
import io
import itertools
import os
import random
from collections.abc import Sequence
from typing import Any, Literal, Self

import keras

from keras_encdec.annotations import AnyPath, Tensor, Texts
from keras_encdec.backend import lazy_tensorflow
from keras_encdec.text.graph_parts import graph_part
from keras_encdec.text.interface import Tokenizer, as_bytes, as_string_tensor
from keras_encdec.text.subwords import merge_at_random, split_at_random

tf = lazy_tensorflow()


@keras.saving.register_keras_serializable(package="keras_encdec")
class SentencePieceTokenizer(Tokenizer):
    """Splits texts into the subwords of a SentencePiece model.

    Source: Kudo and Richardson 2018, "SentencePiece: A simple and language
    independent subword tokenizer and detokenizer for Neural Text Processing",
    https://arxiv.org/abs/1808.06226.

    Args:
        proto: A trained model, as `bytes`, or the path of its file.
        padding_id: As in `Tokenizer`, like the other ids; None is the model's own.
        start_id: None is the model's bos.
        end_id: None is the model's eos.
        unknown_id: None is the model's unk, and no other one can be given.
        prefix_ids: As in `Tokenizer`: pieces of the model that are made for this, such
            as control symbols, or ids above all pieces.
        suffix_ids: Likewise.

    Raises:
        ImportError: If `sentencepiece` cannot be imported.
        FileNotFoundError: If there is no file at the path.
        TypeError: If `proto` is neither bytes nor a path, or an id not an integer.
        ValueError: If it is no SentencePiece model; if it lacks a special id that is
            not given; if an id is that of a usual piece; or as in `Tokenizer`.

    Example:
        ```python
        from keras_encdec.text import SentencePieceTokenizer

        texts = ["a cat sat", "a hat sat", "a cat has a hat"]
        tokenizer = SentencePieceTokenizer.train(texts, vocabulary_size=13)
        ids = tokenizer.encode(["a cat"])
        print(tokenizer.decode(ids).numpy())  # [b'a cat']
        ```
    """

    def __init__(
        self,
        proto: bytes | AnyPath,
        *,
        padding_id: int | None = None,
        start_id: int | None = None,
        end_id: int | None = None,
        unknown_id: int | None = None,
        prefix_ids: Sequence[int] = (),
        suffix_ids: Sequence[int] | None = None,
    ) -> None:
        sentencepiece = _import_sentencepiece()
        if isinstance(proto, (str, os.PathLike)):
            origin = f"the file {os.fspath(proto)!r}"
            if not os.path.isfile(proto):
                raise FileNotFoundError(
                    "A SentencePiece model must be given as bytes or as the path of "
                    f"its file; received {origin}, which is not there. Check the "
                    "path, or train a model with `SentencePieceTokenizer.train`."
                )
            with open(proto, "rb") as file:
                proto = file.read()
        elif isinstance(proto, bytes):
            origin = f"{len(proto)} bytes"
        else:
            raise TypeError(
                "A SentencePiece model must be given as bytes or as the path of its "
                f"file; received {type(proto).__name__}. Read the file, or pass its "
                "path."
            )
        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(proto)
        except RuntimeError as error:
            raise ValueError(
                "A SentencePiece model must be a serialized `ModelProto`; received "
                f"{origin}, which SentencePiece refuses. Copy the model again, or "
                "train one with `SentencePieceTokenizer.train` or the command "
                "`vocabulary`."
            ) from error
        own = {
            "padding_id": processor.pad_id(),
            "start_id": processor.bos_id(),
            "end_id": processor.eos_id(),
            "unknown_id": processor.unk_id(),
        }
        given = {
            "padding_id": padding_id,
            "start_id": start_id,
            "end_id": end_id,
            "unknown_id": unknown_id,
        }
        missing = [name for name in own if own[name] < 0 and given[name] is None]
        if missing:
            raise ValueError(
                "A SentencePiece model must have its special ids, or be given those it "
                f"lacks; {origin} has none for {', '.join(missing)}. Pass "
                f"{missing[0]}={processor.get_piece_size()}, the first id above its "
                "pieces, or what the model of these ids was trained with."
            )
        if unknown_id not in (None, own["unknown_id"]):
            raise ValueError(
                "The unknown id is the one that the SentencePiece model gives, "
                f"{own['unknown_id']}; received {unknown_id}. Leave it out."
            )
        super().__init__(
            **{
                name: own[name] if number is None else number
                for name, number in given.items()
            },
            prefix_ids=prefix_ids,
            suffix_ids=suffix_ids,
        )
        self._check_pieces(proto)
        self._proto = proto
        self._vocabulary: _Vocabulary | None = (
            None  # Made when it is needed: it is the model once more.
        )
        self._num_pieces = processor.get_piece_size()
        self._processor = processor

    @graph_part
    def _model(self) -> Any:
        from keras_encdec.text.piece_models import load_pieces

        return load_pieces(self._splitting_proto(self._proto))

    def _splitting_proto(self, proto: bytes) -> bytes:
        """The model that splits texts, which a subclass may have do less."""
        return proto

    def _check_pieces(self, proto: bytes) -> None:
        from sentencepiece import sentencepiece_model_pb2

        pieces = sentencepiece_model_pb2.ModelProto.FromString(proto).pieces
        usual = [
            f"{number}, {pieces[number].piece!r}"
            for number in self.special_ids
            if number < len(pieces)
            and pieces[number].type in (pieces[number].NORMAL, pieces[number].BYTE)
        ]
        if usual:
            raise ValueError(
                "A special id must be none that a text is split into; received "
                f"{'; '.join(usual)}. Give the id of a control symbol, or one from "
                f"{len(pieces)} on; words to begin with belong into the text itself."
            )

    @classmethod
    def train(
        cls,
        texts: Texts,
        vocabulary_size: int,
        *,
        model_type: Literal["unigram", "bpe", "char", "word"] = "unigram",
        padding_id: int = 0,
        start_id: int = 1,
        end_id: int = 2,
        unknown_id: int = 3,
        prefix_ids: Sequence[int] = (),
        suffix_ids: Sequence[int] | None = None,
        **options: Any,
    ) -> Self:
        """Trains a SentencePiece model on some texts.

        Args:
            texts: An iterable of `str` or UTF-8 `bytes`, one sentence each.
            vocabulary_size: The number of pieces, the special ones included.
            model_type: `"unigram"`, `"bpe"`, `"char"` or `"word"`.
            padding_id: As in `Tokenizer`, like the next five.
            start_id: Likewise.
            end_id: Likewise.
            unknown_id: Likewise.
            prefix_ids: Likewise; see the option `control_symbols` of the trainer.
            suffix_ids: Likewise.
            **options: Further options of `sentencepiece.SentencePieceTrainer`, such
                as `character_coverage=1.0` or `byte_fallback=True`.

        Returns:
            A `SentencePieceTokenizer`.

        Raises:
            ImportError: If `sentencepiece` cannot be imported.
            TypeError: If `texts` is a single string or holds anything but strings.
            ValueError: If the trainer refuses, for example because the texts have
                fewer subwords than `vocabulary_size`.

        Example:
            ```python
            from keras_encdec.text import SentencePieceTokenizer

            texts = ["a cat sat", "a hat sat"]
            tokenizer = SentencePieceTokenizer.train(texts, 12, model_type="bpe")
            print(tokenizer.vocabulary_size)  # 12
            ```
        """
        sentencepiece = _import_sentencepiece()
        texts = as_bytes(texts)
        writer = io.BytesIO()
        options = {"minloglevel": 2, **options}
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=writer,
                vocab_size=vocabulary_size,
                model_type=model_type,
                pad_id=padding_id,
                # The trainer takes no id twice.
                bos_id=-1 if start_id in (padding_id, end_id) else start_id,
                eos_id=end_id,
                unk_id=unknown_id,
                **options,
            )
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                "SentencePiece must be able to find the subwords asked for; received "
                f"vocabulary_size={vocabulary_size}, model_type={model_type!r} and "
                f"{len(texts)} texts, and its trainer said: {error} Change "
                "`vocabulary_size` or the option it names, or give it more text."
            ) from error
        return cls(
            writer.getvalue(),
            padding_id=padding_id,
            start_id=start_id,
            end_id=end_id,
            prefix_ids=prefix_ids,
            suffix_ids=suffix_ids,
        )

    @property
    def proto(self) -> bytes:
        """The serialized model, `bytes`; write it to a file to keep it."""
        return self._proto

    @property
    def processor(self) -> Any:
        """The model, a `sentencepiece.SentencePieceProcessor`."""
        return self._processor

    @property
    def vocabulary_size(self) -> int:
        """The number of ids, the special ones included."""
        return max(self._num_pieces, self.special_ids[-1] + 1)

    def sample(self, texts: Texts, *, alpha: float, seed: int) -> Tensor:
        """Like `encode`, with subwords drawn at random, the same ones for a seed.

        Trained on ever other subwords, a model learns how words are made (subword
        regularization).

        Args:
            texts: As in `encode`.
            alpha: For a unigram model the smoothing: a way to split a text is drawn
                with its probability to the power of `alpha`. For a BPE model the
                probability to leave out a merge (BPE-dropout).
            seed: An int.

        Returns:
            A `tf.RaggedTensor` of ids, int32 `(B, None)`, as in `encode`.

        Raises:
            TypeError: If `texts` is a single string or holds anything but strings.
            ValueError: If `alpha` is not between 0 and 1, or the model is neither a
                unigram nor a BPE model.

        Reference:
            Kudo 2018, Subword Regularization; Provilkov et al. 2020, BPE-Dropout.
        """
        vocabulary = self._to_draw_from(alpha)
        generator = random.Random(seed)
        rows = [
            vocabulary.draw(ids, alpha, generator)
            for ids in self._to_ids(as_string_tensor(texts)).to_list()
        ]
        return self._enclosed(tf.ragged.constant(rows, tf.int32, ragged_rank=1))

    def sample_ids(
        self, ids: Sequence[Any], *, alpha: float, seeds: Sequence[int]
    ) -> list[list[int]]:
        """Draws other subwords for texts that are ids already.

        No text is needed, nor is any of it lost: the pieces of the ids are what it was
        normalized to. Special ids, unknown ones, bytes and symbols that a user defined
        stay as they are, as they do in `sample`.

        Args:
            ids: Rows of ids as `encode` gives them, whole; lists or arrays.
            alpha: As in `sample`.
            seeds: An int for each row, by which its draw is the same in any company.

        Returns:
            As many lists of ids.

        Raises:
            ValueError: As in `sample`.

        Example:
            ```python
            from keras_encdec.text import SentencePieceTokenizer

            texts = ["a cat sat", "a hat sat"]
            tokenizer = SentencePieceTokenizer.train(texts, 14, model_type="bpe")
            ids = tokenizer.encode(["a cat"] * 3).to_list()
            print(tokenizer.sample_ids(ids, alpha=0.5, seeds=[0, 1, 2]))
            ```
        """
        vocabulary = self._to_draw_from(alpha)
        return [
            vocabulary.draw(map(int, row), alpha, random.Random(seed))
            for row, seed in zip(ids, seeds, strict=True)
        ]

    def _to_draw_from(self, alpha: float) -> "_Vocabulary":
        if not 0 <= alpha <= 1:
            raise ValueError(
                f"alpha must lie between 0 and 1; received {alpha}. Start with 0.1."
            )
        if self._vocabulary is None:
            # The splitting model knows what stays whole, such as sentinels.
            proto = self._splitting_proto(self._proto)
            self._vocabulary = _Vocabulary(proto, self.unknown_id)
        return self._vocabulary

    def _to_ids(self, texts: Tensor) -> Tensor:
        return self._model.tokenize(texts)

    def _ids_in_python(self, texts: list[bytes]) -> list[list[int]]:
        return self.processor.encode(texts, out_type=int, num_threads=1)

    def _texts_in_python(self, rows: list[list[int]]) -> list[bytes]:
        known, unknown = range(self._num_pieces), self.unknown_id
        rows = [[id if id in known else unknown for id in row] for row in rows]
        return [text.encode() for text in self.processor.decode(rows, num_threads=1)]

    def split(self, texts: Texts) -> list[list[Any]]:
        """Splits texts into pieces, a list of lists of `str`."""
        texts = [text.decode("utf-8", "replace") for text in as_bytes(texts)]
        return self.processor.encode(texts, out_type=str)

    def _to_texts(self, ids: Tensor) -> Tensor:
        # Special ids may stand above the pieces, with a gap between.
        unknown = tf.constant(self.unknown_id, ids.dtype)
        ids = tf.where(ids < self._num_pieces, ids, unknown)
        return self._model.detokenize(tf.cast(ids, tf.int32))

    def get_config(self) -> dict[str, Any]:
        """Returns the model as base64 text, and the special ids."""
        proto = base64.b64encode(self._proto).decode("ascii")
        return {"proto": proto, **super().get_config()}

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Builds the tokenizer that `get_config` described."""
        return cls(**{**config, "proto": base64.b64decode(config["proto"])})


class _Vocabulary:
    """The pieces of a model, to split texts into other ones."""

    def __init__(self, proto: bytes, unknown_id: int) -> None:
        from sentencepiece import sentencepiece_model_pb2

        model = sentencepiece_model_pb2.ModelProto.FromString(proto)
        kinds = sentencepiece_model_pb2.TrainerSpec.ModelType
        kind = model.trainer_spec.model_type
        # Not by each text anew: a vocabulary has thousands of pieces.
        longest = max(len(piece.piece) for piece in model.pieces)
        split = functools.partial(split_at_random, longest=longest)
        ways = {kinds.UNIGRAM: split, kinds.BPE: merge_at_random}
        if kind not in ways:
            raise ValueError(
                "Only a unigram or a BPE model splits a text in several ways; received "
                f"a {kinds.Name(kind).lower()} model. Leave out the sampling, or train "
                "a model of another type."
            )
        self._unknown_id = unknown_id
        self._split: Any = ways[kind]
        self._pieces = {i: piece.piece for i, piece in enumerate(model.pieces)}
        # Bytes, unknown letters and what a user defined stay as they are.
        self._ids = {
            piece.piece: number
            for number, piece in enumerate(model.pieces)
            if piece.type == piece.NORMAL
        }
        self._scores = {piece: model.pieces[i].score for piece, i in self._ids.items()}

    def draw(self, ids: Any, alpha: float, generator: Any) -> Any:
        """Other ids for the same text."""
        drawn = []
        # Special ids may stand above the pieces.
        usual = [(number, self._pieces.get(number, "")) for number in ids]
        for varies, run in itertools.groupby(usual, lambda item: item[1] in self._ids):
            if varies:
                text = "".join(piece for _, piece in run)
                pieces = self._split(text, self._scores, alpha, generator)
                # A letter that no text had alone may have no id of its own.
                drawn += [self._ids.get(piece, self._unknown_id) for piece in pieces]
            else:
                drawn += [number for number, _ in run]
        return drawn


def _import_sentencepiece() -> Any:
    # Here, so that the other tokenizers work without this package.
    try:
        import sentencepiece
    except ImportError as error:
        raise ImportError(
            "SentencePieceTokenizer needs `sentencepiece`, which could not be imported "
            f"({error}). Install it with `pip install tensorflow-text sentencepiece`, "
            "or use another tokenizer."
        ) from error
    return sentencepiece
