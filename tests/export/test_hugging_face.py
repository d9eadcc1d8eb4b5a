"""What is written is what was read, and what transformers computes as we do."""

import json

import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file

from keras_encdec import (
    BeamSampler,
    CharacterTokenizer,
    ContrastiveSampler,
    Decoder,
    Encoder,
    EncoderDecoder,
    TextToText,
    WordTokenizer,
)
from keras_encdec.export.hugging_face import export_hugging_face
from keras_encdec.generation import NoRepeatNGram
from keras_encdec.layers import LearnedPosition, SinusoidalPosition

FAMILIES = [
    *("marian", "marian, two vocabularies", "t5 1.0", "t5 1.0, 8 a head", "t5 1.1"),
    *("ul2", "mt5", "m2m_100", "bart", "bart, untied", "mbart", "pegasus"),
    *("blenderbot", "umt5"),
]
SOURCE = np.array([[3, 4, 5, 1, 2], [6, 2, 0, 0, 0], [7, 7, 2, 0, 0]], "int32")
TARGET = np.array([[1, 4, 5, 8], [1, 3, 6, 0], [1, 5, 0, 0]], "int32")


def to_numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


@pytest.fixture(scope="module")
def read(load_test_module):
    pytest.importorskip("transformers")
    return load_test_module("pretrained/checkpoints.py").Checkpoint.read


