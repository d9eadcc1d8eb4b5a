"""TensorFlow's replicas: each has some rows of a step, and all have one update.

Keras's own way averages the means of replicas, and clips the gradients of each; updates
in branches, as accumulation has them, it cannot make there. Here replicas sum gradients
of the mean over all tokens, and the optimizer is called outside of them, once.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_encdec.annotations import KerasModel, Tensor

# The step of the replica that the thread runs: TensorFlow has a thread for each.
_running = threading.local()


def join() -> None:
    """Has models that are built from now on be mirrored on all devices of the process.

    Raises:
        RuntimeError: Within a `with` block of the scope of another strategy.
    """
    import tensorflow as tf

    if replicas_of(tf.distribute.get_strategy()) > 1:
        return
    kinds = ("GPU", "CPU")
    devices = next(x for x in map(tf.config.list_logical_devices, kinds) if x)
    if len(devices) > 1:
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        tf.distribute.experimental_set_strategy(strategy)


def replicas_of(strategy: Any = None) -> int:
    """Returns how many replicas of a strategy share a step here, 1 if they do not.

    Args:
        strategy: That of a model; None for the one that models are now built under.
    """
    import tensorflow as tf

    strategy = strategy or tf.distribute.get_strategy()
    # One process alone: MultiWorkerMirroredStrategy is no subclass.
    mirrored = isinstance(strategy, tf.distribute.MirroredStrategy)
    return int(strategy.num_replicas_in_sync) if mirrored else 1


@contextlib.contextmanager
def no_strategy() -> Iterator[None]:
    """Leaves the strategy that models are built under, for the time of the block.

    Raises:
        RuntimeError: Within a `with` block of its scope.
    """
    import tensorflow as tf

    if replicas_of() == 1:
        yield
        return
    strategy = tf.distribute.get_strategy()
    try:
        tf.distribute.experimental_set_strategy(None)
    except RuntimeError:
        raise RuntimeError(
            "A strategy's scope is to build and compile in; received a call of `fit` "
            "or `evaluate` within it. Call it after the `with` block."
        ) from None
    try:
        yield
    finally:
        tf.distribute.experimental_set_strategy(strategy)


def part_random_numbers(generators: Sequence[Any]) -> None:
    """Has each replica but the first draw other numbers than the first.

    Args:
        generators: The `keras.random.SeedGenerator` of a mirrored model.
    """
    import tensorflow as tf

    for generator in generators:
        variable = generator.state.value
        own = getattr(variable, "values", [variable])
        first = own[0].numpy()
        for replica, each in enumerate(own):
            with tf.device(each.device):
                each.assign(first + np.array([replica, 0], first.dtype))


def train_step(model: KerasModel, data: Any) -> dict[str, Tensor]:
    """Takes the part of a training step that is each replica's.

    Args:
        model: As in `backend.shared_train_step`.
        data: The rows of this replica, as Keras gives them to a step.

    Returns:
        What there is to log, of the rows of this replica.
    """
    import tensorflow as tf

    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        loss, logs = _loss(model, data, training=True)
        scaled = model.optimizer.scale_loss(loss)
    gradients = tape.gradient(scaled, variables)
    there = [i for i, each in enumerate(gradients) if each is not None]
    # Those of tables are sparse where few of their rows are looked up.
    dense = [tf.convert_to_tensor(gradients[i]) for i in there]
    _running.step.places = there
    _running.step.gradients = _summed(dense)
    return logs()


def test_step(model: KerasModel, data: Any) -> dict[str, Tensor]:
    """Evaluates the rows of this replica.

    Args:
        model: As in `backend.shared_test_step`.
        data: The rows of this replica, as Keras gives them to a step.

    Returns:
        What there is to log, of the rows of this replica.
    """
    return _loss(model, data, training=False)[1]()


def _loss(
    model: KerasModel, data: Any, *, training: bool
) -> tuple[Tensor, Callable[[], dict[str, Tensor]]]:
    """A replica's part of the loss, and what logs it."""
    import tensorflow as tf

    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    y_pred = model(x, training=training)
    loss = model.compute_loss(x, y, y_pred, sample_weight, training=training)
    if not model.sums_loss(training):
        weight = model.weight_of(y, y_pred, sample_weight)
        whole = tf.maximum(_summed(weight), keras.config.epsilon())
        loss *= tf.cast(tf.stop_gradient(weight / whole), loss.dtype)

    def logs() -> dict[str, Tensor]:
        rows = tf.shape(keras.tree.flatten(x)[0])[0]
        (mean,) = (each for each in model.metrics if each.name == "loss")
        mean.update_state(_summed(loss), sample_weight=rows)
        return model.compute_metrics(x, y, y_pred, sample_weight)

    return loss, logs


