"""Byte-level BPE against the `tokenizers` package."""

import json
import random

import keras
import pytest
import tensorflow as tf
import tokenizers

from keras_encdec.text import ByteLevelBPETokenizer
from keras_encdec.text.byte_level import byte_alphabet, merge_lines

pytestmark = pytest.mark.once

TEXTS = [
    "a man in a blue shirt isn't standing  there",
    "zwei Männer stehen am Herd, 12 Häuser",
    "they'll say that we've 1234 hats\n\nand that's it",
] * 3
LEARNED = ByteLevelBPETokenizer.train(TEXTS, 330)
# Merges that make a pair which comes earlier in the list.
DISORDERED = {
    "merges": ["ab a", "a b", "b a", "a a", "aa aa", "ab ab"],
    "pieces": ["ab", "ba", "aa", "aba", "aaaa", "abab"],
}


def disordered():
    pieces = [*byte_alphabet(), *DISORDERED["pieces"]]
    table = {piece: number for number, piece in enumerate(pieces, 4)}
    return ByteLevelBPETokenizer(table, DISORDERED["merges"])


def package(tokenizer):
    """The same vocabulary in the `tokenizers` package."""
    model = tokenizers.models.BPE(tokenizer.vocabulary, list(tokenizer.merges))
    theirs = tokenizers.Tokenizer(model)
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=tokenizer.space_before
    )
    theirs.decoder = tokenizers.decoders.ByteLevel()
    return theirs


def compare(tokenizer, texts):
    theirs = package(tokenizer)
    rows = tokenizer.encode(texts).to_list()
    assert [row[:-1] for row in rows] == [x.ids for x in theirs.encode_batch(texts)]
    decoded = [
        text.decode("utf-8", "replace") for text in tokenizer.decode(rows).numpy()
    ]
    assert decoded == theirs.decode_batch([row[:-1] for row in rows])


@pytest.mark.parametrize("space_before", [False, True])
def test_ids_and_texts_are_those_of_the_package(space_before):
    config = {**LEARNED.get_config(), "space_before": space_before}
    odd = [
        "",
        " ",
        "  ",
        "a  ",
        " a",
        "\u00a0a \u3000 b",
        "x\u0085y",
        "e\u0301 😀",
        "aaaa",
    ]
    compare(ByteLevelBPETokenizer.from_config(config), [*TEXTS, *odd])


def test_characters_of_every_kind_are_split_alike():
    # Two of a kind in a row, between letters, digits, signs and spaces.
    drawn = random.Random(0)
    numbers = [*range(0x3200), *drawn.sample(range(0x3200, 0xD800), 800)]
    numbers += drawn.sample(range(0xE000, 0x30000), 3000)
    signs = list(map(chr, numbers))
    drawn.shuffle(signs)
    ends = ["a", "1", "!", " ", "  ", "'s", "\n"]
    texts = [
        "".join(2 * sign + drawn.choice(ends) for sign in signs[i : i + 30])
        for i in range(0, len(signs), 30)
    ]
    compare(LEARNED, texts)


def test_merges_out_of_order_are_made_one_after_the_other():
    tokenizer = disordered()
    drawn = random.Random(1)
    texts = ["".join(drawn.choices("ab", k=drawn.randint(1, 24))) for _ in range(300)]
    compare(tokenizer, texts)
    compare(LEARNED, ["a" * 50, "ab" * 30])


def test_it_runs_in_a_dataset_and_a_saved_model(tmp_path):
    rows = LEARNED.encode(TEXTS).to_list()
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(4).map(LEARNED)
    assert [row for batch in dataset for row in batch.to_list()] == rows
    module = tf.Module()
    module.tokenizer = LEARNED.module()
    module.there = tf.function(
        lambda texts: LEARNED(texts).to_tensor(), [tf.TensorSpec([None], tf.string)]
    )
    module.back = tf.function(LEARNED.decode, [tf.TensorSpec([None, None], tf.int32)])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    ids = loaded.there(tf.constant(TEXTS))
    assert ids.numpy().tolist() == LEARNED(TEXTS).to_tensor().numpy().tolist()
    assert loaded.back(ids).numpy().tolist() == [text.encode() for text in TEXTS]
    assert loaded.there(tf.constant([], tf.string)).shape[0] == 0


def test_it_is_saved_and_loaded():
    saved = json.dumps(keras.saving.serialize_keras_object(LEARNED))
    loaded = keras.saving.deserialize_keras_object(json.loads(saved))
    assert loaded.encode(TEXTS).to_list() == LEARNED.encode(TEXTS).to_list()
    assert loaded.get_config() == LEARNED.get_config()
    assert repr(loaded) == repr(LEARNED)


