"""What transformers computes, a model that is loaded from its files computes."""

import functools
import json
import shutil

import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import save_file

from keras_encdec import (
    EncoderDecoder,
    Generator,
    TokenCrossEntropy,
    labels_to_hugging_face,
)
from keras_encdec.export.hugging_face import export_hugging_face
from keras_encdec.model.pretrained import load_pretrained
from keras_encdec.pretrained.generation_settings import settings_of
from keras_encdec.training import ProjectedLoss, averaged_weights, enable_lora

FAMILIES = [
    *("marian", "marian, two vocabularies", "t5 1.0", "t5 1.0, 8 a head", "t5 1.1"),
    *(
        "ul2",
        "mt5",
        "m2m_100",
        "bart",
        "bart, untied",
        "mbart",
        "pegasus",
        "blenderbot",
        "umt5",
    ),
]
every_family = pytest.mark.parametrize("name", FAMILIES)


def to_numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


@pytest.fixture(scope="module")
def ours(checkpoint):
    """Our model of a family, loaded once for all that only ask it."""
    return functools.cache(
        lambda name: EncoderDecoder.from_preset(checkpoint(name).folder)
    )


@every_family
def test_logits_are_theirs(name, checkpoint, ours):
    inputs = checkpoint(name).inputs()
    expected, is_token = checkpoint(name).logits(*inputs)
    assert expected.std() > 0.2
    logits = to_numpy(ours(name)(inputs))
    np.testing.assert_allclose(logits[is_token], expected[is_token], atol=1e-4)


# What differs in options alone is not generated twice.
VARIANTS = {
    *("marian, two vocabularies", "t5 1.0, 8 a head", "ul2", "mt5", "bart, untied"),
}


@pytest.mark.parametrize(
    "name, beams",
    [(name, 5) for name in FAMILIES]
    + [(name, 1) for name in FAMILIES if name not in VARIANTS],
)
def test_generates_what_they_do(name, beams, checkpoint, ours):
    theirs = checkpoint(name)
    ids = {"start_id": theirs.start_id, "end_id": theirs.end_id}
    ids["padding_id"] = theirs.padding_id
    said = {**theirs.generation, "num_beams": beams}
    settings = settings_of(said, **ids)
    assert not settings.unknown and settings.max_length == 12
    options = {"processors": settings.processors, **ids}
    generator = Generator(ours(name), settings.sampler, **options)
    source, _ = theirs.inputs(50)
    found = generator(source, 12, return_scores=True)
    expected, scores = theirs.generate(source, beams)
    np.testing.assert_array_equal(found.ids, expected)
    # Sums of a dozen numbers in float32.
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5, atol=1e-4)
    assert len(np.unique(expected, axis=0)) > 5


@pytest.mark.parametrize("name", ["t5 1.0", "bart", "marian, two vocabularies"])
def test_is_the_same_when_it_is_saved(name, checkpoint, ours, tmp_path):
    model, inputs = ours(name), checkpoint(name).inputs()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(loaded(inputs)), to_numpy(model(inputs)))
    assert loaded.origin == model.origin
    config = json.loads(model.origin["config.json"])
    assert config == load_config(checkpoint(name).folder)
    assert loaded.get_config() == model.get_config()


