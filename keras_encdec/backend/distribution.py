"""Training on several devices, where Keras does it otherwise than on one."""

import keras

from keras_encdec.annotations import KerasModel


def refuse_replicas(*models: KerasModel) -> None:
    """Raises if a training would be split among replicas with a wrong result.

    Under TensorFlow's strategies Keras averages the means of the replicas, in which a
    token beside few others counts for more; an objective's own loss is as many times
    too large as there are replicas. On PyTorch, `fit` does not exchange gradients, also
    where the model is wrapped in `DistributedDataParallel`. Under JAX, with
    `keras.distribution`, a training is that of one device.

    Args:
        *models: The model whose `fit` is called, and what it trains.

    Raises:
        RuntimeError: If TensorFlow has several replicas, or PyTorch several processes.

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
                    "Keras weighs the tokens of several wrongly; received "
                    f"{type(model.distribute_strategy).__name__} with {replicas} "
                    "replicas. Build and train it outside of the strategy's scope, or "
                    "under JAX with keras.distribution."
                )
    if keras.config.backend() == "torch":
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
                f"group of {torch.distributed.get_world_size()} processes. Train in "
                "one process, or under JAX with keras.distribution."
            )


def data_replicas() -> int:
    """Returns among how many devices the rows of a batch are divided.

    Returns:
        An int, 1 but under JAX with `keras.distribution.set_distribution`.

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
        return 1
    if distribution.num_processes > 1:
        raise RuntimeError(
            "Batches are divided among the devices of one process; received "
            f"{type(distribution).__name__} over {distribution.num_processes} "
            "processes. Train in one of them, or give `fit` of the model the rows of "
            "each process yourself."
        )
    return int(distribution.num_model_replicas)


def require_distribution() -> None:
    """Raises unless Keras can divide a training among devices under this backend.

    Raises:
        RuntimeError: Under another backend than JAX.

    Example:
        ```python
        from keras_encdec.backend import require_distribution, running_backend

        if running_backend() == "jax":
            require_distribution()
        ```
    """
    if keras.config.backend() != "jax":
        raise RuntimeError(
            "Several devices share a training under JAX alone, by keras.distribution; "
            f"the backend is {keras.config.backend()}. Set KERAS_BACKEND=jax, or train "
            "on one device."
        )