def test_pieces_are_told_as_they_are_spelled():
    rows = LEARNED.encode(TEXTS).to_list()
    spelled = [[LEARNED.vocabulary[x] for x in row] for row in LEARNED.split(TEXTS)]
    assert [[*row, LEARNED.end_id] for row in spelled] == rows
    assert "".join(LEARNED.split(["a man"])[0]) == "aĠman"


def test_files_of_the_package_are_read(tmp_path):
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    learner = tokenizers.ByteLevelBPETokenizer()
    learner.train_from_iterator(TEXTS, 320, special_tokens=special, show_progress=False)
    learner.save_model(str(tmp_path))
    learner.save(str(tmp_path / "tokenizer.json"))
    of_two = ByteLevelBPETokenizer.from_files(
        tmp_path / "vocab.json", tmp_path / "merges.txt", control=["<mask>"]
    )
    of_one = ByteLevelBPETokenizer.from_files(tmp_path / "tokenizer.json")
    assert (of_two.start_id, of_two.padding_id, of_two.end_id) == (0, 1, 2)
    for tokenizer in (of_one, of_two):
        rows = tokenizer.encode(TEXTS).to_list()
        assert rows == [[*learner.encode(text).ids, 2] for text in TEXTS]
    assert of_two.decode([[4]]).numpy() == [b""]
    with pytest.raises(ValueError, match="merges.txt"):
        ByteLevelBPETokenizer.from_files(tmp_path / "vocab.json")
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
    with pytest.raises(ValueError, match="BPE.*'Unigram'"):
        ByteLevelBPETokenizer.from_files(tmp_path / "tokenizer.json")


def test_merges_of_a_file():
    assert merge_lines("#version: 0.2\na b\n# #\n") == ["a b", "# #"]
    assert merge_lines("# #\n") == ["# #"]


def test_special_ids_are_any():
    special = {"padding_id": 7, "start_id": 7, "end_id": 3, "unknown_id": 90}
    tokenizer = ByteLevelBPETokenizer.train(TEXTS, 300, **special)
    assert not {7, 3, 90} & {*tokenizer.vocabulary.values()}
    rows = tokenizer.encode(TEXTS)
    assert tokenizer.decode(rows).numpy().tolist() == [text.encode() for text in TEXTS]


def test_words_of_its_own_are_those_of_the_package():
    table = {**LEARNED.vocabulary, "<m>": 400, "a b": 401, "é": 402}
    words = [{"content": "<m>", "lstrip": True}, "a b", "é"]
    tokenizer = ByteLevelBPETokenizer(table, LEARNED.merges, sentinels=words)
    theirs = package(LEARNED)
    theirs.decoder = tokenizers.decoders.ByteLevel()
    first = tokenizers.AddedToken("<m>", lstrip=True)
    theirs.add_tokens([first, "a b", "é"])
    added = {theirs.token_to_id(word): table[word] for word in ("<m>", "a b", "é")}
    texts = ["a man  <m> a blue", "a b é", "<m>", "é"]
    rows = tokenizer.encode(texts).to_list()
    encoded = theirs.encode_batch(texts)
    assert rows == [[*(added.get(i, i) for i in x.ids), 2] for x in encoded]
    decoded = [
        text.decode("utf-8", "replace") for text in tokenizer.decode(rows).numpy()
    ]
    assert decoded == theirs.decode_batch([x.ids for x in encoded])
    with pytest.raises(ValueError, match="must be pieces.*<n>"):
        ByteLevelBPETokenizer(table, LEARNED.merges, sentinels=["<n>"])


def test_what_is_no_vocabulary_is_refused():
    table = LEARNED.vocabulary
    with pytest.raises(TypeError, match="dict from `str` to `int`"):
        ByteLevelBPETokenizer([*table], [])
    with pytest.raises(ValueError, match="an id of its own"):
        ByteLevelBPETokenizer({**table, "more": 5}, [])
    with pytest.raises(ValueError, match="all bytes.*'Ā'"):
        ByteLevelBPETokenizer({"a": 4}, [])
    with pytest.raises(ValueError, match="all that is merged.*'zz'"):
        ByteLevelBPETokenizer(table, ["z z"])
    with pytest.raises(ValueError, match="two pieces.*'abc'"):
        ByteLevelBPETokenizer(table, ["abc"])
    with pytest.raises(ValueError, match="none that a text is split into"):
        ByteLevelBPETokenizer(table, [], end_id=50)
    with pytest.raises(ValueError, match="room for 256 bytes.*100"):
        ByteLevelBPETokenizer.train(TEXTS, 100)
