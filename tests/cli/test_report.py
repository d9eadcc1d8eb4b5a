"""The command report: a page of a saved model, and what it refuses at once."""

import sys

import pytest

from keras_encdec import ByteTokenizer, build

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    small = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 1}
    folder = tmp_path_factory.mktemp("report") / "saved"
    build(ByteTokenizer(), ByteTokenizer(), max_length=4, **small).save(folder)
    return folder


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("one\teno\ntwo\towt\n")
    return path


def test_writes_a_page_about_a_saved_model(saved, pairs, tmp_path, run, eagerly):
    page = tmp_path / "report.html"
    options = ("--source", pairs, "--output", page, "--texts", 1, "--pictures", 1)
    printed = run("report", saved, *options).out
    assert printed.startswith("BLEU") and printed.endswith(f"Written to {page}.\n")
    text = page.read_text("utf-8")
    assert f"<h1>{saved}</h1>" in text
    assert text.count("data:image/png") == 2 and "<dd>eno</dd>" in text


def test_refuses_at_once_what_it_would_replace_or_lack(
    saved, pairs, error_of, monkeypatch
):
    said = error_of("report", saved, "--source", pairs, "--output", pairs)
    assert "--output" in said and "--source" in said
    assert pairs.read_text().startswith("one")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = error_of("report", saved, "--source", pairs)
    assert "pip install 'keras-encdec[plots]'" in said
