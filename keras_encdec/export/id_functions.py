"""What generates as three TensorFlow functions of ids, for runtimes beside TF."""

from collections.abc import Sequence

from keras_encdec.annotations import AnyPath, KerasModel, Tensor, TensorFunction
from keras_encdec.backend import import_tensorflow
from keras_encdec.generation import Generator, RandomSampler
from keras_encdec.text_to_text import TextToText

tf = import_tensorflow()


def id_functions(
    text_to_text: TextToText | Generator, max_length: int, num_return_sequences: int = 1
) -> dict[str, TensorFunction]:
    """Returns the functions that need no strings, with a name for every tensor.

    They are `encoder`, `step` and `generate`; their inputs and outputs are those of
    `id_formats.export_ids`.

    Args:
        text_to_text: A `TextToText` or a `Generator`, under the TensorFlow backend.
        max_length: The largest number of tokens to generate L, an int.
        num_return_sequences: The number of sequences n for each source, an int.

    Returns:
        A dict from names to `tf.function`s, each with an input signature and a dict of
        outputs.
    """
    if isinstance(text_to_text, Generator):
        generator = text_to_text
    else:
        generator = text_to_text.generator
    model = generator.model
    source_spec = tf.TensorSpec((None, None), tf.int32, "source")
    padding: float = generator.padding_id
    if model.source_features is not None:
        shape = None, None, model.source_features
        source_spec, padding = tf.TensorSpec(shape, tf.float32, "source"), 0.0
    rows_spec = [tf.TensorSpec((None,), tf.int32, "max_length")]
    if isinstance(generator.sampler, RandomSampler):
        rows_spec.append(tf.TensorSpec((None,), tf.int32, "seed"))

    @tf.function(autograph=False, input_signature=[source_spec])
    def encoder(source: Tensor) -> dict[str, Tensor]:
        pairs, mask = model.encode(source)
        return {"mask": mask, **_named("", pairs)}

    memory = encoder.get_concrete_function().structured_outputs
    memory_spec = [
        tf.TensorSpec(memory[name].shape, memory[name].dtype, name)
        for name in ["mask", *_names("", len(memory) // 2)]
    ]
    past_spec = [
        tf.TensorSpec(spec.shape, spec.dtype, f"past_{spec.name}")
        for spec in memory_spec[1:]
    ]

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec((None,), tf.int32, "tokens"),
            tf.TensorSpec((), tf.int32, "index"),
            *memory_spec,
            *past_spec,
        ],
    )
    def step(
        tokens: Tensor, index: Tensor, mask: Tensor, *tensors: Tensor
    ) -> dict[str, Tensor]:
        pairs = list(zip(tensors[::2], tensors[1::2], strict=True))
        half = len(pairs) // 2
        logits, present = model.step(
            tokens, index, (tuple(pairs[:half]), mask), tuple(pairs[half:])
        )
        return {"logits": logits, **_named("present_", present)}

    @tf.function(autograph=False, input_signature=[source_spec, *rows_spec])
    def generate_ids(
        source: Tensor, limits: Tensor, seeds: Tensor | None = None
    ) -> dict[str, Tensor]:
        rows = tf.shape(source)[0]
        limits = never_empty(limits)
        generated = generator.search(
            never_empty(source, padding),
            # Not clipped from 0 to 6, which LiteRT takes for a ReLU6 of integers.
            tf.where(limits > 0, tf.minimum(limits, max_length), 0),
            tf.zeros_like(limits) if seeds is None else never_empty(seeds),
            max_length=max_length,
            num_return_sequences=num_return_sequences,
            return_scores=True,
        )
        return {"ids": generated.ids[:rows], "scores": generated.scores[:rows]}

    return {"encoder": encoder, "step": step, "generate": generate_ids}


def never_empty(tensor: Tensor, padding: float = 0) -> Tensor:
    """Returns a tensor with at least one of everything, of nothing one of padding.

    A step needs a row, and few runtimes can reshape none.

    Args:
        tensor: A tensor of a known rank, such as an empty batch.
        padding: What fills it up.
    """
    lacking = tf.unstack(tf.cast(tf.shape(tensor) < 1, tf.int32))
    return tf.pad(tensor, [[0, n] for n in lacking], constant_values=padding)


def _names(prefix: str, number: int) -> list[str]:
    return [f"{prefix}{part}_{i}" for i in range(number) for part in ("keys", "values")]


def _named(prefix: str, pairs: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    tensors = [tensor for pair in pairs for tensor in pair]
    return dict(zip(_names(prefix, len(pairs)), tensors, strict=True))


def save_function(
    model: KerasModel, name: str, function: TensorFunction, folder: AnyPath
) -> None:
    """Writes a SavedModel of one of `id_functions`, for converters that read it.

    Args:
        model: The model whose variables it reads.
        name: The name of its signature.
        function: The `tf.function`.
        folder: The folder to write.
    """
    module = tf.Module()
    module.parameters = [variable.value for variable in model.variables]
    tf.saved_model.save(module, str(folder), signatures={name: function})
