"""ONNX export: the encoder, one step and the whole loop, from ids to ids.

The graphs are TensorFlow's, under any backend: JAX's lose the mask of the padding on
their way to ONNX.
"""

from keras_encdec.backend import import_tensorflow
from keras_encdec.export.id_functions import (
    export_with,
    id_functions,
    write_tokenizers,
)

tf = import_tensorflow()

# The first with bitwise operators, of which random numbers are made.
OPSET = 18


def export_onnx(
    text_to_text,
    path,
    *,
    max_length=None,
    num_return_sequences=1,
    modules=(),
    overwrite=False,
):
    """Writes ONNX models from ids to ids, for batches and lengths of any size.

    | file | inputs | outputs |
    | --- | --- | --- |
    | `encoder.onnx` | `source` `(B, S)` | memory |
    | `step.onnx` | `tokens` `(R,)`, `index` `()`, memory, past | `logits`, present |
    | `generate.onnx` | `source` `(B, S)`, `max_length` `(B,)` | `ids`, `scores` |

    The memory is `mask` `(B, 1, 1, S)`, bool, and for each decoder block i `keys_i` and
    `values_i` `(B, N, S, H)`. The past is `past_keys_i` and `past_values_i`
    `(R, N, L, H)`, zeros at first; then it is what the step before returned as
    `present_keys_i` and `present_values_i`. R is B times the number of rows that each
    source has in turn. The `logits` are `(R, V)`, `ids` `(B, n, L)` and `scores`
    `(B, n)`. Ids, lengths and the index are int32, all else float32.

    `generate.onnx` is the whole loop of the sampler; for a random one it also takes
    `seed` `(B,)`, int32. It alone takes empty batches. Texts stay outside: `ids.json`
    tells the special ids, and `source.model` and `target.model` are what SentencePiece
    tokenizers were made of.

    Args:
        text_to_text: A `TextToText`, under any backend, of dtype float32.
        path: The folder to write.
        max_length: The largest number of tokens L of `generate.onnx`; by default that
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
        ImportError: If the extra `onnx` is not installed.
        ValueError: If the model does not compute in float32, or the sampler cannot give
            as many sequences or tokens.
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
    _import_onnx()
    return export_with(
        write_onnx,
        text_to_text,
        path,
        max_length,
        num_return_sequences,
        modules,
        overwrite,
    )


def write_onnx(text_to_text, folder, *, max_length, num_return_sequences):
    """Writes the files of `export_onnx`, under the TensorFlow backend.

    Args:
        text_to_text: A `TextToText`.
        folder: The folder to write in, a `Path`.
        max_length: As of `export_onnx`.
        num_return_sequences: As of `export_onnx`.

    Raises:
        RuntimeError: If a model holds an op that ONNX does not have.
    """
    onnx, _ = _import_onnx()
    functions = id_functions(text_to_text, max_length, num_return_sequences)
    for name, function in functions.items():
        onnx.save(_to_onnx(name, function), folder / f"{name}.onnx")
    write_tokenizers(text_to_text, folder, max_length)


def _to_onnx(name, function):
    """Returns the ONNX model of a `tf.function` with an input signature."""
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )
    from tf2onnx import tfonnx

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
    model = tfonnx.process_tf_graph(
        frozen.graph,
        opset=OPSET,
        custom_op_handlers={"SelectV2": (_as_where, [])},
        input_names=inputs,
        output_names=outputs,
        tensors_to_rename=dict(zip(inputs + outputs, names, strict=True)),
    ).make_model(name)
    _refuse_ops(model)
    return model


def _as_where(context, node, name, arguments):
    # Otherwise a select becomes `condition * x + (1 - condition) * y`, which is NaN
    # where the other of the two is infinite, as logits and scores are.
    node.type = "Where"
    return node


def _refuse_ops(model):
    import onnx

    def ops_of(graph):
        for node in graph.node:
            yield node.domain, node.op_type
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    yield from ops_of(attribute.g)

    refused = sorted(
        {op for domain, op in ops_of(model.graph) if not onnx.defs.has(op, domain)}
    )
    if refused:
        raise RuntimeError(
            "An ONNX model must hold only ops that ONNX has; of this one TensorFlow's "
            f"{', '.join(refused)} could not be converted. Replace the layer, sampler "
            "or processor that uses them."
        )


def _import_onnx():
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise ImportError(
            "ONNX export needs `onnx` and `tf2onnx`, which could not be imported "
            f"({error}). Install them with `pip install keras-encdec[onnx]`."
        ) from error
    return onnx, tf2onnx
