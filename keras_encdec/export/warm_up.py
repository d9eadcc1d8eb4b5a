"""Warm-up requests, which TF Serving answers to itself before it opens a model."""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from keras_encdec.annotations import AnyPath
from keras_encdec.backend import import_tensorflow
from keras_encdec.files import new_file
from keras_encdec.serving import cast_inputs, find_signature, predict_request
from keras_encdec.serving.grpc import import_serving_api

tf = import_tensorflow()

# With more, TF Serving does not load the model.
MAX_RECORDS = 1000


def write_warm_up(
    folder: AnyPath, requests: Iterable[tuple[str, Mapping[str, Any]]]
) -> pathlib.Path:
    """Adds requests to a SavedModel that TF Serving runs when it loads it.

    Without them, the first client of each signature waits for what TensorFlow does only
    once. TF Serving loads no model that fails at one of them, hence they are compared
    with the signatures first.

    Args:
        folder: A folder that holds a `saved_model.pb`.
        requests: Pairs of a signature's name and a dict from its input names to lists
            or arrays, at most 1000.

    Returns:
        The `pathlib.Path` of the file, `assets.extra/tf_serving_warmup_requests`.

    Raises:
        FileNotFoundError: If there is no `saved_model.pb`.
        ImportError: If the extra `serving` is not installed.
        TypeError: If values are not of the type that a signature takes.
        ValueError: If there are too many requests, or one does not fit its signature.

    Example:
        ```python
        import tempfile
        import tensorflow as tf
        from keras_encdec.export.warm_up import write_warm_up

        module = tf.Module()
        spec = tf.TensorSpec((None,), tf.string, name="text")
        upper = tf.function(lambda text: {"text": tf.strings.upper(text)}, [spec])
        folder = tempfile.mkdtemp()
        tf.saved_model.save(module, folder, signatures={"serving_default": upper})
        print(write_warm_up(folder, [("serving_default", {"text": ["a", "b"]})]))
        ```

    References:
        - [SavedModel
          Warmup](https://www.tensorflow.org/tfx/serving/saved_model_warmup)
    """
    import_serving_api()
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    requests = list(requests)
    if len(requests) > MAX_RECORDS:
        raise ValueError(
            f"TF Serving takes at most {MAX_RECORDS} warm-up requests; received "
            f"{len(requests)}. Give fewer, such as one for each signature."
        )
    signatures = _read_signatures(folder)
    records = []
    for signature, inputs in requests:
        takes, _ = find_signature(signatures, signature)
        log = PredictionLog()
        # The reader ignores the model's name.
        log.predict_log.request.CopyFrom(
            predict_request(cast_inputs(inputs, takes, signature), signature, "model")
        )
        records.append(log.SerializeToString())
    path = pathlib.Path(folder) / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir(exist_ok=True)
    with new_file(path) as file, tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)
    return path


def _read_signatures(folder: AnyPath) -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path = pathlib.Path(folder) / "saved_model.pb"
    if not path.is_file():
        raise FileNotFoundError(
            f"Warm-up requests belong to a SavedModel; {str(path)!r} is not there. "
            "Save the model first."
        )
    meta_graph, *_ = SavedModel.FromString(path.read_bytes()).meta_graphs
    return {
        name: MessageToDict(definition, preserving_proto_field_name=True)
        for name, definition in meta_graph.signature_def.items()
    }
