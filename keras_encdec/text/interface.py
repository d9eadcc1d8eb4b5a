"""What every tokenizer is: `encode` and `decode`, and the checks of their inputs.

Tokenizers are `tf.Module`s made of TensorFlow operations only: they run eagerly,
inside `tf.data` and inside a SavedModel, where no Python is left.

The first four ids are the same everywhere: 0 padding, 1 start, 2 end, 3 unknown.
They are ids only: no text can spell them.
"""

from collections.abc import Iterable

import keras

from keras_encdec.backend import import_tensorflow

tf = import_tensorflow()


class Tokenizer(tf.Module):
    """The common interface of all tokenizers: `encode` and `decode`.

    A subclass defines `_to_ids(texts)`, from strings `(B,)` to ragged int32 ids
    `(B, None)` without special ids; `_to_texts(ids)`, from ragged int64 ids
    `(B, None)`, each a regular id or `unknown_id`, to strings `(B,)`; the property
    `vocabulary_size`; and `get_config`.

    Example:
        ```python
        from keras_encdec.text import ByteTokenizer

        tokenizer = ByteTokenizer()
        ids = tokenizer.encode(["hi", ""])
        print(ids.to_list())  # [[108, 109, 2], [2]]
        print(tokenizer.decode(ids).numpy())  # [b'hi' b'']
        ```
    """

    padding_id = 0
    start_id = 1
    end_id = 2
    unknown_id = 3

    def encode(self, texts):
        """Turns a batch of texts into rows of ids, each closed by `end_id`.

        Args:
            texts: The texts `(B,)`: a list or array of `str` or UTF-8 `bytes`, or a
                string tensor. The batch and any text may be empty.

        Returns:
            A `tf.RaggedTensor` of ids, int32 `(B, None)`.

        Raises:
            TypeError: If `texts` is a single string or holds anything but strings.
            ValueError: If `texts` is a tensor or array of another rank than 1.
        """
        ids = self._to_ids(as_string_tensor(texts))
        ends = tf.fill([ids.nrows(), 1], tf.constant(self.end_id, ids.dtype))
        return tf.concat([ids, ends], axis=1)

    def decode(self, ids):
        """Turns rows of ids into texts.

        Each row is cut at its first `end_id`; padding and start ids are dropped; an
        id that is no id of the vocabulary is read as `unknown_id`.

        Args:
            ids: Integer ids `(B, T)`: an array or tensor of any backend, a list of
                rows, or a `tf.RaggedTensor`.

        Returns:
            The texts, a `tf.string` tensor `(B,)`.

        Raises:
            TypeError: If `ids` are not integers.
            ValueError: If `ids` are not of rank 2.
        """
        ids = as_id_tensor(ids)
        is_end = tf.cast(ids == self.end_id, tf.int32)
        keep = tf.cumsum(is_end, axis=1) == 0
        keep &= (ids != self.padding_id) & (ids != self.start_id)
        known = (ids >= 0) & (ids < self.vocabulary_size)
        ids = tf.where(known, ids, tf.constant(self.unknown_id, ids.dtype))
        return self._to_texts(tf.ragged.boolean_mask(ids, keep))

    def join(self, texts):
        """Returns texts as `decode` would write them, were nothing unknown in them.

        Texts that come split into subwords, as the references of such a corpus, are
        joined to words; of other tokenizers they stay what they are.

        Args:
            texts: A list of texts, `str` or UTF-8 `bytes`.

        Returns:
            A list of `str`.
        """
        return [text.decode("utf-8", "replace") for text in as_bytes(texts)]

    def sample(self, texts, *, alpha, seed):
        """Like `encode`, with subwords drawn at random, where a tokenizer can do so.

        Args:
            texts: As of `encode`.
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

    @classmethod
    def from_config(cls, config):
        """Builds the tokenizer that `get_config` described."""
        return cls(**config)


def as_bytes(texts):
    """Checks an iterable of `str` or `bytes`; returns a list of `bytes`."""
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise TypeError(
            "`texts` must be a batch of strings, such as a list; received "
            f"{texts!r:.80}. Wrap a single text in a list: `[text]`."
        )
    encoded = []
    for index, text in enumerate(texts):
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


def as_string_tensor(texts):
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


def as_id_tensor(ids):
    """Checks a batch of ids; returns an int64 tensor `(B, T)`, padded with 0."""
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
        ids = ids.to_tensor(Tokenizer.padding_id)
    return tf.cast(tf.ensure_shape(ids, [None, None]), tf.int64)
