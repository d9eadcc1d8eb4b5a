import itertools

import keras
import keras_hub
import numpy as np
import pytest
from keras import ops

from keras_encdec import BeamSampler, EncoderDecoder, Generator
from keras_encdec.protocol import (
    GenerationModel,
    ModelFacts,
    check_ids,
    facts_of,
    largest_lengths,
)

SIZE, START, END = 8, 1, 2
SOURCE = np.array([[5, 7, 2, 0], [6, 3, 4, 2]])


class Table:
    """A table of logits, by the last token and the source's first: verbs alone."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.table = rng.normal(size=(SIZE, SIZE, SIZE)).astype("float32")

    def encode(self, source):
        return source[:, 0]

    def new_cache(self, batch_size, length):
        return ()

    def step(self, tokens, index, memory, cache):
        rows = ops.shape(tokens)[0] // ops.shape(memory)[0]
        table = ops.convert_to_tensor(self.table)
        source = ops.repeat(memory, rows, axis=0)
        return ops.take(
            ops.reshape(table, (-1, SIZE)), source * SIZE + tokens, axis=0
        ), cache


class Recurrent(GenerationModel):
    """A recurrent network whose cache, its state, does not grow with the length."""

    target_vocabulary_size = SIZE

    def __init__(self):
        normal = keras.initializers.RandomNormal(stddev=0.7, seed=1)
        options = {"kernel_initializer": normal, "recurrent_initializer": normal}
        self.embed = keras.layers.Embedding(SIZE, 6, embeddings_initializer=normal)
        self.encoder = keras.layers.GRU(6, **options)
        self.cell = keras.layers.GRUCell(6, **options)
        self.project = keras.layers.Dense(SIZE, kernel_initializer=normal)
        self.encoder.build((None, None, 6))
        self.embed.build((None, None))
        self.cell.build((None, 6))
        self.project.build((None, 6))

    def encode(self, source):
        return self.encoder(self.embed(source), mask=source != 0)

    def new_cache(self, batch_size, length):
        return ops.zeros((batch_size, 6))

    def step(self, tokens, index, memory, cache):
        rows = ops.shape(tokens)[0] // ops.shape(memory)[0]
        state = cache + ops.where(index == 0, ops.repeat(memory, rows, axis=0), 0.0)
        x, (state,) = self.cell(self.embed(tokens), [state])
        return 3 * self.project(x), state


class Ensemble(GenerationModel):
    """Several models, whose log-probabilities are averaged."""

    def __init__(self, models):
        self.models = models
        self.padding_id = models[0].padding_id
        self.target_vocabulary_size = models[0].target_vocabulary_size

    def encode(self, source):
        return tuple(model.encode(source) for model in self.models)

    def new_cache(self, batch_size, length):
        return tuple(model.new_cache(batch_size, length) for model in self.models)

    def step(self, tokens, index, memory, cache):
        steps = [
            model.step(tokens, index, *its)
            for model, *its in zip(self.models, memory, cache, strict=True)
        ]
        logits, caches = zip(*steps, strict=True)
        mean = sum(map(ops.log_softmax, logits)) / len(self.models)
        return mean, caches


class Bart(GenerationModel):
    """KerasHub's BART, whose cache of a batch comes first, and is filled in place."""

    padding_id = 0
    target_vocabulary_size = SIZE

    def __init__(self):
        backbone = keras_hub.models.BartBackbone(
            SIZE, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16
        )
        rng = np.random.default_rng(1)
        backbone.set_weights(
            [rng.normal(size=w.shape, scale=0.5) for w in backbone.get_weights()]
        )
        self.model = keras_hub.models.BartSeq2SeqLM(backbone=backbone)

    def encode(self, source):
        mask = source != 0
        return self.model.call_encoder(source, mask), mask

    def new_cache(self, batch_size, length):
        # Of self-attention: blocks, and keys and values, behind the rows.
        return ops.zeros((batch_size, 1, 2, length, 2, 4))

    def step(self, tokens, index, memory, cache):
        hidden, mask = memory
        rows = ops.shape(tokens)[0] // ops.shape(hidden)[0]
        hidden, mask = (ops.repeat(x, rows, axis=0) for x in (hidden, mask))
        crossing = ops.zeros((ops.shape(tokens)[0], 1, 2, ops.shape(hidden)[1], 2, 4))
        logits, _, cache, _ = self.model.call_decoder_with_cache(
            encoder_hidden_states=hidden,
            encoder_padding_mask=mask,
            decoder_token_ids=tokens[:, None],
            self_attention_cache=cache,
            self_attention_cache_update_index=index,
            cross_attention_cache=crossing,
            cross_attention_cache_update_index=0,
        )
        return logits[:, 0], cache


