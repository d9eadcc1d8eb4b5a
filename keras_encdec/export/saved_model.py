"""SavedModel export: strings in, strings out, from any backend, for TF Serving."""

import pathlib
import re
from collections.abc import Collection, Iterable, Sequence

from keras_encdec.annotations import AnyPath, Text
from keras_encdec.backend import import_tensorflow
from keras_encdec.export.child import run_under_tensorflow
from keras_encdec.export.proof import example_requests, prove
from keras_encdec.export.signatures import SIGNATURES, Signatures
from keras_encdec.export.warm_up import write_warm_up
from keras_encdec.generation import BeamSampler, Sampler
from keras_encdec.model_card import write_card
from keras_encdec.option_checks import require_positive
from keras_encdec.saved_parts import new_export
from keras_encdec.serving.grpc import import_serving_api
from keras_encdec.text_to_text import TextToText

tf = import_tensorflow()

# What a TF Serving without Python cannot run, and what one without XLA cannot.
PYTHON_OPS = ("PyFunc", "EagerPyFunc")
XLA_OPS = ("Xla",)


def export_saved_model(
    text_to_text: TextToText,
    path: AnyPath,
    *,
    signatures: Collection[str] = SIGNATURES,
    max_length: int | None = None,
    num_beams: int = 5,
    length_penalty: float = 1.0,
    jit: bool = False,
    warm_up: bool = False,
    proof_texts: Sequence[Text] | None = None,
    modules: Iterable[str] = (),
    overwrite: bool = False,
) -> pathlib.Path:
    """Writes a SavedModel that takes strings and returns strings.

    Tokenizers, encoder and the whole loop are in the graph, for batches and texts of
    any size:

    | signature | inputs | outputs |
    | --- | --- | --- |
    | `serving_default` | `text` | `text`, by the sampler of `text_to_text` |
    | `generate` | `text`, `max_length` | `text` |
    | `beam` | `text` | `text` and `score` `(B, K)`, the best first |
    | `sample` | `text`, `seed`, `temperature`, `top_k`, `top_p` | `text` |
    | `score` | `text`, `reference` | `score`, the log-probability, and `length` |
    | `logits` | ids `source` `(B, S)`, `target` `(B, T)` | `logits` `(B, T, V)` |
    | `encode` | `text` | `hidden` `(B, S, D)`, `mask` `(B, S)`, `pooled` `(B, D)` |

    Where nothing else is said an input or output has a value for each row, `(B,)`. A
    random sampler draws in `serving_default` and `generate` as Python does with seed 0.

    Args:
        text_to_text: A `TextToText`, under any backend.
        path: The folder to write, such as `saved_models/g2p/1`; its name must be a
            number, of which TF Serving serves the largest.
        signatures: Which of the signatures to write.
        max_length: The largest number of tokens to generate; by default that of
            `text_to_text`.
        num_beams: The number of beams K of `beam`, unless the sampler of
            `text_to_text` is a `BeamSampler`, which is then used there.
        length_penalty: The length penalty of these beams.
        jit: Whether XLA compiles the search, for batches and sources padded to powers
            of two: faster for small models, and only for a server that was started
            with `--xla_cpu_compilation_enabled`.
        warm_up: Whether to write requests that TF Serving sends itself before it
            serves; needs the extra `serving`.
        proof_texts: None, or texts on which the SavedModel, loaded in a fresh process
            without Keras, must answer what Python answers before it is put in its
            place; `assets.extra/report.json` then tells sizes and latencies.
        modules: Modules to import before, by name, that register custom objects of the
            model, its sampler or processors.
        overwrite: Whether to replace a folder that is there already.

    Returns:
        The `pathlib.Path` of the folder.

    Raises:
        FileExistsError: If the folder is there and `overwrite` is False, or holds
            something else.
        ValueError: If the folder's name is no number, a signature is unknown, there are
            no texts for the proof, there are a jit and a shortlist, or a length or the
            sampler cannot be exported;
            before anything is written.
        RuntimeError: If the child process fails, the graph holds an op that TF Serving
            cannot run, or the SavedModel does not answer what Python answers.

    Example:
        ```python
        import tempfile
        import tensorflow as tf
        from keras_encdec import (
            ByteTokenizer, EncoderDecoder, TextToText, export_saved_model
        )

        tokenizer = ByteTokenizer()
        model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1)
        text_to_text = TextToText(tokenizer, tokenizer, model, max_length=8)
        path = tempfile.mkdtemp() + "/bytes/1"
        path = export_saved_model(text_to_text, path, signatures=["serving_default"])
        serve = tf.saved_model.load(path).signatures["serving_default"]
        print(serve(text=tf.constant(["one text"]))["text"])
        ```
    """
    unknown = [name for name in signatures if name not in SIGNATURES]
    if unknown or not signatures:
        raise ValueError(
            f"`signatures` must be some of {', '.join(SIGNATURES)}; received "
            f"{list(signatures)!r}."
        )
    name = pathlib.Path(path).name
    if not re.fullmatch("[0-9]{1,18}", name):
        raise ValueError(
            "TF Serving finds a SavedModel in a folder whose name is its version, a "
            f"number; received {str(path)!r}. Write it to "
            f"{str(pathlib.Path(path, '1'))!r}."
        )
    if proof_texts is not None and not len(proof_texts):
        raise ValueError(
            "A proof needs at least one text; received none. Give some, or None for no "
            "proof."
        )
    if jit and text_to_text.generator.shortlist is not None:
        raise ValueError(
            "The number of a shortlist's candidates is another for each batch, which "
            "XLA cannot compile; received jit=True and a shortlist. Leave one out."
        )
    if warm_up:
        import_serving_api()
    max_length = text_to_text.max_length if max_length is None else max_length
    require_positive(max_length=max_length)
    beams = _beams(text_to_text.sampler, num_beams, length_penalty)
    # With no source a call checks its options, and no more.
    text_to_text.generator([], max_length)
    if "beam" in signatures:
        text_to_text.with_sampler(beams).generator([], max_length)
    with new_export(path, "saved-model", overwrite=overwrite) as folder:
        run_under_tensorflow(
            write_saved_model,
            text_to_text,
            folder,
            modules=modules,
            signatures=list(signatures),
            max_length=max_length,
            num_beams=num_beams,
            length_penalty=length_penalty,
            jit=jit,
        )
        if warm_up:
            write_warm_up(
                folder, example_requests(text_to_text, signatures, max_length)
            )
        if proof_texts is not None:
            prove(text_to_text, folder, proof_texts, signatures, max_length, beams)
        write_card(folder, text_to_text, "saved-model")
    return pathlib.Path(path)


