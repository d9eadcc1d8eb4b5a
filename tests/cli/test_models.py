"""Trained models as commands use them."""

import pytest

from keras_encdec import (
    BeamSampler,
    ByteTokenizer,
    MinimumBayesRiskDecoder,
    RandomSampler,
    build,
)
from keras_encdec.cli.models import load_models, searching_model

pytestmark = pytest.mark.once

SMALL = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1, "num_heads": 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root, tokenizer = tmp_path_factory.mktemp("models"), ByteTokenizer()
    for seed in (1, 2):
        model = build(tokenizer, tokenizer, seed=seed, max_length=6, **SMALL)
        model.save(root / str(seed))
    return [str(root / "1"), str(root / "2")]


def test_one_is_itself_and_several_are_an_ensemble(folders):
    assert type(load_models(folders[:1]).model).__name__ == "EncoderDecoder"
    both = load_models(folders, weights=[3, 1])
    assert both.model.options()["weights"] == [0.75, 0.25]


def test_search_as_asked_for(folders):
    options = {"max_length": 4, "seed": 3, "batch_size": 5}
    model, answers_to = searching_model(folders, (), None, 1, 2, beams=2, **options)
    assert model.sampler == BeamSampler(2) and model.max_length == 4
    ((first, second),) = answers_to(["12"])
    assert first[1] >= second[1]
    with pytest.raises(ValueError, match="--n-best.* is at most"):
        searching_model(folders, (), None, 1, 2, **options)
    risk = {"sampler": "mbr", "samples": 4, "utility": "bleu", "temperature": 2.0}
    model, answers_to = searching_model(folders, (), None, 1, **risk, **options)
    assert model.sampler == RandomSampler(2.0)
    decoder = MinimumBayesRiskDecoder(model, "bleu", 4, sampler=model.sampler)
    assert [*answers_to(["12", "3"])] == decoder(["12", "3"], seed=3)
