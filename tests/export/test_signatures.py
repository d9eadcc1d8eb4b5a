"""What the signatures are built of; what they answer is in test_saved_model.py."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from keras_encdec import (
    BeamSampler,
    CharacterTokenizer,
    EncoderDecoder,
    Sampler,
    TextToText,
    export_saved_model,
)
from keras_encdec.export.proof import _ask, example_requests
from keras_encdec.export.signatures import SIGNATURES, Signatures, _in_halves
from keras_encdec.generation.side_by_side import FEWEST

pytestmark = pytest.mark.once

TEXTS = ["abc" * 3, "", "b", "cab" * 12, "a"]


@pytest.fixture(scope="module")
def text_to_text():
    keras.utils.set_random_seed(4)
    tokenizer = CharacterTokenizer.from_texts(["abc"])
    size = tokenizer.vocabulary_size
    model = EncoderDecoder(size, 16, 32, 2, 1, tie_embeddings=False)
    return TextToText(tokenizer, tokenizer, model, max_length=6)


def test_the_batch_is_the_first_dimension_of_all(text_to_text):
    signatures = Signatures(text_to_text, 6, BeamSampler(2), jit=False)
    for name, function in signatures.functions(SIGNATURES).items():
        concrete = function.get_concrete_function()
        inputs = concrete.structured_input_signature[0]
        outputs = tf.nest.flatten(concrete.structured_outputs)
        for tensor in [*inputs, *outputs]:
            assert tensor.shape.rank >= 1 and tensor.shape[0] is None, name


def test_those_that_search_alike_share_a_function(text_to_text):
    searching = text_to_text.with_sampler(BeamSampler(2))
    signatures = Signatures(searching, 6, BeamSampler(2), jit=False)
    functions = signatures.functions(["serving_default", "generate", "beam"])
    for function in functions.values():
        function.get_concrete_function()
    assert len(signatures._searches) == 1


def test_rows_have_options_of_their_own_however_many_they_are(text_to_text):
    signatures = Signatures(text_to_text, 6, BeamSampler(2), jit=False)
    sample = signatures.functions(["sample"])["sample"]
    rows = 40  # So many that rows would leave the loop.
    answers = sample(
        tf.constant(["abc"] * rows),
        tf.range(rows),
        tf.constant([0.0, 1.0] * (rows // 2)),
        tf.zeros(rows, "int32"),
        tf.ones(rows),
    )["text"].numpy()
    assert {*answers[::2]} == {text_to_text(["abc"])[0].encode()}
    assert len({*answers[1::2]}) > 5


@dataclasses.dataclass(frozen=True)
class Unlikely(Sampler):
    """Takes a token that is not the likeliest, of which its name says nothing."""

    place: int = dataclasses.field(repr=False)


def test_what_searches_otherwise_by_the_same_name_has_its_own(
    text_to_text, monkeypatch
):
    monkeypatch.setattr(
        Signatures, "_new_search", lambda self, sampler, _: lambda *args: sampler.place
    )
    signatures = Signatures(text_to_text, 6, BeamSampler(2), jit=False)
    found = [signatures._search(Unlikely(i), None, None, None) for i in (0, 1, 0)]
    assert found == [0, 1, 0]
    assert len(signatures._searches) == 2


@pytest.mark.parametrize("rows_per_source", [1, 3])
def test_the_halves_of_a_large_batch_are_searched(rows_per_source):
    @tf.function
    def search(source, limits):
        return source + limits[:, None], tf.ones_like(limits) * tf.shape(source)[0]

    in_halves = tf.function(_in_halves(search, rows_per_source))
    for rows in (0, 1, 2, 4, 8, 9, 16):
        source, limits = tf.ones((rows, 3), tf.int32), tf.range(rows)
        ids, together = in_halves(source, limits)
        np.testing.assert_array_equal(ids, source + limits[:, None])
        split = rows // 2 * rows_per_source >= FEWEST
        sizes = [rows // 2] * (rows // 2) + [rows - rows // 2] * (rows - rows // 2)
        np.testing.assert_array_equal(together, sizes if split else [rows] * rows)


def compiled_functions(path):
    saved = saved_model_pb2.SavedModel.FromString(
        (path / "saved_model.pb").read_bytes()
    )
    functions = saved.meta_graphs[0].graph_def.library.function
    return any(function.attr["_XlaMustCompile"].b for function in functions)


@pytest.mark.slow
def test_compiled_by_xla_the_answers_are_the_same(text_to_text, tmp_path):
    names = ["serving_default", "sample"]
    requests = example_requests(text_to_text, names, 6, TEXTS)
    requests += [
        (name, {k: x[:0] for k, x in inputs.items()}) for name, inputs in requests
    ]
    answers = {}
    for jit in (False, True):
        path = export_saved_model(
            text_to_text,
            tmp_path / str(int(jit)),
            signatures=names,
            jit=jit,
            proof_texts=None,
        )
        answers[jit] = _ask(path, requests)[1]
        assert compiled_functions(path) == jit
    for plain, fast in zip(*answers.values(), strict=True):
        np.testing.assert_array_equal(plain["text"], fast["text"])
    assert len(set(answers[True][1]["text"])) > 2
