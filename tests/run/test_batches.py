import numpy as np
import pytest

from keras_encdec import ByteTokenizer, build
from keras_encdec.run.batches import noise_of, pair_batches
from keras_encdec.training_options import TrainingOptions

TOKENIZER = ByteTokenizer()
WORDS = "one two three four five six".split()


@pytest.fixture(scope="module")
def text_to_text():
    sizes = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 1}
    return build(TOKENIZER, TOKENIZER, max_length=8, **sizes)


def test_are_of_all_pairs_cut_to_their_lengths(text_to_text):
    options = TrainingOptions(max_length=4, batch_tokens=64)
    batches = pair_batches(text_to_text, WORDS, WORDS[::-1], options)
    assert batches.lengths.shape == (6, 2) and batches.lengths.max() == 4


def test_noise_shuffles_first_and_hides_last():
    options = TrainingOptions(source_dropout=0.1, source_shuffle=2, source_deletion=0.2)
    names = [type(x).__name__ for x in noise_of(options, TOKENIZER)]
    assert names == ["ShuffleTokens", "DeleteTokens", "MaskTokens"]
    ids = np.arange(5, 25)
    for noise in noise_of(options, TOKENIZER):
        ids = noise(ids, np.random.default_rng(0))
    assert 0 < len(ids) < 20
