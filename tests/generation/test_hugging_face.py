import functools

import numpy as np
import pytest
import torch
from keras import ops

from keras_encdec import (
    BeamSampler,
    EncoderDecoder,
    Generator,
    GreedySampler,
    MinPSampler,
    TopKSampler,
    TopPSampler,
    TypicalSampler,
)
from keras_encdec.generation import (
    BadWords,
    EncoderNoRepeatNGram,
    ForcedFirst,
    ForcedLast,
    MinimumLength,
    NoRepeatNGram,
    RepetitionPenalty,
    SuppressTokens,
)
from keras_encdec.layers import SinusoidalPosition

transformers = pytest.importorskip("transformers")

SIZE = 40
LENGTH = 12
BEAMS = 4
START = 1


class Pair:
    """Their model, and ours with the same weights."""

    def __init__(self, start_id, activation):
        self.start_id = start_id
        config = transformers.MarianConfig(
            vocab_size=SIZE,
            d_model=16,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            activation_function=activation,
            scale_embedding=True,
            max_position_embeddings=64,
            pad_token_id=0,
            eos_token_id=2,
            decoder_start_token_id=start_id,
            forced_eos_token_id=None,
            share_encoder_decoder_embeddings=True,
            tie_word_embeddings=True,
            dropout=0.0,
            attn_implementation="eager",
        )
        self.theirs = transformers.MarianMTModel(config).eval()
        self.theirs.generation_config = transformers.GenerationConfig(
            pad_token_id=0, eos_token_id=2, decoder_start_token_id=start_id
        )
        draw = torch.Generator().manual_seed(0)
        for name, weights in self.theirs.named_parameters():
            if "embed_positions" in name:
                continue
            mean, std = 0.0, 0.2
            if "norm" in name and name.endswith("weight"):
                # With a tied table the last token would repeat for ever.
                mean = -1.0 if "decoder.layers.1.final" in name else 1.0
                std = 0.6
            elif "shared" in name:
                std = 0.4
            torch.nn.init.normal_(weights, mean, std, generator=draw)
        bias = self.theirs.final_logits_bias
        torch.nn.init.normal_(bias, 0.0, 0.3, generator=draw)
        # Ours never generates padding, and some rows are to end.
        bias[0, 0], bias[0, 2] = -1e4, 2.0
        self.ours = EncoderDecoder(
            SIZE,
            16,
            32,
            num_heads=2,
            num_layers=2,
            positions=SinusoidalPosition(interleaved=False),
            activation=activation,
            normalize_first=False,
            output_bias=True,
            dropout=0.0,
        )
        copy_weights(self.ours, self.theirs)

    @functools.lru_cache  # noqa: B019
    def generator(self, sampler, processors=(), end_id=2):
        return Generator(
            self.ours,
            sampler,
            processors=processors,
            start_id=self.start_id,
            end_id=end_id,
        )

    def generate(self, source, **options):
        """Returns their ids as ours are, and all that they return."""
        source = torch.tensor(source)
        if "decoder_input_ids" not in options:
            options.setdefault("max_new_tokens", LENGTH)
        output = self.theirs.generate(
            source,
            attention_mask=(source != 0).long(),
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=True,
            **options,
        )
        ids = output.sequences[:, 1:].numpy()
        ids = np.pad(ids, ((0, 0), (0, LENGTH - ids.shape[1])))
        # Their beams fill up with the end id where the padding id is 0.
        ends = np.isin(ids, options.get("eos_token_id", 2))
        ids[np.cumsum(ends, axis=1) - ends > 0] = 0
        return ids.reshape(len(source), -1, LENGTH), output


def copy_weights(ours, theirs):
    def array(parameter):
        return parameter.detach().numpy()

    def norm(layer, module):
        layer.set_weights([array(module.weight), array(module.bias)])

    def dense(layer, module):
        layer.set_weights([array(module.weight).T, array(module.bias)])

    def attention(layer, module):
        dense(layer.query_dense, module.q_proj)
        dense(layer.key_dense, module.k_proj)
        dense(layer.value_dense, module.v_proj)
        dense(layer.output_dense, module.out_proj)

    core = theirs.model
    for block, layer in (
        *zip(ours.encoder_blocks, core.encoder.layers, strict=True),
        *zip(ours.decoder_blocks, core.decoder.layers, strict=True),
    ):
        attention(block.self_attention, layer.self_attn)
        norm(block.self_attention_norm, layer.self_attn_layer_norm)
        if hasattr(layer, "encoder_attn"):
            attention(block.cross_attention, layer.encoder_attn)
            norm(block.cross_attention_norm, layer.encoder_attn_layer_norm)
        dense(block.feed_forward.intermediate_dense, layer.fc1)
        dense(block.feed_forward.output_dense, layer.fc2)
        norm(block.feed_forward_norm, layer.final_layer_norm)
    ours.source_embedding.table.set_weights([array(core.shared.weight)])
    ours.target_embedding.bias.assign(array(theirs.final_logits_bias)[0])


