"""OpenVINO export: the encoder, one step and the whole loop, from ids to ids."""

import tempfile

from keras_encdec.export.id_functions import (
    export_with,
    id_functions,
    save_function,
    write_tokenizers,
)


def export_openvino(
    text_to_text,
    path,
    *,
    max_length=None,
    num_return_sequences=1,
    modules=(),
    overwrite=False,
):
    """Writes OpenVINO models from ids to ids, for batches and lengths of any size.

    The files are `encoder.xml`, `step.xml` and `generate.xml`, each with its weights
    in a `.bin` beside it, float32; their inputs and outputs, and the other files, are
    those of `export_onnx`.

    Args:
        text_to_text: A `TextToText`, under any backend, of dtype float32.
        path: The folder to write.
        max_length: The largest number of tokens L of `generate.xml`; by default that
            of `text_to_text`.
        num_return_sequences: The number of sequences n for each source: samples, or the
            best of a `BeamSampler`.
        modules: Modules to import before, by name, that register custom objects of the
            model, its sampler or processors.
        overwrite: Whether to replace a folder that is there already.

    Returns:
        The `pathlib.Path` of the folder.

    Raises:
        FileExistsError: If the folder is there and `overwrite` is False.
        ImportError: If the extra `openvino` is not installed.
        ValueError: If the model does not compute in float32, or the sampler cannot give
            as many sequences or tokens.
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
    _import_openvino()
    return export_with(
        write_openvino,
        text_to_text,
        path,
        max_length,
        num_return_sequences,
        modules,
        overwrite,
    )


def write_openvino(text_to_text, folder, *, max_length, num_return_sequences):
    """Writes the files of `export_openvino`, under the TensorFlow backend.

    Args:
        text_to_text: A `TextToText`.
        folder: The folder to write in, a `Path`.
        max_length: As of `export_openvino`.
        num_return_sequences: As of `export_openvino`.

    Raises:
        RuntimeError: If a model holds an op that OpenVINO does not have.
    """
    openvino = _import_openvino()
    functions = id_functions(text_to_text, max_length, num_return_sequences)
    for name, function in functions.items():
        # Not from the ONNX files: OpenVINO cannot read their loop.
        with tempfile.TemporaryDirectory() as saved:
            save_function(text_to_text.model, name, function, saved)
            try:
                model = openvino.convert_model(saved)
            except openvino.frontend.OpConversionFailure as error:
                raise RuntimeError(
                    "An OpenVINO model must hold only ops that OpenVINO has; it said "
                    f"of {name}: {error} Replace the layer, sampler or processor that "
                    "uses them."
                ) from error
            openvino.save_model(model, folder / f"{name}.xml", compress_to_fp16=False)
    write_tokenizers(text_to_text, folder, max_length)


def _import_openvino():
    try:
        import openvino
    except ImportError as error:
        raise ImportError(
            f"OpenVINO export needs `openvino`, which could not be imported ({error}). "
            "Install it with `pip install keras-encdec[openvino]`."
        ) from error
    return openvino
