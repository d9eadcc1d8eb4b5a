"""Words that somebody added to a checkpoint's tokenizer."""

import json
import random
import re
import shutil

import pytest

from keras_encdec.pretrained.written_tokenizers import write_tokenizers

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses"),
]

# Found as they are and in normalized text, beside others and within them.
WORDS = [
    ("<sep>", {"special": True, "normalized": False}),
    ("word", {}),
    ("ｗｏｒｄｙ", {"normalized": True}),
    ("wor", {"normalized": False, "single_word": True}),
    ("<m>", {"lstrip": True, "normalized": False}),
    ("_u", {"rstrip": True, "single_word": True}),
    ("½", {"special": True, "normalized": True}),
    ("E\u0301l", {"lstrip": True, "rstrip": True}),
    (" lead", {}),
    ("(a|b)*", {}),
]
FURTHER = ["mbart", "mbart50", "nllb", "pegasus", "bart", "blenderbot", "m2m_100"]
FURTHER = [*FURTHER, "marian"]
BESIDE = [
    *"A é.$_🄰",
    "  ",
    "\n",
    "\t\u00a0",
    "\u3000",
    "ﬁ",
    "ｗｏｒｄ",
    "sword",
    "\u0301",
]


def with_words(folder, to, *words):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(list(words))
    tokenizer.save_pretrained(to)
    config = json.loads((folder / "config.json").read_text())
    if "vocab_size" in config:
        config["vocab_size"] = len(tokenizer)
    (to / "config.json").write_text(json.dumps(config))


def drawn_texts(words, number):
    drawn = random.Random(0)

    def parts():
        for _ in range(drawn.randint(0, 12)):
            yield drawn.choice(drawn.choice([words, [" "], BESIDE, ["man", "läuft"]]))

    texts = ["".join(parts()) for _ in range(number)]
    # Transformers loses marks behind what it normalizes.
    return [re.sub("(?<![A-Za-z])\u0301", "", text) for text in texts]


@pytest.mark.parametrize(
    "name",
    ["t5", *(pytest.param(name, marks=pytest.mark.slow) for name in FURTHER)],
)
def test_texts_are_split_at_words_as_by_transformers(
    name, family_folder, shared_data, tmp_path, read, compare
):
    from transformers import AddedToken

    folder = shared_data / "hugging_face" / "opus-mt-en-mg"
    if name != "marian":
        folder = family_folder(name)
    in_python = name in ("m2m_100", "marian")
    words = [
        AddedToken(content, **flags)
        for content, flags in WORDS
        if not (in_python and ("single_word" in flags or content == " lead"))
    ]
    with_words(folder, tmp_path, *words)
    texts = drawn_texts([content for content, _ in WORDS], 300)
    compare(tmp_path, name, texts)
    source, target, _ = read(tmp_path, name)
    # And back.
    family = json.loads((tmp_path / "config.json").read_text())["model_type"]
    written = tmp_path / "written"
    write_tokenizers(written, source, target, family)
    shutil.copy(tmp_path / "config.json", written)
    compare(written, name, texts)


def test_a_word_that_is_no_token_of_normalized_text(family_folder, tmp_path, compare):
    from transformers import AddedToken

    # The model spells it so, and does not find it.
    with_words(family_folder("t5"), tmp_path, AddedToken("word", normalized=False))
    compare(tmp_path, "t5", ["a ｗｏｒｄ word"])


def test_words_that_are_normalized_alike_are_refused(family_folder, tmp_path, read):
    # Which one `tokenizers` finds is told by no file.
    with_words(family_folder("t5"), tmp_path, "ＡＢ", "AB")
    with pytest.raises(ValueError, match="must differ.*'ＡＢ', 'AB'"):
        read(tmp_path)


@pytest.mark.parametrize(
    "name, told", [("m2m_100", "in a way of its own"), ("byt5", "would split it")]
)
def test_words_that_would_be_split_are_refused(
    name, told, family_folder, tmp_path, read
):
    from transformers import AddedToken

    with_words(family_folder(name), tmp_path, AddedToken("word", single_word=True))
    with pytest.raises(ValueError, match=f"(?s)one token.*'word'.*{told}.*TextToText"):
        read(tmp_path, name)


def test_a_word_whose_space_another_takes_is_refused(family_folder, tmp_path, read):
    from transformers import AddedToken

    words = " lead", AddedToken("<m>", rstrip=True)
    with_words(family_folder("m2m_100"), tmp_path, *words)
    with pytest.raises(ValueError, match="' lead'.*beside it takes its white space"):
        read(tmp_path, "m2m_100")


def test_words_of_old_files(family_folder, tmp_path, read, compare):
    # Files from before tokenizer.json tell ids alone.
    folder = shutil.copytree(family_folder("t5"), tmp_path / "t5")
    (folder / "added_tokens.json").write_text(json.dumps({"word": 612}))
    rows = read(folder)[0].encode(["a word", "a ｗｏｒｄ"]).to_list()
    assert rows[0] == rows[1] and rows[0][-2:] == [612, 1]
    settings = {"extra_ids": 12, "additional_special_tokens": ["<sep>"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "added_tokens.json").unlink()
    with pytest.raises(ValueError, match="'<sep>'.*no file tells its id"):
        read(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"extra_ids": 12}))
    (folder / "added_tokens.json").write_text(json.dumps({"word": 7}))
    with pytest.raises(ValueError, match="'word'.*7, is that of another piece"):
        read(folder)
    folder = shutil.copytree(family_folder("bart"), tmp_path / "bart")
    (folder / "added_tokens.json").write_text(json.dumps({"word": 700}))
    compare(folder, "bart", ["a word", "sword"])


def test_a_word_of_which_nothing_is_left(family_folder, tmp_path, read):
    folder = shutil.copytree(family_folder("t5"), tmp_path / "t5")
    (folder / "added_tokens.json").write_text(json.dumps({"\u0007": 612}))
    with pytest.raises(ValueError, match="a letter that the normalization leaves"):
        read(folder)


def test_ids_far_above_a_vocabulary_are_refused(family_folder, tmp_path, read):
    folder = shutil.copytree(family_folder("t5"), tmp_path / "t5")
    words = {"added_tokens_decoder": {10**9: {"content": "a", "normalized": False}}}
    (folder / "tokenizer_config.json").write_text(json.dumps(words))
    with pytest.raises(ValueError, match="1,000,000,000 of 'a'"):
        read(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"extra_ids": 10**9}))
    with pytest.raises(ValueError, match="extra_ids.*0 to 10,000"):
        read(folder)
    with pytest.raises(ValueError, match="1,000,000,000 of 'the start'"):
        read(family_folder("t5"), decoder_start_token_id=10**9)
    folder = shutil.copytree(family_folder("bart"), tmp_path / "bart")
    table = json.loads((folder / "vocab.json").read_text("utf-8"))
    (folder / "vocab.json").write_text(json.dumps({**table, "a b": 10**9}))
    with pytest.raises(ValueError, match="1,000,000,000 of 'a b'"):
        read(folder)
