"""Layers and masks: tensors in, tensors out."""

from keras_encdec.layers.attention import Attention
from keras_encdec.layers.blocks import DecoderBlock, EncoderBlock
from keras_encdec.layers.dropout import Dropout
from keras_encdec.layers.embedding import TokenEmbedding
from keras_encdec.layers.feed_forward import FeedForward
from keras_encdec.layers.masks import (
    attend_to,
    combine_masks,
    look_ahead_mask,
    padding_mask,
    step_mask,
)
from keras_encdec.layers.normalization import make_normalization
from keras_encdec.layers.positions import (
    LearnedPosition,
    RelativePositionBias,
    SinusoidalPosition,
    positions_from,
    rotate,
    sinusoidal_positions,
)

__all__ = [
    "Attention",
    "DecoderBlock",
    "Dropout",
    "EncoderBlock",
    "FeedForward",
    "LearnedPosition",
    "RelativePositionBias",
    "SinusoidalPosition",
    "TokenEmbedding",
    "attend_to",
    "combine_masks",
    "look_ahead_mask",
    "make_normalization",
    "padding_mask",
    "positions_from",
    "rotate",
    "sinusoidal_positions",
    "step_mask",
]
