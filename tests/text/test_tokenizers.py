"""What all tokenizers share, and those of tables against Python's own strings."""

import gzip
import json
import random
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_encdec.text import (
    ByteTokenizer,
    CharacterTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    WordTokenizer,
)

pytestmark = pytest.mark.once

TEXTS = [
    "two men are at the stove",
    "ein Mann läuft über die Straße",
    "a man in a blue shirt is standing",
    "zwei Männer stehen am Herd",
]
ODD_TEXTS = [
    "",
    "   ",
    "</s> <pad> <s> <unk>",
    "日本語 and 😀",
    "e\u0301 \u00a0 x\x00y",
    b"caf\xe9 \xff",
    "lone \ud800 surrogate",
]
# Trained once, as each training takes a moment.
PIECES = SentencePieceTokenizer.train(TEXTS, 40)
OTHER_PIECES = SentencePieceTokenizer.train(TEXTS[1::2], 30, model_type="bpe")
TOKENIZERS = {
    "words": WordTokenizer.from_texts(TEXTS),
    "characters": CharacterTokenizer.from_texts(TEXTS),
    "bytes": ByteTokenizer(),
    "pieces": PIECES,
    "other_pieces": OTHER_PIECES,
}


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param]


def texts_of(strings):
    return [text.decode() for text in strings.numpy()]


# What all tokenizers share


def test_special_ids_are_the_same_everywhere(tokenizer):
    assert isinstance(tokenizer, Tokenizer)
    special = (tokenizer.padding_id, tokenizer.start_id, tokenizer.end_id)
    assert special == (0, 1, 2)
    assert tokenizer.unknown_id == 3


def test_encode_closes_each_row_and_stays_inside_the_vocabulary(tokenizer):
    ids = tokenizer.encode(TEXTS + ODD_TEXTS)
    assert isinstance(ids, tf.RaggedTensor)
    assert ids.dtype == tf.int32
    rows = ids.to_list()
    assert len(rows) == len(TEXTS + ODD_TEXTS)
    for row in rows:
        assert row[-1] == 2
        assert all(3 <= i < tokenizer.vocabulary_size for i in row[:-1])


def test_no_text_spells_a_special_id(tokenizer):
    text = "</s><s><pad></s> <pad> 2 <0x02>"
    (row,) = tokenizer.encode([text]).to_list()
    assert row.count(2) == 1
    assert not {0, 1} & set(row)


@pytest.mark.parametrize("name", ["characters", "bytes", "words"])
def test_round_trip(name):
    tokenizer = TOKENIZERS[name]
    assert texts_of(tokenizer.decode(tokenizer.encode(TEXTS))) == TEXTS


def test_empty_batch_and_empty_text(tokenizer):
    assert tokenizer.encode([]).to_list() == []
    assert tokenizer.decode(tokenizer.encode([])).shape == (0,)
    assert tokenizer.decode(np.zeros((2, 0), "int32")).numpy().tolist() == [b"", b""]
    assert tokenizer.encode([""]).to_list() == [[2]]
    assert tokenizer.decode([[2], []]).numpy().tolist() == [b"", b""]


# Words and letters in which the two forms of a tokenizer could differ.
FRAGMENTS = [
    *(
        "a",
        "É",
        "ß",
        "ΑΣ",
        " ",
        "\t",
        "\x1f",
        "\u00a0",
        "\u2028",
        "é",
        "日",
        "😀",
        "\0",
    ),
    *("\u0301", "İ", "<unk>", "</s>", "@@", "▁", "\ufeff", "\ufffd", "\n", "two men"),
]
IN_PYTHON = {
    **TOKENIZERS,
    "words of pieces": WordTokenizer(
        ["a", "@@", "é@@", "two"], "@@", prefix_ids=[9], suffix_ids=[2, 8]
    ),
    "lower case": CharacterTokenizer([*"aéßσς日i\u0307"], lowercase=True),
    "bytes begun by their end": ByteTokenizer(start_id=2, end_id=2),
    "ids above the pieces": SentencePieceTokenizer(
        PIECES.proto, start_id=2, end_id=2, prefix_ids=[50]
    ),
    "byte fallback": SentencePieceTokenizer.train(TEXTS, 300, byte_fallback=True),
}


