"""ONNX export: the encoder, one step and the whole loop, from ids to ids.

The graphs are TensorFlow's, under any backend: JAX's lose the mask of the padding on
their way to ONNX.
"""

import pathlib
from collections.abc import Iterator
from typing import Any, Unpack

from keras_encdec.annotations import AnyPath, KerasModel, TensorFunction
from keras_encdec.backend import import_tensorflow
from keras_encdec.export.id_formats import (
    IdOptions,
    export_ids,
    import_packages,
    unknown_ops,
)
from keras_encdec.generation import Generator
from keras_encdec.text_to_text import TextToText

tf = import_tensorflow()

# The first with bitwise operators, of which random numbers are made.
OPSET = 18
PACKAGES = "onnx", "tf2onnx"


def export_onnx(
    text_to_text: TextToText | Generator, path: AnyPath, **options: Unpack[IdOptions]
) -> pathlib.Path:
    """Writes ONNX models from ids to ids, for batches and lengths of any size.

    The files are `encoder.onnx`, `step.onnx` and `generate.onnx`; their inputs and
    outputs, and the other files, are those of `id_formats.export_ids`.

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
        ImportError: If the extra `onnx` is not installed.
        ValueError: As in `id_formats.export_ids`.
        RuntimeError: If the child process fails, or a model holds an op that ONNX does
            not have.

    Example:
        ```python
        import tempfile
        from keras_encdec import ByteTokenizer, EncoderDecoder, TextToText
        from keras_encdec.export.onnx import export_onnx

        tokenizer = ByteTokenizer()
        model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1)
        text_to_text = TextToText(tokenizer, tokenizer, model, max_length=8)
        path = export_onnx(text_to_text, tempfile.mkdtemp() + "/onnx")
        print(sorted(file.name for file in path.iterdir()))
        ```
    """
    import_packages("onnx", *PACKAGES)
    return export_ids(write_onnx, text_to_text, path, **options)


def write_onnx(
    model: KerasModel, name: str, function: TensorFunction, folder: pathlib.Path
) -> None:
    """Writes an ONNX file of a `tf.function` with an input signature.

    Args:
        model: The model whose variables it reads.
        name: The name of the file, without its suffix.
        function: The `tf.function`.
        folder: The folder to write in, a `Path`.

    Raises:
        RuntimeError: If it holds an op that ONNX does not have.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )
    from tf2onnx import tfonnx

    onnx, _ = import_packages("onnx", *PACKAGES)
    concrete = function.get_concrete_function()
    # The tokenizers' tables, of which the freezing would warn; ids need none.
    concrete.graph.clear_collection(tf.compat.v1.GraphKeys.TABLE_INITIALIZERS)
    frozen = convert_variables_to_constants_v2(
        concrete, lower_control_flow=False, aggressive_inlining=True
    )
    inputs = [x.name for x in frozen.inputs]
    outputs = [x.name for x in frozen.outputs]
    names = [spec.name for spec in function.input_signature]
    names += sorted(concrete.structured_outputs)
    # Not `tf2onnx.convert.from_function`, which goes on to optimizers that take the
    # dynamic dimensions of one reshape for those of another. Runtimes have their own.
    converted = tfonnx.process_tf_graph(
        frozen.graph,
        opset=OPSET,
        custom_op_handlers={"SelectV2": (_as_where, [])},
        input_names=inputs,
        output_names=outputs,
        tensors_to_rename=dict(zip(inputs + outputs, names, strict=True)),
    ).make_model(name)
    unknown = sorted(
        {
            op
            for domain, op in _ops_of(onnx, converted.graph)
            if not onnx.defs.has(op, domain)
        }
    )
    if unknown:
        said = f"TensorFlow's {', '.join(unknown)} could not be converted."
        raise unknown_ops("ONNX", name, said)
    onnx.save(converted, folder / f"{name}.onnx")


def _as_where(context: Any, node: Any, name: str, arguments: Any) -> Any:
    # Otherwise a select becomes `condition * x + (1 - condition) * y`, which is NaN
    # where the other of the two is infinite, as logits and scores are.
    node.type = "Where"
    return node


def _ops_of(onnx: Any, graph: Any) -> Iterator[tuple[str, str]]:
    for node in graph.node:
        yield node.domain, node.op_type
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _ops_of(onnx, attribute.g)
