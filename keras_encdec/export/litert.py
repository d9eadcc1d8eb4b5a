"""LiteRT export: the encoder, one step and the whole loop, from ids to ids."""

import tempfile

from keras_encdec.backend import import_tensorflow
from keras_encdec.export.id_functions import (
    export_with,
    id_functions,
    save_function,
    write_tokenizers,
)
from keras_encdec.generation import RandomSampler

tf = import_tensorflow()


def export_litert(
    text_to_text,
    path,
    *,
    max_length=None,
    num_return_sequences=1,
    modules=(),
    overwrite=False,
):
    """Writes LiteRT models from ids to ids, for batches and lengths of any size.

    The files are `encoder.tflite`, `step.tflite` and `generate.tflite`, each with one
    signature, `encoder`, `step` or `generate`; their inputs and outputs, and the other
    files, are those of `export_onnx`. To run them install the extra `litert`.

    Args:
        text_to_text: A `TextToText`, under any backend, of dtype float32, whose
            sampler is not a random one.
        path: The folder to write.
        max_length: The largest number of tokens L of `generate.tflite`; by default that
            of `text_to_text`.
        num_return_sequences: The number of sequences n for each source, the best of a
            `BeamSampler`.
        modules: Modules to import before, by name, that register custom objects of the
            model, its sampler or processors.
        overwrite: Whether to replace a folder that is there already.

    Returns:
        The `pathlib.Path` of the folder.

    Raises:
        FileExistsError: If the folder is there and `overwrite` is False.
        ValueError: If the sampler is a `RandomSampler` or cannot give as many sequences
            or tokens, or the model does not compute in float32.
        RuntimeError: If the child process fails, or a model holds an op that LiteRT
            does not have.

    Example:
        ```python
        import tempfile
        from keras_encdec import ByteTokenizer, EncoderDecoder, TextToText
        from keras_encdec.export.litert import export_litert

        tokenizer = ByteTokenizer()
        model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1)
        text_to_text = TextToText(tokenizer, tokenizer, model, max_length=8)
        path = export_litert(text_to_text, tempfile.mkdtemp() + "/litert")
        print(sorted(file.name for file in path.iterdir()))
        ```
    """
    if isinstance(text_to_text.sampler, RandomSampler):
        raise ValueError(
            "LiteRT has no bitwise operators, of which random numbers are made; "
            f"received {text_to_text.sampler!r}. Export a TextToText with a "
            "GreedySampler or BeamSampler, and sample from the logits of its steps."
        )
    return export_with(
        write_litert,
        text_to_text,
        path,
        max_length,
        num_return_sequences,
        modules,
        overwrite,
    )


def write_litert(text_to_text, folder, *, max_length, num_return_sequences):
    """Writes the files of `export_litert`, under the TensorFlow backend.

    Args:
        text_to_text: A `TextToText`.
        folder: The folder to write in, a `Path`.
        max_length: As of `export_litert`.
        num_return_sequences: As of `export_litert`.

    Raises:
        RuntimeError: If a model holds an op that LiteRT does not have.
    """
    from tensorflow.lite.python.convert_phase import ConverterError

    functions = id_functions(text_to_text, max_length, num_return_sequences)
    for name, function in functions.items():
        # Not from the function itself: its loop would read variables that are gone.
        with tempfile.TemporaryDirectory() as saved:
            save_function(text_to_text.model, name, function, saved)
            converter = tf.lite.TFLiteConverter.from_saved_model(
                saved, signature_keys=[name]
            )
            try:
                model = converter.convert()
            except ConverterError as error:
                raise RuntimeError(
                    "A LiteRT model must hold only ops that LiteRT has; its converter "
                    f"said of {name}: {error} Replace the layer, sampler or processor "
                    "that uses them."
                ) from error
            (folder / f"{name}.tflite").write_bytes(model)
    write_tokenizers(text_to_text, folder, max_length)