@pytest.fixture(scope="module")
def pair():
    return Pair(START, "relu")


@pytest.fixture(scope="module")
def pair_that_starts_with_padding():
    return Pair(0, "gelu")


@pytest.fixture(params=["pair", "pair_that_starts_with_padding"])
def each_pair(request):
    return request.getfixturevalue(request.param)


def draw_sources(length=7, seed=0):
    # Without special ids, for theirs counts the source's among its n-grams.
    return np.random.default_rng(seed).integers(6, SIZE, (12, length))


def padded_sources():
    source = draw_sources()
    source[np.arange(7) >= np.arange(12)[:, None] % 5 + 3] = 0
    return source


def log_probabilities(ids, logits, step):
    # What their beams give to processors.
    return ops.log_softmax(logits, axis=-1)


def assert_varied(ids):
    """Asserts that a match of the ids says something."""
    lengths = (ids != 0).sum(axis=-1)
    assert len(np.unique(ids.reshape(-1, LENGTH), axis=0)) > 4
    assert lengths.min() < LENGTH
    assert len(np.unique(lengths)) > 1


def assert_same_beams(pair, source, sampler, processors=(), end_id=2, **options):
    """Asserts that the n best and their scores are those of theirs; returns ids."""
    prefix = options.pop("prefix", None)
    generated = pair.generator(sampler, processors, end_id)(
        source, LENGTH, num_return_sequences=BEAMS, return_scores=True, prefix=prefix
    )
    expected, output = pair.generate(
        source,
        num_beams=BEAMS,
        num_return_sequences=BEAMS,
        length_penalty=float(sampler.length_penalty),
        early_stopping=sampler.early_stopping or "never",
        renormalize_logits=True,
        eos_token_id=end_id if isinstance(end_id, int) else list(end_id),
        **options,
    )
    scores = output.sequences_scores.numpy().reshape(-1, BEAMS)
    np.testing.assert_allclose(generated.scores, scores, atol=1e-4)
    np.testing.assert_array_equal(generated.ids, expected)
    return expected


@pytest.mark.slow
def test_logits(each_pair):
    source = padded_sources()
    target = draw_sources(9, seed=1)
    target[:, 0] = each_pair.start_id
    with torch.no_grad():
        expected = each_pair.theirs(
            input_ids=torch.tensor(source),
            attention_mask=torch.tensor(source != 0).long(),
            decoder_input_ids=torch.tensor(target),
        ).logits
    logits = ops.convert_to_numpy(each_pair.ours((source, target)))
    assert expected[..., 1:].std() > 1
    np.testing.assert_allclose(logits[..., 1:], expected[..., 1:], atol=1e-4)


def test_greedy(each_pair):
    source = padded_sources()
    generator = each_pair.generator(GreedySampler())
    generated = generator(source, LENGTH, return_scores=True)
    expected, output = each_pair.generate(source)
    assert_varied(expected)
    np.testing.assert_array_equal(generated.ids, expected[:, 0])
    scores = each_pair.theirs.compute_transition_scores(
        output.sequences, output.scores, normalize_logits=True
    )
    scores = np.where(generated.ids[:, : scores.shape[1]] != 0, scores, 0.0)
    np.testing.assert_allclose(
        generated.token_scores[:, : scores.shape[1]], scores, atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("early_stopping", "length_penalty"),
    [(True, 0.6), (False, 0.0), (False, 1.0), (False, 2.0)],
)
def test_beams(pair, early_stopping, length_penalty):
    sampler = BeamSampler(
        BEAMS, length_penalty=length_penalty, early_stopping=early_stopping
    )
    expected = assert_same_beams(pair, padded_sources(), sampler)
    if early_stopping or length_penalty < 2:
        assert_varied(expected)
    else:
        # So much is gained by length that no row ends early.
        assert np.all(expected != 0)
        assert len(np.unique(expected[:, 0], axis=0)) > 4


def test_beams_that_start_with_padding(pair_that_starts_with_padding):
    sampler = BeamSampler(BEAMS, early_stopping=True)
    pair = pair_that_starts_with_padding
    assert_varied(assert_same_beams(pair, padded_sources(), sampler))


