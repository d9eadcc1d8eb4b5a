"""Whichever numbers the special ids are, models and exports say the same."""

import json

import ctranslate2
import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from keras_encdec import (
    BeamSampler,
    CharacterTokenizer,
    EncoderDecoder,
    GreedySampler,
    TextToText,
    export_saved_model,
)
from keras_encdec.export.ctranslate2 import export_ctranslate2
from keras_encdec.export.id_functions import id_functions

LETTERS = list("acehmst ")
TEXTS = ["a cat sat", "", "the cats that sat", "a hat? at the mat", "é"]
# Of Marian and T5, where the padding is the start, and of mBART-50, where the end is.
SPECIAL_IDS = {
    "start is padding": {
        "padding_id": 9,
        "start_id": 9,
        "end_id": 0,
        "unknown_id": 1,
        "suffix_ids": (0,),
    },
    "start is end": {
        "padding_id": 1,
        "start_id": 2,
        "end_id": 2,
        "unknown_id": 3,
        "prefix_ids": (12,),
        "suffix_ids": (2,),
    },
    "two behind": {
        "padding_id": 1,
        "start_id": 13,
        "end_id": 2,
        "unknown_id": 3,
        "suffix_ids": (2, 14),
    },
    "nothing around": {
        "padding_id": 3,
        "start_id": 0,
        "end_id": 5,
        "unknown_id": 2,
        "suffix_ids": (),
    },
}


def model_of(size, padding_id, **options):
    """Weights that are the same under every backend, and let each part matter."""
    model = EncoderDecoder(
        size, 16, 24, 2, 1, tie_embeddings=False, padding_id=padding_id, **options
    )
    rng = np.random.default_rng(0)
    model.set_weights([
        rng.normal(size=variable.shape).astype("float32") * 0.6
        + variable.path.endswith("gamma")
        for variable in model.weights
    ])  # fmt: skip
    return model


@pytest.fixture(scope="module")
def usual():
    tokenizer = CharacterTokenizer(LETTERS)
    return TextToText(tokenizer, tokenizer, model_of(12, 0), max_length=8)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [GreedySampler(), BeamSampler(3)])
@hypothesis.settings(
    max_examples=2,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(st.permutations(range(12)))
def test_other_numbers_say_the_same(usual, sampler, numbers):
    """A model whose ids are renumbered, and its vocabulary too."""
    numbers = np.array(numbers)
    model = model_of(12, int(numbers[0]))
    for ours, theirs in zip(usual.model.weights, model.weights, strict=True):
        values = keras.ops.convert_to_numpy(ours)
        if "embeddings" in ours.path:
            values[numbers] = values.copy()
        if "logits" in ours.path:
            values[:, numbers] = values.copy()
        theirs.assign(values)
    names = "padding_id", "start_id", "end_id", "unknown_id"
    special = dict(zip(names, numbers[:4].tolist(), strict=True))
    regular = np.argsort(numbers[4:])
    tokenizer = CharacterTokenizer([LETTERS[i] for i in regular], **special)
    options = {"num_return_sequences": 1, "return_scores": True}
    expected = usual.with_sampler(sampler)(TEXTS, **options)
    odd = TextToText(tokenizer, tokenizer, model, sampler, max_length=8)
    for ours, theirs in zip(expected, odd(TEXTS, **options), strict=True):
        assert [text for text, _ in ours] == [text for text, _ in theirs]
        np.testing.assert_allclose(ours[0][1], theirs[0][1], atol=1e-4)
    ids = np.array([[4, 5, 2, 0], [6, 7, 8, 2]])
    generate = usual.with_sampler(sampler).generator, odd.generator
    received = generate[1](numbers[ids], 8)
    np.testing.assert_array_equal(received, numbers[generate[0](ids, 8)])


@pytest.fixture(scope="module", params=SPECIAL_IDS)
def odd(request):
    """A model and tokenizers with special ids, the end of the target always said."""
    special = SPECIAL_IDS[request.param]
    source = CharacterTokenizer(LETTERS, **special)
    end = special["suffix_ids"] or (special["end_id"],)
    target = CharacterTokenizer(LETTERS, **{**special, "suffix_ids": end})
    size = max(source.vocabulary_size, target.vocabulary_size)
    model = model_of(size, source.padding_id)
    return TextToText(source, target, model, max_length=8)


@pytest.mark.slow
@pytest.mark.once
def test_saved_model_answers_what_python_answers(odd, tmp_path):
    texts = [text for text in TEXTS if text or odd.source_tokenizer.suffix_ids]
    path = export_saved_model(
        odd,
        tmp_path / "1",
        signatures=["serving_default", "score"],
        proof_texts=None,
    )
    signatures = tf.saved_model.load(path).signatures
    serve = signatures["serving_default"]
    received = serve(text=tf.constant(texts))["text"].numpy()
    assert [text.decode() for text in received] == odd(texts)
    assert serve(text=tf.constant([], tf.string))["text"].shape == (0,)
    references = texts[::-1]
    pairs = {"text": tf.constant(texts), "reference": tf.constant(references)}
    scores = signatures["score"](**pairs)["score"].numpy()
    np.testing.assert_allclose(scores, odd.score(texts, references), atol=1e-4)


@pytest.mark.once
def test_ctranslate2_answers_what_python_answers(odd, tmp_path):
    target = odd.target_tokenizer
    path = export_ctranslate2(odd, tmp_path / "model")
    config = json.loads((path / "config.json").read_text())
    before, behind = config["source_prefix"], config["source_suffix"]
    forced = config["target_prefix"]
    vocabulary = json.loads((path / "shared_vocabulary.json").read_text())
    id_of = {token: number for number, token in enumerate(vocabulary)}
    translator = ctranslate2.Translator(str(path))
    texts = [text for text in TEXTS if text]
    for beams, sampler in (
        (1, GreedySampler()),
        (3, BeamSampler(3, early_stopping=True)),
    ):
        results = translator.translate_batch(
            [[*before, *text, *behind] for text in texts],
            target_prefix=[forced] * len(texts) if forced else None,
            beam_size=beams,
            min_decoding_length=0,
            max_decoding_length=8,
        )
        rows = [[id_of[token] for token in each.hypotheses[0]] for each in results]
        received = [text.decode() for text in target.decode(rows).numpy()]
        assert received == odd.with_sampler(sampler)(texts)


@pytest.mark.once
def test_functions_of_ids_answer_what_python_answers(odd):
    generate = id_functions(odd, 8)["generate"]
    source = odd.source_tokenizer.encode(TEXTS[2:]).to_tensor(odd.model.padding_id)
    limits = tf.constant([8, 3, 1])
    received = generate(source, limits)["ids"].numpy()
    expected = odd.generator(source.numpy(), limits.numpy())
    np.testing.assert_array_equal(received[:, 0, : expected.shape[1]], expected)
