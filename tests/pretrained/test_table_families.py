"""Marian and M2M100, whose pieces take their ids from a table."""

import json
import shutil

import pytest

from keras_encdec.pretrained.tokenizers import tokenizers_from

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses"),
]


def test_a_published_marian(shared_data, multi30k, fuzzed, compare):
    folder = shared_data / "hugging_face" / "opus-mt-en-mg"
    texts = [
        "",
        ">>fra<< A man",
        ">><< a",
        "x >>fra<<",
        ">>a",
        "日本 ½ 日",
        *fuzzed(2000),
    ]
    compare(folder, "marian", texts + multi30k[1])


def test_the_language_of_a_marian_of_several(shared_data, tmp_path):
    folder = tmp_path / "marian"
    shutil.copytree(shared_data / "hugging_face" / "opus-mt-en-mg", folder)
    folder.chmod(0o755)
    table = json.loads((folder / "vocab.json").read_text())
    table[">>fra<<"] = len(table)
    (folder / "vocab.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(table))
    config = {"model_type": "marian"}
    source, target, _ = tokenizers_from(folder, config, target_language="fra")
    assert source.prefix_ids == (table[">>fra<<"],)
    assert target.prefix_ids == ()
    with pytest.raises(ValueError, match="'fra'"):
        tokenizers_from(folder, config, target_language="deu")
