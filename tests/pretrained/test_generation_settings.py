"""Settings of generation, beside what transformers generates by them."""

import json

import numpy as np
import pytest
import torch
import transformers
from keras import ops

from keras_encdec import BeamSampler, EncoderDecoder, Generator, GreedySampler
from keras_encdec.generation import (
    CombinedSampler,
    ContrastiveSampler,
    ForcedLast,
    MaximumLength,
    MinimumLength,
    NoRepeatNGram,
    RepetitionPenalty,
    SuppressTokens,
)
from keras_encdec.pretrained.generation_settings import (
    read_settings,
    settings_from,
    settings_of,
)

BEAMS = {"num_beams": 4, "max_length": 12}
CASES = {
    "greedy": {"max_length": 9},
    "new tokens": {"max_new_tokens": 9, "min_new_tokens": 4, "max_length": 5},
    "beams": BEAMS | {"length_penalty": 0.6, "early_stopping": True},
    "beams that never stop early": BEAMS | {"early_stopping": "never"},
    "beams that stop early": BEAMS | {"forced_eos_token_id": 0, "length_penalty": 2.0},
    "beams that forbid": BEAMS
    | {"no_repeat_ngram_size": 1, "bad_words_ids": [[7], [20, 21]], "min_length": 6}
    | {"forced_eos_token_id": 0, "early_stopping": True},
    "beams that renormalize": BEAMS
    | {"no_repeat_ngram_size": 1, "renormalize_logits": True, "length_penalty": 2.0}
    | {"repetition_penalty": 1.3},
    "penalties": {"repetition_penalty": 1.8, "max_length": 10, "min_length": 4},
    "forced": {"forced_bos_token_id": 9, "forced_eos_token_id": 0, "max_length": 8}
    | {"begin_suppress_tokens": [0, 30], "suppress_tokens": [31]},
    "of the source": {"encoder_no_repeat_ngram_size": 1, "max_length": 8},
}


@pytest.fixture(scope="module")
def pair(checkpoint):
    checkpoint = checkpoint("marian")
    return checkpoint, EncoderDecoder.from_preset(checkpoint.folder)


def ids_of(checkpoint, start_id=None):
    start_id = checkpoint.start_id if start_id is None else start_id
    named = {"start_id": start_id, "end_id": checkpoint.end_id}
    return named | {"padding_id": checkpoint.padding_id}


def compare(pair, said, start_id=None):
    checkpoint, model = pair
    ids = ids_of(checkpoint, start_id)
    source = np.random.default_rng(0).integers(6, 48, (8, 7)).astype("int32")
    padding = [[ids["padding_id"]]]
    theirs = {**said, "bad_words_ids": said.get("bad_words_ids", []) + padding}
    config = transformers.GenerationConfig(
        pad_token_id=ids["padding_id"],
        eos_token_id=ids["end_id"],
        decoder_start_token_id=ids["start_id"],
        output_scores=True,
        return_dict_in_generate=True,
        **theirs,
    )
    found = checkpoint.model.generate(torch.tensor(source), generation_config=config)
    settings = settings_of(said, **ids)
    assert not settings.unknown
    generator = Generator(
        model, settings.sampler, processors=settings.processors, **ids
    )
    ours = generator(source, settings.max_length, return_scores=True)
    expected = found.sequences[:, 1:].numpy()
    missing = settings.max_length - expected.shape[1]
    expected = np.pad(
        expected, ((0, 0), (0, missing)), constant_values=ids["padding_id"]
    )
    ends = expected == ids["end_id"]
    expected[np.cumsum(ends, axis=1) - ends > 0] = ids["padding_id"]
    np.testing.assert_array_equal(ours.ids, expected)
    if said.get("num_beams", 1) > 1:
        scores = found.sequences_scores.numpy()
        np.testing.assert_allclose(ours.scores, scores, atol=1e-4)
    assert len(np.unique(expected, axis=0)) > 4


@pytest.mark.parametrize("name", CASES)
def test_generates_what_transformers_generates(pair, name):
    compare(pair, CASES[name])


@pytest.mark.once
def test_penalizes_a_start_id_as_transformers_does(pair):
    compare(pair, {"repetition_penalty": 1.8, "max_length": 10}, start_id=0)


