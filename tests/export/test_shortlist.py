"""The candidates of a shortlist, found within a graph."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_encdec import (
    CharacterTokenizer,
    EncoderDecoder,
    Generator,
    TextToText,
    export_saved_model,
)
from keras_encdec.export.proof import _ask, example_requests
from keras_encdec.export.shortlist import InGraph
from keras_encdec.generation import Shortlist

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def shortlist():
    random = np.random.default_rng(0)
    table = random.integers(3, 2000, (40, 30))
    table[5, 7:] = -1
    table[6] = -1
    return Shortlist(table, [9, 11], 2000)


@pytest.mark.parametrize("rows, width", [(2, 4), (16, 9)])
def test_a_graph_finds_the_candidates_that_python_finds(shortlist, rows, width):
    random = np.random.default_rng(rows)
    source = random.integers(0, 40, (rows, width)).astype("int32")
    source[0, 1:] = 0
    model = EncoderDecoder(40, 16, 32, 2, 1, target_vocabulary_size=2000)
    generator = Generator(model, shortlist=shortlist, end_id=(2, 12))
    found = InGraph(generator, shortlist).of_sources(tf.constant(source), 1)
    expected = shortlist.of_sources(source, 0, [np.array([[2, 12]] * rows)])
    ids, allowed = map(np.asarray, found)
    assert ids.tolist() == sorted({*ids.tolist()}) and (np.sum(allowed) > 40)
    for row, others in zip(allowed, expected["allowed"], strict=True):
        np.testing.assert_array_equal(ids[row], expected["candidates"][others])


def test_a_search_that_wants_more_ids_than_there_are_has_the_last_one_again():
    shortlist = Shortlist(np.array([[3], [4], [5], [-1], [3], [4]]), [2], 6)
    model = EncoderDecoder(6, 16, 32, 2, 1)
    graph = InGraph(Generator(model, shortlist=shortlist), shortlist)
    ids, allowed = graph.of_sources(tf.constant([[0, 1]]), 8)
    assert ids.numpy().tolist() == [0, 1, 2, 3, 4, 5, 5, 5]
    assert allowed.numpy().tolist() == [[False, False, True, False, True, *[False] * 3]]


@pytest.mark.slow
def test_a_shortlist_is_in_the_graph(tmp_path):
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 700)))
    tokenizer = CharacterTokenizer.from_texts([letters])
    size = tokenizer.vocabulary_size
    keras.utils.set_random_seed(4)
    model = EncoderDecoder(size, 16, 32, 2, 1, tie_embeddings=False)
    table = np.random.default_rng(1).integers(3, size, (size, 20))
    options = {"max_length": 6, "shortlist": Shortlist(table, [9, 11], size)}
    text_to_text = TextToText(tokenizer, tokenizer, model, "lookup", **options)
    texts = [letters[:9], letters[40:42], letters[300:330], letters[5]]
    names = ["serving_default", "beam", "sample"]
    # Which proves that answers are those of Python.
    path = export_saved_model(
        *(text_to_text, tmp_path / "1"),
        **{"signatures": names, "num_beams": 2, "proof_texts": texts},
    )
    answers = _ask(path, example_requests(text_to_text, names, 6, texts))[1]
    with pytest.raises(ValueError, match="jit=True and a shortlist"):
        export_saved_model(text_to_text, tmp_path / "2", jit=True)
    without = TextToText(tokenizer, tokenizer, model, max_length=6)(texts)
    assert [x.decode() for x in answers[0]["text"]] != without
