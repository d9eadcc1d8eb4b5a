"""The reloaded SavedModel gives what Python gives, where neither Keras nor we are."""

import dataclasses
import gzip
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_encdec import (
    BeamSampler,
    ByteTokenizer,
    CharacterTokenizer,
    EncoderDecoder,
    Generator,
    GreedySampler,
    Sampler,
    SentencePieceTokenizer,
    TextToText,
    TopKSampler,
    WordTokenizer,
    export_saved_model,
)
from keras_encdec.export.saved_model import _refuse_ops
from keras_encdec.generation import MinimumLength, NoRepeatNGram

CORPUS = Path(__file__).resolve().parents[3] / "shared/data/multi30k/raw/val.de.gz"
HOSTILE = [
    "",
    "   ",
    b"caf\xe9 \xff\xfe",
    "😀 👩‍👩‍👧",
    "שלום עולם مرحبا",
    "tab\tnew\nline\x00end\x1b[0m\u200b",
    "</s> <pad> <s> <unk>",
    "</s>",
]
LONG = ["ein sehr langer Satz " * 95 + "Ende.", "", "ein Satz"]
SEEDS = [0, 1, 2, 2, -1, -(2**31), 2**31 - 1, 99]
ON_TENSORFLOW = keras.config.backend() == "tensorflow"


def some_lines():
    if CORPUS.exists():
        return gzip.open(CORPUS, "rt", encoding="utf-8").read().splitlines()[:100]
    rng = np.random.default_rng(0)
    words = "zwei Männer stehen am Herd und kochen ein Essen über dem Feuer .".split()
    return [" ".join(rng.choice(words, rng.integers(3, 20))) for _ in range(100)]


LINES = some_lines()
BATCHES = {
    "lines": LINES,
    "seven": LINES[:7],
    "one": LINES[7:8],
    "none": [],
    "hostile": HOSTILE,
    "long": LONG,
}


def text_to_text_of(source, target, sampler, **options):
    """A model with weights that are the same under every backend."""
    model = EncoderDecoder(
        source.vocabulary_size,
        16,
        32,
        num_heads=2,
        num_layers=1,
        target_vocabulary_size=target.vocabulary_size,
        tie_embeddings=False,
    )
    rng = np.random.default_rng(0)

    def weight(variable):
        center = float(variable.path.endswith("gamma"))
        spread = 0.1 if len(variable.shape) == 1 else 0.6
        return (center + spread * rng.normal(size=variable.shape)).astype("float32")

    model.set_weights([weight(variable) for variable in model.weights])
    return TextToText(source, target, model, sampler, max_length=10, **options)


@pytest.fixture(scope="module")
def greedy():
    tokenizer = CharacterTokenizer.from_texts(LINES)
    return text_to_text_of(tokenizer, tokenizer, GreedySampler())


@pytest.fixture(scope="module")
def random():
    return text_to_text_of(
        SentencePieceTokenizer.train(LINES, 120),
        ByteTokenizer(),
        TopKSampler(k=20, temperature=1.5),
    )


@pytest.fixture(scope="module")
def beams():
    tokenizer = WordTokenizer.from_texts(LINES)
    processors = [NoRepeatNGram(2), MinimumLength(2)]
    return text_to_text_of(tokenizer, tokenizer, BeamSampler(3), processors=processors)