def load_config(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.mark.slow
def test_is_adapted_and_quantized(checkpoint):
    theirs = checkpoint("t5 1.1")
    model = EncoderDecoder.from_preset(theirs.folder)
    before = to_numpy(model(theirs.inputs()))
    enable_lora(model, 2)
    np.testing.assert_allclose(to_numpy(model(theirs.inputs())), before, atol=1e-6)
    model = EncoderDecoder.from_preset(theirs.folder)
    model.quantize("int8")
    found = to_numpy(model(theirs.inputs()))
    assert 0 < np.abs(found - before).max() < 0.2 * np.abs(before).max()


@pytest.mark.slow
def test_dtype_and_dropout_are_as_asked(checkpoint):
    theirs = checkpoint("bart")
    options = {"dtype": "bfloat16", "dropout": 0.3}
    model = EncoderDecoder.from_preset(theirs.folder, **options)
    dtypes = {keras.backend.standardize_dtype(w.dtype) for w in model.encoder.weights}
    assert dtypes == {"bfloat16"}
    assert model.encoder_blocks[0].dropout == 0.3
    expected, is_token = theirs.logits(*theirs.inputs())
    found = to_numpy(model(theirs.inputs()))
    difference = np.abs(found - expected)[is_token].max()
    assert 0 < difference < 0.1 * expected.std()


@pytest.mark.once
def test_tells_the_folder_and_the_config(checkpoint):
    folder = checkpoint("marian").folder
    loaded = load_pretrained(str(folder))
    assert loaded.folder == folder
    assert loaded.config == load_config(folder)


# What is stored in other ways


def stored(theirs, folder, tensors, **changes):
    """Writes a checkpoint with other tensors and another config."""
    shutil.copytree(theirs.folder, folder)
    save_file(tensors, folder / "model.safetensors")
    config = load_config(folder) | changes
    config = {name: value for name, value in config.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def as_base_model(tensors):
    return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}


def of_all_names(tensors):
    (name,) = (x for x in tensors if x.endswith("shared.weight"))
    names = "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"
    names = [name.replace("shared.weight", x) for x in names]
    more = {x: tensors[name] for x in (*names, "lm_head.weight")}
    position = name.replace("shared.weight", "encoder.embed_positions.weight")
    return {position: np.zeros((32, 16), "float32"), **tensors, **more}


def of_the_head_alone(tensors):
    (name,) = (x for x in tensors if x.endswith("shared.weight"))
    tensors = {**tensors, "lm_head.weight": tensors[name]}
    del tensors[name]
    return tensors


@pytest.mark.once
@pytest.mark.parametrize(
    "name, change",
    [
        ("marian", as_base_model),
        ("marian", of_all_names),
        ("marian", of_the_head_alone),
        ("m2m_100", of_the_head_alone),
        ("t5 1.0", of_the_head_alone),
    ],
)
def test_tables_are_found_under_any_of_their_names(
    name, change, checkpoint, ours, tmp_path
):
    theirs = checkpoint(name)
    folder = stored(theirs, tmp_path / "other", change(theirs.tensors))
    model = EncoderDecoder.from_preset(folder)
    assert model.count_params() == ours(name).count_params()
    for found, expected in zip(model.weights, ours(name).weights, strict=True):
        np.testing.assert_array_equal(to_numpy(found), to_numpy(expected))


# What some published ones say, and what transformers writes since version 5.
@pytest.mark.once
@pytest.mark.parametrize(
    "name, change, factor",
    [
        ("t5 1.0", {"tie_word_embeddings": False, "scale_decoder_outputs": ...}, 4),
        ("t5 1.0", {"tie_word_embeddings": True, "scale_decoder_outputs": False}, 4),
        ("umt5", {"tie_word_embeddings": False}, 1),
    ],
)
def test_t5_scales_its_logits_as_its_config_says(
    name, change, factor, checkpoint, ours, tmp_path
):
    theirs = checkpoint(name)
    folder = stored(theirs, tmp_path / "other", theirs.tensors, **change)
    model = EncoderDecoder.from_preset(folder)
    assert model.decoder.logits_dense is None
    scale, other = (to_numpy(x.decoder.norm.scale) for x in (model, ours(name)))
    np.testing.assert_allclose(scale, other * factor, rtol=1e-6)
    expected, is_token = theirs.logits(*theirs.inputs(), theirs.read(folder))
    found = to_numpy(model(theirs.inputs()))
    np.testing.assert_allclose(found[is_token], expected[is_token], atol=1e-4)


@pytest.mark.once
def test_a_bias_that_is_not_stored_is_of_zeros(checkpoint, tmp_path):
    theirs = checkpoint("bart")
    tensors = {k: v for k, v in theirs.tensors.items() if k != "final_logits_bias"}
    folder = stored(theirs, tmp_path / "other", tensors)
    model = EncoderDecoder.from_preset(folder)
    assert not to_numpy(model.target_embedding.bias).any()


# What is refused


@pytest.mark.once
def test_names_all_tensors_that_do_not_fit(checkpoint, tmp_path):
    theirs = checkpoint("marian")
    tensors = dict(theirs.tensors)
    del tensors["model.decoder.layers.0.fc1.weight"]
    tensors["classification_head.weight"] = np.zeros(3, "float32")
    tensors["model.encoder.layers.1.fc2.weight"] = np.zeros((4, 3), "float32")
    folder = stored(theirs, tmp_path / "other", tensors)
    with pytest.raises(ValueError) as raised:
        EncoderDecoder.from_preset(folder)
    for words in (
        "model.decoder.layers.0.fc1.weight (20, 16) is missing",
        "classification_head.weight (3,) is left over",
        "model.encoder.layers.1.fc2.weight is (4, 3), not (16, 24)",
    ):
        assert words in str(raised.value)


@pytest.mark.once
@pytest.mark.parametrize(
    "change, match",
    [
        ({"encoder_layers": 1}, r"encoder.layers.1.fc1.bias \(24,\) is left over"),
        (
            {"decoder_layers": 3},
            "layers of the decoder: 3 in config.json, 1 in the weights",
        ),
        ({"vocab_size": 61}, "vocabulary of the decoder: 61 in config.json, 60 in"),
        ({"model_type": "bert"}, "one of marian, m2m_100, bart.*umt5.*'bert'"),
        ({"activation_function": "snake"}, "one of relu, gelu.*'snake'"),
        ({"d_model": None}, "d_model=None"),
        ({"pad_token_id": None}, "pad_token_id=None"),
        ({"is_encoder_decoder": False}, "encoder and a decoder"),
    ],
)
def test_refuses_a_config_that_does_not_fit(change, match, checkpoint, tmp_path):
    theirs = checkpoint("marian")
    folder = stored(theirs, tmp_path / "other", theirs.tensors, **change)
    with pytest.raises(ValueError, match=f"(?s){match}"):
        EncoderDecoder.from_preset(folder)


@pytest.mark.once
@pytest.mark.parametrize(
    "text, error, match",
    [
        (None, FileNotFoundError, "without one"),
        ("{", ValueError, "must be JSON"),
        ("[]", ValueError, "holds list"),
        ("[" * 100_000, ValueError, "must be JSON"),
    ],
)
def test_refuses_what_is_no_config(text, error, match, tmp_path):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(error, match=match):
        EncoderDecoder.from_preset(tmp_path)


def without_padding(model):
    """Zeros for padding, as published."""
    tables = {
        id(x.table): x.table for x in (model.source_embedding, model.target_embedding)
    }
    for table in tables.values():
        rows = np.arange(table.input_dim)[:, None]
        table.embeddings.assign(to_numpy(table.embeddings) * (rows != model.padding_id))
    return [*tables.values()]


def batch_of(theirs):
    source, labels = theirs.inputs(4)
    labels[:, 0] = 7
    target = np.concatenate([np.full((4, 1), theirs.start_id), labels[:, :-1]], axis=1)
    target = np.where(labels == theirs.padding_id, theirs.padding_id, target)
    return (source, target.astype("int32")), labels


@pytest.mark.slow
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", ["marian", "marian, two vocabularies"])
def test_padding_stays_zero_when_all_learns(name, wrapped, checkpoint, tmp_path):
    theirs = checkpoint(name)
    model = EncoderDecoder.from_preset(theirs.folder)
    tables = without_padding(model)
    before = [to_numpy(table.embeddings) for table in tables]
    optimizer = keras.optimizers.AdamW(
        1e-2, weight_decay=0.1, use_ema=True, ema_momentum=0.5, global_clipnorm=1.0
    )
    trained = ProjectedLoss(model) if wrapped else model
    loss = TokenCrossEntropy(label_smoothing=0.1, ignore_class=model.padding_id)
    trained.compile(optimizer, loss)
    trained.fit(*batch_of(theirs), epochs=3, verbose=0)
    for table, old in zip(tables, before, strict=True):
        new = to_numpy(table.embeddings)
        assert not new[model.padding_id].any()
        moved = np.abs(new - old).max(axis=1) > 0
        assert np.all(np.delete(moved, model.padding_id)) or not wrapped
    with averaged_weights(trained):
        assert not any(
            to_numpy(table.embeddings)[model.padding_id].any() for table in tables
        )
        folder = export_hugging_face(model, tmp_path / "out")
    written = theirs.read(folder).state_dict()
    rows = [x for x in written if "shared" in x or "embed_tokens" in x]
    assert rows and not any(written[x][model.padding_id].any() for x in rows)


@pytest.mark.slow
def test_a_table_of_sources_learns_as_theirs(checkpoint):
    # One that gives the logits too learns padding there by these.
    import torch

    theirs = checkpoint("marian, two vocabularies")
    model = EncoderDecoder.from_preset(theirs.folder, dropout=0.0)
    without_padding(model)
    model.decoder.embedding.bias.trainable = False
    reader = theirs.read(theirs.folder)
    embeddings = reader.model.encoder.embed_tokens, reader.model.decoder.embed_tokens
    with torch.no_grad():
        for each in embeddings:
            each.weight[theirs.padding_id] = 0
    (source, target), labels = batch_of(theirs)
    model.compile(
        keras.optimizers.SGD(0.1), TokenCrossEntropy(ignore_class=model.padding_id)
    )
    model.fit((source, target), labels, epochs=1, verbose=0)
    optimizer = torch.optim.SGD(reader.parameters(), 0.1)
    reader(
        input_ids=torch.tensor(source),
        attention_mask=torch.tensor(source != theirs.padding_id).long(),
        labels=torch.tensor(labels_to_hugging_face(labels, theirs.padding_id)),
    ).loss.backward()
    optimizer.step()
    expected, other = (each.weight.detach().numpy() for each in embeddings)
    found = to_numpy(model.source_embedding.table.embeddings)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not found[theirs.padding_id].any()
    found = to_numpy(model.target_embedding.table.embeddings)
    real = np.arange(len(found)) != theirs.padding_id
    np.testing.assert_allclose(found[real], other[real], atol=1e-5)


@pytest.mark.parametrize(
    "kind",
    ["SGD", "Adam", "AdamW", "Adamax", "Nadam", "RMSprop", "Adagrad", "Adadelta"]
    + ["Adafactor", "Lion", "Lamb", "Ftrl", "Muon"],
)
def test_no_optimizer_moves_zeros_without_a_gradient(kind):
    table = keras.Variable(np.array([[1.0, 2.0], [0.0, 0.0], [3.0, -1.0]], "float32"))
    more = {} if kind == "AdamW" else {"weight_decay": 0.1}
    optimizer = getattr(keras.optimizers, kind)(0.1, use_ema=True, **more)
    optimizer.build([table])
    for _ in range(3):
        gradient = np.array([[0.5, -1.0], [0.0, 0.0], [1.0, 2.0]], "float32")
        optimizer.apply([ops.convert_to_tensor(gradient)], [table])
    assert not to_numpy(table)[1].any() and to_numpy(table)[0, 0] != 1
    assert not to_numpy(optimizer._model_variables_moving_average[0])[1].any()
