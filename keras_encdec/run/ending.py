"""The end of a training, whatever ends it: what is kept, and what is said of it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_encdec.annotations import KerasModel
from keras_encdec.backend import (
    assign,
    from_first,
    in_first_alone,
    process_count,
    share_variables,
)
from keras_encdec.interrupts import Terminated, interrupts_kept
from keras_encdec.run.folder import RunFolder
from keras_encdec.text_to_text import TextToText
from keras_encdec.training import Checkpoints, DivergenceError, average_weights
from keras_encdec.training_options import TrainingOptions


@contextlib.contextmanager
def best_in_the_end(
    place: RunFolder,
    model: KerasModel,
    options: TrainingOptions,
    *,
    named: bool,
    overwrite: bool = False,
) -> Iterator[None]:
    """Leaves the best weights in a model, however its training ends, and says so.

    An interrupt waits in the block for `check_interrupt`. Of processes that share a
    training all end together, but of what only one of them knows.

    Args:
        place: The `RunFolder` of the training.
        model: The model that is trained.
        options: The `TrainingOptions`.
        named: Whether the folder is the user's, to be named.
        overwrite: Whether the training was told to begin anew, as the same again would.

    Raises:
        DivergenceError: If the block does, with what is kept.
        KeyboardInterrupt: After an interrupt, likewise.
        Terminated: After SIGTERM, likewise.
    """
    before = None if place.epochs_done else model.get_weights()
    try:
        with interrupts_kept(until_checked=True):
            yield
    except BaseException as error:
        together = isinstance(error, KeyboardInterrupt | Terminated | DivergenceError)
        if process_count() > 1 and not together:
            raise  # The others know nothing of it, and exchange no more with this one.
        done, batches = from_first(lambda: place.position)
        if not (done or batches):
            is_back = from_first(place.withdraw)
            model.set_weights(before)
            kept = "No epoch was finished; there is no model yet, and nothing is kept"
            if is_back:
                kept = f"No epoch was finished; {place.path} is as it was before"
        elif not done:
            model.set_weights(before)
            kept = f"{place.path} holds all up to batch {batches} of epoch 1"
        else:
            _set_best(model, place)
            kept = f"The best of {done} finished epochs is kept"
            if named:
                within = f"batch {batches} of epoch {done + 1}" if batches else ""
                kept = (
                    f"{place.path} holds all up to "
                    f"{within or f'epoch {done} of {options.epochs}'}, "
                    f"and the best model of them in {place.best}"
                )
        goes_on = (done or batches) and named
        if isinstance(error, KeyboardInterrupt | Terminated):
            again = "the same without `overwrite`" if overwrite else "the same again"
            more = f": {again} goes on from there" if goes_on else ""
            if isinstance(error, Terminated):
                raise Terminated(f"Terminated. {kept}{more}.") from None
            raise KeyboardInterrupt(f"Interrupted. {kept}{more}.") from None
        if isinstance(error, DivergenceError):
            more = ", with `overwrite` or in another folder" if goes_on else ""
            raise DivergenceError(
                f"{error} {kept}. Begin anew{more}: with a lower `learning_rate`, a "
                "longer `warmup`, or a `clip_norm` such as 1."
            ) from error
        raise
    _set_best(model, place)


def _set_best(model: KerasModel, place: RunFolder) -> None:
    """Gives a model the best weights, in which LoRA is merged when they are saved."""
    in_first_alone(_read_best)(model, place)
    share_variables(model.variables)


def _read_best(model: KerasModel, place: RunFolder) -> None:
    best = TextToText.load(place.best).model.get_weights()
    adapters = [x for x in model.weights if x.name.startswith("lora_")]
    adapted = {id(x) for x in adapters}
    others = [x for x in model.weights if id(x) not in adapted]
    for variable, weights in zip(others, best, strict=True):
        assign(variable, weights)
    for variable in adapters:
        if variable.name.endswith("_b"):  # The other factor of their product.
            assign(variable, np.zeros(variable.shape, variable.dtype))


def try_mean(
    place: RunFolder,
    text_to_text: TextToText,
    trained: KerasModel,
    checkpoints: Checkpoints,
    judges: Sequence[keras.callbacks.Callback],
    as_before: Any,
    tell_scores: Callable[[], None],
    average: int,
) -> None:
    """Keeps the mean of the last epochs' weights, if it is better than the best."""
    from_first(lambda: average_weights(checkpoints.paths[-average:], trained))
    share_variables(trained.variables)
    logs = {}
    for judge in judges:
        logs.update(judge.measure(trained))
    # Without validation there is nothing to tell which one is better.
    if not judges or checkpoints.is_better(logs[checkpoints.monitor]):
        tell_scores()
        place.save_best(text_to_text, as_before)
