"""Asks a SavedModel where only TensorFlow and tensorflow-text are.

`proof` runs this file without the package. It reads `WORK/requests` and writes
`WORK/answers`, as `proof` describes them.
"""

import base64
import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any


def main(folder: str, work: str) -> None:
    """Answers the requests of `proof.prove`."""
    # Here, for the file is imported with the package too.
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  (registers the ops of tokenizers)

    start = time.perf_counter()
    loaded = tf.saved_model.load(folder)
    load_seconds = time.perf_counter() - start
    signatures, answers = {}, []
    for name, inputs in json.loads(pathlib.Path(work, "requests").read_text()):
        function = loaded.signatures[name]
        specs = function.structured_input_signature[1]
        inputs = {
            key: tf.io.parse_tensor(base64.b64decode(value), specs[key].dtype)
            for key, value in inputs.items()
        }
        answer = function(**inputs)
        answers.append(
            {
                key: base64.b64encode(tf.io.serialize_tensor(value).numpy()).decode()
                for key, value in answer.items()
            }
        )
        one = {key: value[:1] for key, value in inputs.items()}
        signatures[name] = {
            "inputs": {key: _describe(spec) for key, spec in specs.items()},
            "outputs": {
                key: _describe(spec)
                for key, spec in function.structured_outputs.items()
            },
            "milliseconds_for_one": _milliseconds(function, one),
            "milliseconds_for_all": _milliseconds(function, inputs),
        }
    if "keras_encdec" in sys.modules:
        raise ImportError("The process must be fresh; keras_encdec was imported.")
    report = {
        "load_seconds": load_seconds,
        "signatures": signatures,
        "answers": answers,
    }
    pathlib.Path(work, "answers").write_text(json.dumps(report))


def _describe(spec: Any) -> str:
    shape = ", ".join("?" if size is None else str(size) for size in spec.shape)
    return f"{spec.dtype.name} ({shape})"


def _milliseconds(
    function: Callable[..., object], inputs: dict[str, Any], times: int = 5
) -> float:
    function(**inputs)
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        function(**inputs)
        taken.append(1000 * (time.perf_counter() - start))
    return sorted(taken)[times // 2]
