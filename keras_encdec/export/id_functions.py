"""A text-to-text model as three TensorFlow functions of ids, for runtimes beside TF.

Legend of shapes: B batch, S source, R target rows, V vocabulary, L largest length, n
sequences for a source, N heads of keys and values, H head size.
"""

import json
import pathlib

from keras_encdec.backend import import_tensorflow
from keras_encdec.export.child import run_under_tensorflow
from keras_encdec.files import FORMAT, new_folder
from keras_encdec.generation import RandomSampler, generate
from keras_encdec.generation.checks import require_size
from keras_encdec.text import SentencePieceTokenizer

tf = import_tensorflow()


def export_with(
    write, text_to_text, path, max_length, num_return_sequences, modules, overwrite
):
    """Writes a folder of `id_functions` in some format, whole or not at all.

    Args:
        write: A function `(text_to_text, folder, *, max_length, num_return_sequences)`
            at the top level of a module of this package.
        text_to_text: A `TextToText`, under any backend.
        path: The folder to write.
        max_length: The largest number of tokens, or None for that of `text_to_text`.
        num_return_sequences: The number of sequences for each source.
        modules: Modules to import before, by name, that register custom objects.
        overwrite: Whether to replace a folder that is there already.

    Returns:
        The `pathlib.Path` of the folder.

    Raises:
        FileExistsError: If the folder is there and `overwrite` is False.
        ValueError: If the model does not compute in float32, or the sampler cannot give
            as many sequences or tokens.
        RuntimeError: If the child process fails.
    """
    model, sampler = text_to_text.model, text_to_text.sampler
    max_length = text_to_text.max_length if max_length is None else max_length
    require_size("max_length", max_length)
    require_size("num_return_sequences", num_return_sequences)
    sampler.rows_per_source(num_return_sequences)
    dtype = model.dtype_policy.compute_dtype
    if dtype != "float32":
        raise ValueError(
            f"Only models that compute in float32 can be exported; received {dtype}. "
            "Build the model again with dtype='float32' and set these weights."
        )
    largest = model.max_length
    if largest is not None and max_length + sampler.extra_positions > largest:
        raise ValueError(
            "max_length must not be above the model's positions, "
            f"max_length={largest - sampler.extra_positions}; received {max_length}."
        )
    with new_folder(path, overwrite=overwrite) as folder:
        run_under_tensorflow(
            write,
            text_to_text,
            folder,
            modules=modules,
            max_length=max_length,
            num_return_sequences=num_return_sequences,
        )
    return pathlib.Path(path)


def id_functions(text_to_text, max_length, num_return_sequences=1):
    """Returns the functions that need no strings, with a name for every tensor.

    | function | inputs | outputs |
    | --- | --- | --- |
    | `encoder` | `source` `(B, S)` | memory |
    | `step` | `tokens` `(R,)`, `index` `()`, memory, past | `logits`, present |
    | `generate` | `source` `(B, S)`, `max_length` `(B,)` | `ids`, `scores` |

    The memory is `mask` `(B, 1, 1, S)`, bool, and for each decoder block i `keys_i` and
    `values_i` `(B, N, S, H)`; past and present are `past_keys_i`, `past_values_i`,
    `present_keys_i` and `present_values_i` `(R, N, L, H)`. The `logits` are `(R, V)`,
    `ids` `(B, n, L)` and `scores` `(B, n)`. A random sampler also takes `seed` `(B,)`.
    Ids, lengths, the index and seeds are int32, all else float32.

    Args:
        text_to_text: A `TextToText`, under the TensorFlow backend.
        max_length: The largest number of tokens to generate L, an int.
        num_return_sequences: The number of sequences n for each source, an int.

    Returns:
        A dict from names to `tf.function`s, each with an input signature and a dict of
        outputs.
    """
    model, generator = text_to_text.model, text_to_text.generator
    source_spec = tf.TensorSpec((None, None), tf.int32, "source")
    rows_spec = [tf.TensorSpec((None,), tf.int32, "max_length")]
    if isinstance(generator.sampler, RandomSampler):
        rows_spec.append(tf.TensorSpec((None,), tf.int32, "seed"))

    @tf.function(autograph=False, input_signature=[source_spec])
    def encoder(source):
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
    def step(tokens, index, mask, *tensors):
        pairs = list(zip(tensors[::2], tensors[1::2], strict=True))
        half = len(pairs) // 2
        logits, present = model.step(
            tokens, index, (tuple(pairs[:half]), mask), tuple(pairs[half:])
        )
        return {"logits": logits, **_named("present_", present)}

    @tf.function(autograph=False, input_signature=[source_spec, *rows_spec])
    def generate_ids(source, limits, seeds=None):
        rows = tf.shape(source)[0]
        # One row of padding in the place of none, which few runtimes can reshape.
        lacking = tf.cast(tf.shape(source) < 1, tf.int32)
        padding = generator.padding_id
        padded = tf.pad(source, [[0, lacking[0]], [0, lacking[1]]], "CONSTANT", padding)
        limits = tf.pad(limits, [[0, lacking[0]]])
        if seeds is not None:
            seeds = tf.pad(seeds, [[0, lacking[0]]])
        generated = generate(
            model,
            generator.sampler,
            padded,
            tf.clip_by_value(limits, 0, max_length),
            tf.zeros_like(limits) if seeds is None else seeds,
            max_length=max_length,
            start_id=generator.start_id,
            end_id=generator.end_id,
            padding_id=padding,
            processors=generator.processors,
            num_return_sequences=num_return_sequences,
            return_scores=True,
        )
        return {"ids": generated.ids[:rows], "scores": generated.scores[:rows]}

    return {"encoder": encoder, "step": step, "generate": generate_ids}


def _names(prefix, number):
    return [f"{prefix}{part}_{i}" for i in range(number) for part in ("keys", "values")]


def _named(prefix, pairs):
    tensors = [tensor for pair in pairs for tensor in pair]
    return dict(zip(_names(prefix, len(pairs)), tensors, strict=True))


def save_function(model, name, function, folder):
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


def write_tokenizers(text_to_text, folder, max_length):
    """Writes what stays outside the functions: special ids and SentencePiece models.

    Args:
        text_to_text: A `TextToText`.
        folder: The folder, a `Path`: `ids.json`, which has what stands around the ids
            of a source, and the start, end and padding of a target; and for
            SentencePiece tokenizers `source.model` and `target.model`.
        max_length: The largest number of tokens of `generate`.

    Example:
        ```python
        import pathlib
        import tempfile
        from keras_encdec import ByteTokenizer, EncoderDecoder, TextToText
        from keras_encdec.export.id_functions import write_tokenizers

        tokenizer = ByteTokenizer()
        model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1)
        folder = pathlib.Path(tempfile.mkdtemp())
        write_tokenizers(TextToText(tokenizer, tokenizer, model), folder, 8)
        print((folder / "ids.json").read_text())
        ```
    """
    source, target = text_to_text.source_tokenizer, text_to_text.target_tokenizer
    ids = {
        "format": FORMAT,
        "source_prefix_ids": list(source.prefix_ids),
        "source_suffix_ids": list(source.suffix_ids),
        "start_id": target.start_id,
        "end_id": target.end_id,
        "padding_id": target.padding_id,
        "max_length": max_length,
    }
    (folder / "ids.json").write_text(json.dumps(ids, indent=2), encoding="utf-8")
    for side in ("source", "target"):
        tokenizer = getattr(text_to_text, f"{side}_tokenizer")
        if isinstance(tokenizer, SentencePieceTokenizer):
            (folder / f"{side}.model").write_bytes(tokenizer.proto)
