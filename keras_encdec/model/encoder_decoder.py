"""The encoder-decoder Transformer: a functional Keras model and its verbs.

Legend of shapes: B batch, T target, S source, D model, V vocabulary, K beams.
"""

import inspect
import json
import pathlib

import keras
import numpy as np
from keras import ops

from keras_encdec.backend import carried_mask
from keras_encdec.keras_model import CheckedModel, RestoredModel, as_array
from keras_encdec.layers import attend_to, checks
from keras_encdec.model.decoder import Decoder
from keras_encdec.model.encoder import Encoder
from keras_encdec.model.functional import FunctionalModel
from keras_encdec.model.stack import complete_options, shows_options


@keras.saving.register_keras_serializable(package="keras_encdec")
class EncoderDecoder(CheckedModel, RestoredModel, FunctionalModel):
    """An encoder-decoder Transformer from source and target ids to logits.

    A functional model: train it with `compile` and `fit` on
    `((source, target), labels)`, the target being the labels shifted right behind the
    start id. The logits carry the target's mask, so that Keras's losses and metrics
    leave out padding. For generation it has the verbs `encode`, `new_cache` and `step`.

    It is made of its sizes and options, or of two parts that have their own,
    `EncoderDecoder(encoder, decoder)`.

    Args:
        vocabulary_size: The number of source ids; also of target ids, embedded by one
            shared table, if `target_vocabulary_size` is not given.
        hidden_dim: The model's width D.
        intermediate_dim: The width of the feed-forward networks' middle.
        num_heads: The number of attention heads.
        num_layers: The number of encoder blocks.
        encoder: In place of sizes and options: an `Encoder`, or any Keras model of one
            input, `(B, S)` or `(B, S, F)`, and hidden states `(B, S, D)`, whose mask,
            if they carry one, says what the decoder attends to.
        decoder: Beside it, a `Decoder` whose `memory_dim` is the encoder's width.
        target_vocabulary_size: The number of target ids, with a table of their own.
        num_decoder_layers: The number of decoder blocks; by default `num_layers`.
        tie_embeddings: Whether the target's embedding table also gives the logits.
        output_bias: Whether the logits have a bias.
        dtype: A dtype or dtype policy for all layers, such as `"mixed_bfloat16"`.
        name: The model's name.
        positions: `"sinusoidal"`, `"learned"`, `"rotary"`, `"relative"` (T5's bias),
            None, or a layer, such as `SinusoidalPosition` with options of its own.
        max_length: The largest length of source and target, for learned positions.
        num_buckets: The number of buckets of distances, for relative positions.
        max_distance: The distance from which on all share the last bucket.
        bias_per_block: Whether each block has a relative bias of its own, as in UMT5.
        scale_embeddings: Whether to multiply embeddings by `sqrt(hidden_dim)`.
        embedding_norm: Whether to normalize embeddings with their positions, as in
            BART.
        head_dim: The size of each head; by default `hidden_dim / num_heads`.
        num_key_value_heads: Heads of keys and values; by default `num_heads`.
        activation: Any Keras activation, such as `"relu"`, `"gelu"`, `"silu"`; or
            `"gelu_new"`, GELU by tanh.
        gated: Whether the feed-forward networks are gated.
        normalization: `"layer"` or `"rms"`.
        normalize_first: Whether to normalize before each sublayer (and once after the
            last block of each stack), or after each residual connection.
        epsilon: Added to the variance in normalization.
        use_bias: Whether the dense layers in the blocks have biases.
        dropout: Dropout rate of embeddings and sublayers' outputs.
        attention_dropout: Dropout rate of the attention weights.
        activation_dropout: Dropout rate in the middle of the feed-forward networks.
        remat: Whether to compute each block again for the gradient, in training, in
            place of keeping what is within it: the same numbers in less memory.
        padding_id: The id of padding in source and target.
        freeze_padding: Whether the vector of that id does not learn, as in Marian and
            BART, where it is zeros.

    Call arguments:
        inputs: A pair of token ids `(source, target)`, `(B, S)` and `(B, T)`, int32.
        training: Whether to drop out.

    Returns:
        Logits `(B, T, V)`, float32, with the mask `target != padding_id`.

    Raises:
        ValueError: If an option is out of range, a size is not a positive integer, or
            sizes do not divide; at a call with arrays, if ids are out of the
            vocabulary, not integer, not 2D, or of different batch sizes.
        TypeError: If sizes lack, an option is unknown, a part is of another kind, or
            parts are given options of theirs.

    Example:
        ```python
        import numpy as np
        from keras_encdec import EncoderDecoder

        model = EncoderDecoder(
            vocabulary_size=100,
            hidden_dim=16,
            intermediate_dim=32,
            num_heads=4,
            num_layers=2,
        )
        source, target = np.array([[5, 7, 2, 0]]), np.array([[1, 9, 8]])
        print(model((source, target)).shape)
        ```

    Reference:
        Vaswani et al. 2017, Attention Is All You Need.
    """

    @shows_options
    def __init__(
        self,
        vocabulary_size=None,
        hidden_dim=None,
        intermediate_dim=None,
        num_heads=None,
        num_layers=None,
        *,
        encoder=None,
        decoder=None,
        target_vocabulary_size=None,
        num_decoder_layers=None,
        tie_embeddings=True,
        output_bias=False,
        dtype=None,
        name="encoder_decoder",
        **options,
    ):
        given = dict(locals())  # The arguments, before there are other variables.
        del given["self"], given["options"]
        # Two parts may stand where sizes do.
        for size, part in (("vocabulary_size", "encoder"), ("hidden_dim", "decoder")):
            if given[part] is None and isinstance(given[size], keras.layers.Layer):
                given[part], given[size] = given[size], None
        if given["encoder"] is None and given["decoder"] is None:
            encoder, decoder, config, policy = _from_sizes(given, options)
        else:
            encoder, decoder, config, policy = _composed(given, options)
        source = keras.Input(
            encoder.inputs[0].shape[1:], dtype=encoder.inputs[0].dtype, name="source"
        )
        target = keras.Input((None,), dtype="int32", name="target")
        self._build_graph(
            {"encoder": encoder, "decoder": decoder},
            (source, target),
            lambda: decoder.logits(
                self.decode_hidden(target, self.encode_hidden(source))
            ),
            config,
            policy,
        )
        # In the words of the parts, which may have changed before.
        for part in (encoder, decoder):
            if isinstance(part, FunctionalModel):
                built = part._states_when_built.items()
                self._states_when_built |= {k or part.name: v for k, v in built}
        self.padding_id, self.max_length = decoder.padding_id, decoder.max_length
        self.steps_by_row, self.memory_by_source = decoder.steps_by_row, True
        self._origin = None
        self.masks_padding = self._has_own_encoder or _masks_padding(
            encoder, decoder.padding_id
        )

    @classmethod
    def from_preset(cls, folder, *, dtype=None, dropout=None, name="encoder_decoder"):
        """Loads a model that transformers saved: Marian, T5, M2M100, BART and the like.

        Args:
            folder: A folder with config.json and the weights; or `"hf://owner/name"`
                of the Hugging Face hub, with `@revision` behind it where one is meant.
            dtype: A dtype or dtype policy, such as `"bfloat16"`; by default Keras's.
            dropout: The dropout rate of embeddings and sublayers' outputs; by default
                that of the config.
            name: The model's name.

        Returns:
            The model, whose logits are those of transformers.

        Raises:
            FileNotFoundError: If files are missing.
            ValueError: If the family or an option is unknown, or weights are missing,
                left over or of another shape.

        Example:
            ```python
            import tempfile
            from keras_encdec import EncoderDecoder
            from keras_encdec.export.hugging_face import export_hugging_face

            sizes = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2}
            model = EncoderDecoder(20, **sizes, num_layers=1)
            folder = export_hugging_face(model, tempfile.mkdtemp() + "/model")
            print(EncoderDecoder.from_preset(folder).count_params())
            ```
        """
        from keras_encdec.model.pretrained import load_pretrained

        options = {"dtype": dtype, "dropout": dropout, "name": name}
        return load_pretrained(folder, kind=cls, **options).model

    def encode_hidden(self, source, training=None, cut=None):
        """Returns the encoder's output `(B, S, D)`, which carries the source's mask.

        Args:
            source: Token ids `(B, S)`, int32; or what another encoder takes.
            training: Whether to drop out.
            cut: As in `TokenEmbedding`; an encoder of another kind knows none.
        """
        if self._has_own_encoder:
            return self.encoder.hidden_states(source, training=training, cut=cut)
        return self.encoder(source, training=training)

    def decode_hidden(self, target, encoded, training=None, cut=None):
        """Returns the decoder's output `(B, T, D)` for token ids `(B, T)`, int32.

        Args:
            target: The token ids.
            encoded: What `encode_hidden` returned.
            training: Whether to drop out.
            cut: As in `TokenEmbedding`.
        """
        return self.decoder.hidden_states(target, encoded, training, cut)

    def projection(self, training=None):
        """Returns the table `(V, D)` and the bias `(V,)`, or None, of the logits.

        Args:
            training: Whether a gradient is taken, which a frozen vector has none of.
        """
        return self.decoder.projection(training)

    def encode(self, source):
        """Encodes sources and projects them to what every step attends to.

        Args:
            source: Token ids `(B, S)`, int32; or what another encoder takes.

        Returns:
            The memory of `step`: for each decoder block the keys and values of its
            cross-attention, and the source padding mask `(B, 1, 1, S)`.
        """
        encoded = self.encode_hidden(source)
        mask = carried_mask(encoded)
        if mask is None:
            mask = ops.ones(ops.shape(encoded)[:2], dtype="bool")
        return self.decoder.remember(encoded), attend_to(mask)

    def new_cache(self, batch_size, length):
        """Returns an empty cache for `step`.

        Args:
            batch_size: The number of target rows, an int or an int32 scalar.
            length: The largest number of steps, an int.

        Returns:
            For each decoder block a pair of zeros `(B, N, length, H)`.
        """
        return self.decoder.new_cache(batch_size, length)

    def step(
        self,
        tokens,
        index,
        memory,
        cache,
        *,
        return_hidden=False,
        attention_layer=None,
        projection=None,
    ):
        """Decodes one position of the target, or several at once.

        Args:
            tokens: The target ids at the position, `(B * K,)`, int32: K rows in turn
                share a source; or at T positions in turn, `(B * K, T)`.
            index: The (first) position, an int or an int32 scalar, counted from 0; or
                `(B * K,)`, that of each row, if `steps_by_row`.
            memory: What `encode` returned for B sources.
            cache: What `new_cache` returned, filled by the earlier steps.
            return_hidden: Whether to return the decoder's output as well.
            attention_layer: The block whose attention to the source to return as well.
            projection: As in `Decoder.logits`, for the logits of some ids alone.

        Returns:
            The logits of the next token `(B * K, V)`, float32, and the cache; if asked
            for, the output `(B * K, D)` and the weights `(B * K, N, S)`; but for the
            cache, each with a second axis T for T positions.
        """
        remembered, mask = memory
        wide = len(tokens.shape) == 2
        x, cache, weights = self.decoder.step(
            tokens if wide else tokens[:, None],
            index,
            remembered,
            mask,
            cache,
            attention_layer=attention_layer,
        )
        hidden = (x,) if return_hidden else ()
        outputs = self.decoder.logits(x, projection), *hidden, *weights
        logits, *others = outputs if wide else (output[:, 0] for output in outputs)
        return logits, cache, *others

    def check_ids(self, source=None, target=None, labels=None, *, ignore_class=None):
        """Checks ids on the host, before a graph turns bad ones into wrong answers.

        Args:
            source: Source ids `(B, S)`, an array, a list, a tensor or None.
            target: Target ids `(B, T)`, likewise.
            labels: The labels of the target `(B, T)`, likewise.
            ignore_class: A label that may be no id, for the loss leaves it out.

        Raises:
            ValueError: If ids are not 2D, not integer, out of the vocabulary, longer
                than the positions, or of different batch sizes, or if there is not a
                label for each position of the target.
        """
        arrays = {"source": source, "target": target, "labels": labels}
        arrays = {name: as_array(ids) for name, ids in arrays.items()}
        arrays = {name: ids for name, ids in arrays.items() if ids is not None}
        size = self.target_vocabulary_size
        for name, ids in arrays.items():
            if name == "labels":
                checks.require_labels(ids, size, self.padding_id, ignore_class)
            elif name == "target":
                checks.require_ids(name, ids, size, self.max_length)
            elif self.source_features is not None:
                checks.require_features(name, ids, self.source_features)
            else:
                checks.require_ids(
                    name, ids, self.source_vocabulary_size, self.max_source_length
                )
        checks.require_same_rows(**arrays)
        checks.require_same_shape(arrays.get("target"), arrays.get("labels"))

    @property
    def origin(self):
        """The texts that another library's model came with, by their files' names.

        Its config.json, README and licence, which go back with it; None of others.
        """
        # A copy: what Keras tracks of a model's attributes is no plain dict.
        return None if self._origin is None else json.loads(self._origin)

    @origin.setter
    def origin(self, texts):
        # A model that is loaded tells where exports write.
        for name in texts or ():
            if pathlib.PurePath(name).name != name:
                raise ValueError(
                    "What a model came with must be named as files of one folder; "
                    f"received {name!r}. Do not use it unless you know who wrote it."
                )
        self._origin = None if texts is None else json.dumps(texts)

    def get_config(self):
        """Returns the constructor's arguments, and what changed in parts since."""
        config = super().get_config()
        return config if self._origin is None else {**config, "origin": self.origin}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Builds a model from what `get_config` returned."""
        config = dict(config)
        origin = config.pop("origin", None)
        if "encoder" in config:
            encoder = _part_of(config["encoder"], custom_objects)
            shared = {}
            if config.pop("shares_table"):
                shared["table"] = encoder.embedding.table
            decoder = _part_of(config["decoder"], custom_objects, **shared)
            config |= {"encoder": encoder, "decoder": decoder}
        model = super().from_config(config, custom_objects)
        model.origin = origin
        return model

    @property
    def source_vocabulary_size(self):
        """The number of source ids; None if an encoder of another kind has no such."""
        return self.encoder.vocabulary_size if self._has_own_encoder else None

    @property
    def target_vocabulary_size(self):
        """The number of target ids."""
        return self.decoder.vocabulary_size

    @property
    def max_source_length(self):
        """The largest length of a source, None if there is none."""
        return self.encoder.max_length if self._has_own_encoder else None

    @property
    def source_features(self):
        """The number of features of each source position; None of ids."""
        shape = self.inputs[0].shape
        return shape[2] if len(shape) == 3 else None

    @property
    def _has_own_encoder(self):
        return isinstance(self.encoder, Encoder)

    @property
    def source_embedding(self):
        """The embedding of the source."""
        return self.encoder.embedding

    @property
    def target_embedding(self):
        """The embedding of the target."""
        return self.decoder.embedding

    @property
    def encoder_blocks(self):
        """The blocks of the encoder, a list."""
        return self.encoder.blocks

    @property
    def decoder_blocks(self):
        """The blocks of the decoder, a list."""
        return self.decoder.blocks


def _from_sizes(given, options):
    """Returns the two stacks of a model given by its sizes, config and dtype policy."""
    config = {k: v for k, v in given.items() if k not in ("encoder", "decoder")}
    sizes = [name for name in list(config)[:5] if config[name] is None]
    if sizes:
        raise TypeError(
            "EncoderDecoder needs its sizes, or an encoder and a decoder; received no "
            f"{', '.join(sizes)}. Call EncoderDecoder(vocabulary_size, hidden_dim, "
            "intermediate_dim, num_heads, num_layers), or EncoderDecoder(encoder, "
            "decoder)."
        )
    config |= complete_options("EncoderDecoder", options)
    size, depth = config["target_vocabulary_size"], config["num_decoder_layers"]
    given = {"target_vocabulary_size": size, "num_decoder_layers": depth}
    checks.require_positive(**{k: v for k, v in given.items() if v is not None})
    of_one_side = {
        *("vocabulary_size", "target_vocabulary_size", "num_layers"),
        *("num_decoder_layers", "tie_embeddings", "output_bias", "name"),
    }
    of_both = {k: v for k, v in config.items() if k not in of_one_side}
    encoder = Encoder(
        config["vocabulary_size"], num_layers=config["num_layers"], **of_both
    )
    decoder = Decoder(
        config["vocabulary_size"] if size is None else size,
        num_layers=config["num_layers"] if depth is None else depth,
        tie_embeddings=config["tie_embeddings"],
        output_bias=config["output_bias"],
        table=encoder.embedding.table if size is None else None,
        **of_both,
    )
    decided = decoder._config
    config |= {name: decided[name] for name in ("positions", "dtype", "activation")}
    return encoder, decoder, config, decoder.dtype_policy


def _composed(given, options):
    """Returns two stacks that were given, checked, with config and dtype policy."""
    encoder, decoder, name = given["encoder"], given["decoder"], given["name"]
    defaults = inspect.signature(EncoderDecoder.__init__).parameters
    others = [
        option
        for option, value in given.items()
        if option not in ("encoder", "decoder", "name")
        and value is not defaults[option].default
    ]
    others += options
    if others:
        raise TypeError(
            "A model of an encoder and a decoder has their options; received "
            f"{', '.join(others)} as well. Give them to Encoder and Decoder."
        )
    if not isinstance(decoder, Decoder):
        raise TypeError(
            f"decoder must be a Decoder; received {decoder!r}. Build one, as "
            "Decoder(vocabulary_size, hidden_dim, intermediate_dim, num_heads, "
            "num_layers)."
        )
    inputs, outputs = (getattr(encoder, of, None) or [] for of in ("inputs", "outputs"))
    if [len(x.shape) for x in outputs] != [3] or len(inputs) != 1:
        raise TypeError(
            "encoder must be an Encoder, or a Keras model of one input, (B, S) or "
            f"(B, S, F), and one output, (B, S, D); received {encoder!r}. Build it "
            "with its input, as keras.Sequential([keras.Input((None, 80)), "
            "keras.layers.Masking(), keras.layers.Dense(256)])."
        )
    width = outputs[0].shape[2]
    if width != decoder.memory_dim:
        raise ValueError(
            "The decoder must attend to what the encoder gives; received an encoder of "
            f"width {width} and a decoder with memory_dim={decoder.memory_dim}. Build "
            f"the decoder with memory_dim={width}."
        )
    if isinstance(encoder, Encoder) and encoder.padding_id != decoder.padding_id:
        raise ValueError(
            "Source and target must have one padding id; received an encoder with "
            f"padding_id={encoder.padding_id} and a decoder with padding_id="
            f"{decoder.padding_id}. Build both with the same."
        )
    shares = False
    if decoder.embedding.shares_table:
        table = encoder.embedding.table if isinstance(encoder, Encoder) else None
        shares = decoder.embedding.table is table
        if not shares:
            raise ValueError(
                "A decoder's table must be its own or its encoder's; received one that "
                "shares that of another layer. Build it with "
                "table=encoder.embedding.table."
            )
    config = {
        "encoder": _part_config(encoder),
        "decoder": _part_config(decoder),
        "shares_table": shares,
        "name": name,
    }
    return encoder, decoder, config, decoder.dtype_policy


def _masks_padding(encoder, padding_id):
    """Whether an encoder of another kind says which positions are padding."""
    if carried_mask(encoder.outputs[0]) is None:
        return False
    # One may well be made of another id than the decoder's.
    shape, dtype = encoder.inputs[0].shape, encoder.inputs[0].dtype
    source = np.zeros((1, shape[1] or 16, *shape[2:]))
    if len(shape) == 2:
        source[:] = padding_id
    source[:, 0] = 2 if padding_id == 1 else 1
    mask = carried_mask(encoder(ops.convert_to_tensor(source, dtype)))
    return mask is not None and bool(mask[0, 0]) and not bool(mask[0, -1])


def _part_config(part):
    if not isinstance(part, FunctionalModel):
        return keras.saving.serialize_keras_object(part)
    # What changed in it since is said by the model, for all of its parts.
    name = keras.saving.get_registered_name(type(part))
    return {"registered_name": name, "options": part.options()}


def _part_of(config, custom_objects, **options):
    if "options" not in config:
        return keras.saving.deserialize_keras_object(config, custom_objects)
    name = config["registered_name"]
    kind = keras.saving.get_registered_object(name, custom_objects)
    if kind is None:
        raise TypeError(
            f"A saved model is built of registered classes; received a part of {name}, "
            "which is unknown. Import the module that decorates it by "
            "keras.saving.register_keras_serializable, or give it in custom_objects."
        )
    return kind(**config["options"], **options)
