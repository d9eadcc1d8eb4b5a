"""What a training minimizes, and by which optimizer."""

from typing import Any

import keras

from keras_encdec.annotations import KerasModel
from keras_encdec.text import TokenBatches
from keras_encdec.training import (
    InverseSquareRoot,
    MeasuredAdam,
    ProjectedLoss,
    RDrop,
    SimCut,
    TokenAccuracy,
    TokenCrossEntropy,
    WordDistillation,
)
from keras_encdec.training_options import TrainingOptions


def check_can_learn(
    model: KerasModel, teacher: KerasModel | None, lora: int | None
) -> None:
    """Checks that a model's weights may learn, and from a teacher.

    Args:
        model: The model.
        teacher: What it is to learn from, or None.
        lora: The rank of the adapters that it will have, or None.

    Raises:
        TypeError: If the teacher is no model.
        ValueError: If it is the model itself, or pads with another id; or if weights
            that are not frozen are quantized, and the model has no adapters.
    """
    layers = list(model._flatten_layers())
    adapted = any(getattr(x, "lora_enabled", False) for x in layers)
    # Others are whole numbers too, such as the count of a `Normalization`.
    learning = [x for x in layers if x.trainable and x.quantization_mode is not None]
    fixed = [
        x
        for layer in learning
        for x in layer.weights
        if not keras.backend.is_float_dtype(x.dtype)
    ]
    if fixed and lora is None and not adapted:
        raise ValueError(
            f"Weights learn while they are floats; received {len(fixed)} that are "
            f"{fixed[0].dtype}, such as {fixed[0].path!r}. Train adapters of them, by "
            "lora=8; the model as it was before `quantize`; or, of int8 weights in an "
            "Encoder and a Decoder, text_to_text.with_options(), which has floats."
        )
    if teacher is None:
        return
    if not isinstance(teacher, keras.Model):
        raise TypeError(
            f"`teacher` must be a model, such as the `model` of a TextToText; received "
            f"{teacher!r:.200}."
        )
    if model in [teacher, *getattr(teacher, "models", ())]:
        raise ValueError(
            "A model cannot be its own `teacher`, which is not trained; received "
            "one for both, or among several. Load it twice."
        )
    padding = getattr(teacher, "padding_id", model.padding_id)
    if padding != model.padding_id:
        raise ValueError(
            "Model and `teacher` must pad with the same id; received "
            f"{model.padding_id} and {padding}. Train both with the same tokenizers."
        )


def compiled(
    model: KerasModel,
    teacher: KerasModel | None,
    options: TrainingOptions,
    steps: int,
    planned: int,
) -> KerasModel:
    """Returns a model in its objective, compiled.

    Args:
        model: The model to train.
        teacher: What it learns from beside, or None.
        options: The `TrainingOptions`.
        steps: The number of batches in an epoch.
        planned: The number of batches that the schedule is for.

    Raises:
        ValueError: If there is no update.
    """
    accumulate = options.accumulate if options.accumulate > 1 else None
    shares = {"weights_are_shares": accumulate is not None}
    if options.r_drop is not None:
        trained = RDrop(model, weight=options.r_drop, **shares)
    elif options.simcut is not None:
        trained = SimCut(model, options.simcut, options.cutoff, **shares)
    elif teacher is None:
        trained = ProjectedLoss(model, **shares)
    else:
        trained = WordDistillation(
            model, teacher, options.teacher_weight, options.temperature, **shares
        )
    batches = options.epochs * steps
    if options.accumulate > batches:
        raise ValueError(
            "Nothing is learned before the first update; received "
            f"accumulate={options.accumulate}, and all epochs together have {batches} "
            "batches. Lower `accumulate`, or train longer."
        )
    trained.compile(
        MeasuredAdam(
            _schedule(options, planned, model.target_embedding.hidden_dim),
            beta_2=0.98,
            epsilon=1e-9,
            weight_decay=options.weight_decay,
            global_clipnorm=options.clip_norm,
            use_ema=options.ema is not None,
            ema_momentum=0.99 if options.ema is None else options.ema,
            gradient_accumulation_steps=accumulate,
        ),
        TokenCrossEntropy(
            label_smoothing=options.label_smoothing, ignore_class=model.padding_id
        ),
        metrics=(
            None
            if isinstance(trained, ProjectedLoss)
            else [TokenAccuracy(ignore_class=model.padding_id)]
        ),
    )
    return trained


def _schedule(options: TrainingOptions, batches: int, hidden_dim: int) -> Any:
    warmup = options.warmup
    if warmup is None:
        warmup = min(4000, batches // 10 + 1)
    rate = 1e-3 if options.learning_rate is None else options.learning_rate
    if options.schedule == "constant":
        return rate
    if options.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            0.0, max(1, batches - warmup), warmup_target=rate, warmup_steps=warmup
        )
    if options.schedule == "noam":
        rate = (hidden_dim * warmup) ** -0.5
    return InverseSquareRoot(rate, warmup)


def build_metrics(trained: KerasModel, batches: TokenBatches, size: int) -> None:
    """Has metrics make their variables, which Keras does in the first batch.

    Args:
        trained: What `compiled` returned.
        batches: What it is trained on.
        size: The number of target ids.
    """
    if not isinstance(trained, ProjectedLoss):
        ((_, target), labels, _) = next(iter(batches.dataset(count=1)))
        logits = keras.ops.zeros((*target.shape, size))
        trained.compute_metrics(None, labels.numpy(), logits)
