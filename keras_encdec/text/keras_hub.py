"""Tokenizers of KerasHub, as ours."""

from __future__ import annotations

import itertools
from typing import Any, NoReturn

from keras_encdec.annotations import Tensor
from keras_encdec.backend import lazy_tensorflow
from keras_encdec.text.interface import Tokenizer

tf = lazy_tensorflow()


class KerasHubTokenizer(Tokenizer):
    """A tokenizer of KerasHub, to train with and to generate in Python.

    It is not saved or exported, for KerasHub keeps vocabularies apart from configs, and
    its tables of byte pairs break a SavedModel
    (https://github.com/keras-team/keras-hub/issues/2015). What is to be saved is built
    of the same vocabulary: `ByteLevelBPETokenizer(tokenizer.vocabulary,
    tokenizer.merges)` of byte pairs, `SentencePieceTokenizer(path)` of the file of a
    SentencePiece model.

    Args:
        tokenizer: A `keras_hub.tokenizers.Tokenizer`, which gives integer ids and adds
            no special ones, nor a fixed length.
        **special_ids: As in `Tokenizer`; by default those of its padding, start, end
            and unknown token. What it has none of takes an id above its vocabulary.

    Raises:
        TypeError: If it is no tokenizer of KerasHub.
        ValueError: If it has a fixed length; or as in `Tokenizer`.

    Example:
        ```python
        import keras_hub

        from keras_encdec.text import KerasHubTokenizer

        tokenizer = KerasHubTokenizer(keras_hub.tokenizers.ByteTokenizer())
        print(tokenizer.encode(["hi"]).to_list())  # [[104, 105, 258]]
        ```
    """

    def __init__(self, tokenizer: Any, **special_ids: Any) -> None:
        needed = "tokenize", "detokenize", "vocabulary_size"
        if not all(callable(getattr(tokenizer, name, None)) for name in needed):
            raise TypeError(
                "A KerasHubTokenizer wraps a tokenizer of KerasHub, with tokenize, "
                f"detokenize and vocabulary_size; received {type(tokenizer).__name__}."
            )
        if getattr(tokenizer, "sequence_length", None) is not None:
            raise ValueError(
                "A tokenizer must give the ids of a text alone, for batches are padded "
                f"later; received sequence_length={tokenizer.sequence_length}. Build "
                "it without."
            )
        number = tokenizer.vocabulary_size()
        names = {
            "padding_id": "pad_token_id",
            "start_id": "start_token_id",
            "end_id": "end_token_id",
            "unknown_id": "unk_token_id",
        }
        found = {id: getattr(tokenizer, name, None) for id, name in names.items()}
        given = {number for number in special_ids.values() if isinstance(number, int)}
        above = (id for id in itertools.count(number) if id not in given)
        own = {name: next(above) if id is None else id for name, id in found.items()}
        super().__init__(**{**own, **special_ids})
        # A layer would be tracked, and saved with a module.
        self._of_keras_hub = _Untracked(tokenizer)
        self._size = max(number, self.special_ids[-1] + 1)

    @property
    def vocabulary_size(self) -> int:
        """The number of ids, the special ones included."""
        return self._size

    def _to_ids(self, texts: Tensor) -> Tensor:
        ids = self._of_keras_hub.wrapped.tokenize(texts)
        if isinstance(ids, list):
            return tf.ragged.constant(ids, tf.int32, ragged_rank=1)
        if not isinstance(ids, tf.RaggedTensor):
            ids = tf.RaggedTensor.from_tensor(ids)
        return tf.cast(ids, tf.int32)

    def _to_texts(self, ids: Tensor) -> Tensor:
        known = ids != tf.constant(self.unknown_id, ids.dtype)
        ids = tf.cast(tf.ragged.boolean_mask(ids, known), tf.int32)
        return tf.convert_to_tensor(
            self._of_keras_hub.wrapped.detokenize(ids), tf.string
        )

    def get_config(self) -> NoReturn:
        """Raises a `TypeError`: it is not saved."""
        raise TypeError(
            "A KerasHubTokenizer is for training and for generating in Python; it is "
            "not copied, saved or exported. Build ByteLevelBPETokenizer(vocabulary, "
            "merges) or SentencePieceTokenizer(path) of the same vocabulary, which "
            "are."
        )

    def __repr__(self) -> str:
        wrapped = type(self._of_keras_hub.wrapped).__name__
        return f"<KerasHubTokenizer of {self._size} ids: a {wrapped}>"


class _Untracked:
    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