@pytest.mark.once
@pytest.mark.parametrize("name", FAMILIES)
def test_what_was_loaded_comes_back(name, checkpoint, read, tmp_path):
    theirs = checkpoint(name)
    model = EncoderDecoder.from_preset(theirs.folder)
    folder = export_hugging_face(model, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    expected = dict(theirs.tensors)
    if name == "pegasus":
        # It stores sinusoids too, and computes them.
        expected = {k: v for k, v in expected.items() if "positions" not in k}
    assert tensors.keys() == expected.keys()
    for tensor, array in tensors.items():
        # The roots of 8 and of 5 are no numbers of float32.
        folded = name == "t5 1.0, 8 a head" and ".q." in tensor
        np.testing.assert_allclose(array, expected[tensor], rtol=1e-6 * folded)
    config = json.loads((folder / "config.json").read_text())
    assert config == json.loads((theirs.folder / "config.json").read_text())
    logits, _ = theirs.logits(*theirs.inputs(), read(folder))
    before, is_token = theirs.logits(*theirs.inputs())
    np.testing.assert_allclose(logits[is_token], before[is_token], atol=1e-5)


def randomized(model):
    rng = np.random.default_rng(1)
    for weight in model.weights:
        mean = 1.0 if weight.name in ("gamma", "scale") else 0.0
        weight.assign(rng.normal(mean, 0.4, size=weight.shape))
    return model


LEARNED = {"positions": "learned", "max_length": 9}
T5 = {"positions": "relative", "normalization": "rms", "use_bias": False}
OWN = {
    "pegasus": [
        {},
        {"use_bias": False, "output_bias": True, "scale_embeddings": False},
        {"activation": "silu", "tie_embeddings": False, "num_decoder_layers": 1},
    ],
    "marian": [
        {"normalize_first": False},
        {"normalize_first": False, "target_vocabulary_size": 9},
        {
            "normalize_first": False,
            "positions": SinusoidalPosition(interleaved=False),
            "target_vocabulary_size": 11,
            "tie_embeddings": False,
        },
    ],
    "blenderbot": [LEARNED],
    "bart": [{**LEARNED, "normalize_first": False, "embedding_norm": True}],
    "mbart": [
        {"positions": LearnedPosition(9, offset=2), "embedding_norm": True},
    ],
    "m2m_100": [
        {"positions": SinusoidalPosition(interleaved=False, endpoint=True, first=1)},
    ],
    "t5": [
        T5,
        {**T5, "gated": True, "activation": "gelu_new", "tie_embeddings": False},
        {**T5, "head_dim": 6, "num_buckets": 8, "scale_embeddings": False},
    ],
    "umt5": [{**T5, "bias_per_block": True, "epsilon": 0.1}],
}


@pytest.mark.once
@pytest.mark.parametrize(
    "family, options",
    [(family, options) for family, several in OWN.items() for options in several],
)
def test_models_of_our_own_go_as_the_family_that_says_them(
    family, options, read, tmp_path
):
    import torch

    sizes = {"hidden_dim": 16, "intermediate_dim": 12, "num_heads": 4, "num_layers": 2}
    model = randomized(EncoderDecoder(11, **sizes, **options))
    folder = export_hugging_face(model, tmp_path / "model")
    export_hugging_face(model, folder, overwrite=True)
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == family
    is_token = TARGET != 0
    with torch.no_grad():
        expected = read(folder)(
            input_ids=torch.tensor(SOURCE),
            attention_mask=torch.tensor(SOURCE != 0).long(),
            decoder_input_ids=torch.tensor(TARGET),
            decoder_attention_mask=torch.tensor(is_token).long(),
        ).logits.numpy()
    found = to_numpy(model((SOURCE, TARGET)))
    np.testing.assert_allclose(found[is_token], expected[is_token], atol=1e-4)
    again = to_numpy(EncoderDecoder.from_preset(folder)((SOURCE, TARGET)))
    np.testing.assert_allclose(again[is_token], found[is_token], atol=1e-4)


@pytest.mark.once
def test_tells_all_that_it_cannot_say_before_it_writes(tmp_path):
    options = {"positions": "rotary", "gated": True, "activation": "exponential"}
    model = EncoderDecoder(11, 16, 12, 4, 2, num_key_value_heads=2, **options)
    with pytest.raises(ValueError) as raised:
        export_hugging_face(model, tmp_path / "model")
    for words in (
        "positions='rotary'; it knows",
        "gated=True; it knows False, as",
        "num_key_value_heads=2; it knows 4, as",
        "export_saved_model",
    ):
        assert words in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.once
@pytest.mark.parametrize(
    "model, match",
    [
        (lambda: keras.Sequential(name="other"), "model=Sequential"),
        (
            lambda: EncoderDecoder(
                keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(8)]),
                Decoder(11, 8, 12, 2, 1),
            ),
            "it knows Encoder",
        ),
    ],
)
def test_refuses_other_models(model, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        export_hugging_face(model(), tmp_path / "model")


@pytest.mark.once
def test_refuses_one_table_for_two_orders_of_features(tmp_path):
    sizes = {"vocabulary_size": 11, "hidden_dim": 16, "intermediate_dim": 12}
    sizes |= {"num_heads": 2, "num_layers": 1}
    encoder = Encoder(**sizes)
    decoder = Decoder(
        **sizes,
        positions=SinusoidalPosition(interleaved=False),
        table=encoder.embedding.table,
    )
    with pytest.raises(ValueError, match="one table"):
        export_hugging_face(EncoderDecoder(encoder, decoder), tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_texts_are_generated_as_here(tmp_path):
    transformers = pytest.importorskip("transformers")
    words = WordTokenizer(["a", "cat", "sat", "on", "the", "mat", "hat"])
    sizes = {"hidden_dim": 16, "intermediate_dim": 12, "num_heads": 4, "num_layers": 1}
    options = {"normalize_first": False, "tie_embeddings": False, "output_bias": True}
    model = randomized(EncoderDecoder(words.vocabulary_size, **sizes, **options))
    rules = {"processors": [NoRepeatNGram(2)], "max_length": 7}
    sampler = BeamSampler(3, early_stopping=True)
    ours = TextToText(words, words, model, sampler, **rules)
    folder = export_hugging_face(ours, tmp_path / "model")
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = ["a cat sat", "the hat sat on the mat", "mat", "cat hat"]
    inputs = tokenizer(texts, return_tensors="pt", padding=True)
    found = tokenizer.batch_decode(theirs.generate(**inputs), skip_special_tokens=True)
    assert found == ours(texts) and len({*found}) > 2
    again = TextToText.from_preset(folder)
    assert again(texts) == found
    (folder / "LICENSE").write_text("As is.")
    again = TextToText.from_preset(folder)
    second = export_hugging_face(again, tmp_path / "again")
    for path in folder.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


@pytest.mark.once
def test_what_texts_need_is_refused_beside_the_rest(tmp_path):
    letters = CharacterTokenizer(list("abc"), prefix_ids=[1])
    sizes = {"hidden_dim": 16, "intermediate_dim": 12, "num_heads": 4, "num_layers": 1}
    model = EncoderDecoder(letters.vocabulary_size, **sizes, positions="rotary")
    text_to_text = TextToText(letters, letters, model, ContrastiveSampler())
    with pytest.raises(ValueError) as raised:
        export_hugging_face(text_to_text, tmp_path / "model")
    for words in ("positions='rotary'", "ContrastiveSampler(", "CharacterTokenizer"):
        assert words in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.once
def test_tensors_have_the_dtype_of_the_weights(tmp_path):
    sizes = {"hidden_dim": 16, "intermediate_dim": 12, "num_heads": 4, "num_layers": 1}
    model = EncoderDecoder(11, **sizes, dtype="bfloat16")
    folder = export_hugging_face(model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    assert (config["decoder_start_token_id"], config["eos_token_id"]) == (1, 2)
    assert config["dtype"] == "bfloat16"
    dtypes = {x.dtype.name for x in load_file(folder / "model.safetensors").values()}
    assert dtypes == {"bfloat16"}


@pytest.mark.once
@pytest.mark.parametrize("name", ["../README.md", "a/README.md", "/README.md"])
def test_a_saved_model_says_no_place_elsewhere(name):
    sizes = {"hidden_dim": 16, "intermediate_dim": 12, "num_heads": 4, "num_layers": 1}
    config = EncoderDecoder(11, **sizes).get_config()
    with pytest.raises(ValueError, match="files of one folder"):
        EncoderDecoder.from_config({**config, "origin": {name: "text"}})
