"""Where each public name is: read by type checkers, and by `__init__.py`."""

from keras_encdec import evaluation as evaluation
from keras_encdec import export as export
from keras_encdec import generation as generation
from keras_encdec import layers as layers
from keras_encdec import playground as playground
from keras_encdec import plots as plots
from keras_encdec import recipe as recipe
from keras_encdec import run as run
from keras_encdec import serving as serving
from keras_encdec import text as text
from keras_encdec import training as training
from keras_encdec.bayes_risk import MinimumBayesRiskDecoder as MinimumBayesRiskDecoder
from keras_encdec.bayes_risk import minimum_bayes_risk as minimum_bayes_risk
from keras_encdec.confidence import calibrate as calibrate
from keras_encdec.confidence import confidences as confidences
from keras_encdec.ensembles import text_ensemble as text_ensemble
from keras_encdec.evaluation import evaluate_texts as evaluate_texts
from keras_encdec.export import export_saved_model as export_saved_model
from keras_encdec.generation import BeamSampler as BeamSampler
from keras_encdec.generation import ContrastiveSampler as ContrastiveSampler
from keras_encdec.generation import Generator as Generator
from keras_encdec.generation import GreedySampler as GreedySampler
from keras_encdec.generation import LookupSampler as LookupSampler
from keras_encdec.generation import MinPSampler as MinPSampler
from keras_encdec.generation import RandomSampler as RandomSampler
from keras_encdec.generation import Sampler as Sampler
from keras_encdec.generation import Shortlist as Shortlist
from keras_encdec.generation import TopKSampler as TopKSampler
from keras_encdec.generation import TopPSampler as TopPSampler
from keras_encdec.generation import TypicalSampler as TypicalSampler
from keras_encdec.layers import Attention as Attention
from keras_encdec.layers import DecoderBlock as DecoderBlock
from keras_encdec.layers import EncoderBlock as EncoderBlock
from keras_encdec.layers import FeedForward as FeedForward
from keras_encdec.layers import TokenEmbedding as TokenEmbedding
from keras_encdec.lexicon import learn_shortlist as learn_shortlist
from keras_encdec.model import Decoder as Decoder
from keras_encdec.model import Encoder as Encoder
from keras_encdec.model import EncoderDecoder as EncoderDecoder
from keras_encdec.model import Ensemble as Ensemble
from keras_encdec.model import with_options as with_options
from keras_encdec.playground import open_playground as open_playground
from keras_encdec.pretrained.labels import (
    labels_from_hugging_face as labels_from_hugging_face,
)
from keras_encdec.pretrained.labels import (
    labels_to_hugging_face as labels_to_hugging_face,
)
from keras_encdec.recipe import build as build
from keras_encdec.report import write_report as write_report
from keras_encdec.rescoring import ModelScorer as ModelScorer
from keras_encdec.rescoring import rescore as rescore
from keras_encdec.rescoring import tune_rescoring as tune_rescoring
from keras_encdec.run import train as train
from keras_encdec.tags import with_tag as with_tag
from keras_encdec.text import ByteLevelBPETokenizer as ByteLevelBPETokenizer
from keras_encdec.text import ByteTokenizer as ByteTokenizer
from keras_encdec.text import CharacterTokenizer as CharacterTokenizer
from keras_encdec.text import Corpus as Corpus
from keras_encdec.text import SentencePieceTokenizer as SentencePieceTokenizer
from keras_encdec.text import TokenBatches as TokenBatches
from keras_encdec.text import WordTokenizer as WordTokenizer
from keras_encdec.text import encode_corpus as encode_corpus
from keras_encdec.text import read_pairs as read_pairs
from keras_encdec.text import teacher_forcing as teacher_forcing
from keras_encdec.text import text_dataset as text_dataset
from keras_encdec.text_to_text import TextToText as TextToText
from keras_encdec.training import Checkpoints as Checkpoints
from keras_encdec.training import GenerationScores as GenerationScores
from keras_encdec.training import HeldOutLoss as HeldOutLoss
from keras_encdec.training import InverseSquareRoot as InverseSquareRoot
from keras_encdec.training import Perplexity as Perplexity
from keras_encdec.training import ProjectedLoss as ProjectedLoss
from keras_encdec.training import StopDivergence as StopDivergence
from keras_encdec.training import TokenAccuracy as TokenAccuracy
from keras_encdec.training import TokenCrossEntropy as TokenCrossEntropy
from keras_encdec.training import enable_lora as enable_lora
from keras_encdec.training import load_adapter as load_adapter
from keras_encdec.training import merge_lora as merge_lora
from keras_encdec.training import save_adapter as save_adapter

__version__: str