@pytest.mark.parametrize("name", IN_PYTHON)
def test_python_gives_what_the_graph_gives(name):
    tokenizer, generator = IN_PYTHON[name], random.Random(0)
    texts = TEXTS + ODD_TEXTS + [b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xe0\x80"]
    texts += [generator.randbytes(generator.randrange(9)) for _ in range(300)]
    texts += [
        "".join(generator.choices(FRAGMENTS, k=generator.randrange(9)))
        for _ in range(300)
    ]
    ids = tokenizer.encode(texts).to_list()
    in_python = tokenizer.ids_of(texts)
    assert {row.dtype for row in in_python} == {np.dtype("int32")}
    assert [row.tolist() for row in in_python] == ids
    rows = ids + [
        [generator.randrange(-2, tokenizer.vocabulary_size + 5) for _ in range(8)]
        for _ in range(300)
    ]
    texts = [text.decode("utf-8", "replace") for text in tokenizer.decode(rows).numpy()]
    assert tokenizer.texts_of(rows) == texts
    padded = np.zeros((len(rows), 99), int)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row[:99]
    texts = tokenizer.decode(padded).numpy()
    assert tokenizer.texts_of(padded) == [x.decode("utf-8", "replace") for x in texts]
    assert tokenizer.ids_of([]) == tokenizer.texts_of([]) == []


@pytest.mark.parametrize("form", [lambda x: x, tf.constant, np.array])
def test_ids_of_texts_of_any_form(tokenizer, form):
    ids = tokenizer.ids_of(form(TEXTS))
    assert [row.tolist() for row in ids] == tokenizer.encode(TEXTS).to_list()
    for rows in (ids, [row.tolist() for row in ids], tf.ragged.constant(ids)):
        texts = texts_of(tokenizer.decode(tokenizer.encode(TEXTS)))
        assert tokenizer.texts_of(rows) == texts


def test_upper_case_is_that_of_the_graph():
    # But of letters that TensorFlow's Unicode does not know yet.
    every = [chr(x) for x in range(1, 0x10570) if not 0xD800 <= x < 0xE000]
    letters = sorted({x.lower() for x in every if len(x.lower()) == 1} - {"\ufffd"})
    tokenizer = CharacterTokenizer(letters, lowercase=True)
    graph = tokenizer.encode(every).to_list()
    rows = zip(every, tokenizer.ids_of(every), graph, strict=True)
    differ = {x for x, ids, other in rows if ids.tolist() != other}
    assert differ <= set("\u2c2f\ua7c0\ua7cb\ua7cc\ua7d0\ua7d6\ua7d8\ua7da\ua7dc\u1c89")


def test_a_graph_of_unknown_batch_size_gives_the_same(tokenizer):
    @tf.function(input_signature=[tf.TensorSpec(None, tf.string)])
    def both(texts):
        ids = tokenizer.encode(texts)
        return ids, tokenizer.decode(ids), tokenizer.decode(ids.to_tensor())

    for texts in ([], [""], TEXTS, TEXTS[:1] + ["", b"\xff"]):
        ids, from_ragged, from_dense = both(tf.constant(texts, tf.string))
        expected = tokenizer.encode(texts)
        assert ids.to_list() == expected.to_list()
        decoded = tokenizer.decode(expected).numpy().tolist()
        assert from_ragged.numpy().tolist() == decoded
        assert from_dense.numpy().tolist() == decoded


def test_encode_maps_over_a_dataset(tokenizer):
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(3).map(tokenizer.encode)
    rows = [row for batch in dataset for row in batch.to_list()]
    assert rows == tokenizer.encode(TEXTS).to_list()


@pytest.mark.parametrize(
    "convert", [list, tuple, np.array, lambda texts: np.array(texts, object)]
)
def test_encode_takes_lists_and_arrays(tokenizer, convert):
    expected = tokenizer.encode(tf.constant(TEXTS)).to_list()
    assert tokenizer.encode(convert(TEXTS)).to_list() == expected


def test_decode_cuts_at_the_first_end_and_drops_special_ids(tokenizer):
    (row,) = tokenizer.encode(TEXTS[:1]).to_list()
    plain = tokenizer.decode([row]).numpy().tolist()
    noisy = [1, 0, *row[:-1], 0, 2, *row, 1, 2]
    assert tokenizer.decode([noisy]).numpy().tolist() == plain
    assert tokenizer.decode([row[:-1]]).numpy().tolist() == plain


def test_decode_takes_ids_of_every_kind(tokenizer):
    ids = tokenizer.encode(TEXTS)
    expected = tokenizer.decode(ids).numpy().tolist()
    dense = ids.to_tensor().numpy()
    kinds = [
        ids.to_list(),
        dense,
        dense.astype("int64"),
        dense.astype("uint16"),
        tf.constant(dense),
        tf.cast(ids, tf.int64),
    ]
    for each in kinds:
        assert tokenizer.decode(each).numpy().tolist() == expected


def test_ids_out_of_range_are_unknown(tokenizer):
    size = tokenizer.vocabulary_size
    unknown = tokenizer.decode([[4, 3, 5]]).numpy().tolist()
    for wrong in (size, size + 1000, 2**31 - 1, 2**40, -1, -(2**31)):
        ids = np.array([[4, wrong, 5]], "int64")
        assert tokenizer.decode(ids).numpy().tolist() == unknown


def test_config_survives_json(tokenizer):
    config = json.dumps(keras.saving.serialize_keras_object(tokenizer))
    copy = keras.saving.deserialize_keras_object(json.loads(config))
    assert type(copy) is type(tokenizer)
    assert copy.vocabulary_size == tokenizer.vocabulary_size
    texts = TEXTS + ODD_TEXTS
    assert copy.encode(texts).to_list() == tokenizer.encode(texts).to_list()
    ids = tokenizer.encode(texts)
    assert np.array_equal(copy.decode(ids), tokenizer.decode(ids))


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("abc", TypeError, r"received 'abc'.*`\[text\]`"),
        (b"abc", TypeError, "received b'abc'"),
        (7, TypeError, "received 7"),
        (["a", 7], TypeError, r"received int \(7\) at index 1"),
        (["a", None], TypeError, "received NoneType"),
        ([["a"]], TypeError, "received list"),
        (np.array([1.5]), TypeError, "received float64"),
        (tf.constant([1]), TypeError, "received dtype int32"),
        (tf.constant("abc"), ValueError, r"received shape \(\)"),
        (tf.constant([["abc"]]), ValueError, r"received shape \(1, 1\)"),
    ],
)
def test_encode_refuses(tokenizer, texts, error, message):
    with pytest.raises(error, match=message):
        tokenizer.encode(texts)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([4, 5], TypeError, r"received \[4, 5\]"),
        ([["a"]], TypeError, "received"),
        (np.array([4, 5]), ValueError, r"received shape \(2,\).*ids\[None\]"),
        (np.zeros((1, 2, 3), int), ValueError, r"received shape \(1, 2, 3\)"),
        (np.zeros((1, 2)), TypeError, "received dtype float64"),
        (tf.zeros((1, 2), tf.bool), TypeError, "received dtype bool"),
    ],
)
def test_decode_refuses(tokenizer, ids, error, message):
    for method in (tokenizer.decode, tokenizer.texts_of):
        with pytest.raises(error, match=message):
            method(ids)


