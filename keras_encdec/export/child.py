"""Work that needs the TensorFlow backend, from under any backend.

Graphs are written by TensorFlow. Under JAX and PyTorch the model is saved, and a child
process under the TensorFlow backend loads it and does the work. A child process imports
what its parent does, and nothing that happens to lie in the current folder.
"""

import importlib
import json
import os
import pathlib
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import keras

from keras_encdec.annotations import AnyPath
from keras_encdec.export.weights import refuse_nan
from keras_encdec.generation import Generator, Shortlist
from keras_encdec.generation.samplers.keras_hub import KerasHubSampler
from keras_encdec.saved_parts import MODEL_FILE, search_config, take_search_from_config
from keras_encdec.text_to_text import TextToText

# What is saved of a generator beside its model, for the child process alone.
_GENERATOR_FILE = "generator.json"
_SHORTLIST_FILE = "shortlist.safetensors"
_IDS = "start_id", "end_id", "padding_id"

# The path first, so that all the rest is imported as in the parent.
_START = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1))\n"
# The library that the parent runs, also where another one is found on the path.
_CHILD = """
import importlib.util
spec = importlib.util.spec_from_file_location("keras_encdec", sys.argv[1])
package = importlib.util.module_from_spec(spec)
sys.modules["keras_encdec"] = package
spec.loader.exec_module(package)
from keras_encdec.export import child
child._main(*sys.argv[2:])
"""


def run_python(
    rule: str,
    code: str,
    *arguments: str,
    last: Iterable[str] = (),
    **variables: str,
) -> None:
    """Runs Python code in a child process, which imports what this process does.

    Args:
        rule: What must hold, a sentence for the error.
        code: The code; `json` and `sys` are imported.
        *arguments: `str`s that it finds in `sys.argv`, from index 1.
        last: More folders to import from, after all others.
        **variables: Environment variables to set.

    Raises:
        RuntimeError: If it fails; with the end of its output.

    Example:
        ```python
        from keras_encdec.export.child import run_python

        run_python("One must be 1.", "assert sys.argv[1] == '1'", "1")
        ```
    """
    # Not '', which is the current folder: whatever lies there under the name of a
    # package would be run in its place.
    path = [*filter(None, sys.path), *last]
    environment = {**os.environ, **variables}
    environment.pop("PYTHONPATH", None)
    child = subprocess.run(
        [sys.executable, "-P", "-c", _START + code, json.dumps(path), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if child.returncode:
        raise RuntimeError(
            f"{rule} The child process failed with status {child.returncode}; the end "
            f"of its output:\n{child.stdout[-4000:]}"
        )


def run_under_tensorflow(
    function: Callable[..., None],
    text_to_text: TextToText | Generator,
    folder: AnyPath,
    *,
    modules: Iterable[str] = (),
    **options: Any,
) -> None:
    """Calls a function of what generates where the TensorFlow backend runs.

    Args:
        function: A function `(text_to_text, folder, **options)`, at the top level of a
            module of this package.
        text_to_text: A `TextToText` or a `Generator`, under any backend.
        folder: The folder it writes in.
        modules: Modules for the child process to import first, by name, that register
            custom objects of it.
        **options: Its options, of types that JSON knows.

    Raises:
        RuntimeError: If the child process fails; with the end of its output.
        ValueError: If the sampler is KerasHub's, which no graph can hold, or a weight
            is nan.

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
    if isinstance(text_to_text.sampler, KerasHubSampler):
        raise ValueError(
            "A sampler of KerasHub draws by generators of its own, which cannot be "
            f"exported; received {text_to_text.sampler!r}. Take one of keras_encdec, "
            "as in text_to_text.with_sampler(TopKSampler(k=5))."
        )
    refuse_nan(text_to_text.model)
    if keras.config.backend() == "tensorflow":
        function(text_to_text, folder, **options)
        return
    with tempfile.TemporaryDirectory() as saved:
        if isinstance(text_to_text, Generator):
            _save_generator(text_to_text, pathlib.Path(saved))
        else:
            text_to_text.save(saved, overwrite=True)
            shortlist = text_to_text.generator.shortlist
            if shortlist is not None:
                shortlist.save(pathlib.Path(saved, _SHORTLIST_FILE))
        run_python(
            "What is exported must load and run under the TensorFlow backend.",
            _CHILD,
            str(pathlib.Path(__file__).parents[1] / "__init__.py"),
            f"{function.__module__}:{function.__name__}",
            saved,
            str(folder),
            json.dumps([list(modules), options]),
            # A module of the user's may lie in the current folder of a notebook.
            last=[os.getcwd()] if modules and "" in sys.path else [],
            KERAS_BACKEND="tensorflow",
            CUDA_VISIBLE_DEVICES="",
        )


def _save_generator(generator: Generator, folder: pathlib.Path) -> None:
    config = {name: getattr(generator, name) for name in _IDS}
    config |= search_config(generator)
    generator.model.save(folder / MODEL_FILE)
    (folder / _GENERATOR_FILE).write_text(json.dumps(config), encoding="utf-8")


def _load(folder: pathlib.Path, modules: Iterable[str]) -> TextToText | Generator:
    file = folder / _GENERATOR_FILE
    if not file.exists():
        text_to_text = TextToText.load(folder, modules)
        if (shortlist := folder / _SHORTLIST_FILE).exists():
            text_to_text.generator.shortlist = Shortlist.load(shortlist)
        return text_to_text
    for module in modules:
        importlib.import_module(module)
    config = json.loads(file.read_text("utf-8"))
    return Generator(
        keras.saving.load_model(folder / MODEL_FILE, compile=False, safe_mode=True),
        **take_search_from_config(config),
        **config,
    )


def _main(name: str, saved: str, folder: str, arguments: str) -> None:
    function = pkgutil.resolve_name(name)
    modules, options = json.loads(arguments)
    function(_load(pathlib.Path(saved), modules), pathlib.Path(folder), **options)