def _summed(values: Any) -> Any:
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def whole_loss(loss: Tensor, *, is_mean: bool) -> Tensor:
    """Returns a loss that Keras computed as it is on one device.

    Args:
        loss: The loss, which Keras divides by the number of replicas if it is a mean.
        is_mean: Whether it is one.
    """
    import tensorflow as tf

    if getattr(_running, "step", None) is None or not is_mean:
        return loss
    return loss * float(tf.distribute.get_strategy().num_replicas_in_sync)


class _Step:
    """What a replica found, for the update."""

    gradients: Sequence[Tensor] = ()
    places: Sequence[int] | None = None


def step_function(
    model: KerasModel,
    step: Callable[[Any], Any],
    *,
    training: bool,
) -> Callable[[Any], dict[str, Tensor]]:
    """Returns what Keras calls for each step: from an iterator over data to logs.

    Args:
        model: A compiled model that is mirrored.
        step: Its `train_step` or `test_step`, which comes to that of this module.
        training: Whether it is the former.
    """
    import tensorflow as tf

    strategy = model.distribute_strategy
    places: list[Sequence[int] | None] = [None]

    def of_replica(data: Any) -> Sequence[Tensor]:
        _running.step = _Step()
        try:
            step(data)
            places[0] = _running.step.places
            return _running.step.gradients
        finally:
            _running.step = None

    @tf.autograph.experimental.do_not_convert
    def of_data(data: Any) -> dict[str, Tensor]:
        # Keras says so what is None.
        data = keras.tree.map_structure(
            lambda x: None if isinstance(x, tf.experimental.Optional) else x, data
        )
        found = strategy.run(of_replica, args=(data,))
        if training:
            if places[0] is None:
                raise RuntimeError(
                    "Replicas share the training step of keras.Model; received a model "
                    f"whose train_step is another, {type(model).__name__}. Call that "
                    "of the class above in it, or train on one device."
                )
            variables = model.trainable_variables
            gradients: list[Tensor | None] = [None] * len(variables)
            for i, each in zip(places[0], found, strict=True):
                # All have the same.
                gradients[i] = strategy.experimental_local_results(each)[0]
            model.optimizer.apply(gradients, variables)
        # Counted by the replicas, and summed where it is read.
        return dict(model.get_metrics_result())

    @tf.autograph.experimental.do_not_convert
    def of_iterator(iterator: Any) -> dict[str, Tensor]:
        return of_data(iterator.get_next())

    if not model.run_eagerly:
        of_data = tf.function(of_data, reduce_retracing=True)
        of_iterator = tf.function(of_iterator, reduce_retracing=True)

    def call(iterator: Any) -> dict[str, Tensor]:
        if isinstance(iterator, tf.distribute.DistributedIterator):
            return dict(of_iterator(iterator))
        (data,) = iterator  # Of `train_on_batch`.
        return dict(of_data(_divided(strategy, data)))

    return call


def _divided(strategy: Any, data: Any) -> Any:
    """The rows of tensors, divided among replicas."""
    import tensorflow as tf

    number = strategy.num_replicas_in_sync

    def divided(x: Any) -> Any:
        if x is None:
            return None
        tensor = tf.convert_to_tensor(x)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tensor[context.replica_id_in_sync_group :: number]
        )

    return keras.tree.map_structure(divided, data)
