"""Proof of a SavedModel: a fresh process answers what Python answers."""

import base64
import json
import pathlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_encdec.annotations import AnyPath, Tensor, Text
from keras_encdec.backend import import_tensorflow
from keras_encdec.export.child import run_python
from keras_encdec.files import FORMAT
from keras_encdec.generation import BeamSampler, RandomSampler
from keras_encdec.text_to_text import TextToText

tf = import_tensorflow()

# A signature's name, and its inputs by their names.
Request: TypeAlias = tuple[str, dict[str, np.ndarray]]

REPORT = pathlib.Path("assets.extra", "report.json")
TOLERANCE = 1e-4
# The share of rows that may have another text: backends round differently, which
# decides a draw, or between hypotheses, where two are as good as equal.
ROUNDED = 0.25
TEXTS = (
    "a text",
    "",
    "Another text, with commas, a number (12) and more words than the first one.",
    "naïve café 😀 שלום",
)


def example_requests(
    text_to_text: TextToText,
    signatures: Iterable[str],
    max_length: int,
    texts: Sequence[Text] = TEXTS,
) -> list[Request]:
    """Returns a request for each signature: pairs of its name and its inputs.

    Args:
        text_to_text: A `TextToText`, whose tokenizers have the ids to ask for.
        signatures: Names of signatures.
        max_length: The largest number of tokens to generate.
        texts: The texts to make them of, a list of `str` or `bytes`.

    Returns:
        A list of pairs `(signature, inputs)`, the inputs a dict of NumPy arrays, the
        texts arrays of `bytes` objects.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, EncoderDecoder, TextToText
        from keras_encdec.export.proof import example_requests

        tokenizer = ByteTokenizer()
        model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1)
        text_to_text = TextToText(tokenizer, tokenizer, model)
        print(example_requests(text_to_text, ["beam"], max_length=8))
        ```
    """
    rows = len(texts)
    encoded = [x.encode() if isinstance(x, str) else x for x in texts]
    # Of every vocabulary: the unknown id.
    source, target = text_to_text.source_tokenizer, text_to_text.target_tokenizer
    source_ids = np.array([[source.unknown_id] * 3 + [source.end_id]] * rows, "int32")
    target_ids = np.array([[target.start_id] + [target.unknown_id] * 3] * rows, "int32")
    values = {
        "text": np.array(encoded, object),
        "reference": np.array(encoded[::-1], object),
        "max_length": np.arange(rows, dtype="int32") % max_length + 1,
        "seed": np.arange(rows, dtype="int32") + 7,
        "temperature": np.full(rows, 0.7, "float32"),
        "top_k": np.zeros(rows, "int32"),
        "top_p": np.ones(rows, "float32"),
        "source": source_ids,
        "target": target_ids,
    }
    names = {
        "serving_default": ("text",),
        "generate": ("text", "max_length"),
        "beam": ("text",),
        "sample": ("text", "seed", "temperature", "top_k", "top_p"),
        "score": ("text", "reference"),
        "logits": ("source", "target"),
        "encode": ("text",),
    }
    return [
        (signature, {name: values[name] for name in names[signature]})
        for signature in signatures
    ]


def answer(
    text_to_text: TextToText,
    signature: str,
    inputs: dict[str, np.ndarray],
    max_length: int,
    beams: BeamSampler,
) -> dict[str, np.ndarray]:
    """Returns what a signature of the SavedModel must answer, by Python.

    Args:
        text_to_text: A `TextToText`, under any backend.
        signature: The name of the signature.
        inputs: Its inputs, as in `example_requests`, the options of `sample` the same
            for all rows, without k and p.
        max_length: The largest number of tokens to generate.
        beams: The `BeamSampler` of `beam`.

    Returns:
        A dict of NumPy arrays, the texts arrays of `bytes` objects.

    Example:
        ```python
        from keras_encdec import BeamSampler, ByteTokenizer, EncoderDecoder, TextToText
        from keras_encdec.export.proof import answer, example_requests

        tokenizer = ByteTokenizer()
        model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1)
        text_to_text = TextToText(tokenizer, tokenizer, model)
        requests = example_requests(text_to_text, ["generate"], max_length=8)
        for signature, inputs in requests:
            print(answer(text_to_text, signature, inputs, 8, BeamSampler(2)))
        ```
    """
    source_tokenizer = text_to_text.source_tokenizer
    target_tokenizer = text_to_text.target_tokenizer
    generator, model = text_to_text.generator, text_to_text.model
    if signature == "logits":
        logits = model((inputs["source"], inputs["target"]))
        return {"logits": keras.ops.convert_to_numpy(logits)}
    sources = source_tokenizer.encode(inputs["text"].tolist()).to_list()
    ragged = tf.ragged.constant(sources, tf.int32, ragged_rank=1)
    padded = ragged.to_tensor(source_tokenizer.padding_id).numpy()
    if signature == "encode":
        hidden = model.encode_hidden(keras.ops.convert_to_tensor(padded))
        hidden = keras.ops.convert_to_numpy(keras.ops.cast(hidden, "float32"))
        mask = padded != source_tokenizer.padding_id
        weights = mask[..., None] / np.maximum(mask.sum(axis=1), 1)[:, None, None]
        return {"hidden": hidden, "mask": mask, "pooled": (hidden * weights).sum(1)}
    if signature == "score":
        targets = target_tokenizer.encode(inputs["reference"].tolist()).to_list()
        total, _ = generator.score(sources, targets)
        return {"score": total, "length": np.array([len(row) for row in targets])}
    limits: int | np.ndarray = max_length
    seeds: int | np.ndarray = 0
    number = None
    if signature == "generate":
        limits = inputs["max_length"]
    elif signature == "beam":
        generator, number = text_to_text.with_sampler(beams).generator, beams.num_beams
    elif signature == "sample":
        sampler = RandomSampler(float(inputs["temperature"][0]))
        generator, seeds = text_to_text.with_sampler(sampler).generator, inputs["seed"]
    found = generator(
        sources, limits, seeds, num_return_sequences=number, return_scores=True
    )
    ids = found.ids.reshape(-1, found.ids.shape[-1])
    texts = target_tokenizer.decode(ids).numpy().reshape(found.scores.shape)
    return {"text": texts} | ({"score": found.scores} if signature == "beam" else {})


