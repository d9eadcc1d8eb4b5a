"""Trained models as commands use them."""

import pytest

from keras_encdec import BeamSampler, ByteTokenizer, build
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
    options = {"max_length": 4, "seed": 3, "batch_size": 5, "beams": 2}
    model, call = searching_model(folders, (), None, 1, 2, **options)
    assert model.sampler == BeamSampler(2) and model.max_length == 4
    assert call == {
        **{"seed": 3, "batch_size": 5},
        **{"num_return_sequences": 2, "return_scores": True},
    }
    options = {"max_length": None, "seed": 0, "batch_size": None}
    with pytest.raises(ValueError, match="--n-best is at most"):
        searching_model(folders, (), None, 1, 2, **options)