# Runs where no Keras is: `tensorflow_text` imports it, hence blocked only then.
SERVE = """
import json, sys
sys.modules["keras_encdec"] = None
import tensorflow as tf
import tensorflow_text
for name in [*sys.modules, "keras", "tf_keras"]:
    if name.split(".")[0] in ("keras", "tf_keras"):
        sys.modules[name] = None

def tensors(request):
    texts = [bytes.fromhex(text) for text in request["text"]]
    inputs = {"text": tf.constant(texts, tf.string)}
    if "seed" in request:
        inputs["seed"] = tf.constant(request["seed"], tf.int32)
    return inputs

answers = {}
requests = json.load(open(sys.argv[1] + "/requests"))
for folder in {request["folder"] for request in requests.values()}:
    loaded = tf.saved_model.load(sys.argv[1] + "/" + folder)
    definition = loaded.signatures["serving_default"].graph.as_graph_def()
    nodes = [*definition.node]
    for function in definition.library.function:
        nodes.extend(function.node_def)
    answers[folder] = {
        "signatures": sorted(loaded.signatures),
        "ops": sorted({node.op for node in nodes}),
    }
    for name, request in requests.items():
        if request["folder"] == folder:
            output = loaded.signatures[request["signature"]](**tensors(request))
            assert list(output) == ["text"] and output["text"].dtype == tf.string
            answers[name] = [text.hex() for text in output["text"].numpy()]
    # As TensorFlow Serving does it.
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        path = sys.argv[1] + "/" + folder
        served = tf.compat.v1.saved_model.load(session, ["serve"], path)
        signature = served.signature_def["serving_default"]
        texts = [bytes.fromhex(text) for text in requests[folder + " seven"]["text"]]
        output = session.run(
            signature.outputs["text"].name, {signature.inputs["text"].name: texts}
        )
        answers[folder + " session"] = [text.hex() for text in output]
json.dump(answers, open(sys.argv[1] + "/answers", "w"))
"""


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def served(greedy, random, beams, tmp_path_factory):
    """What three SavedModels answer in one fresh process."""
    root = tmp_path_factory.mktemp("exported")
    # Over a folder that is there already, and with another length.
    (root / "greedy").mkdir()
    (root / "greedy" / "old").write_text("old")
    path = export_saved_model(greedy, root / "greedy", max_length=14, overwrite=True)
    assert path == root / "greedy"
    assert not (path / "old").exists()
    assert export_saved_model(random, str(root / "random")) == root / "random"
    export_saved_model(beams, root / "beams")
    written = sorted(path.name for path in root.iterdir())
    assert written == ["beams", "greedy", "random"]

    requests = {
        f"{folder} {name}": {
            "folder": folder,
            "signature": "serving_default",
            "text": [as_bytes(text).hex() for text in texts],
        }
        for folder in ("greedy", "random", "beams")
        for name, texts in BATCHES.items()
    }
    for name in ("lines", "hostile", "none"):
        requests[f"sample {name}"] = {
            **requests[f"random {name}"],
            "signature": "sample",
            "seed": [SEEDS[i % len(SEEDS)] for i in range(len(BATCHES[name]))],
        }
    (root / "requests").write_text(json.dumps(requests))
    child = subprocess.run(
        [sys.executable, "-c", SERVE, str(root)],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    return json.loads((root / "answers").read_text())


def texts_of(answer):
    return [bytes.fromhex(text).decode("utf-8", "replace") for text in answer]


@pytest.mark.parametrize("name", BATCHES)
def test_beams_answer_what_python_answers(beams, served, name):
    assert texts_of(served[f"beams {name}"]) == beams(BATCHES[name])


@pytest.mark.parametrize("name", BATCHES)
def test_greedy_answers_are_those_of_python(greedy, served, name):
    expected = greedy(BATCHES[name], max_length=14)
    assert texts_of(served[f"greedy {name}"]) == expected
    if name == "lines":
        assert len(set(expected)) > 10
        assert max(map(len, expected)) > 10


@pytest.mark.parametrize("name", BATCHES)
def test_random_answers_are_those_of_python_with_seed_0(random, served, name):
    expected = random(BATCHES[name], seed=0)
    assert texts_of(served[f"random {name}"]) == expected
    if name == "lines":
        assert len(set(expected)) > 90


@pytest.mark.parametrize("name", ["lines", "hostile", "none"])
def test_each_row_may_have_its_seed(random, served, name):
    sources = random.source_tokenizer.encode(BATCHES[name]).to_list()
    seeds = [SEEDS[i % len(SEEDS)] for i in range(len(sources))]
    generator = Generator(random.model, random.sampler)
    ids = generator(sources, 10, np.array(seeds, "int32"))
    expected = random.target_tokenizer.decode(ids).numpy().tolist()
    assert [bytes.fromhex(text) for text in served[f"sample {name}"]] == expected


@pytest.mark.parametrize("folder", ["greedy", "random", "beams"])
def test_a_session_answers_the_same(served, folder):
    assert served[f"{folder} session"] == served[f"{folder} seven"]


def test_signatures(served):
    assert served["greedy"]["signatures"] == ["serving_default"]
    assert served["beams"]["signatures"] == ["serving_default"]
    assert served["random"]["signatures"] == ["sample", "serving_default"]


@pytest.mark.parametrize("folder", ["greedy", "random", "beams"])
def test_serving_can_run_every_op(served, folder):
    operations = served[folder]["ops"]
    assert {"StatelessWhile", "While"} & set(operations)
    assert not [op for op in operations if "Xla" in op or "PyFunc" in op]


# What is refused


def test_refuses_a_folder_that_is_there(greedy, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="there already"):
        export_saved_model(greedy, tmp_path)
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="there already"):
            export_saved_model(greedy, tmp_path / "mine", overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def save_with(function, folder):
    signature = tf.function(
        function, input_signature=[tf.TensorSpec((None,), tf.float32)]
    )
    tf.saved_model.save(tf.Module(), str(folder), signatures=signature)


def xla_update(x):
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops

    return gen_xla_ops.xla_dynamic_update_slice(x, [1.0], [0])


@pytest.mark.once
@pytest.mark.parametrize(
    ("function", "op"),
    [
        (lambda x: tf.py_function(lambda y: y, [x], tf.float32), "EagerPyFunc"),
        (lambda x: tf.numpy_function(lambda y: y, [x], tf.float32), "PyFunc"),
        (xla_update, "XlaDynamicUpdateSlice"),
        (
            lambda x: tf.while_loop(
                lambda y: tf.reduce_sum(y) < 1,
                lambda y: (tf.ensure_shape(xla_update(y), [None]),),
                [x],
            )[0],
            "XlaDynamicUpdateSlice",
        ),
    ],
    ids=["py_function", "numpy_function", "xla", "xla inside a loop"],
)
def test_finds_ops_that_serving_cannot_run(function, op, tmp_path):
    save_with(function, tmp_path)
    with pytest.raises(RuntimeError, match=f"this one holds {op}. Replace"):
        _refuse_ops(tmp_path)


@pytest.mark.once
def test_refuses_no_other_op(tmp_path):
    save_with(lambda x: tf.cumsum(x) * 2, tmp_path)
    _refuse_ops(tmp_path)


@keras.saving.register_keras_serializable(package="tests_of_export")
@dataclasses.dataclass(frozen=True)
class PythonSampler(Sampler):
    """Known to this process alone, and no graph can hold it."""

    def __call__(self, logits, uniform):
        def pick(logits):
            return logits.argmax(-1).astype("int32")

        ids = tf.numpy_function(pick, [logits], tf.int32)
        return ops.reshape(ids, (ops.shape(uniform)[0],))


@pytest.mark.parametrize("exists", [False, True])
def test_a_failed_export_leaves_nothing(greedy, tmp_path, exists):
    if exists and not ON_TENSORFLOW:
        pytest.skip("another child process would tell nothing new")
    tokenizer = greedy.source_tokenizer
    failing = TextToText(tokenizer, tokenizer, greedy.model, PythonSampler())
    if exists:
        (tmp_path / "export").mkdir()
        (tmp_path / "export" / "mine").write_text("mine")
    says = "this one holds PyFunc" if ON_TENSORFLOW else r"failed(?s:.)*PythonSampler"
    with pytest.raises(RuntimeError, match=says):
        export_saved_model(failing, tmp_path / "export", overwrite=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["export", "mine"] * exists