def prove(
    text_to_text: TextToText,
    folder: AnyPath,
    texts: Sequence[Text],
    signatures: Iterable[str],
    max_length: int,
    beams: BeamSampler,
) -> dict[str, Any]:
    """Compares a SavedModel in a fresh process with Python, and writes a report.

    The process has TensorFlow and tensorflow-text, and neither Keras nor this library.

    Args:
        text_to_text: The `TextToText` that was exported.
        folder: The folder of the SavedModel; the report is `assets.extra/report.json`
            there.
        texts: Texts to compare on.
        signatures: The names of its signatures.
        max_length: The largest number of tokens it generates.
        beams: The `BeamSampler` of `beam`.

    Returns:
        The report, a dict: sizes, seconds to load, and for each signature its inputs,
        outputs, the milliseconds for one text and for all, and in how many rows
        rounding chose another text.

    Raises:
        RuntimeError: If the process fails or an answer differs: numbers by more than
            1e-4, or more than a quarter of a signature's texts, for now and then
            rounding decides between two.

    Example:
        ```python
        import tempfile
        from keras_encdec import (
            BeamSampler, ByteTokenizer, EncoderDecoder, TextToText, export_saved_model
        )
        from keras_encdec.export.proof import prove

        tokenizer = ByteTokenizer()
        model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1)
        text_to_text = TextToText(tokenizer, tokenizer, model, max_length=8)
        path = tempfile.mkdtemp() + "/1"
        export_saved_model(text_to_text, path, signatures=["encode"])
        print(prove(text_to_text, path, ["one"], ["encode"], 8, BeamSampler(2)))
        ```
    """
    folder = pathlib.Path(folder)
    requests = example_requests(text_to_text, signatures, max_length, texts)
    report: dict[str, Any] = {
        "format": FORMAT,
        "texts": len(texts),
        "parameters": text_to_text.model.count_params(),
        "megabytes": sum(
            file.stat().st_size for file in folder.rglob("*") if file.is_file()
        )
        / 1e6,
    }
    asked, answers = _ask(folder, requests)
    report |= asked
    for (signature, inputs), received in zip(requests, answers, strict=True):
        expected = answer(text_to_text, signature, inputs, max_length, beams)
        rounded = _compare(signature, expected, received)
        report["signatures"][signature]["rounded"] = rounded
    (folder / REPORT).parent.mkdir(exist_ok=True)
    (folder / REPORT).write_text(json.dumps(report, indent=2))
    return report


def _ask(
    folder: pathlib.Path, requests: Iterable[Request]
) -> tuple[dict[str, Any], list[dict[str, np.ndarray]]]:
    """What a fresh process tells of a SavedModel, and its answers."""
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(temporary)
        question = [[name, encode_tensors(inputs)] for name, inputs in requests]
        (work / "requests").write_text(json.dumps(question))
        run_python(
            "The SavedModel must run in a fresh process with TensorFlow alone.",
            "import runpy; runpy.run_path(sys.argv[1])['main'](*sys.argv[2:])",
            str(pathlib.Path(__file__).with_name("fresh_process.py")),
            str(folder),
            str(work),
        )
        report = json.loads((work / "answers").read_text())
    return report, [decode_tensors(answer) for answer in report.pop("answers")]


def encode_tensors(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Returns tensors by name as text: serialized `TensorProto`s in base64."""
    return {
        name: base64.b64encode(tf.io.serialize_tensor(tensor).numpy()).decode()
        for name, tensor in tensors.items()
    }


def decode_tensors(tensors: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Returns what `encode_tensors` made texts of, as NumPy arrays by name."""
    from tensorflow.core.framework import tensor_pb2

    return {
        name: tf.make_ndarray(
            tensor_pb2.TensorProto.FromString(base64.b64decode(tensor))
        )
        for name, tensor in tensors.items()
    }


def _compare(
    signature: str,
    expected: Mapping[str, np.ndarray],
    received: Mapping[str, np.ndarray],
) -> int:
    """Raises if answers differ; returns how many texts rounding may have changed."""
    same = None
    for name, value in expected.items():
        value, other = np.asarray(value), received[name]
        right = value.shape == other.shape
        if right and value.dtype == object:
            same = np.all((value == other).reshape(len(value), -1), axis=1)
            right = same.sum() >= (1 - ROUNDED) * len(same)
        elif right:
            # Of the rows with another text the numbers are others too.
            pair = (value, other) if same is None else (value[same], other[same])
            right = np.allclose(*pair, rtol=TOLERANCE, atol=TOLERANCE)
        if not right:
            raise RuntimeError(
                "A SavedModel must answer what Python answers; received for the output "
                f"{name!r} of {signature!r} {other!r:.300}, where Python has "
                f"{value!r:.300}. Nothing was written: export without a jit, or other "
                "texts, and look which one is wrong."
            )
    return 0 if same is None else int(np.sum(~same))
