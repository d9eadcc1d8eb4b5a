"""The models that ship, under every backend."""

from pathlib import Path

import pytest

from keras_encdec import BeamSampler, TextToText

SHIPPED = Path(__file__).parents[1] / "saved_models"
FOLDER = SHIPPED / "multi30k-en-de" / "saved"
SOURCES = [
    "a man sleeping in a green room on a couch .",
    "a boy wearing headphones sits on a woman &apos;s shoulders .",
]
TARGETS = [
    "ein mann schläft in einem grünen raum auf einem sofa .",
    "ein junge mit kopfhörern sitzt auf den schultern einer frau .",
]


@pytest.mark.slow
@pytest.mark.parametrize("beams", [1, 5])
def test_translates(beams):
    translate = TextToText.load(FOLDER)
    if beams > 1:
        translate = translate.with_sampler(BeamSampler(beams))
    assert translate(SOURCES) == TARGETS


@pytest.mark.slow
def test_pronounces():
    pronounce = TextToText.load(SHIPPED / "cmudict-g2p" / "saved")
    wanted = ["K AE T", "S EH R AH N D IH P AH T IY"]
    assert pronounce(["cat", "Serendipity"]) == wanted
