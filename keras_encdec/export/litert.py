"""LiteRT export: the encoder, one step and the whole loop, from ids to ids."""

import pathlib
import tempfile
from typing import Unpack

from keras_encdec.annotations import AnyPath, KerasModel, TensorFunction
from keras_encdec.backend import import_tensorflow
from keras_encdec.export.id_formats import IdOptions, export_ids, unknown_ops
from keras_encdec.export.id_functions import save_function
from keras_encdec.generation import Generator, RandomSampler
from keras_encdec.text_to_text import TextToText

tf = import_tensorflow()


def export_litert(
    text_to_text: TextToText | Generator, path: AnyPath, **options: Unpack[IdOptions]
) -> pathlib.Path:
    """Writes LiteRT models from ids to ids, for batches and lengths of any size.

    The files are `encoder.tflite`, `step.tflite` and `generate.tflite`, each with one
    signature, `encoder`, `step` or `generate`; their inputs and outputs, and the other
    files, are those of `id_formats.export_ids`. To run them install the extra `litert`.

    Args:
        text_to_text: A `TextToText` or a `Generator`, of dtype float32, whose
            sampler is not a random one.
        path: The folder to write.
        **options: `max_length`, the largest number of tokens to generate;
            `num_return_sequences=1`, the best of a `BeamSampler`; `modules=()` to
            import before, by name; `overwrite=False`; as in `id_formats.export_ids`.

    Returns:
        The `pathlib.Path` of the folder.

    Raises:
        FileExistsError: If the folder is there and `overwrite` is False.
        ValueError: If the sampler is a `RandomSampler`, or as in
            `id_formats.export_ids`.
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
    return export_ids(write_litert, text_to_text, path, **options)


def write_litert(
    model: KerasModel, name: str, function: TensorFunction, folder: pathlib.Path
) -> None:
    """Writes a LiteRT file of a `tf.function` with an input signature.

    Args:
        model: The model whose variables it reads.
        name: The name of the file, without its suffix, and of its signature.
        function: The `tf.function`.
        folder: The folder to write in, a `Path`.

    Raises:
        RuntimeError: If it holds an op that LiteRT does not have.
    """
    from tensorflow.lite.python.convert_phase import ConverterError

    # Not from the function itself: its loop would read variables that are gone.
    with tempfile.TemporaryDirectory() as saved:
        save_function(model, name, function, saved)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            saved, signature_keys=[name]
        )
        try:
            converted = converter.convert()
        except ConverterError as error:
            raise unknown_ops("LiteRT", name, error) from error
    (folder / f"{name}.tflite").write_bytes(converted)