def test_clearing_the_caches_of_tensorflow_loses_nothing(tokenizer):
    encode = tf.function(tokenizer.encode)
    before = encode(tf.constant(TEXTS)).to_list()
    keras.utils.set_random_seed(1)
    keras.backend.clear_session()
    assert encode(tf.constant(TEXTS)).to_list() == before
    assert tokenizer.encode(TEXTS).to_list() == before


# Words


def test_words_are_split_as_python_splits_bytes():
    tokenizer = WordTokenizer(["a", "b"])
    generator = random.Random(0)
    alphabet = ["a", "b", "c", " ", "\t", "\n", "\v", "\f", "\r", "\x1f", "\u00a0"]
    texts = ["".join(generator.choices(alphabet, k=12)) for _ in range(200)]
    table = {b"a": 4, b"b": 5}
    expected = [[table.get(w, 3) for w in t.encode().split()] + [2] for t in texts]
    assert tokenizer.encode(texts).to_list() == expected


def test_unknown_words_are_marked():
    tokenizer = WordTokenizer(["a"])
    decoded = tokenizer.decode(tokenizer.encode([" b  a\tb\xe9 "]))
    assert texts_of(decoded) == ["<unk> a <unk>"]


def test_words_of_texts_stand_by_frequency_then_alphabet():
    texts = ["b a c", "c b é z", b"c \xff", ""]
    tokenizer = WordTokenizer.from_texts(texts)
    assert list(tokenizer.vocabulary) == ["c", "b", "a", "z", "é"]
    assert tokenizer.vocabulary_size == 9
    assert tokenizer.get_config()["vocabulary"] == ["c", "b", "a", "z", "é"]
    smaller = WordTokenizer.from_texts(tf.constant(texts), max_size=2)
    assert list(smaller.vocabulary) == ["c", "b"]


