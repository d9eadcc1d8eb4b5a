"""Families that read bytes, and what all sentinels are."""

import json
import shutil

import pytest

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses"),
]


def test_sentinels_are_those_of_transformers(family_folder, read):
    from transformers import AutoTokenizer

    texts = ["<extra_id_0> a <extra_id_1>b<extra_id_11>", "a <extra_id_3>", "x<extra"]
    for name in ("t5", "byt5"):
        tokenizer, _, _ = read(family_folder(name))
        theirs = AutoTokenizer.from_pretrained(family_folder(name))
        rows = tokenizer.encode(texts).to_list()
        assert rows == [theirs(text)["input_ids"] for text in texts]
        assert b"<extra_id_11>" in tokenizer.decode(rows).numpy()[0]


def test_a_mask_above_the_vocabulary_is_left_out(family_folder, read, tmp_path):
    folder = shutil.copytree(family_folder("bart"), tmp_path / "bart")
    table = json.loads((folder / "vocab.json").read_text("utf-8"))
    table["<mask>"] = max(table.values()) + 1
    (folder / "vocab.json").write_text(json.dumps(table), "utf-8")
    smaller, _, _ = read(folder, vocab_size=table["<mask>"])
    assert smaller.vocabulary_size == table["<mask>"]
    larger, _, _ = read(folder, vocab_size=table["<mask>"] + 1)
    assert larger.vocabulary_size == table["<mask>"] + 1
    assert larger.decode([[table["<mask>"]]]).numpy() == [b""]
