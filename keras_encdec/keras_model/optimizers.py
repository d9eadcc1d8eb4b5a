"""The optimizer of a model: what it may accumulate, built before its first step."""

import contextlib
from typing import Any

from keras_encdec.annotations import KerasModel
from keras_encdec.backend import all_layers, are_the_same, inner_optimizer


def check_accumulation(
    model: KerasModel, *, is_plain: bool, weights_are_shares: bool
) -> None:
    """Refuses gradients that are accumulated where Keras would weigh tokens unevenly.

    Args:
        model: A compiled `keras.Model`.
        is_plain: Whether it is trained by the loss of its logits alone.
        weights_are_shares: Whether the weights of its tokens are shares of all
            accumulated batches.

    Raises:
        ValueError: If it accumulates as it must not, or does not as it must.
    """
    optimizer = inner_optimizer(model.optimizer)
    steps = getattr(optimizer, "gradient_accumulation_steps", None)
    if weights_are_shares and not steps:
        raise ValueError(
            "Weights are shares of the batches whose gradients the optimizer "
            f"accumulates; received gradient_accumulation_steps={steps}. Give it "
            "their number, or leave weights_are_shares out."
        )
    reduction = getattr(model.loss, "reduction", None)
    if steps and not weights_are_shares and not (is_plain and reduction == "sum"):
        # How many tokens there are is known when the last batch comes; then the
        # optimizer alone could still weigh the others, and it keeps but their sum.
        sums = 'TokenCrossEntropy(reduction="sum"), in which all count alike, or '
        raise ValueError(
            "Keras takes the mean of the means of accumulated batches, in which a "
            "token of a batch with few tokens counts for more; received "
            f"gradient_accumulation_steps={steps}. Train by "
            f"{sums if is_plain else ''}an objective such as "
            "ProjectedLoss(model, weights_are_shares=True), on "
            f"TokenBatches.dataset(accumulate={steps}), for the update of one "
            "batch of them all."
        )


def build_optimizer(model: KerasModel) -> None:
    """Builds the optimizer of a built model, if it has one that is not.

    TensorFlow would build it within the first step, and trace that step twice.

    Args:
        model: A `keras.Model`.
    """
    if model.optimizer is None or model.optimizer.built:
        return
    # An objective that has not been called is not built, but for its model.
    if all(layer.built for layer in model.layers):
        strategy = getattr(model, "distribute_strategy", None)
        with strategy.scope() if strategy else contextlib.nullcontext():
            model.optimizer.build(model.trainable_variables)


def has_optimizer_state(model: KerasModel) -> bool:
    """Returns whether the optimizer remembers what a loaded model trains.

    Args:
        model: A compiled `keras.Model`.
    """
    optimizer = inner_optimizer(model.optimizer)
    # LoRA is merged when it is saved.
    lora = any(getattr(x, "lora_enabled", False) for x in all_layers(model))
    trained = getattr(optimizer, "_trainable_variables", [])
    fits = are_the_same(trained, model.trainable_variables)
    return bool(optimizer.built and fits and not lora)


def pass_over_state(optimizer: Any) -> None:
    """Has an optimizer begin anew where a file holds a state that is not its own.

    Args:
        optimizer: That of a model that is being loaded.
    """
    # Keras warns of as many as it does not expect, and else loads them or fails.
    for each in {optimizer, inner_optimizer(optimizer)}:
        each.load_own_variables = lambda store, each=each: each.__dict__.pop(
            "load_own_variables"
        )
