"""SentencePiece models in TensorFlow's graph."""

import hashlib
from typing import Any

from keras_encdec.backend import import_tensorflow

tf = import_tensorflow()


def load_pieces(proto: bytes, out_type: Any = tf.int32) -> Any:
    """A SentencePiece model in TensorFlow, which outlives a cleared session.

    Args:
        proto: The serialized model, `bytes`.
        out_type: What it splits texts into: `tf.int32` for ids, `tf.string` for pieces.

    Returns:
        A `tensorflow_text.SentencepieceTokenizer`.

    Raises:
        ImportError: If `tensorflow-text` cannot be imported.

    Example:
        ```python
        from keras_encdec import SentencePieceTokenizer
        from keras_encdec.text.piece_models import load_pieces

        proto = SentencePieceTokenizer.train(["a cat", "a hat"], 10).proto
        print(load_pieces(proto).tokenize(["a cat"]).to_list())
        ```
    """
    try:
        import tensorflow_text
    except ImportError as error:
        raise ImportError(
            "Pieces in a graph, of `tf.data` or an export, need `tensorflow-text`, "
            f"which could not be imported ({error}). Install it with `pip install "
            "tensorflow-text`, or use another tokenizer."
        ) from error
    with tf.init_scope():
        model = tensorflow_text.SentencepieceTokenizer(proto, out_type=out_type)
        model._model_resource = _SharedModel(proto)
    return model


class _SharedModel(tf.saved_model.experimental.TrackableResource):  # type: ignore[name-defined]
    """The model's resource, under a name that belongs to this model alone.

    The resource that tensorflow-text makes has no name. Hence it is lost when
    TensorFlow clears its caches, as `keras.utils.set_random_seed` makes it do
    (https://github.com/tensorflow/text/issues/570), and in a loaded SavedModel with
    two models the first one silently serves for both
    (https://github.com/tensorflow/text/issues/1304).
    """

    def __init__(self, proto: bytes) -> None:
        super().__init__()
        self._proto = proto
        _ = self.resource_handle  # Creates the resource, while this is eager.

    def _create_resource(self) -> Any:
        from tensorflow_text.python.ops import sentencepiece_tokenizer

        return sentencepiece_tokenizer.gen_sentencepiece_tokenizer.sentencepiece_op(
            model=self._proto,
            shared_name="sentencepiece_" + hashlib.sha256(self._proto).hexdigest(),
        )
