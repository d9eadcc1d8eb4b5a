"""The reloaded SavedModel gives what Python gives, where neither Keras nor we are."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from tensorflow_serving.apis import prediction_log_pb2

from keras_encdec import (
    BeamSampler,
    ByteTokenizer,
    CharacterTokenizer,
    EncoderDecoder,
    Generator,
    GreedySampler,
    RandomSampler,
    SentencePieceTokenizer,
    TextToText,
    TopKSampler,
    TopPSampler,
    WordTokenizer,
    export_saved_model,
)
from keras_encdec.export import fresh_process as fresh
from keras_encdec.export.child import run_python
from keras_encdec.export.proof import decode_tensors, encode_tensors
from keras_encdec.export.saved_model import (
    PYTHON_OPS,
    XLA_OPS,
    _refuse_ops,
    operation_names,
)
from keras_encdec.generation import MinimumLength, NoRepeatNGram
from keras_encdec.serving import ServingClient

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
LONGEST = ["ein sehr langer Satz " * 480, "ein Satz"]
SEEDS = [0, 1, 2, 2, -1, -(2**31), 2**31 - 1, 99]
ON_TENSORFLOW = keras.config.backend() == "tensorflow"
on_tensorflow = pytest.mark.skipif(
    not ON_TENSORFLOW, reason="a model that another backend exports has the same ops"
)


def some_lines():
    if CORPUS.exists():
        return gzip.open(CORPUS, "rt", encoding="utf-8").read().splitlines()[:200]
    rng = np.random.default_rng(0)
    parts = (
        "zwei Män ner ste hen am Herd und ko chen ein Es sen ü ber dem Feu er".split()
    )
    words = ["".join(rng.choice(parts, rng.integers(1, 4))) for _ in range(300)]
    return [" ".join(rng.choice(words, rng.integers(3, 20))) for _ in range(200)]


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
    # Each row begins with an id that stands before all targets.
    config = tokenizer.get_config() | {"prefix_ids": [9]}
    processors = [NoRepeatNGram(2), MinimumLength(2)]
    return text_to_text_of(
        tokenizer,
        WordTokenizer.from_config(config),
        BeamSampler(3),
        processors=processors,
    )


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def text_inputs(texts):
    return {"text": np.array([*map(as_bytes, texts), b""], object)[:-1]}


def sample_inputs(texts, temperature=1.0, k=0, p=1.0):
    rows = len(texts)
    return {
        **text_inputs(texts),
        "seed": np.resize(np.array(SEEDS, "int32"), rows),
        "temperature": np.full(rows, temperature, "float32"),
        "top_k": np.full(rows, k, "int32"),
        "top_p": np.full(rows, p, "float32"),
    }


SAMPLES = {
    "plain": (RandomSampler(1.5), {"temperature": 1.5}),
    "k": (TopKSampler(k=20, temperature=1.5), {"temperature": 1.5, "k": 20}),
    "p": (TopPSampler(p=0.8, temperature=2.0), {"temperature": 2.0, "p": 0.8}),
    "greedy": (GreedySampler(), {"temperature": 0.0}),
}
ALONE = 2, 5
LIMITS = np.array([3, 0, 14, 100, -1, 1, 9], "int32")
PAIRS = LINES[:40] + HOSTILE, (LINES[:40] + HOSTILE)[::-1]
IDS = (
    np.array([[5, 7, 2, 0], [9, 8, 7, 2]], "int32"),
    np.array([[1, 5], [1, 9]], "int32"),
)


def requests():
    """Everything that is asked: by name the folder, the signature and its inputs."""
    asked = {
        f"{folder} {name}": (folder, "serving_default", text_inputs(texts))
        for folder in ("greedy", "random", "beams")
        for name, texts in BATCHES.items()
    }
    asked["ten thousand characters"] = "beams", "serving_default", text_inputs(LONGEST)
    for name in ("lines", "hostile", "none"):
        asked[f"beam {name}"] = "beams", "beam", text_inputs(BATCHES[name])
    for name, (_, options) in SAMPLES.items():
        inputs = sample_inputs(LINES + HOSTILE, **options)
        asked[f"sample {name}"] = "random", "sample", inputs
    asked["sample none"] = "random", "sample", sample_inputs([])
    inputs = sample_inputs(LINES[:6], 1.5)
    asked["sample together"] = "random", "sample", inputs
    for row in ALONE:
        alone = {name: x[row : row + 1] for name, x in inputs.items()}
        asked[f"sample row {row}"] = "random", "sample", alone
    limited = {**text_inputs(LINES[:7]), "max_length": LIMITS}
    asked["limited"] = "greedy", "generate", limited
    for name, (sources, targets) in {"pairs": PAIRS, "no pairs": ([], [])}.items():
        references = text_inputs(targets)["text"]
        inputs = {**text_inputs(sources), "reference": references}
        asked[name] = "greedy", "score", inputs
    asked["ids"] = "greedy", "logits", dict(zip(("source", "target"), IDS, strict=True))
    empty = {name: ids[:0] for name, ids in asked["ids"][2].items()}
    asked["no ids"] = "greedy", "logits", empty
    for name in ("seven", "hostile", "none"):
        asked[f"encode {name}"] = "greedy", "encode", text_inputs(BATCHES[name])
    return asked


SIGNATURES = {
    "greedy": ["serving_default", "generate", "score", "logits", "encode"],
    "random": ["serving_default", "sample"],
    "beams": ["serving_default", "beam"],
}
if not ON_TENSORFLOW:
    # It draws the same numbers under every backend, as the laws show.
    del SIGNATURES["random"]


@pytest.fixture(scope="module")
def exported(greedy, random, beams, tmp_path_factory):
    """The folder of the SavedModels."""
    root = tmp_path_factory.mktemp("exported")
    # Over a folder that is there already, and with another length.
    (root / "greedy" / "1").mkdir(parents=True)
    for name in ("old", "saved_model.pb"):
        (root / "greedy" / "1" / name).write_text("old")
    path = export_saved_model(
        greedy,
        root / "greedy" / "1",
        signatures=SIGNATURES["greedy"],
        max_length=14,
        overwrite=True,
    )
    assert path == root / "greedy" / "1"
    assert not (path / "old").exists()
    for name, text_to_text in (("random", random), ("beams", beams)):
        if name in SIGNATURES:
            path, signatures = str(root / name / "1"), SIGNATURES[name]
            options = {"signatures": signatures, "warm_up": name == "random"}
            written = export_saved_model(text_to_text, path, **options)
            assert written == root / name / "1"
    assert sorted(path.name for path in root.iterdir()) == sorted(SIGNATURES)
    return root


# As the proof asks, but for all folders at once, and without the time of each answer.
ASK = """
main = runpy.run_path(sys.argv[1])["main"]
main.__globals__["_milliseconds"] = lambda *args: 0.0
for folder, work in json.loads(sys.argv[2]):
    main(folder, work)
