"""Ids and texts of checkpoints' tokenizers against those of transformers."""

import json
import shutil

import keras
import pytest

from keras_encdec.pretrained.tokenizers import tokenizers_from

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses"),
]

WRITTEN_AGAIN = ["t5", "mbart", "mbart50", "pegasus", "nllb", "bart", "byt5"]
FAMILIES = [*WRITTEN_AGAIN, "m2m_100", "blenderbot"]


def texts_for(name, multi30k, fuzzed):
    texts = [*fuzzed(2000), *multi30k[1], "", "</unk> <m> 日本 日"]
    if name in ("mbart50", "pegasus", "nllb"):
        # Transformers 5 has a token for the white space that a text ends with.
        texts = [f"{text}.".strip() for text in texts]
    return texts


@pytest.mark.parametrize("name", FAMILIES)
def test_ids_and_texts_are_those_of_transformers(
    name, family_folder, multi30k, fuzzed, compare
):
    compare(family_folder(name), name, texts_for(name, multi30k, fuzzed))


@pytest.mark.parametrize("name", WRITTEN_AGAIN)
def test_what_transformers_writes_is_read(
    name, family_folder, multi30k, fuzzed, tmp_path, compare
):
    from transformers import AutoTokenizer

    folder = family_folder(name)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    shutil.copy(folder / "config.json", tmp_path)
    compare(tmp_path, name, texts_for(name, multi30k, fuzzed)[::40])


@pytest.mark.parametrize(
    "name, before, behind, start, forced",
    [
        ("t5", [], ["</s>"], "<pad>", None),
        ("mbart", [], ["</s>", "fr_XX"], "fr_XX", None),
        ("mbart50", ["fr_XX"], ["</s>"], "</s>", "fr_XX"),
        ("nllb", ["fra_Latn"], ["</s>"], "</s>", "fra_Latn"),
        ("m2m_100", ["__fr__"], ["</s>"], "</s>", "__fr__"),
        ("bart", ["<s>"], ["</s>"], "</s>", None),
        ("blenderbot", [], ["</s>"], "</s>", None),
    ],
)
def test_targets_begin_and_end_as_the_family_does(
    name, before, behind, start, forced, family_folder, read
):
    from transformers import AutoTokenizer

    folder = family_folder(name)
    id_of = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids
    _, target, found = read(folder, name)
    assert list(target.prefix_ids) == [id_of(token) for token in before]
    assert list(target.suffix_ids) == [id_of(token) for token in behind]
    assert found.start_id == target.start_id == id_of(start)
    assert found.forced_first_id == (forced and id_of(forced))


def test_special_tokens_are_not_spelled(family_folder, shared_data, read):
    folders = [family_folder(name) for name in FAMILIES]
    for folder in (*folders, shared_data / "hugging_face" / "opus-mt-en-mg"):
        tokenizer, _, _ = read(folder, folder.name)
        around = len(tokenizer.prefix_ids), len(tokenizer.suffix_ids)
        for row in tokenizer.encode(["</s> <pad> <s> de_DE __de__ <mask>"]).to_list():
            between = {*row[around[0] : len(row) - around[1]]}
            assert not between & ({*tokenizer.special_ids} - {tokenizer.unknown_id})


def test_a_tokenizer_is_saved_and_loaded(family_folder, read):
    for name in ("t5", "m2m_100", "bart", "byt5"):
        _, tokenizer, _ = read(family_folder(name), name)
        saved = json.dumps(keras.saving.serialize_keras_object(tokenizer))
        loaded = keras.saving.deserialize_keras_object(json.loads(saved))
        ids = tokenizer.encode(["a <extra_id_1> man 日"]).to_list()
        assert loaded.encode(["a <extra_id_1> man 日"]).to_list() == ids
        assert loaded.decode(ids).numpy() == tokenizer.decode(ids).numpy()
        assert repr(loaded) == repr(tokenizer)
        assert loaded.split(["a man"]) == tokenizer.split(["a man"])


def test_languages_are_checked(family_folder, read):
    folder = family_folder("mbart50")
    config = json.loads((folder / "config.json").read_text())
    with pytest.raises(ValueError, match="target_language.*'de'.*'de_DE'"):
        tokenizers_from(folder, config, target_language="de")
    with pytest.raises(ValueError, match="52 languages.*target_language"):
        tokenizers_from(folder, config)
    with pytest.raises(ValueError, match="knows no languages"):
        tokenizers_from(family_folder("t5"), {"model_type": "t5"}, "de_DE")
    # A model of one target says it in its config.
    forced = {
        **config,
        "forced_bos_token_id": read(folder, "mbart50")[2].start_id + 700,
    }
    with pytest.raises(ValueError, match="target_language"):
        tokenizers_from(folder, forced)
    forced["forced_bos_token_id"] = read(folder, "mbart50")[2].forced_first_id
    assert tokenizers_from(folder, forced)[2] == read(folder, "mbart50")[2]


def test_another_tokenizer_is_refused(family_folder, read):
    folder = family_folder("t5")
    with pytest.raises(ValueError, match="pad_token_id=5.*0 in the source tokenizer"):
        read(folder, pad_token_id=5)
    for size in (500, 32_128):
        with pytest.raises(ValueError, match=f"612 ids.*{size:,}"):
            read(folder, vocab_size=size)
    assert read(folder, vocab_size=640)[0].vocabulary_size == 612
    with pytest.raises(ValueError, match="'BertTokenizer'.*Build a Tokenizer"):
        read(folder, tokenizer_class="BertTokenizer")


def test_what_is_missing_or_broken_is_named(family_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="spiece.model is missing"):
        tokenizers_from(tmp_path, {"model_type": "t5"})
    (tmp_path / "spiece.model").write_bytes(b"none")
    with pytest.raises(ValueError, match="ModelProto"):
        tokenizers_from(tmp_path, {"model_type": "t5"})
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(ValueError, match="tokenizer_config.json.*JSON"):
        tokenizers_from(tmp_path, {"model_type": "t5"})
