"""The model: an encoder, a decoder, and the two as one."""

from keras_encdec.model.decoder import Decoder
from keras_encdec.model.encoder import Encoder
from keras_encdec.model.encoder_decoder import EncoderDecoder

__all__ = ["Decoder", "Encoder", "EncoderDecoder"]
