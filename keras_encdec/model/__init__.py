"""The model: an encoder, a decoder, the two as one, and several of these as one."""

from keras_encdec.model.decoder import Decoder
from keras_encdec.model.encoder import Encoder
from keras_encdec.model.encoder_decoder import EncoderDecoder
from keras_encdec.model.ensemble import Ensemble
from keras_encdec.model.other_options import with_options

__all__ = ["Decoder", "Encoder", "EncoderDecoder", "Ensemble", "with_options"]
