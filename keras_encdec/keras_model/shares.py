"""What can be trained in shares, so that the losses are those of one device."""

from keras_encdec.annotations import KerasModel
from keras_encdec.backend import all_layers

# Means over the tokens, and sums: of others a share does not know what the whole is.
REDUCTIONS = ("mean_with_sample_weight", "sum")


def check_shares(model: KerasModel) -> None:
    """Refuses what several replicas would train otherwise than one device.

    Args:
        model: A compiled model of tokens.

    Raises:
        ValueError: If its loss is no mean or sum over tokens, or a part of it is one
            over something else; or Keras would compile the step.
    """
    loss = model.loss
    reduction = getattr(loss, "reduction", None)
    if not hasattr(loss, "weight_of") or reduction not in REDUCTIONS:
        raise ValueError(
            "Replicas share a loss that is a mean or a sum over tokens; received "
            f"loss={loss!r} with reduction={reduction!r}. Give TokenCrossEntropy(), or "
            "train on one device."
        )
    layers = list(all_layers(model))
    for layer in layers:
        if getattr(layer, "activity_regularizer", None) is not None:
            raise ValueError(
                "Replicas share a loss over tokens, and not one of layers' outputs; "
                f"received a model whose {layer.name!r} has an activity_regularizer. "
                "Leave it out, or train on one device."
            )
    if reduction == "sum" and any(
        variable.regularizer is not None for variable in model.trainable_variables
    ):
        raise ValueError(
            "Each replica would add the regularizers of weights to its sum; received "
            "TokenCrossEntropy(reduction='sum') and a model with such. Take the mean, "
            "or train on one device."
        )
    if model.jit_compile:
        raise ValueError(
            "What replicas exchange is compiled in no step of Keras; received "
            "jit_compile=True. Leave it out, or train by ProjectedLoss, whose own part "
            "it compiles."
        )
    if model.steps_per_execution != 1:
        raise ValueError(
            "Replicas exchange what they found after each step; received "
            f"steps_per_execution={model.steps_per_execution}. Leave it out."
        )
