"""The encoder-decoder Transformer: a functional Keras model and its two verbs.

Legend of shapes: B batch, T target, S source, D model, V vocabulary, K beams.
"""

import keras
from keras import ops

from keras_encdec.files import FORMAT, check_format
from keras_encdec.layers import (
    DecoderBlock,
    EncoderBlock,
    RelativePositionBias,
    TokenEmbedding,
    checks,
    make_normalization,
    padding_mask,
)
from keras_encdec.layers.part_states import (
    changed_states,
    part_states,
    restore_part_states,
)
from keras_encdec.model_checks import CheckedModel, as_array


@keras.saving.register_keras_serializable(package="keras_encdec")
class EncoderDecoder(CheckedModel, keras.Model):
    """An encoder-decoder Transformer from source and target ids to logits.

    A functional model: train it with `compile` and `fit` on
    `((source, target), labels)`, the target being the labels shifted right behind the
    start id. The logits carry the target's mask, so that Keras's losses and metrics
    leave out padding. For generation it has the verbs `encode`, `new_cache` and `step`.

    Args:
        vocabulary_size: The number of source ids; also of target ids, embedded by one
            shared table, if `target_vocabulary_size` is not given.
        hidden_dim: The model's width D.
        intermediate_dim: The width of the feed-forward networks' middle.
        num_heads: The number of attention heads.
        num_layers: The number of encoder blocks.
        target_vocabulary_size: The number of target ids, with a table of their own.
        num_decoder_layers: The number of decoder blocks; by default `num_layers`.
        head_dim: The size of each head; by default `hidden_dim / num_heads`.
        num_key_value_heads: Heads of keys and values; by default `num_heads`.
        positions: `"sinusoidal"`, `"learned"`, `"rotary"`, `"relative"` (T5's bias),
            None, or a layer, such as `SinusoidalPosition` with options of its own.
        max_length: The largest length of source and target, for learned positions.
        activation: Any Keras activation, such as `"relu"`, `"gelu"`, `"silu"`.
        gated: Whether the feed-forward networks are gated.
        normalization: `"layer"` or `"rms"`.
        normalize_first: Whether to normalize before each sublayer (and once after the
            last block of each stack), or after each residual connection.
        epsilon: Added to the variance in normalization.
        use_bias: Whether the dense layers in the blocks have biases.
        tie_embeddings: Whether the target's embedding table also gives the logits.
        scale_embeddings: Whether to multiply embeddings by `sqrt(hidden_dim)`.
        output_bias: Whether the logits have a bias.
        dropout: Dropout rate of embeddings and sublayers' outputs.
        attention_dropout: Dropout rate of the attention weights.
        activation_dropout: Dropout rate in the middle of the feed-forward networks.
        padding_id: The id of padding in source and target.
        dtype: A dtype or dtype policy for all layers, such as `"mixed_bfloat16"`.
        name: The model's name.

    Call arguments:
        inputs: A pair of token ids `(source, target)`, `(B, S)` and `(B, T)`, int32.
        training: Whether to drop out.

    Returns:
        Logits `(B, T, V)`, float32, with the mask `target != padding_id`.

    Raises:
        ValueError: If an option is unknown, a size is not a positive integer, or sizes
            do not divide; at a call with arrays, if ids are out of the vocabulary, not
            integer, not 2D, or of different batch sizes.

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

    def __init__(
        self,
        vocabulary_size,
        hidden_dim,
        intermediate_dim,
        num_heads,
        num_layers,
        *,
        target_vocabulary_size=None,
        num_decoder_layers=None,
        head_dim=None,
        num_key_value_heads=None,
        positions="sinusoidal",
        max_length=None,
        activation="relu",
        gated=False,
        normalization="layer",
        normalize_first=True,
        epsilon=1e-5,
        use_bias=True,
        tie_embeddings=True,
        scale_embeddings=True,
        output_bias=False,
        dropout=0.1,
        attention_dropout=0.0,
        activation_dropout=0.0,
        padding_id=0,
        dtype=None,
        name="encoder_decoder",
    ):
        config = dict(locals())  # The arguments, before there are other variables.
        del config["self"], config["__class__"]
        depth = num_layers if num_decoder_layers is None else num_decoder_layers
        target_size = target_vocabulary_size or vocabulary_size
        checks.require_positive(
            vocabulary_size=vocabulary_size,
            hidden_dim=hidden_dim,
            num_layers=num_layers,
            num_decoder_layers=depth,
        )
        checks.require_id(vocabulary_size, padding_id=padding_id)
        if isinstance(positions, keras.layers.Layer):
            positions = keras.saving.serialize_keras_object(positions)
            config["positions"] = positions
        elif not isinstance(positions, dict):
            names = "sinusoidal", "learned", "rotary", "relative", None
            checks.require_one_of(names, positions=positions)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        config["dtype"] = keras.dtype_policies.serialize(policy)
        activation = keras.activations.get(activation)
        config["activation"] = activation

        def embedding(size, name, table=None, **options):
            return TokenEmbedding(
                size,
                hidden_dim,
                positions=None if positions in ("rotary", "relative") else positions,
                max_length=max_length,
                scale=scale_embeddings,
                dropout=dropout,
                padding_id=padding_id,
                table=table,
                dtype=policy,
                name=name,
                **options,
            )

        def blocks(block, number, name):
            return [
                block(
                    num_heads,
                    intermediate_dim,
                    head_dim=head_dim,
                    num_key_value_heads=num_key_value_heads,
                    activation=activation,
                    gated=gated,
                    normalization=normalization,
                    normalize_first=normalize_first,
                    epsilon=epsilon,
                    use_bias=use_bias,
                    rotary=positions == "rotary",
                    dropout=dropout,
                    attention_dropout=attention_dropout,
                    activation_dropout=activation_dropout,
                    dtype=policy,
                    name=f"{name}_block_{i}",
                )
                for i in range(number)
            ]

        def relative_bias(name, bidirectional):
            if positions != "relative":
                return None
            return RelativePositionBias(
                num_heads, bidirectional=bidirectional, dtype=policy, name=name
            )

        def final_norm(name):
            if not normalize_first:
                return None
            return make_normalization(
                normalization, epsilon=epsilon, dtype=policy, name=name
            )

        source_embedding = embedding(vocabulary_size, "source_embedding")
        target_embedding = embedding(
            target_size,
            "target_embedding",
            source_embedding.table if target_vocabulary_size is None else None,
            start_is_token=True,
            output_bias=output_bias and tie_embeddings,
        )
        logits_dense = None
        if not tie_embeddings:
            logits_dense = keras.layers.Dense(
                target_size, use_bias=output_bias, dtype="float32", name="logits"
            )
        parts = {
            "source_embedding": source_embedding,
            "target_embedding": target_embedding,
            "encoder_bias": relative_bias("encoder_bias", True),
            "decoder_bias": relative_bias("decoder_bias", False),
            "encoder_blocks": blocks(EncoderBlock, num_layers, "encoder"),
            "decoder_blocks": blocks(DecoderBlock, depth, "decoder"),
            "encoder_norm": final_norm("encoder_norm"),
            "decoder_norm": final_norm("decoder_norm"),
            "logits_dense": logits_dense,
        }
        # The graph needs the parts before the model exists, when PyTorch's modules
        # refuse to be given any in the ordinary way.
        for name_of_part, part in parts.items():
            object.__setattr__(self, name_of_part, part)
        source = keras.Input((None,), dtype="int32", name="source")
        target = keras.Input((None,), dtype="int32", name="target")
        logits = self._logits(self.decode_hidden(target, self.encode_hidden(source)))
        super().__init__((source, target), logits, name=name)
        for name_of_part, part in parts.items():
            setattr(self, name_of_part, part)
        self.dtype_policy = policy
        self.padding_id, self.max_length, self._config = padding_id, max_length, config
        self._states_when_built = part_states(self)

    def encode_hidden(self, source, training=None):
        """Returns the encoder's output `(B, S, D)` for token ids `(B, S)`, int32."""
        x = self.source_embedding(source, training=training)
        bias = None if self.encoder_bias is None else self.encoder_bias(x)
        for block in self.encoder_blocks:
            x = block(x, bias=bias, training=training)
        return x if self.encoder_norm is None else self.encoder_norm(x)

    def decode_hidden(self, target, encoded, training=None):
        """Returns the decoder's output `(B, T, D)` for token ids `(B, T)`, int32."""
        x = self.target_embedding(target, training=training)
        bias = None if self.decoder_bias is None else self.decoder_bias(x)
        for block in self.decoder_blocks:
            x = block(x, encoded, bias=bias, training=training)
        return x if self.decoder_norm is None else self.decoder_norm(x)

    def projection(self):
        """Returns the table `(V, D)` and the bias `(V,)`, or None, of the logits."""
        if self.logits_dense is None:
            return self.target_embedding.projection()
        kernel, bias = self.logits_dense.kernel, self.logits_dense.bias
        if not keras.backend.is_float_dtype(kernel.dtype):
            # Its integers mean nothing without their scales, which the layer knows.
            kernel = self.logits_dense(ops.eye(kernel.shape[0]))
            kernel = kernel if bias is None else kernel - bias
        return ops.transpose(kernel), bias

    def _logits(self, x):
        if self.logits_dense is None:
            return self.target_embedding(x, reverse=True)
        return self.logits_dense(x)

    def encode(self, source):
        """Encodes sources and projects them to what every step attends to.

        Args:
            source: Token ids `(B, S)`, int32.

        Returns:
            The memory of `step`: for each decoder block the keys and values of its
            cross-attention, and the source padding mask `(B, 1, 1, S)`.
        """
        encoded = self.encode_hidden(source)
        mask = padding_mask(source, self.padding_id)
        return tuple(block.remember(encoded) for block in self.decoder_blocks), mask

    def new_cache(self, batch_size, length):
        """Returns an empty cache for `step`.

        Args:
            batch_size: The number of target rows, an int or an int32 scalar.
            length: The largest number of steps, an int.

        Returns:
            For each decoder block a pair of zeros `(B, N, length, H)`.
        """
        return tuple(x.new_cache(batch_size, length) for x in self.decoder_blocks)

    def step(
        self,
        tokens,
        index,
        memory,
        cache,
        *,
        return_hidden=False,
        attention_layer=None,
    ):
        """Decodes one position of the target, or several at once.

        Args:
            tokens: The target ids at the position, `(B * K,)`, int32: K rows in turn
                share a source; or at T positions in turn, `(B * K, T)`.
            index: The (first) position, an int or an int32 scalar, counted from 0.
            memory: What `encode` returned for B sources.
            cache: What `new_cache` returned, filled by the earlier steps.
            return_hidden: Whether to return the decoder's output as well.
            attention_layer: The block whose attention to the source to return as well.

        Returns:
            The logits of the next token `(B * K, V)`, float32, and the cache; if asked
            for, the output `(B * K, D)` and the weights `(B * K, N, S)`; but for the
            cache, each with a second axis T for T positions.
        """
        attended, mask = memory
        wide = len(tokens.shape) == 2
        x = self.target_embedding(tokens if wide else tokens[:, None], start=index)
        bias = None
        if self.decoder_bias is not None:
            positions = ops.arange(ops.shape(cache[0][0])[2], dtype="int32")
            here = index + ops.arange(ops.shape(x)[1], dtype="int32")
            bias = self.decoder_bias.between(here, positions)
        if attention_layer is not None:
            depth = len(self.decoder_blocks)
            checks.require_one_of(range(-depth, depth), attention_layer=attention_layer)
        written, weights = [], []
        for i, block in enumerate(self.decoder_blocks):
            observed = attention_layer in (i, i - len(self.decoder_blocks))
            x, past, *its_weights = block.step(
                x, index, cache[i], attended[i], mask, bias, observed
            )
            written.append(past)
            weights += its_weights
        x = x if self.decoder_norm is None else self.decoder_norm(x)
        outputs = self._logits(x), *((x,) if return_hidden else ()), *weights
        logits, *others = outputs if wide else (output[:, 0] for output in outputs)
        return logits, tuple(written), *others

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
        given = {"source": source, "target": target, "labels": labels}
        arrays = {k: x for k, ids in given.items() if (x := as_array(ids)) is not None}
        for name, ids in arrays.items():
            side = "source" if name == "source" else "target"
            size = getattr(self, f"{side}_embedding").vocabulary_size
            if name == "labels":
                checks.require_labels(ids, size, self.padding_id, ignore_class)
            else:
                checks.require_ids(name, ids, size, self.max_length)
        checks.require_same_rows(**arrays)
        checks.require_same_shape(arrays.get("target"), arrays.get("labels"))

    def get_config(self):
        """Returns the constructor's arguments, and what changed in parts since."""
        activation = checks.saved_activation(self._config["activation"])
        config = {"format": FORMAT, **self._config, "activation": activation}
        changed = changed_states(self._states_when_built, part_states(self))
        return config | ({"parts": changed} if changed else {})

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Builds a model from what `get_config` returned."""
        config = dict(config)
        check_format(config.pop("format", None), f"The config of {cls.__name__}")
        parts = config.pop("parts", {})
        model = cls(**config)
        restore_part_states(model, parts)
        return model

    def _run_through_graph(self, *args, **kwargs):
        # Only `keras.models.clone_model` says how to call operations.
        if "call_fn" in kwargs and hasattr(self, "_config"):
            raise TypeError(
                "keras.models.clone_model makes a plain Functional of a model, which "
                "cannot generate. Call EncoderDecoder.from_config(model.get_config()), "
                "or copy.deepcopy(model) for its weights too."
            )
        return super()._run_through_graph(*args, **kwargs)
