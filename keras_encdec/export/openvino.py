"""OpenVINO export: the encoder, one step and the whole loop, from ids to ids."""

import pathlib
import tempfile
from typing import Unpack

from keras_encdec.annotations import AnyPath, KerasModel, TensorFunction
from keras_encdec.export.id_formats import (
    IdOptions,
    export_ids,
    import_packages,
    unknown_ops,
)
from keras_encdec.export.id_functions import save_function
from keras_encdec.generation import Generator
from keras_encdec.text_to_text import TextToText


def export_openvino(
    text_to_text: TextToText | Generator, path: AnyPath, **options: Unpack[IdOptions]
) -> pathlib.Path:
    """Writes OpenVINO models from ids to ids, for batches and lengths of any size.

    The files are `encoder.xml`, `step.xml` and `generate.xml`, each with its weights
    in a `.bin` beside it, float32; their inputs and outputs, and the other files, are
    those of `id_formats.export_ids`.

    Args:
        text_to_text: A `TextToText` or a `Generator`, of dtype float32.
        path: The folder to write.
        **options: `max_length`, the largest number of tokens to generate;
            `num_return_sequences=1`; `modules=()` to import before, by name;
            `overwrite=False`; as in `id_formats.export_ids`.

    Returns:
        The `pathlib.Path` of the folder.

    Raises:
        FileExistsError: If the folder is there and `overwrite` is False.
        ImportError: If the extra `openvino` is not installed.
        ValueError: As in `id_formats.export_ids`.
        RuntimeError: If the child process fails, or a model holds an op that OpenVINO
            does not have.

    Example:
        ```python
        import tempfile
        from keras_encdec import ByteTokenizer, EncoderDecoder, TextToText
        from keras_encdec.export.openvino import export_openvino

        tokenizer = ByteTokenizer()
        model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1)
        text_to_text = TextToText(tokenizer, tokenizer, model, max_length=8)
        path = export_openvino(text_to_text, tempfile.mkdtemp() + "/openvino")
        print(sorted(file.name for file in path.iterdir()))
        ```
    """
    import_packages("openvino", "openvino")
    return export_ids(write_openvino, text_to_text, path, **options)


def write_openvino(
    model: KerasModel, name: str, function: TensorFunction, folder: pathlib.Path
) -> None:
    """Writes the two OpenVINO files of a `tf.function` with an input signature.

    Args:
        model: The model whose variables it reads.
        name: The name of the files, without their suffixes.
        function: The `tf.function`.
        folder: The folder to write in, a `Path`.

    Raises:
        RuntimeError: If it holds an op that OpenVINO does not have.
    """
    (openvino,) = import_packages("openvino", "openvino")
    # Not from the ONNX files: OpenVINO cannot read their loop.
    with tempfile.TemporaryDirectory() as saved:
        save_function(model, name, function, saved)
        try:
            converted = openvino.convert_model(saved)
        except openvino.frontend.OpConversionFailure as error:
            raise unknown_ops("OpenVINO", name, error) from error
        openvino.save_model(converted, folder / f"{name}.xml", compress_to_fp16=False)
