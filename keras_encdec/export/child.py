"""Work that needs the TensorFlow backend, from under any backend.

Graphs are written by TensorFlow. Under JAX and PyTorch the model is saved, and a child
process under the TensorFlow backend loads it and does the work.
"""

import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import keras

from keras_encdec.text_to_text import TextToText


def run_under_tensorflow(function, text_to_text, folder, *, modules=(), **options):
    """Calls a function of a `TextToText` where the TensorFlow backend runs.

    Args:
        function: A function `(text_to_text, folder, **options)`, at the top level of a
            module of this package.
        text_to_text: A `TextToText`, under any backend.
        folder: The folder it writes in.
        modules: Modules for the child process to import first, by name, that register
            custom objects of the `TextToText`.
        **options: Its options, of types that JSON knows.

    Raises:
        RuntimeError: If the child process fails; with the end of its output.

    Example:
        ```python
        import tempfile
        from keras_encdec import ByteTokenizer, EncoderDecoder, TextToText
        from keras_encdec.export.child import run_under_tensorflow
        from keras_encdec.export.saved_model import write_saved_model

        tokenizer = ByteTokenizer()
        model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1)
        text_to_text = TextToText(tokenizer, tokenizer, model, max_length=8)
        folder = tempfile.mkdtemp()
        run_under_tensorflow(
            write_saved_model,
            text_to_text,
            folder,
            signatures=["encode"],
            max_length=8,
            num_beams=2,
            length_penalty=1.0,
            jit=False,
        )
        ```
    """
    if keras.config.backend() == "tensorflow":
        function(text_to_text, folder, **options)
        return
    package = pathlib.Path(__file__).parents[2]
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join(paths),
    }
    name = f"{function.__module__}:{function.__name__}"
    with tempfile.TemporaryDirectory() as saved:
        text_to_text.save(saved, overwrite=True)
        arguments = [name, saved, str(folder), json.dumps([list(modules), options])]
        child = subprocess.run(
            [sys.executable, "-m", __name__, *arguments],
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


def _main(name, saved, folder, arguments):
    module, function = name.split(":")
    function = getattr(importlib.import_module(module), function)
    modules, options = json.loads(arguments)
    function(TextToText.load(saved, modules), pathlib.Path(folder), **options)


if __name__ == "__main__":
    _main(*sys.argv[1:])
