"""The encoder: source ids to hidden states.

Legend of shapes: B batch, S source, D model.
"""

import keras
import numpy as np

from keras_encdec.layers import EncoderBlock, checks
from keras_encdec.model.stack import Stack, shows_options


@keras.saving.register_keras_serializable(package="keras_encdec")
class Encoder(Stack):
    """A Transformer's encoder, from token ids to hidden states and their mask.

    A functional model by itself, or half of `EncoderDecoder(encoder, decoder)`.

    Args:
        vocabulary_size: The number of ids.
        hidden_dim: The model's width D.
        intermediate_dim: The width of the feed-forward networks' middle.
        num_heads: The number of attention heads.
        num_layers: The number of blocks.
        dtype: A dtype or dtype policy for all layers, such as `"mixed_bfloat16"`.
        name: The model's name.
        **options: The options that `EncoderDecoder` has from `positions` on, such as
            `activation` and `dropout`.

    Call arguments:
        ids: Token ids `(B, S)`, int32.
        training: Whether to drop out.

    Returns:
        Hidden states `(B, S, D)` in the compute dtype, with the mask
        `ids != padding_id`.

    Raises:
        ValueError: If an option is out of range, a size is not a positive integer, or
            sizes do not divide; at a call with arrays, if ids are not 2D, not integer
            or out of the vocabulary.
        TypeError: If an option is unknown.

    Example:
        ```python
        import numpy as np
        from keras_encdec import Encoder

        encoder = Encoder(100, 16, 32, num_heads=4, num_layers=2)
        print(encoder(np.array([[5, 7, 2, 0]])).shape)
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
        dtype=None,
        name="encoder",
        **options,
    ):
        config, policy = self._prepared(locals())
        parts = self._parts(
            config, policy, "encoder", "source", EncoderBlock, bidirectional=True
        )
        ids = keras.Input((None,), dtype="int32", name="source")
        self._build_graph(parts, ids, lambda: self.hidden_states(ids), config, policy)

    def __call__(self, ids, *args, **kwargs):
        """Returns the hidden states; arrays of ids are checked first."""
        if isinstance(ids, np.ndarray | list):
            ids = np.asarray(ids)
            checks.require_ids("ids", ids, self.vocabulary_size, self.max_length)
        return super().__call__(ids, *args, **kwargs)

    def hidden_states(self, ids, training=None, cut=None):
        """Returns what a call returns, layer by layer, for a graph to hold each.

        Args:
            ids: Token ids `(B, S)`, int32.
            training: Whether to drop out.
            cut: As in `TokenEmbedding`.
        """
        x = self.embedding(ids, training=training, cut=cut)
        biases = self._biases(lambda layer: layer(x))
        for block, bias in zip(self.blocks, biases, strict=True):
            x = block(x, bias=bias, training=training)
        return x if self.norm is None else self.norm(x)