def write_saved_model(
    text_to_text: TextToText,
    folder: pathlib.Path,
    *,
    signatures: Iterable[str],
    max_length: int,
    num_beams: int,
    length_penalty: float,
    jit: bool,
) -> None:
    """Writes the SavedModel of `export_saved_model`, under the TensorFlow backend."""
    beams = _beams(text_to_text.sampler, num_beams, length_penalty)
    served = Signatures(text_to_text, max_length, beams, jit)
    functions = served.functions(signatures)
    tf.saved_model.save(served.module, str(folder), signatures=functions)
    _refuse_ops(folder, PYTHON_OPS if jit else PYTHON_OPS + XLA_OPS)


def _beams(sampler: Sampler, num_beams: int, length_penalty: float) -> BeamSampler:
    """The sampler of the signature `beam`."""
    if isinstance(sampler, BeamSampler):
        return sampler
    return BeamSampler(num_beams, length_penalty)


def operation_names(folder: AnyPath) -> set[str]:
    """Returns the names of the ops in the graph of a SavedModel, a set.

    Args:
        folder: The folder of the SavedModel.

    Example:
        ```python
        import tempfile
        import tensorflow as tf
        from keras_encdec.export.saved_model import operation_names

        folder = tempfile.mkdtemp()
        tf.saved_model.save(tf.Module(), folder)
        print(operation_names(folder))
        ```
    """
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((pathlib.Path(folder) / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node]
    for function in graph.library.function:
        nodes.extend(function.node_def)
    return {node.op for node in nodes}


def _refuse_ops(folder: AnyPath, refused: tuple[str, ...]) -> None:
    found = sorted(op for op in operation_names(folder) if op.startswith(refused))
    if found:
        raise RuntimeError(
            "A SavedModel must hold only ops that TF Serving runs without Python and, "
            "but for those with a jit, without XLA; this one holds "
            f"{', '.join(found)}. Replace the layer, sampler or tokenizer that uses "
            "them."
        )
