"""A program without Python answers what TensorFlow answers in Python."""

import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
import tensorflow_text

pytestmark = pytest.mark.once

LINES = ["ein Satz", "zwei Sätze mit Wörtern", "der Hund läuft über den Platz", "Ende."]


def strings(*values):
    return np.array(values, object)


def spec(dtype, *shape):
    return tf.TensorSpec(shape, dtype)


def xla_update(x):
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops

    return gen_xla_ops.xla_dynamic_update_slice(x, [1.0], [0])


class Signatures(tf.Module):
    """One signature for each thing that a program must be able to do."""

    def __init__(self, sentence_pieces):
        self.weight = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
        self.table = tf.lookup.StaticVocabularyTable(
            tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.range(2, dtype="int64")),
            num_oov_buckets=1,
        )
        self.tokenizer = tensorflow_text.SentencepieceTokenizer(sentence_pieces)

    @tf.function(input_signature=[spec(tf.string, None)])
    def join(self, text):
        return {"joined": tf.strings.reduce_join(text), "upper": tf.strings.upper(text)}

    @tf.function(
        input_signature=[
            spec(tf.int32, None),
            spec(tf.int64),
            spec(tf.float32, None, None, 2),
        ]
    )
    def calculate(self, first, second, third):
        return {
            "sum": tf.cast(first, tf.int64) + second,
            "doubled": first * 2,
            "product": third @ self.weight,
            "even": first % 2 == 0,
        }

    @tf.function(input_signature=[spec(tf.int32, None)])
    def collatz(self, start):
        """The number of steps to 1 of each, by a loop."""

        def step(numbers, steps):
            following = tf.where(numbers % 2 == 0, numbers // 2, 3 * numbers + 1)
            going = numbers > 1
            return tf.where(going, following, numbers), steps + tf.cast(going, tf.int32)

        _, steps = tf.while_loop(
            lambda numbers, _: tf.reduce_any(numbers > 1),
            step,
            [start, tf.zeros_like(start)],
        )
        return {"steps": steps}

    @tf.function(input_signature=[spec(tf.string, None)])
    def look_up(self, word):
        return {"id": self.table.lookup(word)}

    @tf.function(input_signature=[spec(tf.string, None)])
    def pieces(self, text):
        ids = self.tokenizer.tokenize(text)
        return {"ids": ids.to_tensor(-1), "text": self.tokenizer.detokenize(ids)}

    @tf.function(input_signature=[spec(tf.float32, None)])
    def xla(self, x):
        return {"x": xla_update(x)}


REQUESTS = [
    ("join", {"text": strings("ein", "Wort", "ü\x00\xff", "")}),
    ("join", {"text": strings(b"caf\xe9\x00", b"a" * 100_000)}),
    ("join", {"text": strings()}),
    (
        "calculate",
        {
            "first": np.array([1, -2, 2**31 - 1], "int32"),
            "second": np.array(2**62, "int64"),
            "third": np.linspace(-1, 1, 24, dtype="float32").reshape(3, 4, 2),
        },
    ),
    (
        "calculate",
        {
            "first": np.zeros(0, "int32"),
            "second": np.array(0, "int64"),
            "third": np.zeros((0, 7, 2), "float32"),
        },
    ),
    ("collatz", {"start": np.array([1, 27, 97, 6], "int32")}),
    ("collatz", {"start": np.zeros(0, "int32")}),
    ("look_up", {"word": strings("b", "c", "a")}),
    ("pieces", {"text": strings(*LINES, "", "日本")}),
    ("pieces", {"text": strings()}),
]


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("pieces") / "model"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_prefix=str(prefix),
        vocab_size=30,
        minloglevel=2,
    )
    module = Signatures(prefix.with_suffix(".model").read_bytes())
    folder = tmp_path_factory.mktemp("saved_model")
    names = ["join", "calculate", "collatz", "look_up", "pieces", "xla"]
    signatures = {name: getattr(module, name) for name in names}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


@pytest.fixture(scope="module")
def loaded(saved_model):
    return tf.saved_model.load(saved_model)


@pytest.fixture(scope="module")
def answers(program, saved_model):
    return program.run(saved_model, REQUESTS)


def in_python(loaded, signature, inputs):
    tensors = {name: tf.constant(array) for name, array in inputs.items()}
    return loaded.signatures[signature](**tensors)


@pytest.mark.parametrize("index", range(len(REQUESTS)))
def test_answers_are_those_of_python(loaded, answers, index):
    expected = in_python(loaded, *REQUESTS[index])
    assert answers[index].keys() == expected.keys()
    for name, array in answers[index].items():
        assert tf.as_dtype(array.dtype) == expected[name].dtype
        assert array.shape == expected[name].shape
        # Of a scalar string, TensorFlow makes no array.
        in_array = np.asarray(expected[name].numpy(), array.dtype)
        assert array.tolist() == in_array.tolist()


def test_answers_of_a_loop_are_right(answers):
    assert answers[5]["steps"].tolist() == [0, 111, 118, 8]


def test_names_the_signatures(program, saved_model):
    names = program.signatures(saved_model)
    assert names == ["calculate", "collatz", "join", "look_up", "pieces", "xla"]


def test_xla_is_off(loaded, program, saved_model):
    request = ("xla", {"x": np.zeros(3, "float32")})
    assert in_python(loaded, *request)["x"].numpy().tolist() == [1, 0, 0]
    with pytest.raises(RuntimeError, match="XLA compilation"):
        program.run(saved_model, [request])


def test_python_is_absent(program, tmp_path):
    @tf.function(input_signature=[spec(tf.float32, None)])
    def double(x):
        return {"x": tf.numpy_function(lambda x: x * 2, [x], tf.float32)}

    tf.saved_model.save(tf.Module(), str(tmp_path), signatures=double)
    with pytest.raises(RuntimeError, match="'PyFunc'"):
        program.run(tmp_path, [("serving_default", {"x": np.zeros(3, "float32")})])


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (("score", {}), r"one of the signatures \[calculate, .*\], received score"),
        (
            ("join", {"texts": strings("a")}),
            r"join takes the inputs \[text\], received \[texts\]",
        ),
        (
            ("join", {"text": strings("a"), "seed": np.zeros(1, "int32")}),
            r"join takes the inputs \[text\], received \[seed, text\]",
        ),
        (("join", {"text": np.zeros(1, "int32")}), "string"),
    ],
    ids=["signature", "name", "too many", "type"],
)
def test_refuses_what_no_signature_takes(program, saved_model, request_, says):
    with pytest.raises(RuntimeError, match=says):
        program.run(saved_model, [request_])


def test_refuses_a_folder_without_a_saved_model(program, tmp_path):
    with pytest.raises(RuntimeError, match="Could not find SavedModel"):
        program.run(tmp_path, [])
