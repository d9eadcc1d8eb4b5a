"""Steps of Keras of which each process of PyTorch has some rows.

What is logged is that of all rows, in each process.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_encdec.annotations import KerasModel, Tensor
from keras_encdec.backend.torch import processes

Logs = dict[str, Tensor]


def train_step(model: KerasModel, data: Any) -> Logs:
    """Takes a training step with the other processes, as `keras.Model.train_step` does.

    Args:
        model: A compiled model, which says by `weight_of` what its loss is a mean over,
            and by `sums_loss` whether it is a sum.
        data: The rows of this process, as Keras gives them to a step.

    Returns:
        What there is to log.
    """
    import torch

    variables = list(model.trainable_variables)

    def gradients(loss: Tensor) -> Sequence[Tensor | None]:
        values = [variable.value for variable in variables]
        scaled = model.optimizer.scale_loss(loss)
        return torch.autograd.grad(scaled, values, allow_unused=True)

    def update(found: Sequence[Tensor | None]) -> None:
        model.optimizer.apply(found, variables)

    return _step(model, data, gradients, update)


def test_step(model: KerasModel, data: Any) -> Logs:
    """Evaluates rows with the other processes, as `keras.Model.test_step` does.

    Args:
        model: As in `train_step`.
        data: The rows of this process, as Keras gives them to a step.

    Returns:
        What there is to log.
    """
    return _step(model, data, lambda loss: (), None)


def _step(
    model: KerasModel,
    data: Any,
    differentiate: Callable[[Tensor], Sequence[Tensor | None]],
    update: Callable[[Sequence[Tensor | None]], None] | None,
) -> Logs:
    import torch

    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    training = update is not None
    (mean,) = (each for each in model.metrics if each.name == "loss")
    before = {id(v): (v, v.value.clone()) for v in _counters(model, mean)}
    # From zero, so that what the processes have counted can be summed.
    for variable, _ in before.values():
        variable.assign(torch.zeros_like(variable.value))
    y_pred = model(x, training=training)
    loss = model.compute_loss(x, y, y_pred, sample_weight, training=training)
    gradients = differentiate(loss)
    with torch.no_grad():
        model.compute_metrics(x, y, y_pred, sample_weight)
        counters = _counters(model, mean)  # Some are made when they first count.
        (loss, _), gradients, totals = processes.exchanged(
            (loss, model.weight_of(y, y_pred, sample_weight)),
            gradients,
            [variable.value for variable in counters],
            sums=model.sums_loss(training),
        )
        for variable, total in zip(counters, totals, strict=True):
            known = before.get(id(variable))
            variable.assign(total if known is None else known[1] + total)
        rows = len(keras.tree.flatten(x)[0]) * processes.count()
        mean.update_state(loss, sample_weight=rows)
        if update is not None:
            update(gradients)
        return model.get_metrics_result()


def _counters(model: KerasModel, mean: Any) -> list[Any]:
    """The variables of all metrics but the loss, which count rows of this process."""
    return [v for each in model.metrics if each is not mean for v in each.variables]