# Characters


def test_characters_are_those_of_python():
    texts = ["héllo wörld", "日本語😀", "e\u0301\u200d \x00\n", "\ufeffx"]
    vocabulary = sorted(set("".join(texts)))
    tokenizer = CharacterTokenizer(vocabulary)
    expected = [[4 + vocabulary.index(c) for c in text] + [2] for text in texts]
    assert tokenizer.encode(texts).to_list() == expected
    assert texts_of(tokenizer.decode(expected)) == texts


def test_invalid_utf8_is_the_unknown_character():
    tokenizer = CharacterTokenizer.from_texts([b"caf\xe9", "f\ufffd"])
    assert list(tokenizer.vocabulary) == ["f", "a", "c"]
    text = b"caf\xe9 \xff"
    ids = tokenizer.encode([text])
    assert ids.to_list() == [[6, 5, 4, 3, 3, 3, 2]]
    assert texts_of(tokenizer.decode(ids)) == ["caf\ufffd\ufffd\ufffd"]


def test_characters_of_texts_stand_by_frequency_then_code_point():
    tokenizer = CharacterTokenizer.from_texts(["zza", "é😀z\uffee"])
    assert list(tokenizer.vocabulary) == ["z", "a", "é", "\uffee", "😀"]
    assert list(CharacterTokenizer.from_texts(["aab"], max_size=1).vocabulary) == ["a"]


# Vocabularies


@pytest.mark.parametrize("cls", [WordTokenizer, CharacterTokenizer])
@pytest.mark.parametrize(
    ("vocabulary", "error", "message"),
    [
        ("abc", TypeError, "received 'abc'"),
        (["a", 1], TypeError, "must be a list of `str`"),
        ([b"a"], TypeError, "must be a list of `str`"),
        ([], ValueError, "at least one token; received none"),
        (["a", "b", "a"], ValueError, r"more than once: \['a'\]"),
        (["a", ""], ValueError, r"must be one .*received \[''\]"),
        (["a b"], ValueError, r"must be one .*received \['a b'\]"),
    ],
)
def test_vocabulary_refuses(cls, vocabulary, error, message):
    with pytest.raises(error, match=message):
        cls(vocabulary)


@pytest.mark.parametrize("cls", [WordTokenizer, CharacterTokenizer])
def test_from_texts_refuses(cls):
    with pytest.raises(ValueError, match="at least one token"):
        cls.from_texts([""])
    with pytest.raises(ValueError, match="`max_size` must be positive; received 0"):
        cls.from_texts(["a"], max_size=0)
    with pytest.raises(TypeError, match="received 'a b'"):
        cls.from_texts("a b")


# Bytes


def test_bytes_are_lossless():
    generator = random.Random(0)
    texts = [bytes(range(256)), b"\x00", b"\x00\x00a\x00", "é😀".encode()]
    texts += [generator.randbytes(generator.randrange(30)) for _ in range(100)]
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(texts)
    assert ids.to_list() == [[4 + byte for byte in text] + [2] for text in texts]
    assert tokenizer.decode(ids).numpy().tolist() == texts
    assert tokenizer.vocabulary_size == 260


# SavedModel


RELOAD = """
import sys
import tensorflow as tf
import tensorflow_text

texts = tf.io.parse_tensor(tf.io.read_file(sys.argv[1] + "/texts"), tf.string)
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
assert all(text.shape == (0,) for text in serve(texts[:0]).values())
for name, answer in serve(texts).items():
    tf.io.write_file(sys.argv[1] + "/" + name, tf.io.serialize_tensor(answer))
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    # As TensorFlow Serving does it.
    loaded = tf.compat.v1.saved_model.load(session, ["serve"], sys.argv[1])
    signature = loaded.signature_def["serving_default"]
    outputs = {name: info.name for name, info in signature.outputs.items()}
    feed = {signature.inputs["texts"].name: texts.numpy()}
    for name, answer in session.run(outputs, feed).items():
        with open(sys.argv[1] + "/" + name + ".session", "wb") as file:
            file.write(b"|".join(answer))
assert "keras_encdec" not in sys.modules
"""