"""


@pytest.fixture(scope="module")
def fresh_process(exported, tmp_path_factory):
    """What a process with TensorFlow alone answers."""
    root, works = tmp_path_factory.mktemp("asked"), []
    for folder, asked in requests_by_folder().items():
        work = root / folder
        work.mkdir()
        texts = [[name, encode_tensors(inputs)] for name, inputs in asked.values()]
        (work / "requests").write_text(json.dumps(texts))
        works.append([str(exported / folder / "1"), str(work)])
    code = f"import runpy\n{ASK}"
    run_python("It runs alone.", code, fresh.__file__, json.dumps(works))
    answers = {}
    for folder, asked in requests_by_folder().items():
        found = json.loads((root / folder / "answers").read_text())["answers"]
        answers.update(zip(asked, map(decode_tensors, found), strict=True))
    return answers


@pytest.fixture(scope="module")
def without_python(exported, program):
    """What a program without Python answers, in which XLA is off."""
    answers = {}
    for folder, asked in requests_by_folder().items():
        found = program.run(exported / folder / "1", asked.values())
        answers.update(zip(asked, found, strict=True))
    return answers


def requests_by_folder():
    return {
        folder: {name: rest for name, (of, *rest) in requests().items() if of == folder}
        for folder in SIGNATURES
    }


@pytest.fixture(
    params=["fresh_process", pytest.param("without_python", marks=on_tensorflow)]
)
def served(request):
    """What the SavedModels answer, by two ways to load them."""
    return request.getfixturevalue(request.param)


def texts_of(answer):
    return [text.decode("utf-8", "replace") for text in answer["text"]]


@pytest.mark.slow
@pytest.mark.parametrize("name", BATCHES)
def test_beams_answer_what_python_answers(beams, served, name):
    assert texts_of(served[f"beams {name}"]) == beams(BATCHES[name])


def test_ten_thousand_characters(beams, served):
    assert len(LONGEST[0]) > 10_000
    assert texts_of(served["ten thousand characters"]) == beams(LONGEST)


@pytest.mark.parametrize("name", BATCHES)
def test_greedy_answers_are_those_of_python(greedy, served, name):
    expected = greedy(BATCHES[name], max_length=14)
    assert texts_of(served[f"greedy {name}"]) == expected
    if name == "lines":
        assert len(set(expected)) > 10
        assert max(map(len, expected)) > 10


@on_tensorflow
@pytest.mark.parametrize("name", BATCHES)
def test_random_answers_are_those_of_python_with_seed_0(random, served, name):
    expected = random(BATCHES[name], seed=0)
    assert texts_of(served[f"random {name}"]) == expected
    if name == "lines":
        assert len(set(expected)) > 90


@pytest.mark.parametrize("name", ["lines", "hostile", "none"])
def test_the_best_beams_and_their_scores(beams, served, name):
    expected = beams(BATCHES[name], num_return_sequences=3, return_scores=True)
    answer = served[f"beam {name}"]
    assert answer["text"].shape == answer["score"].shape == (len(expected), 3)
    texts = [[text.decode() for text in row] for row in answer["text"]]
    assert texts == [[text for text, _ in best] for best in expected]
    scores = [[score for _, score in best] for best in expected]
    np.testing.assert_allclose(
        answer["score"], np.reshape(scores, (-1, 3)), rtol=1e-4, atol=1e-4
    )


@on_tensorflow
@pytest.mark.parametrize("name", SAMPLES)
def test_each_row_has_its_seed_and_options(random, served, name):
    texts = LINES + HOSTILE
    sources = random.source_tokenizer.encode(texts).to_list()
    generator = Generator(random.model, SAMPLES[name][0])
    ids = generator(sources, 10, np.resize(np.array(SEEDS, "int32"), len(texts)))
    expected = random.target_tokenizer.decode(ids).numpy()
    assert served[f"sample {name}"]["text"].tolist() == expected.tolist()
    assert served["sample none"]["text"].shape == (0,)


@on_tensorflow
def test_warm_up_asks_each_signature(exported):
    records = tf.data.TFRecordDataset(
        str(exported / "random" / "1" / "assets.extra" / "tf_serving_warmup_requests")
    )
    logs = [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in records]
    asked = [log.predict_log.request.model_spec.signature_name for log in logs]
    assert asked == SIGNATURES["random"]
    assert not (exported / "greedy" / "1" / "assets.extra").exists()


@on_tensorflow
def test_many_clients_get_what_one_gets(exported, fresh_process, load_test_module):
    inputs = sample_inputs(LINES + HOSTILE, temperature=1.5)
    expected = texts_of(fresh_process["sample plain"])
    rows = [i for i in range(len(LINES + HOSTILE)) for _ in range(2)][-200:]
    stand_in = load_test_module("serving/stand_in.py")
    with stand_in.StandIn(exported / "random" / "1", name="random") as server:
        clients = [
            ServingClient(server.rest_address, "random"),
            ServingClient(server.grpc_address, "random", protocol="grpc"),
        ]

        def ask(number):
            row = rows[number]
            request = {name: x[row : row + 1] for name, x in inputs.items()}
            answer = clients[number % 2].predict(request, "sample")
            return answer["text"].tolist()

        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(ask, range(200)))
    assert answers == [[expected[row]] for row in rows]


@on_tensorflow
def test_rows_do_not_depend_on_the_batch(served):
    together = served["sample together"]["text"]
    others = [served[f"sample row {row}"]["text"] for row in ALONE]
    assert [together[row] for row in ALONE] == [text[0] for text in others]


def test_each_row_has_its_largest_length(greedy, served):
    sources = greedy.source_tokenizer.encode(LINES[:7]).to_list()
    limits = np.clip(LIMITS, 1, 14)
    ids = Generator(greedy.model)(sources, limits)
    ids[LIMITS < 1] = 0  # No token at all, which Python refuses.
    expected = greedy.target_tokenizer.decode(ids).numpy().tolist()
    assert served["limited"]["text"].tolist() == expected


def test_scores_of_given_pairs(greedy, served):
    sources, targets = (
        greedy.source_tokenizer.encode(texts).to_list() for texts in PAIRS
    )
    expected, _ = greedy.generator.score(sources, targets)
    np.testing.assert_allclose(served["pairs"]["score"], expected, rtol=1e-4, atol=1e-4)
    assert served["pairs"]["length"].tolist() == list(map(len, targets))
    assert (
        served["no pairs"]["score"].shape == served["no pairs"]["length"].shape == (0,)
    )


def test_logits_of_ids(greedy, served):
    expected = ops.convert_to_numpy(greedy.model(IDS))
    np.testing.assert_allclose(served["ids"]["logits"], expected, rtol=1e-4, atol=1e-4)
    assert served["no ids"]["logits"].shape == (0, *expected.shape[1:])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["seven", "hostile", "none"])
def test_what_the_encoder_makes_of_texts(greedy, served, name):
    answer = served[f"encode {name}"]
    rows = greedy.source_tokenizer.encode(BATCHES[name]).to_list()
    assert answer["mask"].sum(axis=1).tolist() == list(map(len, rows))
    assert answer["pooled"].shape == (len(rows), 16)
    for row, *arrays in zip(rows, answer["hidden"], answer["pooled"], strict=True):
        alone = greedy.model.encode_hidden(ops.convert_to_tensor([row], "int32"))
        alone = ops.convert_to_numpy(alone)[0]
        expected = alone, alone.mean(axis=0)
        for array, other in zip(
            (arrays[0][: len(row)], arrays[1]), expected, strict=True
        ):
            np.testing.assert_allclose(array, other, rtol=1e-3, atol=1e-4)


def test_signatures(exported):
    for folder, names in SIGNATURES.items():
        loaded = tf.saved_model.load(exported / folder / "1")
        assert set(loaded.signatures) == set(names)


@on_tensorflow
def test_serving_can_run_every_op(exported):
    known = set(operations_with_kernels())
    for folder in SIGNATURES:
        names = operation_names(exported / folder / "1")
        assert {"StatelessWhile", "While"} & names
        assert not [name for name in names if "Xla" in name or "PyFunc" in name]
        assert names <= known


def operations_with_kernels():
    from tensorflow.python.framework import kernels

    for kernel in kernels.get_all_registered_kernels().kernel:
        if kernel.device_type in ("CPU", "DEFAULT"):
            yield kernel.op


# What is refused


def test_refuses_a_folder_that_is_there(greedy, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "2").write_text("mine")
    for name, overwrite in (("1", False), ("2", False), ("2", True)):
        with pytest.raises(FileExistsError, match="there already"):
            export_saved_model(greedy, tmp_path / name, overwrite=overwrite)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


@pytest.mark.parametrize("name", ["expnov", "1.0", "v1", "-1", "1a", "..", "\u0661"])
def test_refuses_a_folder_that_serving_does_not_find(greedy, tmp_path, name):
    with pytest.raises(ValueError, match="its version, a number") as caught:
        export_saved_model(greedy, tmp_path / name)
    assert f"Write it to '{tmp_path / name / '1'}'" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_length": 0}, "max_length must be a positive integer"),
        ({"max_length": 2.5}, "max_length must be a positive integer"),
        ({"num_beams": 0}, "num_beams must be"),
        ({"proof_texts": []}, "at least one text"),
        ({"signatures": []}, "`signatures` must be some of"),
    ],
)
def test_refuses_wrong_options_before_the_work(greedy, tmp_path, options, says):
    with pytest.raises(ValueError, match=says):
        export_saved_model(greedy, tmp_path / "a" / "1", **options)
    assert not list(tmp_path.iterdir())


def test_refuses_more_tokens_than_positions(greedy, tmp_path):
    tokenizer = greedy.source_tokenizer
    size = tokenizer.vocabulary_size
    model = EncoderDecoder(size, 16, 32, 2, 1, positions="learned", max_length=8)
    short = TextToText(tokenizer, tokenizer, model, max_length=8)
    with pytest.raises(ValueError, match="max_length=8; received 9"):
        export_saved_model(short, tmp_path / "1", max_length=9)
    assert not list(tmp_path.iterdir())


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
        _refuse_ops(tmp_path, PYTHON_OPS + XLA_OPS)


@pytest.mark.once
def test_refuses_no_other_op(tmp_path):
    save_with(lambda x: tf.cumsum(x) * 2, tmp_path / "plain")
    _refuse_ops(tmp_path / "plain", PYTHON_OPS + XLA_OPS)
    save_with(xla_update, tmp_path / "with a jit")
    _refuse_ops(tmp_path / "with a jit", PYTHON_OPS)


@pytest.mark.slow
@pytest.mark.parametrize("exists", [False, True])
def test_a_failed_export_leaves_nothing(greedy, tmp_path, exists, load_test_module):
    if exists and not ON_TENSORFLOW:
        pytest.skip("another child process would tell nothing new")
    tokenizer = greedy.source_tokenizer
    sampler = load_test_module("export/id_models.py").PythonSampler()
    failing = TextToText(tokenizer, tokenizer, greedy.model, sampler)
    if exists:
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "saved_model.pb").write_text("mine")
    says = "this one holds PyFunc" if ON_TENSORFLOW else r"failed(?s:.)*PythonSampler"
    with pytest.raises(RuntimeError, match=says):
        export_saved_model(failing, tmp_path / "1", overwrite=True)
    assert [path.name for path in tmp_path.rglob("*")] == [
        "1",
        "saved_model.pb",
    ] * exists
