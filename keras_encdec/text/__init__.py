"""Strings to ids and back, datasets of ids, and error rates of strings.

Its tokenizers are graphs of TensorFlow, whichever backend trains the model, so that a
SavedModel takes strings and returns strings. Most are plain Python too, by which texts
are generated without it.
"""

from keras_encdec.text.byte_level import ByteLevelBPETokenizer
from keras_encdec.text.corpora import Corpus, PairsOfIds
from keras_encdec.text.dataset import teacher_forcing, text_dataset
from keras_encdec.text.differences import (
    WrongText,
    marked_differences,
    text_differences,
    worst_texts,
)
from keras_encdec.text.encoding import encode_corpus
from keras_encdec.text.error_rates import (
    character_error_rate,
    sequence_error_rate,
    token_error_rate,
)
from keras_encdec.text.interface import Tokenizer
from keras_encdec.text.keras_hub import KerasHubTokenizer
from keras_encdec.text.mixing import MixedPairs, times_by_temperature
from keras_encdec.text.noise import (
    DeleteTokens,
    InfillSpans,
    MaskTokens,
    ShuffleTokens,
)
from keras_encdec.text.pieces import (
    PieceTableTokenizer,
    SentinelByteTokenizer,
    SentinelPieceTokenizer,
)
from keras_encdec.text.reading import (
    read_lines,
    read_pairs,
    read_sources,
    stream_pairs,
)
from keras_encdec.text.sentence_piece import SentencePieceTokenizer
from keras_encdec.text.token_batches import TokenBatches
from keras_encdec.text.tokenizers import (
    ByteTokenizer,
    CharacterTokenizer,
    WordTokenizer,
)
from keras_encdec.text.unknown_tokens import UnknownTokens, unknown_tokens

__all__ = [
    "ByteLevelBPETokenizer",
    "ByteTokenizer",
    "CharacterTokenizer",
    "Corpus",
    "DeleteTokens",
    "InfillSpans",
    "KerasHubTokenizer",
    "MaskTokens",
    "MixedPairs",
    "PairsOfIds",
    "PieceTableTokenizer",
    "SentencePieceTokenizer",
    "SentinelByteTokenizer",
    "SentinelPieceTokenizer",
    "ShuffleTokens",
    "TokenBatches",
    "Tokenizer",
    "UnknownTokens",
    "WordTokenizer",
    "WrongText",
    "character_error_rate",
    "encode_corpus",
    "marked_differences",
    "read_lines",
    "read_pairs",
    "read_sources",
    "sequence_error_rate",
    "stream_pairs",
    "teacher_forcing",
    "text_dataset",
    "text_differences",
    "times_by_temperature",
    "token_error_rate",
    "unknown_tokens",
    "worst_texts",
]
