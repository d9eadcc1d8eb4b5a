"""Models from the checkpoints of other libraries."""

from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_encdec.backend import build_unset, draw_unset
from keras_encdec.model.decoder import Decoder
from keras_encdec.model.encoder import Encoder
from keras_encdec.model.encoder_decoder import EncoderDecoder
from keras_encdec.model.weights import canonical_shapes, set_canonical_weights
from keras_encdec.pretrained.families import Architecture
from keras_encdec.pretrained.layouts import TranslatedWeights
from keras_encdec.pretrained.models import open_model


class Pretrained(NamedTuple):
    """A model, and what else its checkpoint's folder says.

    Attributes:
        model: An `EncoderDecoder`.
        config: What config.json holds.
        folder: The folder that was read.
    """

    model: EncoderDecoder
    config: dict[str, Any]
    folder: Path


def load_pretrained(
    folder: str | Path,
    *,
    dtype: Any = None,
    dropout: float | None = None,
    name: str = "encoder_decoder",
    kind: type[EncoderDecoder] = EncoderDecoder,
) -> Pretrained:
    """Loads a model from a folder of transformers, or of a BART of KerasHub.

    Args:
        folder: The folder, with config.json and the weights; or its place on the hub.
        dtype: A dtype or dtype policy, such as `"bfloat16"`; by default Keras's.
        dropout: The dropout rate, of embeddings and sublayers' outputs, in training;
            by default that of the config.
        name: The model's name.
        kind: The class of the model.

    Raises:
        FileNotFoundError: If files are missing.
        ValueError: If the family or an option is unknown, or the weights are not those
            of the config; what can be known is told before a weight is read.

    Example:
        ```python
        import tempfile
        from keras_encdec import EncoderDecoder
        from keras_encdec.export.hugging_face import export_hugging_face
        from keras_encdec.model.pretrained import load_pretrained

        sizes = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2}
        model = EncoderDecoder(20, **sizes, num_layers=1)
        folder = export_hugging_face(model, tempfile.mkdtemp() + "/model")
        print(load_pretrained(folder).config["model_type"])
        ```
    """
    stored = open_model(folder)
    options = stored.architecture, dtype, dropout, name, kind
    model = build_unset(lambda: _build(*options))
    weights = TranslatedWeights(stored.tensors, stored.layout, canonical_shapes(model))
    set_canonical_weights(model, weights)
    draw_unset(model)
    model.origin = stored.origin
    return Pretrained(model, stored.config, stored.folder)


def _build(
    architecture: Architecture,
    dtype: Any,
    dropout: float | None,
    name: str,
    kind: type[EncoderDecoder],
) -> EncoderDecoder:
    more = {"dtype": dtype} | ({} if dropout is None else {"dropout": dropout})
    encoder_options, decoder_options = (
        {**options, **more, "positions": _of_dtype(options["positions"], dtype)}
        for options in (architecture.encoder, architecture.decoder)
    )
    encoder = Encoder(**encoder_options)
    table = encoder.embedding.table if architecture.shares_table else None
    decoder = Decoder(**decoder_options, table=table)
    return kind(encoder, decoder, name=name)


def _of_dtype(positions: Any, dtype: Any) -> Any:
    """Returns positions with the dtype of the model; a layer has its own otherwise."""
    if dtype is None or not isinstance(positions, keras.layers.Layer):
        return positions
    return type(positions).from_config({**positions.get_config(), "dtype": dtype})
