import json

import pytest

from keras_encdec.pretrained.models import open_model

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "name, shares, ties",
    [
        ("marian", True, True),
        ("marian, two vocabularies", False, True),
        ("t5 1.1", True, False),
        ("bart, untied", True, False),
    ],
)
def test_tells_which_tables_are_one(name, shares, ties, checkpoint):
    folder = checkpoint(name).folder
    stored = open_model(str(folder))
    assert stored.architecture.shares_table == shares
    assert stored.architecture.decoder["tie_embeddings"] == ties
    assert stored.config == json.loads(stored.origin["config.json"])
    assert stored.folder == folder
    assert {pair.ours for pair in stored.layout.pairs} >= {"encoder.embedding"}
    assert stored.tensors.keys() == checkpoint(name).tensors.keys()
