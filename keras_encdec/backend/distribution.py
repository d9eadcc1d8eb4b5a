"""Training on several devices, where Keras does it otherwise than on one."""

from typing import Any

import keras

from keras_encdec.annotations import KerasModel, Tensor
from keras_encdec.backend.processes import (
    join_processes,
    process_count,
    process_index,
)
from keras_encdec.backend.torch import shared_steps as torch_steps


def refuse_replicas(*models: KerasModel) -> None:
    """Raises if a training would be split among replicas with a wrong result.

    Under TensorFlow's strategies Keras averages the means of the replicas, in which a
    token beside few others counts for more; an objective's own loss is as many times
    too large as there are replicas. On PyTorch, `fit` does not exchange gradients, also
    where the model is wrapped in `DistributedDataParallel`, unless the processes have
    joined. Under JAX, with `keras.distribution`, a training is that of one device.

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
        for model in models:
            replicas = model.distribute_strategy.num_replicas_in_sync
            if replicas > 1:
                raise RuntimeError(
                    "A model of tokens is trained by one replica under TensorFlow, for "
                    "Keras weighs the tokens of several wrongly, and clips their "
                    "gradients one by one; received "
                    f"{type(model.distribute_strategy).__name__} with {replicas} "
                    "replicas. Build and train it outside of the strategy's scope, or "
                    "under JAX or PyTorch with keras_encdec.distribution."
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
        An int, 1 but under JAX with `keras.distribution.set_distribution`, and on
        PyTorch in processes that have joined.

    Raises:
        RuntimeError: If the distribution is one of several processes.

    Example:
        ```python
        from keras_encdec.backend import data_replicas

        print(data_replicas())  # 1
        ```
    """
    distribution = keras.distribution.distribution()
    if keras.config.backend() != "jax" or distribution is None:
        return process_count()
    if distribution.num_processes > 1:
        raise RuntimeError(
            "Batches are divided among the devices of one process; received "
            f"{type(distribution).__name__} over {distribution.num_processes} "
            "processes. Train in one of them, or give `fit` of the model the rows of "
            "each process yourself."
        )
    return int(distribution.num_model_replicas)


def data_replica() -> int | None:
    """Returns the number of the replica whose rows this process is to give.

    Returns:
        An int from 0; None where one process gives the rows of all.

    Example:
        ```python
        from keras_encdec.backend import data_replica

        print(data_replica())  # None
        ```
    """
    return process_index() if process_count() > 1 else None


def divides_steps() -> bool:
    """Whether replicas each have a share of the rows of a step.

    Example:
        ```python
        from keras_encdec.backend import divides_steps

        print(divides_steps())  # False
        ```
    """
    return process_count() > 1


def shared_train_step(model: KerasModel, data: Any) -> dict[str, Tensor]:
    """Takes a training step of rows that replicas have shares of.

    Args:
        model: A compiled model of tokens: `weight_of(y, y_pred, sample_weight)` is what
            its loss is a mean over, and `sums_loss(training)` whether it is a sum.
        data: The rows of this replica, as Keras gives them to a step.

    Returns:
        What there is to log, of all rows.
    """
    return torch_steps.train_step(model, data)


def shared_test_step(model: KerasModel, data: Any) -> dict[str, Tensor]:
    """Evaluates rows that replicas have shares of.

    Args:
        model: As in `shared_train_step`.
        data: The rows of this replica, as Keras gives them to a step.

    Returns:
        What there is to log, of all rows.
    """
    return torch_steps.test_step(model, data)


def use_devices(model_parallel: int) -> list[str] | None:
    """Has PyTorch's processes join; under JAX finds the devices of the process.

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
        return list(keras.distribution.list_devices())
    if backend == "tensorflow" or model_parallel > 1:
        raise RuntimeError(
            "Devices share the rows of a batch under JAX and PyTorch, and the weights "
            f"of a model under JAX alone, by keras.distribution; the backend is "
            f"{backend}. Set KERAS_BACKEND=jax, or train on one device."
        )
    join_processes()
    return None
