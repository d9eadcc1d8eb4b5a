"""What `compile` and `fit` need: losses, metrics, schedules, callbacks, objectives."""

from keras_encdec.training.adaptation import (
    enable_lora,
    load_adapter,
    merge_lora,
    save_adapter,
)
from keras_encdec.training.averaging import average_weights, averaged_weights
from keras_encdec.training.callbacks import GenerationScores, HeldOutLoss
from keras_encdec.training.checkpoints import Checkpoints
from keras_encdec.training.divergence import DivergenceError, StopDivergence
from keras_encdec.training.interruption import InterruptBetweenBatches
from keras_encdec.training.losses import TokenCrossEntropy
from keras_encdec.training.measured_adam import MeasuredAdam
from keras_encdec.training.metrics import Perplexity, TokenAccuracy
from keras_encdec.training.objectives import (
    ProjectedLoss,
    RDrop,
    SimCut,
    WordDistillation,
)
from keras_encdec.training.schedules import InverseSquareRoot
from keras_encdec.training.watching import RunningLog
from keras_encdec.training_options import TrainingOptions

__all__ = [
    "Checkpoints",
    "DivergenceError",
    "GenerationScores",
    "HeldOutLoss",
    "InterruptBetweenBatches",
    "InverseSquareRoot",
    "MeasuredAdam",
    "Perplexity",
    "ProjectedLoss",
    "RDrop",
    "RunningLog",
    "SimCut",
    "StopDivergence",
    "TokenAccuracy",
    "TokenCrossEntropy",
    "TrainingOptions",
    "WordDistillation",
    "average_weights",
    "averaged_weights",
    "enable_lora",
    "load_adapter",
    "merge_lora",
    "save_adapter",
]
