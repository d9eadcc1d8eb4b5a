"""Both protocols bring what the model itself answers, to any number of clients."""

import threading

import numpy as np
import pytest
import tensorflow as tf

from keras_encdec.serving import ServingClient, ServingError

pytestmark = pytest.mark.once

HOSTILE = [
    "",
    "   ",
    b"caf\xe9 \xff\xfe",
    b"cut \xf0\x9f\x98",
    b"\xe2\x82",
    "😀 👩‍👩‍👧",
    "שלום עולם مرحبا",
    "tab\tnew\nline\x00end\x1b[0m\u200b\u2028\x7f",
    "zeros at the end\0\0",
    'quotes " \\ / </s>',
    "\ud800 alone",
]
INT32 = np.array([0, 1, -1, -(2**31), 2**31 - 1])
CLIENTS, REQUESTS = 16, 200


@pytest.fixture(scope="module")
def folder(load_test_module, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "1"
    return load_test_module("serving/tiny_model.py").save_tiny_model(path)


@pytest.fixture(scope="module")
def answer(folder):
    """What TensorFlow answers to arrays of the right dtypes."""
    model = tf.saved_model.load(str(folder))

    def run(signature, **inputs):
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = model.signatures[signature](**tensors)
        return {name: value.numpy() for name, value in outputs.items()}

    return run


@pytest.fixture(scope="module")
def server(folder, load_test_module):
    with load_test_module("serving/stand_in.py").StandIn(folder, version=3) as server:
        yield server


@pytest.fixture(params=["rest", "grpc"])
def new_client(request, server):
    address = getattr(server, f"{request.param}_address")

    def client(name="model", **options):
        return ServingClient(address, name, protocol=request.param, **options)

    return client


@pytest.fixture
def client(new_client):
    return new_client()


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def sample_inputs(texts, seeds):
    return {"text": np.array(texts, object), "seed": np.array(seeds, "int32")}


def assert_equal(outputs, expected):
    assert outputs.keys() == expected.keys()
    for name, array in expected.items():
        if array.dtype == object:
            texts = [text.decode("utf-8", "replace") for text in array.flat]
            array = np.array(texts, object).reshape(array.shape)
        assert outputs[name].dtype == array.dtype
        assert outputs[name].shape == array.shape
        np.testing.assert_array_equal(outputs[name], array)


@pytest.mark.parametrize("texts", [HOSTILE, HOSTILE[:1], []], ids=len)
def test_strings_arrive_whole_and_come_back_whole(client, texts):
    outputs = client.predict({"text": texts}, "echo")
    sent = [as_bytes(text) for text in texts]
    assert outputs["text_bytes"].tolist() == sent
    assert outputs["text"].tolist() == [
        text.decode("utf-8", "replace") for text in sent
    ]
    assert outputs["text"].shape == (len(texts),)


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_the_default_signature_takes_lists_and_arrays(client, kind):
    outputs = client.predict({"text": kind(["a", "é", ""])})
    assert list(outputs) == ["text"]
    assert outputs["text"].tolist() == ["A", "é", ""]


@pytest.mark.parametrize("size", [0, 1, 3])
def test_outputs_of_two_dimensions(client, answer, size):
    texts, seeds = [b"a", b"\xff", b"a"][:size], [1, 2, -3][:size]
    outputs = client.predict({"text": texts, "seed": seeds}, "sample")
    assert_equal(outputs, answer("sample", **sample_inputs(texts, seeds)))
    assert outputs["score"].shape == (size, 2)


def test_every_dtype_comes_back_to_the_last_bit(client, answer):
    real = np.array([0.1, -np.inf, np.inf, np.nan, 16777217 / 3], "float32")
    flag = np.array([True, False, True, False, True])
    large = np.array([2**63 - 1, -(2**63), 0, 1, -1])
    inputs = {
        "small": INT32.astype("int32"),
        "large": large,
        "real": real,
        "flag": flag,
    }
    outputs = client.predict({name: x.tolist() for name, x in inputs.items()}, "types")
    assert_equal(outputs, answer("types", **inputs))
    # An array of a wider dtype fits where its values do.
    assert_equal(client.predict({**inputs, "small": INT32}, "types"), outputs)


@pytest.mark.parametrize("ids", [[[1, 2], [3, 4], [5, 6]], [[]], [[], []]], ids=str)
def test_inputs_of_two_dimensions(client, answer, ids):
    outputs = client.predict({"ids": ids}, "ranks")
    assert_equal(outputs, answer("ranks", ids=np.array(ids, "int32")))


def test_only_grpc_writes_an_empty_batch_of_two_dimensions(server):
    rest = ServingClient(server.rest_address, "model")
    with pytest.raises(ValueError, match=r"ids has the shape \(0, 0\).*gRPC"):
        rest.predict({"ids": []}, "ranks")
    grpc = ServingClient(server.grpc_address, "model", protocol="grpc")
    assert grpc.predict({"ids": []}, "ranks")["hidden"].shape == (0, 0, 3)


def test_messages_larger_than_the_default_of_grpc(client):
    outputs = client.predict({"text": ["x" * 5_000_000]})
    assert outputs["text"].tolist() == ["X" * 5_000_000]


def test_outputs_of_different_sizes(client):
    outputs = client.predict({"text": ["a", "b"]}, "uneven")
    assert outputs["twice"].tolist() == ["a", "b", "a", "b"]


def test_a_version_may_be_asked_for(new_client):
    outputs = new_client(version=3).predict({"text": ["a"]})
    assert outputs["text"].tolist() == ["A"]


@pytest.mark.parametrize(
    "options, match",
    [
        ({"name": "other"}, r"Latest\(other\)"),
        ({"name": "a b/ü"}, "NOT_FOUND|404"),
        ({"version": 2}, r"Specific\(model, 2\)"),
    ],
)
def test_another_model_or_version_is_refused(new_client, options, match):
    with pytest.raises(ServingError, match=match):
        new_client(**options).predict({"text": ["a"]})


def test_an_error_in_the_model_is_told(client):
    assert client.predict({"number": [1]}, "positive")["number"].tolist() == [1]
    with pytest.raises(ServingError, match="(?s)(400|INVALID_ARG).*Condition x > 0"):
        client.predict({"number": [1, -1]}, "positive")


@pytest.mark.parametrize(
    "inputs, signature, error, match",
    [
        ({"text": ["a"]}, "smaple", ValueError, "one of .*sample.* received 'smaple'"),
        (
            {"text": ["a"]},
            "sample",
            ValueError,
            "takes the inputs seed, text; received",
        ),
        ({"txt": ["a"]}, "echo", ValueError, "takes the inputs text; received txt"),
        ({"text": "a"}, "echo", ValueError, r"shape \[-1\].*received \[\]"),
        ({"text": [1]}, "echo", TypeError, "text must hold strings; received int64"),
        ({"number": [2**31]}, "positive", ValueError, "fit int32; received 2147483648"),
    ],
)
def test_what_does_not_fit_is_refused_here(client, inputs, signature, error, match):
    with pytest.raises(error, match=match):
        client.predict(inputs, signature)


@pytest.mark.parametrize("address", ["localhost", "http://localhost:8501", ":1", "a:b"])
def test_an_address_is_a_host_and_a_port(address):
    with pytest.raises(ValueError, match=r"received .*'localhost:8501'"):
        ServingClient(address, "model")


def test_there_are_two_protocols():
    with pytest.raises(ValueError, match="one of rest, grpc; received 'http'"):
        ServingClient("localhost:8501", "model", protocol="http")


def test_many_clients_at_once_each_get_their_answers(new_client, answer):
    requests = [
        (
            [f"text {i}", HOSTILE[i % len(HOSTILE)]][: 1 + i % 2],
            [i // 2, -i][: 1 + i % 2],
        )
        for i in range(REQUESTS)
    ]
    answers, errors = {}, []
    start = threading.Barrier(CLIENTS)

    def work(own):
        client = new_client()
        start.wait()
        for i in own:
            texts, seeds = requests[i]
            try:
                answers[i] = client.predict({"text": texts, "seed": seeds}, "sample")
            except Exception as error:
                errors.append(error)

    threads = [
        threading.Thread(target=work, args=(range(k, REQUESTS, CLIENTS),))
        for k in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(answers) == list(range(REQUESTS))
    for i, (texts, seeds) in enumerate(requests):
        texts = [as_bytes(text) for text in texts]
        assert_equal(answers[i], answer("sample", **sample_inputs(texts, seeds)))


def test_threads_may_share_a_client(client):
    answers = {}

    def work(seed):
        inputs = {"text": ["a"], "seed": [seed % 4]}
        answers[seed] = client.predict(inputs, "sample")["text"].tolist()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 16
    assert all(answers[seed] == answers[seed % 4] for seed in answers)
    assert len({str(texts) for texts in answers.values()}) == 4
