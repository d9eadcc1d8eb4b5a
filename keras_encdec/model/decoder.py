"""The decoder: target ids and the encoder's hidden states to hidden states and logits.

Legend of shapes: B batch, T target, S source, D model, V vocabulary, K beams.
"""

import keras
import numpy as np
from keras import ops

from keras_encdec.layers import (
    DecoderBlock,
    LearnedPosition,
    SinusoidalPosition,
    checks,
    positions_from,
)
from keras_encdec.model.stack import Stack, shows_options


@keras.saving.register_keras_serializable(package="keras_encdec")
class Decoder(Stack):
    """A Transformer's decoder, from token ids and a memory to hidden states.

    A functional model by itself, or half of `EncoderDecoder(encoder, decoder)`. It
    decodes step by step with the verbs `remember`, `new_cache` and `step`, and
    `logits` says which token comes next.

    Args:
        vocabulary_size: The number of ids V.
        hidden_dim: The model's width D.
        intermediate_dim: The width of the feed-forward networks' middle.
        num_heads: The number of attention heads.
        num_layers: The number of blocks.
        memory_dim: The width D' of the encoder's output; by default `hidden_dim`.
        tie_embeddings: Whether the embedding table also gives the logits.
        output_bias: Whether the logits have a bias.
        table: A `keras.layers.Embedding` to share, such as `encoder.embedding.table`;
            then the decoder is saved within an `EncoderDecoder` alone.
        dtype: A dtype or dtype policy for all layers, such as `"mixed_bfloat16"`.
        name: The model's name.
        **options: The options that `EncoderDecoder` has from `positions` on, such as
            `activation` and `dropout`.

    Call arguments:
        inputs: A pair of token ids `(B, T)`, int32, and the encoder's hidden states
            `(B, S, D')`, float, whose mask, if they carry one, says what to attend to.
        training: Whether to drop out.

    Returns:
        Hidden states `(B, T, D)` in the compute dtype, with the mask
        `ids != padding_id`, but that the first position counts as a token.

    Raises:
        ValueError: If an option is out of range, a size is not a positive integer, or
            sizes do not divide; at a call with arrays, if ids are not 2D, not integer
            or out of the vocabulary.
        TypeError: If an option is unknown.

    Example:
        ```python
        import numpy as np
        from keras_encdec import Decoder, Encoder

        encoder = Encoder(100, 32, 64, num_heads=4, num_layers=2)
        decoder = Decoder(90, 16, 32, num_heads=2, num_layers=1, memory_dim=32)
        hidden = decoder((np.array([[1, 9, 8]]), encoder(np.array([[5, 7, 2, 0]]))))
        print(decoder.logits(hidden).shape)
        ```

    Reference:
        Vaswani et al. 2017, Attention Is All You Need, section 3.1.
    """

    @shows_options
    def __init__(
        self,
        vocabulary_size,
        hidden_dim,
        intermediate_dim,
        num_heads,
        num_layers,
        *,
        memory_dim=None,
        tie_embeddings=True,
        output_bias=False,
        table=None,
        dtype=None,
        name="decoder",
        **options,
    ):
        config, policy = self._prepared(locals())
        del config["table"]
        if memory_dim is not None:
            checks.require_positive(memory_dim=memory_dim)
        parts = self._parts(
            config,
            policy,
            "decoder",
            "target",
            DecoderBlock,
            bidirectional=False,
            table=table,
            start_is_token=True,
            output_bias=output_bias and tie_embeddings,
        )
        parts["logits_dense"] = None
        if not tie_embeddings:
            parts["logits_dense"] = keras.layers.Dense(
                vocabulary_size,
                activation=_in_float32,
                use_bias=output_bias,
                dtype="float32",
                name="logits",
            )
            parts["logits_dense"].build((None, None, hidden_dim))
        ids = keras.Input((None,), dtype="int32", name="target")
        memory = keras.Input(
            (None, memory_dim or hidden_dim), dtype=policy.compute_dtype, name="memory"
        )
        self._build_graph(
            parts,
            (ids, memory),
            lambda: self.hidden_states(ids, memory),
            config,
            policy,
        )
        self.memory_dim = memory_dim or hidden_dim
        self.supports_masking = True  # Its outputs carry the mask of the target.

    def __call__(self, inputs, *args, **kwargs):
        """Returns the hidden states; arrays of ids are checked first."""
        ids, memory = inputs
        if isinstance(ids, np.ndarray | list):
            ids = np.asarray(ids)
            checks.require_ids("ids", ids, self.vocabulary_size, self.max_length)
            # Keras takes no array beside a tensor.
            ids = ops.convert_to_tensor(ids, "int32")
            memory = ops.convert_to_tensor(memory)
        return super().__call__((ids, memory), *args, **kwargs)

    def hidden_states(self, ids, memory, training=None, cut=None):
        """Returns what a call returns, layer by layer, for a graph to hold each.

        Args:
            ids: Token ids `(B, T)`, int32.
            memory: The encoder's hidden states `(B, S, D')`, with their mask.
            training: Whether to drop out.
            cut: As in `TokenEmbedding`.
        """
        x = self.embedding(ids, training=training, cut=cut)
        biases = self._biases(lambda layer: layer(x))
        for block, bias in zip(self.blocks, biases, strict=True):
            x = block(x, memory, bias=bias, training=training)
        return x if self.norm is None else self.norm(x)

    def logits(self, hidden, projection=None):
        """Returns the logits `(B, T, V)`, float32, of hidden states `(B, T, D)`.

        Args:
            hidden: The hidden states.
            projection: A pair of N rows of what `projection` returns, float32, for the
                logits `(B, T, N)` of these ids alone; `()` in place of no bias.
        """
        if projection is not None:
            table, bias = projection
            hidden = ops.cast(hidden, "float32")
            logits = ops.matmul(hidden, ops.transpose(table))
            return logits if isinstance(bias, tuple) else logits + bias
        if self.logits_dense is None:
            return self.embedding(hidden, reverse=True)
        return self.logits_dense(hidden)

    def projection(self, training=None):
        """Returns the table `(V, D)` and the bias `(V,)`, or None, of the logits.

        Args:
            training: As in `TokenEmbedding.projection`.
        """
        if self.logits_dense is None:
            return self.embedding.projection(training)
        kernel, bias = self.logits_dense.kernel, self.logits_dense.bias
        if not keras.backend.is_float_dtype(kernel.dtype):
            # Its integers mean nothing without their scales, which the layer knows.
            kernel = self.logits_dense(ops.eye(kernel.shape[0]))
            kernel = kernel if bias is None else kernel - bias
        return ops.transpose(kernel), bias

    @property
    def steps_by_row(self):
        """Whether `step` takes an index for each row: not by layers of others."""
        positions = self.embedding.position_layer
        ours = SinusoidalPosition, LearnedPosition, type(None)
        return type(positions) in ours

    def remember(self, memory):
        """Returns what every step attends to of the encoder's output `(B, S, D')`.

        Returns:
            For each block a pair `(keys, values)` of its cross-attention.
        """
        return tuple(block.remember(memory) for block in self.blocks)

    def new_cache(self, batch_size, length):
        """Returns an empty cache for `step`.

        Args:
            batch_size: The number of target rows, an int or an int32 scalar.
            length: The largest number of steps, an int.

        Returns:
            For each block a pair of zeros `(B, N, length, H)`.
        """
        return tuple(block.new_cache(batch_size, length) for block in self.blocks)

    def step(self, tokens, index, remembered, mask, cache, *, attention_layer=None):
        """Decodes one position of the target, or several at once.

        Args:
            tokens: The target ids at T positions in turn, `(B * K, T)`, int32, all of
                the vocabulary: K rows in turn share a source.
            index: The first position, an int or an int32 scalar, counted from 0; or
                `(B * K,)`, that of each row, if `steps_by_row`.
            remembered: What `remember` returned for B sources.
            mask: The mask of the sources `(B, 1, 1, S)`, bool, or None.
            cache: What `new_cache` returned, filled by the earlier steps.
            attention_layer: The block whose attention to the source to return as well.

        Returns:
            The hidden states `(B * K, T, D)`, the cache, and a list that holds, if
            asked for, the attention's weights `(B * K, T, N, S)`.
        """
        # A generator's ids are checked when it has them all, and not at each step.
        x = self.embedding(tokens, start=index, known=True)
        positions = ops.arange(ops.shape(cache[0][0])[2], dtype="int32")
        here = positions_from(index, ops.shape(x)[1])
        biases = self._biases(lambda layer: layer.between(here, positions))
        depth = len(self.blocks)
        if attention_layer is not None:
            checks.require_one_of(range(-depth, depth), attention_layer=attention_layer)
        written, weights = [], []
        for i, block in enumerate(self.blocks):
            observed = attention_layer in (i, i - depth)
            x, past, *its_weights = block.step(
                x, index, cache[i], remembered[i], mask, biases[i], observed
            )
            written.append(past)
            weights += its_weights
        if self.norm is not None:
            x = self.norm(x)
        return x, tuple(written), weights

    def get_config(self):
        """Returns the constructor's arguments, and what changed in parts since."""
        self.embedding.get_config()  # Says how a shared table is saved.
        return super().get_config()


def _in_float32(logits):
    """What makes logits float32 whatever dtype their layer is given later."""
    return ops.cast(logits, "float32")
