"""R-Drop, SimCut and distillation, against their formulas in PyTorch."""

import types

import keras
import numpy as np
import pytest
import torch

from keras_encdec.backend.torch import steps as torch_steps
from keras_encdec.model import EncoderDecoder
from keras_encdec.training import (
    ProjectedLoss,
    RDrop,
    SimCut,
    TokenAccuracy,
    TokenCrossEntropy,
    WordDistillation,
)

SOURCE = np.array([[5, 7, 9, 2], [8, 2, 0, 0], [4, 4, 6, 2]])
LABELS = np.array([[9, 7, 2], [6, 2, 0], [2, 0, 0]])
TARGET = np.array([[1, 9, 7], [1, 6, 0], [1, 0, 0]])
DATA = (SOURCE, TARGET), LABELS
REAL = LABELS != 0


def transformer(seed=0, dropout=0.0, **options):
    keras.utils.set_random_seed(seed)
    return EncoderDecoder(12, 16, 32, 2, 1, dropout=dropout, **options)


def fit(trained, epochs=1, optimizer=None):
    optimizer = optimizer or keras.optimizers.SGD(0.1)
    loss = TokenCrossEntropy(label_smoothing=0.1)
    trained.compile(optimizer, loss, jit_compile=False)
    options = {"batch_size": 3, "epochs": epochs, "shuffle": False, "verbose": 0}
    history = trained.fit(*DATA, **options).history
    return {name: values[-1] for name, values in history.items()}


def log_probabilities(logits):
    logits = torch.tensor(keras.ops.convert_to_numpy(logits))
    return torch.log_softmax(logits, -1)


def divergence(left, right, weights=REAL):
    """The mean over tokens of KL(left || right), by PyTorch."""
    weights = torch.tensor(weights)
    tokens = torch.nn.functional.kl_div(
        right, left, reduction="none", log_target=True
    ).sum(-1)
    return float((tokens * weights).sum() / weights.sum())


def losses(*logits):
    loss = TokenCrossEntropy(label_smoothing=0.1)
    arrays = (keras.ops.convert_to_numpy(each) for each in logits)
    return [float(loss(LABELS, each)) for each in arrays]


