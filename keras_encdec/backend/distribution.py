"""Training on several devices, where Keras does it otherwise than on one."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras

from keras_encdec.annotations import KerasModel, Tensor
from keras_encdec.backend import processes
from keras_encdec.backend.jax import processes as jax_processes
from keras_encdec.backend.layers import all_layers
from keras_encdec.backend.processes import (
    join_processes,
    process_count,
    process_index,
)
from keras_encdec.backend.tensorflow import replicas as tf_replicas
from keras_encdec.backend.torch import shared_steps as torch_steps


def refuse_replicas(*models: KerasModel) -> None:
    """Raises if a training would be split among replicas with a wrong result.

    TensorFlow's `MirroredStrategy` is that of one device, where all that is trained is
    built and compiled in its scope; under other strategies Keras averages the means of
    the replicas, in which a token beside few others counts for more. On PyTorch, `fit`
    does not exchange gradients, also where the model is wrapped in
    `DistributedDataParallel`, unless the processes have joined. Under JAX, with
    `keras.distribution`, a training is that of one device.

    Args:
        *models: The model whose `fit` is called, and what it trains.

    Raises:
        RuntimeError: If TensorFlow has several replicas, or PyTorch several processes
            that have not joined.

    Example:
        ```python
        import keras
        from keras_encdec.backend import refuse_replicas

        refuse_replicas(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
        ```

    Reference:
        https://github.com/keras-team/keras/pull/20609, where a loss, but no other, came
        to be divided by the number of replicas.
    """
    if keras.config.backend() == "tensorflow":
        strategies = [model.distribute_strategy for model in models]
        for strategy in strategies:
            replicas = strategy.num_replicas_in_sync
            if replicas != tf_replicas.replicas_of(strategy):
                raise RuntimeError(
                    "A model of tokens is trained by the replicas of MirroredStrategy "
                    "under TensorFlow, for Keras weighs the tokens of others wrongly; "
                    f"received {type(strategy).__name__} with {replicas} replicas. "
                    "Build and train it under tf.distribute.MirroredStrategy, or under "
                    "JAX or PyTorch with keras_encdec.distribution."
                )
            if strategy is not strategies[0]:
                raise RuntimeError(
                    "What trains a model is mirrored like it; received a "
                    f"{type(models[0]).__name__} and a {type(models[-1]).__name__} of "
                    "which one was built in the scope of a strategy, or of another. "
                    "Build and compile both in that of one."
                )
    if keras.config.backend() == "torch" and process_count() == 1:
        import torch

        if not torch.distributed.is_available():
            return
        if (
            torch.distributed.is_initialized()
            and torch.distributed.get_world_size() > 1
        ):
            raise RuntimeError(
                "Each process would train a model of its own on PyTorch, for `fit` "
                "exchanges no gradients, in DistributedDataParallel or not; received a "
                f"group of {torch.distributed.get_world_size()} processes. Call "
                "keras_encdec.distribution.use_all_devices() in each of them first, or "
                "train in one process."
            )


def data_replicas() -> int:
    """Returns among how many devices the rows of a batch are divided.

    Returns:
        An int, 1 but under JAX with `keras.distribution.set_distribution`, on PyTorch
        in processes that have joined, and in the scope of TensorFlow's
        `MirroredStrategy`.

    Raises:
        RuntimeError: If the distribution is of processes that have not joined.

    Example:
        ```python
        from keras_encdec.backend import data_replicas

        print(data_replicas())  # 1
        ```
    """
    if keras.config.backend() == "tensorflow":
        return tf_replicas.replicas_of()
    distribution = keras.distribution.distribution()
    if keras.config.backend() != "jax" or distribution is None:
        return process_count()
    if distribution.num_processes != process_count():
        raise RuntimeError(
            "Processes share a training when they have joined; received "
            f"{type(distribution).__name__} over {distribution.num_processes} "
            "processes. Call keras_encdec.distribution.use_all_devices() in each of "
            "them, in the place of set_distribution."
        )
    return int(distribution.num_model_replicas)


def data_replica() -> list[int] | None:
    """Returns the numbers of the replicas whose rows this process is to give.

    Returns:
        Numbers from 0; None where one process gives the rows of all.

    Example:
        ```python
        from keras_encdec.backend import data_replica

        print(data_replica())  # None
        ```
    """
    if process_count() == 1:
        return None
    if keras.config.backend() == "jax":
        return jax_processes.devices_of_process()
    return [process_index()]


def divides_steps(model: KerasModel) -> bool:
    """Whether replicas each have a share of the rows of a model's step.

    Under JAX there is one step of all rows, which XLA divides.

    Args:
        model: A `keras.Model`.

    Example:
        ```python
        import keras
        from keras_encdec.backend import divides_steps

        print(divides_steps(keras.Sequential()))  # False
        ```
    """
    if keras.config.backend() == "tensorflow":
        return tf_replicas.replicas_of(model.distribute_strategy) > 1
    return keras.config.backend() == "torch" and process_count() > 1


def shared_train_step(model: KerasModel, data: Any) -> dict[str, Tensor]:
    """Takes a training step of rows that replicas have shares of.

    Args:
        model: A compiled model of tokens: `weight_of(y, y_pred, sample_weight)` is what
            its loss is a mean over, and `sums_loss(training)` whether it is a sum.
        data: The rows of this replica, as Keras gives them to a step.

    Returns:
        What there is to log, of all rows; under TensorFlow of this replica's, for what
        `shared_step_function` returns knows of all.
    """
    if keras.config.backend() == "tensorflow":
        return tf_replicas.train_step(model, data)
    return torch_steps.train_step(model, data)


def shared_test_step(model: KerasModel, data: Any) -> dict[str, Tensor]:
    """Evaluates rows that replicas have shares of.

    Args:
        model: As in `shared_train_step`.
        data: The rows of this replica, as Keras gives them to a step.

    Returns:
        As there.
    """
    if keras.config.backend() == "tensorflow":
        return tf_replicas.test_step(model, data)
    return torch_steps.test_step(model, data)


def shared_step_function(
    model: KerasModel, step: Callable[[Any], Any], *, training: bool
) -> Callable[[Any], dict[str, Tensor]] | None:
    """Returns what Keras calls for each step of replicas, or None for its own.

    Args:
        model: A compiled model, as in `shared_train_step`.
        step: Its `train_step` or `test_step`.
        training: Whether it is the former.
    """
    if keras.config.backend() != "tensorflow" or not divides_steps(model):
        return None
    return tf_replicas.step_function(model, step, training=training)


def whole_loss(loss: Tensor, *, is_mean: bool) -> Tensor:
    """Returns a loss of Keras as it is on one device, within a step of replicas.

    Args:
        loss: What `compute_loss` of a `keras.Model` returned.
        is_mean: Whether the loss is a mean: of these TensorFlow's is divided by the
            number of replicas.

    Example:
        ```python
        from keras_encdec.backend import whole_loss

        print(whole_loss(2.0, is_mean=True))  # 2.0
        ```
    """
    if keras.config.backend() != "tensorflow":
        return loss
    return tf_replicas.whole_loss(loss, is_mean=is_mean)


def no_strategy() -> contextlib.AbstractContextManager[None]:
    """Returns a context outside of a strategy that TensorFlow builds models under.

    Raises:
        RuntimeError: Within a `with` block of the strategy's scope.

    Example:
        ```python
        from keras_encdec.backend import no_strategy

        with no_strategy():
            pass
        ```
    """
    if keras.config.backend() != "tensorflow":
        return contextlib.nullcontext()
    return tf_replicas.no_strategy()


def part_random_numbers(model: KerasModel) -> None:
    """Has each replica that has a share of steps draw numbers of its own from now on.

    Args:
        model: The model that is trained, for whose dropout that is.

    Example:
        ```python
        import keras
        from keras_encdec.backend import part_random_numbers

        part_random_numbers(keras.Sequential())
        ```
    """
    if keras.config.backend() != "tensorflow":
        processes.part_random_numbers()
    elif divides_steps(model):
        seeds = (getattr(each, "seed_generator", None) for each in all_layers(model))
        tf_replicas.part_random_numbers([each for each in seeds if each is not None])


def use_devices(model_parallel: int) -> list[str] | None:
    """Has processes join, or models be mirrored; under JAX finds the devices.

    Args:
        model_parallel: The number of devices that share the weights of a model.

    Returns:
        The devices that are to be distributed among, under JAX; else None, for nothing
        is left to be done.

    Raises:
        RuntimeError: If this backend cannot divide a training so.

    Example:
        ```python
        from keras_encdec.backend import running_backend, use_devices

        if running_backend() == "jax":
            print(use_devices(1))
        ```
    """
    backend = keras.config.backend()
    if backend == "jax":
        join_processes()
        if model_parallel > 1 and process_count() > 1:
            raise RuntimeError(
                "The devices of one process share the weights of a model; received "
                f"model_parallel={model_parallel} and {process_count()} processes. "
                "Leave it out, or start one process."
            )
        return list(keras.distribution.list_devices())
    if model_parallel > 1:
        raise RuntimeError(
            "Devices share the weights of a model under JAX alone, by "
            f"keras.distribution; the backend is {backend}, and model_parallel is "
            f"{model_parallel}. Set KERAS_BACKEND=jax, or leave it out."
        )
    if backend == "tensorflow":
        tf_replicas.join()
    else:
        join_processes()
    return None