@pytest.mark.parametrize("beams", [False, True])
def test_prefix(pair, beams):
    source = padded_sources()
    prefix = np.random.default_rng(2).integers(6, SIZE, (12, 2))
    options = {
        "decoder_input_ids": torch.tensor(np.insert(prefix, 0, START, axis=1)),
        "max_new_tokens": LENGTH - 2,
    }
    if beams:
        # Of a length without the prefix theirs takes the power.
        sampler = BeamSampler(BEAMS, length_penalty=0.0)
        options["prefix"] = prefix.tolist()
        expected = assert_same_beams(pair, source, sampler, **options)
    else:
        generator = pair.generator(GreedySampler())
        ids = generator(source, LENGTH, prefix=prefix.tolist())
        expected = pair.generate(source, **options)[0]
        np.testing.assert_array_equal(ids, expected[:, 0])
    assert_varied(expected)


# Theirs takes the start id for a token of the row, which changes nothing where the
# row holds no other: it is suppressed on both sides.
CASES = {
    "penalty": (
        (RepetitionPenalty(1.5), MinimumLength(4)),
        {"repetition_penalty": 1.5, "min_new_tokens": 4},
    ),
    "unigrams": (
        (NoRepeatNGram(1), ForcedLast(), SuppressTokens([2, 38], index=0)),
        {
            "no_repeat_ngram_size": 1,
            "forced_eos_token_id": 2,
            "begin_suppress_tokens": [2, 38],
        },
    ),
    "bigrams": (
        (NoRepeatNGram(2), ForcedFirst(7), SuppressTokens([2, 9], index=1)),
        # Theirs begins after the forced token.
        {
            "no_repeat_ngram_size": 2,
            "forced_bos_token_id": 7,
            "begin_suppress_tokens": [2, 9],
        },
    ),
    "source_unigrams": (
        (EncoderNoRepeatNGram(1),),
        {"encoder_no_repeat_ngram_size": 1},
    ),
    "source_bigrams": ((EncoderNoRepeatNGram(2),), {"encoder_no_repeat_ngram_size": 2}),
}


@pytest.mark.parametrize("beams", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_processors(pair, case, beams):
    processors, options = CASES[case]
    processors = (*processors, SuppressTokens([START]))
    options = {**options, "suppress_tokens": [START]}
    source = draw_sources(60 if case == "source_bigrams" else 7)
    compare(pair, source, beams, processors, **options)


@pytest.mark.slow
@pytest.mark.parametrize("beams", [False, True])
def test_bad_words_and_two_ends(pair, beams):
    source = padded_sources()
    rows = pair.generate(source)[0][:, 0].tolist()
    words = [rows[0][:1], rows[0][3:5], rows[2][2:5]]
    processors = (BadWords(words),)
    compare(pair, source, beams, processors, end_id=(2, 26), bad_words_ids=words)


def compare(pair, source, beams, processors, end_id=2, **options):
    if beams:
        sampler = BeamSampler(BEAMS, early_stopping=True)
        processors = (log_probabilities, *processors)
        expected = assert_same_beams(
            pair, source, sampler, processors, end_id, **options
        )
        others = pair.generate(source, num_beams=BEAMS, early_stopping=True)[0]
    else:
        options["eos_token_id"] = end_id if isinstance(end_id, int) else list(end_id)
        ids = pair.generator(GreedySampler(), processors, end_id)(source, LENGTH)
        expected = pair.generate(source, **options)[0]
        np.testing.assert_array_equal(ids, expected[:, 0])
        others = pair.generate(source)[0]
    assert_varied(expected)
    # The processors did something.
    assert np.any(expected[:, :1] != others[:, :1])


@pytest.mark.parametrize(
    ("sampler", "warper", "option"),
    [
        (MinPSampler(p=0.1), "MinPLogitsWarper", 0.1),
        (MinPSampler(p=0.5), "MinPLogitsWarper", 0.5),
        (TypicalSampler(p=0.3), "TypicalLogitsWarper", 0.3),
        (TypicalSampler(p=0.9), "TypicalLogitsWarper", 0.9),
        (TopKSampler(k=1), "TopKLogitsWarper", 1),
        (TopKSampler(k=7), "TopKLogitsWarper", 7),
        (TopPSampler(p=0.3), "TopPLogitsWarper", 0.3),
        (TopPSampler(p=0.9), "TopPLogitsWarper", 0.9),
    ],
)
def test_truncation(sampler, warper, option):
    scales = np.linspace(0.1, 4, 50)[:, None]
    logits = np.random.default_rng(0).normal(size=(50, SIZE)) * scales
    logits = logits.astype("float32")
    kept = ops.convert_to_numpy(sampler.truncate(ops.convert_to_tensor(logits)))
    module = transformers.generation.logits_process
    expected = getattr(module, warper)(option)(None, torch.tensor(logits)).numpy()
    np.testing.assert_array_equal(np.isfinite(kept), np.isfinite(expected))
    counts = np.isfinite(expected).sum(axis=1)
    assert 1 <= counts.min() < SIZE
