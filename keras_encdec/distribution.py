"""Trainings on several devices: who has which rows and which weights."""

from typing import Any

import keras

from keras_encdec.backend import use_devices

# The axis of each weight that is divided, as T5X divides it: heads, hidden units of the
# feed-forward network and the vocabulary. A path matches one rule at most.
_RULES: dict[str, tuple[str | None, ...]] = {
    ".*table/embeddings": ("model", None),
    ".*attention/(query|key|value)/kernel": (None, "model"),
    ".*attention/(query|key|value)/bias": ("model",),
    ".*attention/output/kernel": ("model", None),
    ".*feed_forward/(intermediate|gate)/kernel": (None, "model"),
    ".*feed_forward/(intermediate|gate)/bias": ("model",),
    ".*feed_forward/output/kernel": ("model", None),
}


def layout_map(mesh: Any, *, vocabulary: bool = True) -> Any:
    """Returns which weights of an `EncoderDecoder` are divided among devices, and how.

    For `keras.distribution.ModelParallel`, under JAX. It is set before the model is
    built; the states of optimizers are divided like the weights.

    Args:
        mesh: A `keras.distribution.DeviceMesh` with axes `"batch"` and `"model"`. The
            number of heads, `intermediate_dim` and, with `vocabulary`, the sizes of the
            vocabularies must be divisible by the size of `"model"`.
        vocabulary: Whether tables of embeddings, and logits with them, are divided by
            the ids of the vocabulary; otherwise each device holds them whole.

    Returns:
        A `keras.distribution.LayoutMap`.

    Raises:
        ValueError: If the mesh has no axis `"model"`.

    Example:
        ```python
        import keras
        from keras_encdec.distribution import layout_map

        devices = keras.distribution.list_devices()
        shape = (len(devices), 1)
        mesh = keras.distribution.DeviceMesh(shape, ("batch", "model"), devices)
        print(len(layout_map(mesh)))  # 7
        # keras.distribution.set_distribution(
        #     keras.distribution.ModelParallel(
        #         layout_map=layout_map(mesh), batch_dim_name="batch"
        #     )
        # )
        ```

    Reference:
        https://arxiv.org/abs/2203.17189, "Scaling Up Models and Data with t5x and
        seqio", whose rules these are.
    """
    if "model" not in mesh.axis_names:
        raise ValueError(
            "Weights are divided along the axis 'model' of a mesh; received the axes "
            f"{tuple(mesh.axis_names)}. Name one of them so."
        )
    layouts = keras.distribution.LayoutMap(mesh)
    for path, axes in _RULES.items():
        if vocabulary or not path.endswith("embeddings"):
            layouts[path] = axes
    return layouts


def use_all_devices(model_parallel: int = 1, *, vocabulary: bool = True) -> None:
    """Has models that are built and trained from now on use all devices.

    Under JAX these are those of the process, or of all processes that the variables
    `KERAS_DISTRIBUTION_NUM_PROCESSES`, `KERAS_DISTRIBUTION_PROCESS_ID` and
    `KERAS_DISTRIBUTION_JOB_ADDRESSES` tell of, or that have called
    `jax.distributed.initialize`: the rows of a batch are divided among them, or, in one
    process, among groups of them that share the weights of a model, as `layout_map`
    says. Under TensorFlow models are mirrored on the GPUs of the process, or its
    logical CPUs, by `tf.distribute.MirroredStrategy`. On PyTorch each device has a
    process, of those that `torchrun` started or of a group of `torch.distributed` that
    is there.

    All processes call this: from then on the rows of a batch are divided among them in
    `train`, and a `fit` or `evaluate` of your own takes in each process its own rows,
    `TokenBatches.dataset(replicas=N, replica=i)`, and has the losses and weights of one
    device for all of them. What the first process writes the others do not, and they
    print nothing.

    Args:
        model_parallel: The number of devices that share the weights of a model.
        vocabulary: As in `layout_map`.

    Raises:
        RuntimeError: On PyTorch, if there is no other process; if `model_parallel` is
            not 1 and the backend is not JAX, or there are several processes.
        ValueError: If the number of devices is not divisible by `model_parallel`.

    Example:
        ```python
        import keras
        from keras_encdec.distribution import use_all_devices

        if keras.config.backend() == "jax":
            use_all_devices()
            keras.distribution.set_distribution(None)
        ```
    """
    devices = use_devices(model_parallel)
    if devices is None:
        return
    if model_parallel < 1 or len(devices) % model_parallel:
        raise ValueError(
            "model_parallel must be a number that divides that of the devices; "
            f"received {model_parallel}, and there are {len(devices)}. Take another."
        )
    shape = len(devices) // model_parallel, model_parallel
    mesh = keras.distribution.DeviceMesh(shape, ("batch", "model"), devices)
    layouts = layout_map(mesh, vocabulary=vocabulary)
    keras.distribution.set_distribution(
        keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
        if model_parallel > 1
        # Each process gives its rows.
        else keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    )
