"""SavedModel export: strings in, strings out, from any backend.

The graph is TensorFlow's. Under JAX and PyTorch the model is saved, and a child process
under the TensorFlow backend loads and exports it.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import keras
from keras import ops

from keras_encdec.backend import import_tensorflow
from keras_encdec.files import new_folder
from keras_encdec.generation import RandomSampler, generate, row_seeds
from keras_encdec.text_to_text import TextToText

tf = import_tensorflow()

# What a TF Serving without XLA and Python cannot run.
REFUSED_OPS = ("Xla", "PyFunc", "EagerPyFunc")


def export_saved_model(text_to_text, path, *, max_length=None, overwrite=False):
    """Writes a SavedModel that takes strings and returns strings.

    Tokenizers, encoder and the whole loop are in the graph, for batches and texts of
    any size. Its signature `serving_default` maps `text` `(B,)` to `text` `(B,)`. If
    the sampler is a random one, it draws as Python does with seed 0, and a second
    signature `sample` also takes `seed` `(B,)`, int32, a seed for each row.

    Args:
        text_to_text: A `TextToText`, under any backend.
        path: The folder to write, such as `saved_models/g2p/1`; TF Serving serves the
            largest number.
        max_length: The largest number of tokens to generate; by default that of
            `text_to_text`.
        overwrite: Whether to replace a folder that is there already.

    Returns:
        The `pathlib.Path` of the folder.

    Raises:
        FileExistsError: If the folder is there and `overwrite` is False.
        RuntimeError: If the child process fails, or the graph holds an op that TF
            Serving cannot run.

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
        path = export_saved_model(text_to_text, tempfile.mkdtemp() + "/bytes/1")
        serve = tf.saved_model.load(path).signatures["serving_default"]
        print(serve(text=tf.constant(["one text"]))["text"])
        ```
    """
    max_length = text_to_text.max_length if max_length is None else max_length
    with new_folder(path, overwrite=overwrite) as folder:
        if keras.config.backend() == "tensorflow":
            _write(text_to_text, folder, max_length)
        else:
            _write_in_child(text_to_text, folder, max_length)
    return pathlib.Path(path)


def _write(text_to_text, folder, max_length):
    module = tf.Module()
    # Variables and tokenizers, not the model: a Keras model would bring its own
    # functions and names along.
    module.parameters = [variable.value for variable in text_to_text.model.variables]
    module.tokenizers = (text_to_text.source_tokenizer, text_to_text.target_tokenizer)

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec((None,), tf.string),
            tf.TensorSpec((None,), tf.int32),
        ],
    )
    def answer(texts, seeds):
        source = text_to_text.source_tokenizer.encode(texts).to_tensor(
            text_to_text.source_tokenizer.padding_id
        )
        ids = generate(
            text_to_text.model,
            text_to_text.sampler,
            source,
            tf.fill(tf.shape(texts), max_length),
            seeds,
            max_length=max_length,
            start_id=text_to_text.target_tokenizer.start_id,
            end_id=text_to_text.target_tokenizer.end_id,
            padding_id=text_to_text.target_tokenizer.padding_id,
            processors=text_to_text.generator.processors,
        ).ids[:, 0]
        return {"text": text_to_text.target_tokenizer.decode(ids)}

    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec((None,), tf.string, name="text")],
    )
    def serving_default(text):
        return answer(text, row_seeds(0, ops.shape(text)[0]))

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec((None,), tf.string, name="text"),
            tf.TensorSpec((None,), tf.int32, name="seed"),
        ],
    )
    def sample(text, seed):
        return answer(text, seed)

    signatures = {"serving_default": serving_default}
    if isinstance(text_to_text.sampler, RandomSampler):
        signatures["sample"] = sample
    tf.saved_model.save(module, str(folder), signatures=signatures)
    _refuse_ops(folder)


def _refuse_ops(folder):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((pathlib.Path(folder) / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node]
    for function in graph.library.function:
        nodes.extend(function.node_def)
    refused = sorted({node.op for node in nodes if node.op.startswith(REFUSED_OPS)})
    if refused:
        raise RuntimeError(
            "A SavedModel must hold only ops that TF Serving runs without XLA and "
            f"Python; this one holds {', '.join(refused)}. Replace the layer, sampler "
            "or tokenizer that uses them."
        )


def _write_in_child(text_to_text, folder, max_length):
    with tempfile.TemporaryDirectory() as saved:
        text_to_text.save(saved, overwrite=True)
        package = pathlib.Path(__file__).parents[2]
        paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "KERAS_BACKEND": "tensorflow",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": os.pathsep.join(paths),
        }
        child = subprocess.run(
            [sys.executable, "-m", __name__, saved, str(folder), str(max_length)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if child.returncode:
        raise RuntimeError(
            "The child process that exports under the TensorFlow backend failed; "
            f"the end of its output:\n{child.stdout[-4000:]}"
        )


if __name__ == "__main__":
    _write(TextToText.load(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