@pytest.mark.once
def test_draws_among_the_tokens_that_are_left():
    said = {"do_sample": True, "temperature": 0.7, "top_k": 9, "top_p": 0.8}
    said |= {"min_p": 0.05, "typical_p": 0.9}
    sampler = settings_of(said, start_id=0, end_id=1, padding_id=0).sampler
    assert isinstance(sampler, CombinedSampler)
    logits = np.random.default_rng(0).normal(size=(50, 40)).astype("float32") * 2
    kept = sampler.truncate(ops.convert_to_tensor(logits / 0.7))
    module = transformers.generation.logits_process
    left = torch.tensor(logits)
    for warper, option in (
        ("TemperatureLogitsWarper", 0.7),
        ("TopKLogitsWarper", 9),
        ("TopPLogitsWarper", 0.8),
        ("MinPLogitsWarper", 0.05),
        ("TypicalLogitsWarper", 0.9),
    ):
        left = getattr(module, warper)(option)(None, left)
    np.testing.assert_array_equal(
        np.isfinite(ops.convert_to_numpy(kept)), np.isfinite(left.numpy())
    )


@pytest.mark.once
@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"do_sample": True}, "TopKSampler(temperature=1.0, k=50)"),
        ({"do_sample": True, "top_k": 0}, "RandomSampler(temperature=1.0)"),
        (
            {"do_sample": True, "top_k": 0, "top_p": 0.5, "temperature": 2},
            "TopPSampler(temperature=2.0, p=0.5)",
        ),
        ({"top_k": 50, "temperature": 1.0, "num_beams": 1}, "GreedySampler()"),
    ],
)
def test_finds_the_sampler(said, found):
    settings = settings_of(said, start_id=0, end_id=1, padding_id=0)
    assert repr(settings.sampler) == found
    assert settings.max_length is None and not settings.processors


@pytest.mark.once
def test_lists_what_has_no_counterpart():
    said = {"guidance_scale": 2.0, "num_beams": 2, "do_sample": True}
    said |= {"eos_token_id": [1, 5], "num_beam_groups": 1, "epsilon_cutoff": 0.0}
    unknown = settings_of(said, start_id=0, end_id=1, padding_id=0).unknown
    assert [x.split("=")[0] for x in unknown] == [
        *("guidance_scale", "do_sample", "eos_token_id")
    ]


IDS = {"start_id": 3, "end_id": 1, "padding_id": 0}


@pytest.mark.once
@pytest.mark.parametrize(
    "sampler",
    [
        GreedySampler(),
        BeamSampler(5, length_penalty=0.6, early_stopping=False, renormalize=False),
        CombinedSampler(0.7, k=9, typical_p=0.9),
        CombinedSampler(0.7, k=9, p=0.9, min_p=0.1),
    ],
)
def test_says_what_it_was_told(sampler):
    processors = [RepetitionPenalty(1.5, (3,)), NoRepeatNGram(3), MinimumLength(4)]
    processors += [ForcedLast(), SuppressTokens((7,)), SuppressTokens((8,), index=0)]
    if isinstance(sampler, BeamSampler):
        del processors[0]
    settings, unsaid = settings_from(sampler, processors, 20, **IDS)
    assert not unsaid
    again = settings_of(json.loads(json.dumps(settings)), **IDS)
    assert again == (sampler, processors, 20, [])


@pytest.mark.once
def test_says_what_gives_the_same():
    sampler = BeamSampler(5, early_stopping="never")
    settings, unsaid = settings_from(sampler, [], 20, **IDS)
    assert settings["early_stopping"] == "never" and not unsaid


@pytest.mark.once
def test_lists_what_transformers_cannot_say():
    processors = [MaximumLength(4), MinimumLength(ratio=0.5)]
    _, unsaid = settings_from(ContrastiveSampler(), processors, 20, **IDS)
    assert [x.split("(")[0] for x in unsaid] == [
        *("MaximumLength", "MinimumLength", "ContrastiveSampler")
    ]
    swapped = [NoRepeatNGram(3), RepetitionPenalty(1.5, (3,))]
    assert "order" in settings_from(GreedySampler(), swapped, 20, **IDS)[1][0]


@pytest.mark.once
def test_reads_the_file_or_the_config(tmp_path):
    assert read_settings(tmp_path, {"num_beams": 4}) == {"num_beams": 4}
    (tmp_path / "generation_config.json").write_text('{"num_beams": 2}')
    assert read_settings(tmp_path, {"num_beams": 4}) == {"num_beams": 2}
    for text in ("[1]", "{", "[" * 100_000):
        (tmp_path / "generation_config.json").write_text(text)
        with pytest.raises(ValueError, match="generation_config.json must"):
            read_settings(tmp_path, {})


@pytest.mark.once
def test_refuses_another_word_for_stopping():
    said = {"num_beams": 2, "early_stopping": "sometimes"}
    with pytest.raises(ValueError, match="false, true or 'never'; .*'sometimes'"):
        settings_of(said, start_id=0, end_id=1, padding_id=0)
