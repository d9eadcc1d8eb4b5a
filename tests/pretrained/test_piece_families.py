"""Families with one model of pieces."""

import json
import shutil

import pytest

from keras_encdec.pretrained.piece_models import read_piece_model

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses"),
]


def test_a_published_tokenizer_json(shared_data, multi30k, fuzzed, read):
    import tokenizers

    folder = shared_data / "hugging_face" / "barthez"
    tokenizer, _, start = read(folder)
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = [*fuzzed(2000), *multi30k[1]]
    rows = tokenizer.encode(texts).to_list()
    assert rows == [each.ids for each in theirs.encode_batch(texts)]
    decoded = [text.decode() for text in tokenizer.decode(rows).numpy()]
    assert decoded == theirs.decode_batch(rows)
    assert (start.start_id, tokenizer.padding_id) == (2, 1)


def test_a_barthez_of_transformers_5(family_folder, fuzzed, tmp_path, read):
    from transformers import AddedToken, AutoTokenizer, BarthezTokenizer

    proto = (family_folder("mbart") / "sentencepiece.bpe.model").read_bytes()
    pieces = [(piece, score) for piece, score, _ in read_piece_model(proto).pieces[3:]]
    special = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
    theirs = BarthezTokenizer(vocab=[*special, *pieces])
    theirs.add_tokens(["E\u0301l", AddedToken("<sep>", special=True)])
    theirs.save_pretrained(tmp_path)
    config = {"model_type": "mbart", "tokenizer_class": "BarthezTokenizer"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert "NFC" in (tmp_path / "tokenizer.json").read_text()
    # Letters and their marks are to become one.
    texts = [f"{text}e\u0301\u0327l <sep>\u00c9l " for text in fuzzed(1000)]
    tokenizer, _, _ = read(tmp_path)
    rows = tokenizer.encode(texts).to_list()
    assert rows == theirs(texts)["input_ids"]
    decoded = [text.decode() for text in tokenizer.decode(rows).numpy()]
    assert decoded == [theirs.decode(row, skip_special_tokens=True) for row in rows]


def test_legacy_sources_of_nllb(family_folder, tmp_path, compare):
    folder = shutil.copytree(family_folder("nllb"), tmp_path / "legacy")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "legacy_behaviour": 1}))
    compare(folder, "nllb", ["A man"])


def test_signs_close_up_where_the_settings_say_so(family_folder, tmp_path, compare):
    folder = shutil.copytree(family_folder("t5"), tmp_path / "closing")
    settings = {"extra_ids": 12, "clean_up_tokenization_spaces": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    compare(folder, "t5", ["a man , it 's a dog ' s . do n't", "x ? . !"])
