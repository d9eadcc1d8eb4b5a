"""Words that somebody added to a checkpoint's tokenizer."""

import json
import shutil

import pytest

from keras_encdec.pretrained.written_tokenizers import write_tokenizers

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses"),
]

TEXTS = [
    "a man <sep> a dog", "<sep>a<sep>", "word wordy sword", "a<extra_id_1> word <sep>",
    "ein Mann  <sep>\tläuft", "<sep", "", "word  word",
]  # fmt: skip


def with_words(folder, to, *words):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(list(words))
    tokenizer.save_pretrained(to)
    shutil.copy(folder / "config.json", to)
    return AutoTokenizer.from_pretrained(to)


@pytest.mark.parametrize("name", ["t5", "mbart"])
def test_texts_are_split_at_words_as_by_transformers(
    name, family_folder, tmp_path, read
):
    from transformers import AddedToken, AutoTokenizer

    theirs = with_words(
        family_folder(name),
        tmp_path,
        AddedToken("<sep>", special=True, normalized=False),
        AddedToken("word", normalized=False),
    )
    tokenizer, _, _ = read(tmp_path, name)
    rows = tokenizer.encode(TEXTS).to_list()
    around = len(tokenizer.suffix_ids)
    expected = theirs(TEXTS, add_special_tokens=False)["input_ids"]
    assert [row[:-around] for row in rows] == expected
    for row, text in zip(rows, tokenizer.decode(rows).numpy(), strict=True):
        # Sentinels are decoded as they are spelled.
        spelled = text.decode().replace("<extra_id_1>", "")
        assert spelled == theirs.decode(row, skip_special_tokens=True)
    # And back.
    family = json.loads((tmp_path / "config.json").read_text())["model_type"]
    write_tokenizers(tmp_path, *read(tmp_path, name)[:2], family)
    again, _, _ = read(tmp_path, name)
    assert again.encode(TEXTS).to_list() == rows
    assert (
        again.decode(rows).numpy().tolist() == tokenizer.decode(rows).numpy().tolist()
    )
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(TEXTS, add_special_tokens=False)["input_ids"] == expected


@pytest.mark.parametrize(
    "name, options, told",
    [
        ("t5", {}, "normalized text"),
        ("t5", {"normalized": False, "single_word": True}, "between other words"),
        ("nllb", {"normalized": False}, "a space before it"),
        ("bart", {}, "would split it"),
        ("bart", {"special": True}, "would split it"),
        ("m2m_100", {}, "would split it"),
        ("byt5", {}, "would split it"),
    ],
)
def test_words_that_would_be_split_are_refused(
    name, options, told, family_folder, tmp_path, read
):
    from transformers import AddedToken

    with_words(family_folder(name), tmp_path, AddedToken("word", **options))
    with pytest.raises(ValueError, match=f"(?s)one token.*'word'.*{told}.*TextToText"):
        read(tmp_path, name)


def test_words_of_old_files(family_folder, shared_data, tmp_path, read):
    # Files from before tokenizer.json tell ids alone.
    folder = shutil.copytree(family_folder("t5"), tmp_path / "t5")
    (folder / "added_tokens.json").write_text(json.dumps({"word": 612}))
    with pytest.raises(ValueError, match="'word'.*normalized text"):
        read(folder)
    settings = {"extra_ids": 12, "additional_special_tokens": ["<sep>"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "added_tokens.json").unlink()
    with pytest.raises(ValueError, match="'<sep>'.*no file tells its id"):
        read(folder)
    marian = tmp_path / "marian"
    shutil.copytree(shared_data / "hugging_face" / "opus-mt-en-mg", marian)
    marian.chmod(0o755)
    (marian / "added_tokens.json").write_text(json.dumps({"word": 54688}))
    with pytest.raises(ValueError, match="'word'.*would split it"):
        read(marian)


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