class Scripted(keras.Model):
    """A model whose second pass, in training, differs as it is told."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def call(self, inputs, training=None):
        return keras.ops.convert_to_tensor(self.second if training else self.first)


def distillation(model, **options):
    return WordDistillation(model, transformer(1), **options)


OBJECTIVES = [ProjectedLoss, RDrop, distillation]
ALL_OBJECTIVES = [*OBJECTIVES, SimCut]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tie_embeddings": False},
        {"output_bias": True},
        {"tie_embeddings": False, "output_bias": True, "target_vocabulary_size": 13},
        {"dtype": "mixed_bfloat16"},
    ],
)
def test_a_projected_loss_trains_as_the_logits_do(options):
    plain, wrapped = transformer(**options), transformer(**options)
    if options.get("output_bias"):
        for model in (plain, wrapped):
            bias = model.projection()[1]
            bias.assign(np.linspace(-1, 1, bias.shape[0]))
    weights = REAL * np.array([[1.0], [0.5], [2.0]], "float32")
    loss, found = TokenCrossEntropy(label_smoothing=0.1), []
    for trained, metrics in (
        (plain, [TokenAccuracy()]),
        (ProjectedLoss(wrapped), None),
    ):
        sgd = keras.optimizers.SGD(0.1)
        trained.compile(sgd, loss, weighted_metrics=metrics, jit_compile=False)
        for _ in range(3):
            trained.train_on_batch(*DATA, weights)
        found.append(trained.train_on_batch(*DATA, weights, return_dict=True))
        found.append(trained.test_on_batch(*DATA, weights, return_dict=True))
    tolerance = 3e-2 if "dtype" in options else 1e-5
    for expected, projected in zip(found[:2], found[2:], strict=True):
        assert expected.keys() == projected.keys() == {"loss", "token_accuracy"}
        for name, value in expected.items():
            np.testing.assert_allclose(projected[name], value, rtol=tolerance)
    for one, other in zip(plain.get_weights(), wrapped.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)


@pytest.mark.slow
def test_a_projected_loss_takes_inputs_by_name():
    found = []
    for wrap in (ProjectedLoss, lambda model: model):
        trained = wrap(transformer())
        trained.compile("sgd", TokenCrossEntropy(), jit_compile=False)
        inputs = {"source": SOURCE, "target": TARGET}
        found.append(trained.train_on_batch(inputs, LABELS, return_dict=True)["loss"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("make", OBJECTIVES)
def test_drops_out_anew_at_each_step(make):
    losses = []
    for dropout in (0.0, 0.5):
        trained = make(transformer(dropout=dropout))
        trained.compile(
            keras.optimizers.SGD(0.0), TokenCrossEntropy(), jit_compile=False
        )
        losses += [trained.train_on_batch(*DATA, return_dict=True) for _ in range(3)]
    losses = [logs["loss"] for logs in losses]
    np.testing.assert_allclose(losses[:3], losses[0], rtol=1e-5)
    assert len(set(map(float, losses[3:]))) == 3
    assert min(abs(x - losses[0]) for x in losses[3:]) > 1e-3


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch's steps alone are recorded"
)
@pytest.mark.parametrize(
    "options", [{}, {"output_bias": True, "positions": "relative", "gated": True}]
)
def test_a_projected_loss_is_the_same_when_it_is_recorded(options, monkeypatch):
    found = []
    for steps in (10**9, 2, 0):
        monkeypatch.setattr(torch_steps, "STEPS_BEFORE_RECORD", steps)
        model = transformer(dropout=0.2, attention_dropout=0.1, **options)
        adam = keras.optimizers.Adam(1e-2)
        losses = fit(ProjectedLoss(model), epochs=6, optimizer=adam)
        found.append([losses["loss"], *model.get_weights()])
    for others in zip(*found, strict=True):
        for other in others[1:]:
            np.testing.assert_allclose(other, others[0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_projected_loss_counts_regularized_weights():
    found = []
    for wrap in (ProjectedLoss, lambda model: model):
        model = transformer()
        kernel = model.decoder_blocks[0].feed_forward.output_dense.kernel
        kernel.regularizer = keras.regularizers.L2(0.1)
        trained = wrap(model)
        found.append(fit(trained, epochs=3)["loss"])
        found.append(keras.ops.convert_to_numpy(kernel))
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5)
    np.testing.assert_allclose(found[1], found[3], atol=1e-6)


@pytest.mark.once
def test_a_projected_loss_says_what_it_needs():
    model = transformer()
    model.decoder_blocks[0].activity_regularizer = keras.regularizers.L2(0.1)
    with pytest.raises(ValueError, match="'decoder_block_0' has an activity_regular"):
        ProjectedLoss(model)
    trained = ProjectedLoss(transformer())
    with pytest.raises(ValueError, match="mean of TokenCrossEntropy; received loss='m"):
        trained.compile("sgd", "mse")
    with pytest.raises(ValueError, match="mean of TokenCrossEntropy"):
        trained.compile("sgd", TokenCrossEntropy(reduction="sum"))
    with pytest.raises(ValueError, match="Metrics need logits"):
        trained.compile("sgd", TokenCrossEntropy(), metrics=[TokenAccuracy()])


def test_r_drop_is_half_of_the_paper():
    random = np.random.default_rng(0)
    logits = [random.normal(size=(3, 3, 12)).astype("float32") for _ in range(2)]
    trained = RDrop(Scripted(*logits), weight=4.0)
    trained.compile(loss=TokenCrossEntropy(label_smoothing=0.1))
    first = trained(DATA[0])
    loss = trained.compute_loss(DATA[0], LABELS, first, None, training=True)
    left, right = map(log_probabilities, logits)
    both = divergence(left, right) + divergence(right, left)
    paper = sum(losses(*logits)) + 4.0 / 2 * both
    np.testing.assert_allclose(float(loss), paper / 2, rtol=1e-5)
    np.testing.assert_allclose(float(trained.term.result()), both / 2, rtol=1e-5)
    plain = trained.compute_loss(DATA[0], LABELS, first, None, training=False)
    np.testing.assert_allclose(float(plain), losses(logits[0])[0], rtol=1e-5)


@pytest.mark.slow
def test_r_drop_without_dropout_is_plain_training():
    plain, wrapped = transformer(), transformer()
    expected = fit(plain, epochs=3)
    found = fit(RDrop(wrapped), epochs=3)
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-5)
    assert found["r_drop"] < 1e-6
    for one, other in zip(plain.get_weights(), wrapped.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
def test_r_drop_draws_twice_and_brings_the_draws_together():
    rates = {}
    for weight in (1e-6, 20.0):
        model = transformer(dropout=0.4)
        adam = keras.optimizers.Adam(1e-2)
        rates[weight] = fit(RDrop(model, weight), epochs=30, optimizer=adam)["r_drop"]
    assert rates[1e-6] > 1e-3, "both passes are the same"
    assert rates[20.0] < 0.7 * rates[1e-6]


class TwoPasses(keras.Model):
    """A model whose logits are its weights, others in the pass with cut tokens."""

    source_vocabulary_size = 12

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = (
            self.add_weight(
                shape=x.shape, initializer=lambda shape, dtype=None, x=x: x, name=name
            )
            for name, x in (("first", first), ("second", second))
        )
        self.decoder = types.SimpleNamespace(logits=lambda hidden: hidden)

    def call(self, inputs, training=None):
        return keras.ops.convert_to_tensor(self.first)

    def encode_hidden(self, source, training=None, cut=None):
        return None

    def decode_hidden(self, target, encoded, training=None, cut=None):
        return keras.ops.convert_to_tensor(self.second)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_simcut_has_the_loss_and_the_gradient_of_the_paper(jit_compile):
    random = np.random.default_rng(0)
    logits = [random.normal(size=(3, 3, 12)).astype("float32") for _ in range(2)]
    weights = REAL * np.array([[1.0], [0.5], [2.0]], "float32")
    trained = SimCut(TwoPasses(*logits), weight=3.0)
    loss = TokenCrossEntropy(label_smoothing=0.1)
    jit = jit_compile and keras.config.backend() != "torch"
    trained.compile(keras.optimizers.SGD(1.0), loss, jit_compile=jit)
    found = trained.train_on_batch(*DATA, weights, return_dict=True)

    first, second = (torch.tensor(x, requires_grad=True) for x in logits)
    left, right = (torch.log_softmax(x, -1) for x in (first, second))
    shares = torch.tensor(weights / weights.sum())
    smooth = torch.nn.functional.one_hot(torch.tensor(LABELS), 12) * 0.9 + 0.1 / 12
    entropy = -((smooth * left).sum(-1) * shares).sum()
    divergence = ((left.exp() * (left - right)).sum(-1) * shares).sum()
    total = entropy + 3.0 * divergence
    total.backward()
    np.testing.assert_allclose(found["loss"], total.item(), rtol=1e-5)
    np.testing.assert_allclose(found["simcut"], divergence.item(), rtol=1e-5)
    for before, after in ((first, trained.model.first), (second, trained.model.second)):
        step = before.detach().numpy() - keras.ops.convert_to_numpy(after)
        np.testing.assert_allclose(step, before.grad.numpy(), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("remat", [False, True])
def test_what_is_cut_is_a_token_of_no_vector(remat):
    model = transformer(remat=remat)
    table = model.source_embedding.table.embeddings
    zeros = keras.ops.convert_to_numpy(table).copy()
    zeros[11] = 0
    table.assign(zeros)
    cut = [np.array([[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]], bool)]
    cut.append(np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0]], bool))
    source, target = (
        np.where(x, 11, ids) for x, ids in zip(cut, (SOURCE, TARGET), strict=True)
    )
    expected = losses(model(DATA[0])), log_probabilities(model((source, target)))
    plain = log_probabilities(model(DATA[0]))
    trained = SimCut(model, weight=2.0)
    draws = iter([keras.ops.convert_to_tensor(x) for x in cut])
    trained._drawn = lambda ids: next(draws)
    found = fit(trained)
    np.testing.assert_allclose(
        found["simcut"], divergence(plain, expected[1]), rtol=1e-4
    )
    total = expected[0][0] + 2 * divergence(plain, expected[1])
    np.testing.assert_allclose(found["loss"], total, rtol=1e-5)


@pytest.mark.slow
def test_simcut_cuts_as_many_as_it_is_told_anew_each_time():
    trained = SimCut(transformer(), cutoff=0.2)
    ids = np.ones((50, 80), "int32")
    draws = [keras.ops.convert_to_numpy(trained._drawn(ids)) for _ in range(2)]
    assert all(0.17 < draw.mean() < 0.23 for draw in draws)
    assert np.any(draws[0] != draws[1])
    trained.compile(keras.optimizers.SGD(0.0), TokenCrossEntropy(), jit_compile=False)
    logs = [trained.train_on_batch(*DATA, return_dict=True) for _ in range(4)]
    assert len({float(each["simcut"]) for each in logs}) > 1


@pytest.mark.slow
def test_distillation_is_the_divergence_from_the_teacher():
    model, teacher = transformer(), transformer(1)
    logits = [each(DATA[0]) for each in (model, teacher)]
    right, left = (
        torch.log_softmax(torch.tensor(keras.ops.convert_to_numpy(each)) / 2, -1)
        for each in logits
    )
    expected = 4 * divergence(left, right)
    found = fit(WordDistillation(model, teacher, weight=0.3, temperature=2.0))
    np.testing.assert_allclose(found["word_distillation"], expected, rtol=1e-5)
    total = 0.7 * losses(logits[0])[0] + 0.3 * expected
    np.testing.assert_allclose(found["loss"], total, rtol=1e-5)


@pytest.mark.slow
def test_a_pupil_becomes_like_its_teacher():
    model, teacher = transformer(), transformer(1, dropout=0.5)
    before = teacher.get_weights()
    trained = WordDistillation(model, teacher, weight=1.0)
    first = fit(trained)["word_distillation"]
    last = fit(trained, epochs=60, optimizer=keras.optimizers.Adam(1e-2))
    assert last["word_distillation"] < first / 20
    for one, other in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_teacher_is_as_it_was_and_is_asked_anew():
    model, teacher = transformer(), transformer(1)
    trainable = len(teacher.trainable_variables)
    trained = WordDistillation(model, teacher, weight=1.0)
    trained.compile(keras.optimizers.SGD(0.0), TokenCrossEntropy(), jit_compile=False)
    assert len(trained.optimizer.variables) < trainable
    first = trained.train_on_batch(*DATA, return_dict=True)["loss"]
    assert teacher.trainable and len(teacher.trainable_variables) == trainable
    assert len(trained.trainable_variables) == len(model.trainable_variables)
    teacher.set_weights(model.get_weights())
    last = trained.train_on_batch(*DATA, return_dict=True)["loss"]
    assert first > 1e-3 and last < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("make", ALL_OBJECTIVES)
def test_tokens_without_weight_count_nothing(make):
    weights = REAL * np.array([[1.0], [0.0], [2.0]], "float32")
    changed = [array.copy() for array in (SOURCE, TARGET, LABELS)]
    for array in changed:
        array[1] = array[1] * 0 + [5, 6, 7, 8][: array.shape[1]]
    found = []
    for source, target, labels in ((SOURCE, TARGET, LABELS), changed):
        trained = make(transformer())
        trained.compile("sgd", TokenCrossEntropy(), jit_compile=False)
        data = (source, target), labels, weights
        found.append(trained.train_on_batch(*data, return_dict=True))
    assert found[0].keys() == found[1].keys()
    for name in found[0]:
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("make", ALL_OBJECTIVES)
def test_trains_in_mixed_precision_with_all_options(make):
    model = transformer(dropout=0.1, dtype="mixed_float16")
    before = model.get_weights()
    optimizer = keras.optimizers.Adam(
        1e-2, global_clipnorm=1.0, use_ema=True, gradient_accumulation_steps=2
    )
    trained = make(model, weights_are_shares=True)
    assert np.isfinite(fit(trained, epochs=4, optimizer=optimizer)["loss"])
    changed = [
        np.any(one != other)
        for one, other in zip(before, model.get_weights(), strict=True)
    ]
    assert sum(changed) > len(changed) / 2


# One token, three and two.
UNEVEN = [np.array(rows) for rows in ([2], [0], [1])]


@pytest.mark.slow
@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("make", OBJECTIVES)
def test_accumulated_batches_are_one_of_all_their_tokens(make, clip):
    whole, parts = transformer(), transformer()
    trained = make(whole)
    trained.compile(
        keras.optimizers.SGD(0.5, global_clipnorm=clip),
        TokenCrossEntropy(label_smoothing=0.1),
        jit_compile=False,
    )
    weights = REAL * np.array([[1.0], [0.5], [2.0]], "float32")
    trained.train_on_batch((SOURCE, TARGET), LABELS, weights)
    trained = make(parts, weights_are_shares=True)
    optimizer = keras.optimizers.SGD(
        0.5, global_clipnorm=clip, gradient_accumulation_steps=len(UNEVEN)
    )
    loss = TokenCrossEntropy(label_smoothing=0.1)
    trained.compile(optimizer, loss, jit_compile=False)
    scale = len(UNEVEN) / weights.sum()
    for rows in UNEVEN:
        data = (SOURCE[rows], TARGET[rows]), LABELS[rows], weights[rows] * scale
        trained.train_on_batch(*data)
    pairs = zip(whole.get_weights(), parts.get_weights(), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.slow
def test_regularizers_count_once_in_accumulated_batches():
    changed = []
    for accumulate in (1, 3):
        model = transformer()
        for block in model.encoder_blocks:
            dense = block.feed_forward.intermediate_dense
            dense.kernel.regularizer = keras.regularizers.L2(0.1)
        trained = ProjectedLoss(model, weights_are_shares=accumulate > 1)
        steps = accumulate if accumulate > 1 else None
        optimizer = keras.optimizers.SGD(0.5, gradient_accumulation_steps=steps)
        trained.compile(optimizer, TokenCrossEntropy(), jit_compile=False)
        scale = accumulate / REAL.sum() if accumulate > 1 else 1
        for rows in UNEVEN if accumulate > 1 else [np.arange(3)]:
            data = (SOURCE[rows], TARGET[rows]), LABELS[rows]
            trained.train_on_batch(*data, REAL[rows] * np.float32(scale))
        changed.append(model.get_weights())
    for one, other in zip(*changed, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.once
def test_shares_need_an_optimizer_that_accumulates():
    for make in ALL_OBJECTIVES:
        trained = make(transformer(), weights_are_shares=True)
        trained.compile("sgd", TokenCrossEntropy())
        with pytest.raises(ValueError, match="gradient_accumulation_steps=None. Give"):
            trained.train_on_batch((SOURCE, TARGET), LABELS)
        trained = make(transformer())
        optimizer = keras.optimizers.Adam(gradient_accumulation_steps=4)
        trained.compile(optimizer, TokenCrossEntropy())
        with pytest.raises(ValueError, match=r"of the means.*dataset\(accumulate=4\)"):
            trained.fit((SOURCE, TARGET), LABELS)


@pytest.mark.once
def test_refuses_what_makes_no_sense():
    model = transformer()
    with pytest.raises(ValueError, match="must be positive"):
        RDrop(model, 0)
    for options in ({"weight": 0}, {"cutoff": 0}, {"cutoff": 1.0}):
        with pytest.raises(ValueError, match="above 0 and below 1; received"):
            SimCut(model, **options)
    with pytest.raises(ValueError, match="of an encoder of another kind"):
        SimCut(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]))
    for options in ({"weight": 0}, {"weight": 1.1}, {"temperature": 0}):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            WordDistillation(model, transformer(1), **options)
    with pytest.raises(ValueError, match="received 12 and 13"):
        WordDistillation(model, EncoderDecoder(13, 16, 32, 2, 1))