@pytest.mark.slow
def test_saved_model_answers_in_a_fresh_process(tmp_path):
    module = tf.Module()
    module.tokenizers = [tokenizer.module() for tokenizer in TOKENIZERS.values()]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(texts):
        # Ids too, as two tokenizers mixed up may still decode what they encoded.
        answers = {}
        for name, tokenizer in TOKENIZERS.items():
            ids = tokenizer.encode(texts)
            answers[name] = tokenizer.decode(ids.to_tensor())
            printed = tf.strings.reduce_join(
                tf.strings.as_string(ids), 1, separator=" "
            )
            answers[name + "_ids"] = printed
        return answers

    tf.saved_model.save(module, str(tmp_path), signatures=serve)
    graph = tf.saved_model.load(str(tmp_path)).signatures["serving_default"].graph
    definition = graph.as_graph_def()
    nodes = list(definition.node)
    nodes += [
        node for function in definition.library.function for node in function.node_def
    ]
    operations = {node.op for node in nodes}
    assert not [op for op in operations if op.startswith("Xla") or "PyFunc" in op]

    texts = tf.constant(TEXTS + ["", b"caf\xe9", "</s> 日本"])
    tf.io.write_file(str(tmp_path / "texts"), tf.io.serialize_tensor(texts))
    child = subprocess.run(
        [sys.executable, "-c", RELOAD, str(tmp_path)], capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    for name, expected in serve(texts).items():
        answer = tf.io.parse_tensor((tmp_path / name).read_bytes(), tf.string)
        assert answer.numpy().tolist() == expected.numpy().tolist(), name
        in_session = (tmp_path / f"{name}.session").read_bytes()
        assert in_session.split(b"|") == expected.numpy().tolist(), name


# ---- Words in pieces


def test_pieces_of_a_word_are_joined():
    texts = ["pul@@ ley sys@@ tem", "a@@", "@@ a", "x@@y z"]
    tokenizer = WordTokenizer.from_texts(texts, continuation="@@")
    decoded = tokenizer.decode(tokenizer.encode(texts)).numpy()
    assert [text.decode() for text in decoded] == ["pulley system", "a", "a", "x@@y z"]
    assert tokenizer.join(texts) == ["pulley system", "a", "a", "x@@y z"]
    again = WordTokenizer.from_config(tokenizer.get_config())
    assert again.join(["pul@@ ley"]) == ["pulley"]
    assert WordTokenizer(["a"]).join(["pul@@ ley"]) == ["pul@@ ley"]


def test_a_sign_of_continuation_is_taken_literally():
    assert WordTokenizer(["a"], ".*").join(["a.* b c"]) == ["ab c"]


def test_pieces_are_joined_as_subword_nmt_says(shared_data):
    path = shared_data / "multi30k" / "bpe" / "valid.de.gz"
    lines = gzip.decompress(path.read_bytes())
    command = ["sed", "-r", "s/(@@ )|(@@ ?$)//g"]
    done = subprocess.run(command, input=lines, capture_output=True, check=True)
    tokenizer = WordTokenizer(["a"], continuation="@@")
    assert tokenizer.join(lines.split(b"\n")[:-1]) == done.stdout.decode().splitlines()


@pytest.mark.parametrize("continuation", ["", " ", "@ @"])
def test_a_continuation_must_be_a_sign(continuation):
    with pytest.raises(ValueError, match="without whitespace"):
        WordTokenizer(["a"], continuation=continuation)


def test_there_is_one_way_to_split_words():
    with pytest.raises(NotImplementedError, match="received WordTokenizer"):
        WordTokenizer(["a"]).sample(["a"], alpha=0.1, seed=0)


# Upper case


def test_upper_case_is_taken_for_lower_case():
    tokenizer = CharacterTokenizer.from_texts(["Éa", "b"], lowercase=True)
    assert sorted(tokenizer.vocabulary) == ["a", "b", "é"]
    given, wanted = (tokenizer.encode([text]).to_list() for text in ("ÉaB", "éab"))
    assert given == wanted and tokenizer.split(["ÉB"]) == [["é", "b"]]
    assert texts_of(tokenizer.decode(given)) == ["éab"]
    config = tokenizer.get_config()
    assert CharacterTokenizer.from_config(config).encode(["B"]).to_list() == (
        tokenizer.encode(["b"]).to_list()
    )
    # One that was saved before there was an option.
    assert not CharacterTokenizer(["B"]).lowercase
    with pytest.raises(ValueError, match="Give their lower case"):
        CharacterTokenizer(["B"], lowercase=True)