def ensemble():
    models = []
    for seed in (1, 2):
        model = EncoderDecoder(SIZE, 8, 12, 2, 1, tie_embeddings=False)
        rng = np.random.default_rng(seed)
        model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
        models.append(model)
    return Ensemble(models)


MODELS = {"table": Table, "recurrent": Recurrent, "ensemble": ensemble, "bart": Bart}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]()


def log_probabilities(model, source, tokens):
    """Those of each next token when some were generated, step by step, `(V,)`."""
    memory = model.encode(ops.convert_to_tensor(source, "int32"))
    cache = model.new_cache(1, len(tokens) + 2)
    for index, token in enumerate([START, *tokens]):
        step = ops.convert_to_tensor([token], "int32")
        logits, cache = model.step(step, ops.convert_to_tensor(index), memory, cache)
    logits = np.array(ops.convert_to_numpy(logits)[0], "float64")
    logits[0] = -np.inf
    return logits - np.log(np.exp(logits).sum())


def every_sequence(length):
    """All sequences that end, or are as long as they may be."""
    for size in range(1, length + 1):
        for tokens in itertools.product(range(1, SIZE), repeat=size):
            ends = [token == END for token in tokens]
            if not any(ends[:-1]) and (ends[-1] or size == length):
                yield tokens


@pytest.mark.slow
def test_is_searched_as_brute_force_does(model):
    best = {}
    known = {}
    for row, source in enumerate(SOURCE):
        scores = {}
        for tokens in every_sequence(2):
            score = 0.0
            for i, token in enumerate(tokens):
                key = row, tokens[:i]
                if key not in known:
                    known[key] = log_probabilities(model, source[None], tokens[:i])
                score += known[key][token]
            scores[tokens] = score
        best[row] = sorted(scores.items(), key=lambda item: -item[1])[:3]
    found = Generator(model, BeamSampler(SIZE, length_penalty=0.0))(
        SOURCE, max_length=2, num_return_sequences=3, return_scores=True
    )
    for row, expected in best.items():
        ids = [tuple(int(t) for t in ids if t) for ids in found.ids[row]]
        assert ids == [tokens for tokens, _ in expected]
        scores = [score for _, score in expected]
        np.testing.assert_allclose(found.scores[row], scores, atol=1e-4)


@pytest.mark.slow
def test_takes_the_likeliest_token_greedily(model):
    ids = Generator(model)(SOURCE, max_length=40)
    for row, source in zip(ids, SOURCE, strict=True):
        tokens = []
        while len(tokens) < 6 and END not in tokens:
            found = log_probabilities(model, source[None], tokens)
            tokens.append(int(found.argmax()))
        assert row[: len(tokens)].tolist() == tokens


def test_facts_are_what_a_model_says():
    assert set(ModelFacts._fields) == {
        name for name in vars(GenerationModel) if GenerationModel.__dict__[name] is None
    } - {"__doc__"}
    assert set(facts_of(Table())) == {None}
    model = EncoderDecoder(9, 8, 12, 2, 1, padding_id=3, target_vocabulary_size=7)
    expected = ModelFacts(3, 9, 7, None, None, None, True, True, model.projection)
    assert facts_of(model) == expected


def test_largest_lengths_are_the_smallest_of_all_models():
    long, short = (
        EncoderDecoder(9, 8, 12, 2, 1, positions="learned", max_length=length)
        for length in (7, 5)
    )
    assert largest_lengths([long, short, Table()]) == {
        "max_source_length": 5,
        "max_length": 5,
    }
    assert set(largest_lengths([Table()]).values()) == {None}


def test_names_the_verbs_that_are_lacking():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(TypeError, match="without encode, new_cache, step"):
        Generator(model)


def test_checks_ids_where_a_model_can_tell():
    check_ids(Table(), np.array([[99]]))
    with pytest.raises(ValueError, match="from 0 to 8"):
        check_ids(EncoderDecoder(9, 8, 12, 2, 1), np.array([[99]]))
