"""CTranslate2 computes what we do, with every option of the model."""

import json
import sys
from pathlib import Path

import ctranslate2
import keras
import numpy as np
import pytest
import sentencepiece
from keras import ops

from keras_encdec import (
    BeamSampler,
    ByteTokenizer,
    CharacterTokenizer,
    EncoderDecoder,
    SentencePieceTokenizer,
    TextToText,
    WordTokenizer,
)
from keras_encdec.export.ctranslate2 import export_ctranslate2
from keras_encdec.generation import ForcedFirst, Shortlist
from keras_encdec.layers import LearnedPosition, SinusoidalPosition
from keras_encdec.text import Tokenizer

LENGTH = 12
LETTERS = CharacterTokenizer(list("abcdefgh"))
WORDS = ["a", "face", "bad", "cabbage", "hhhhhhhhhhhhhhhhhhhhhh", "bed", "egg", "d!g"]
TEXTS = ["a cat sat", "a hat sat", "the cat has a hat", "that is a hat", "zebra"]


def text_to_text_of(source, target, **options):
    """Weights that are the same under every backend, and let each part matter."""
    # Tied embeddings with random weights say one word again and again.
    options = {"num_heads": 4, "num_layers": 2, "tie_embeddings": False, **options}
    if source is not target:
        options["target_vocabulary_size"] = target.vocabulary_size
    model = EncoderDecoder(source.vocabulary_size, 16, 24, **options)
    rng = np.random.default_rng(0)

    def weight(variable):
        shape, path = variable.shape, variable.path
        center = float(path.endswith(("gamma", "scale")))
        spread = 0.3 if len(shape) == 1 or "table" in path else 1.5 * shape[0] ** -0.5
        if path.endswith(("position_vectors", "bucket_biases")):
            spread = 1.0
        return (center + spread * rng.normal(size=shape)).astype("float32")

    model.set_weights([weight(variable) for variable in model.weights])
    sampler = BeamSampler(5, early_stopping=True)
    return TextToText(source, target, model, sampler, max_length=LENGTH)


class Exported:
    """The folder in CTranslate2, asked for ids."""

    def __init__(self, folder, **options):
        self.translator = ctranslate2.Translator(
            str(folder), device="cpu", intra_threads=1, **options
        )
        files = {path.name: path for path in folder.glob("*_vocabulary.json")}
        self.source, self.target = (
            json.loads(files.get(f"{side}_vocabulary.json", shared).read_text())
            for side in ("source", "target")
            for shared in [files.get("shared_vocabulary.json")]
        )

    def __call__(self, tokens, beams, **options):
        """Returns the hypotheses of each source, pairs of ids and a score."""
        results = self.translator.translate_batch(
            tokens,
            beam_size=beams,
            num_hypotheses=beams,
            length_penalty=1,
            min_decoding_length=0,
            max_decoding_length=LENGTH,
            return_scores=True,
            **options,
        )
        id_of = {token: i for i, token in enumerate(self.target)}
        return [
            [
                ([id_of[token] for token in tokens], score)
                for tokens, score in zip(result.hypotheses, result.scores, strict=True)
            ]
            for result in results
        ]


def ended(ids):
    """Adds the end id, which CTranslate2 leaves out, where there was time for it."""
    return ids if len(ids) == LENGTH else [*ids, 2]


def padded(rows):
    # To few widths, for each of which JAX compiles.
    width = max(24, *map(len, rows))
    return np.array([row + [0] * (width - len(row)) for row in rows], "int32")


def log_probabilities(model, sources, targets):
    """Of each token after the tokens before it, padding left out: `(R, T, V)`."""
    inputs = padded(sources), padded([[1, *target[:-1]] for target in targets])
    logits = np.array(ops.convert_to_numpy(model(inputs)), "float64")
    logits[..., 0] = -np.inf
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


# Every option of the model


@keras.saving.register_keras_serializable(package="tests_of_ctranslate2")
def gelu_by_sigmoid(x):
    return x * ops.sigmoid(1.702 * x)


OPTIONS = {
    "defaults": {},
    "post-norm": {"normalize_first": False},
    "RMS, post-norm": {"normalization": "rms", "normalize_first": False},
    "epsilon": {"epsilon": 0.3},
    "RMS, epsilon": {"normalization": "rms", "epsilon": 0.3},
    "GELU": {"activation": "gelu"},
    "GELU by sigmoid": {"activation": gelu_by_sigmoid},
    "SiLU": {"activation": "silu"},
    "tanh": {"activation": "tanh"},
    "sigmoid": {"activation": "sigmoid"},
    "gated": {"gated": True, "activation": "silu"},
    "no biases": {"use_bias": False, "gated": True},
    "shared keys": {"num_key_value_heads": 2},
    "one key, head_dim": {"num_key_value_heads": 1, "head_dim": 6},
    "learned": {"positions": "learned", "max_length": 32},
    "learned behind others": {"positions": LearnedPosition(32, offset=2)},
    "no positions": {"positions": None},
    "Tensor2Tensor": {
        "positions": SinusoidalPosition(interleaved=False, endpoint=True, first=1)
    },
    "rotary, one key": {"positions": "rotary", "num_key_value_heads": 1},
    "rotary, head_dim": {"positions": "rotary", "head_dim": 6},
    "relative": {"positions": "relative"},
    "relative, shared keys": {"positions": "relative", "num_key_value_heads": 2},
    "buckets": {"positions": "relative", "num_buckets": 8, "max_distance": 9},
    "bias per block": {"positions": "relative", "bias_per_block": True},
    "embedding norm": {"embedding_norm": True, "normalize_first": False},
    "GELU new, RMS embedding norm": {
        "activation": "gelu_new",
        "embedding_norm": True,
        "normalization": "rms",
    },
    "tied, output bias": {"tie_embeddings": True, "output_bias": True},
    "unscaled": {"scale_embeddings": False},
    "deep": {"num_layers": 3, "num_decoder_layers": 1},
    "bfloat16": {"dtype": "mixed_bfloat16"},
}


def check_log_probabilities(text_to_text, exported, words, answers, tolerance):
    """Compares them of given targets, which CTranslate2 reads at once."""
    results = exported.translator.score_batch(
        list(map(list, words)), list(map(list, answers))
    )
    targets = LETTERS.encode(answers).to_list()
    sources = LETTERS.encode(words).to_list()
    expected = log_probabilities(text_to_text.model, sources, targets)
    theirs = [value for result in results for value in result.log_probs]
    ours = [
        row[i, token]
        for row, target in zip(expected, targets, strict=True)
        for i, token in enumerate(target)
    ]
    np.testing.assert_allclose(theirs, ours, atol=tolerance)
    assert np.std(ours) > 0.3


def check_hypotheses(text_to_text, exported, words, beams, tolerance):
    """Compares the scores of what CTranslate2 generates, step by step."""
    found = exported(list(map(list, words)), beams)
    targets = [ended(ids) for row in found for ids, _ in row]
    sources = LETTERS.encode([w for w in words for _ in range(beams)]).to_list()
    expected = log_probabilities(text_to_text.model, sources, targets)
    theirs = [score for row in found for _, score in row]
    for row, target, score in zip(expected, targets, theirs, strict=True):
        ours = [row[i, token] for i, token in enumerate(target)]
        np.testing.assert_allclose(score, np.mean(ours), atol=tolerance)
        if beams == 1:  # Then each token is the most probable one.
            best = row.max(-1)[: len(target)]
            np.testing.assert_allclose(ours, best, atol=tolerance)


@pytest.mark.once
@pytest.mark.parametrize("name", OPTIONS)
def test_probabilities_are_ours(name, tmp_path):
    text_to_text = text_to_text_of(LETTERS, LETTERS, **OPTIONS[name])
    exported = Exported(export_ctranslate2(text_to_text, tmp_path / "model"))
    tolerance = 0.1 if name == "bfloat16" else 1e-4
    options = text_to_text, exported, WORDS
    check_log_probabilities(*options, WORDS[::-1], tolerance)
    check_hypotheses(*options, 5, tolerance)
    check_hypotheses(*options, 1, tolerance)


@pytest.mark.once
@pytest.mark.parametrize("positions", ["sinusoidal", "rotary", "relative"])
def test_probabilities_of_long_texts_are_ours(positions, tmp_path):
    text_to_text = text_to_text_of(LETTERS, LETTERS, positions=positions)
    exported = Exported(export_ctranslate2(text_to_text, tmp_path / "model"))
    letters = np.random.default_rng(0).choice(list("abcdefgh"), 700)
    words = ["".join(letters[:400])]
    answers = ["".join(letters[400:])]
    check_log_probabilities(text_to_text, exported, words, answers, 2e-4)


# Texts


WORD_TOKENIZER = WordTokenizer(["a", "cat", "</s>", "<unk>", "<<unk>>", "hat"])


@pytest.fixture(scope="module")
def pieces():
    return SentencePieceTokenizer.train(TEXTS, 20, user_defined_symbols=["<pause>"])


@pytest.fixture(scope="module")
def tokenizers(pieces):
    characters = CharacterTokenizer(list('ath \n\t\x00é😀"\\\u2028'))
    return {
        "pieces": pieces,
        "words": WORD_TOKENIZER,
        "characters": characters,
        "bytes": ByteTokenizer(),
    }


def split(kind, folder, text):
    """A text as CTranslate2 takes it, without our tokenizers."""
    if kind == "words":
        return text.split()
    if kind == "characters":
        return list(text)
    if kind == "bytes":
        return [f"<0x{byte:02X}>" for byte in text.encode()]
    file = str(folder / "source.model")
    processor = sentencepiece.SentencePieceProcessor(model_file=file)
    return processor.encode(text, out_type=str)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target", "options"),
    [
        ("pieces", "bytes", {"positions": "rotary", "num_key_value_heads": 2}),
        ("bytes", "pieces", {"positions": "relative", "normalize_first": False}),
        ("characters", "words", {"output_bias": True, "normalization": "rms"}),
        ("words", "words", {"gated": True, "activation": "silu"}),
    ],
)
def test_texts_are_ours(source, target, options, tokenizers, tmp_path):
    texts = [*TEXTS, "\n\t\x00é😀", '"\\\u2028 ', "<unk> </s> hat"]
    text_to_text = text_to_text_of(tokenizers[source], tokenizers[target], **options)
    folder = export_ctranslate2(text_to_text, tmp_path / "model")
    # No empty ones, of which CTranslate2 makes empty targets.
    texts = [text for text in texts if split(source, folder, text)]
    expected = text_to_text(texts, num_return_sequences=5, return_scores=True)
    found = Exported(folder)([split(source, folder, text) for text in texts], 5)
    for ours, theirs in zip(expected, found, strict=True):
        decoded = tokenizers[target].decode([ids for ids, _ in theirs]).numpy()
        decoded = [text.decode("utf-8", "replace") for text in decoded]
        assert decoded == [text for text, _ in ours]
        scores = [score for _, score in theirs], [score for _, score in ours]
        np.testing.assert_allclose(*scores, atol=1e-4)
    assert (folder / "source.model").exists() == (source == "pieces")
    assert (folder / "target.model").exists() == (target == "pieces")


@pytest.mark.once
def test_tokens_stand_at_their_ids(pieces, tmp_path):
    text_to_text = text_to_text_of(pieces, WORD_TOKENIZER)
    folder = export_ctranslate2(text_to_text, tmp_path / "model")
    exported = Exported(folder)
    special = ["<pad>", "<s>", "<</s>>", "<<<unk>>>"]
    assert exported.target == [*special, *WORD_TOKENIZER.vocabulary]
    assert exported.source[:4] == special
    file = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.model"))
    assert exported.source[4:] == [file.id_to_piece(i) for i in range(4, 20)]
    config = json.loads((folder / "config.json").read_text())
    assert config["decoder_start_token"] == config["bos_token"] == "<s>"
    assert config["eos_token"] == "<</s>>"
    assert config["unk_token"] == "<<<unk>>>"


@pytest.mark.once
def test_what_it_cannot_put_around_a_source_is_told(tmp_path):
    def config(name, **around):
        letters = CharacterTokenizer(list("abcd"), **around)
        model = EncoderDecoder(12, 16, 24, num_heads=2, num_layers=1)
        text_to_text = TextToText(letters, letters, model, processors=[ForcedFirst(4)])
        folder = export_ctranslate2(text_to_text, tmp_path / name)
        return json.loads((folder / "config.json").read_text())

    by_itself = config("one", prefix_ids=[7])
    assert by_itself["bos_token"] == "<7>" and by_itself["target_prefix"] == ["a"]
    assert by_itself["add_source_bos"] and by_itself["add_source_eos"]
    assert by_itself["source_prefix"] == by_itself["source_suffix"] == []
    told = config("more", prefix_ids=[7, 1], suffix_ids=[2, 8])
    assert not told["add_source_bos"] and not told["add_source_eos"]
    assert told["source_prefix"] == ["<7>", "<s>"]
    assert told["source_suffix"] == ["</s>", "<8>"]


@pytest.mark.once
def test_a_model_may_have_more_ids_than_its_tokenizer(tmp_path):
    model = EncoderDecoder(14, 16, 24, num_heads=2, num_layers=1)
    text_to_text = TextToText(LETTERS, LETTERS, model)
    exported = Exported(export_ctranslate2(text_to_text, tmp_path / "model"))
    assert exported.target[12:] == ["<unused_12>", "<unused_13>"]


# A trained model


@pytest.fixture(scope="module")
def names(shared_data, load_test_module):
    """The original model, and the same as text to text."""
    module = load_test_module("generation/transliteration.py")
    model, source, target = module.load(shared_data)
    # Its unknown id is the last one.
    source_order, target_order = (
        [0, 1, 2, size - 1, *range(3, size - 1)] for size in (len(source), len(target))
    )
    for layer, order in (
        (model.source_embedding.table, source_order),
        (model.target_embedding.table, target_order),
        (model.decoder.logits_dense, target_order),
    ):
        weights = [ops.convert_to_numpy(weight) for weight in layer.weights]
        axis = 1 if layer is model.decoder.logits_dense else 0
        weights[0] = weights[0].take(order, axis)
        layer.set_weights([weights[0], *(weight[order] for weight in weights[1:])])
    tokenizers = CharacterTokenizer(source[3:-1]), CharacterTokenizer(target[3:-1])
    folder = str(shared_data / "aren-transliteration")
    original = ctranslate2.Translator(folder, device="cpu", intra_threads=1)
    return original, TextToText(*tokenizers, model), source[3:]


def some_names(letters):
    rng = np.random.default_rng(0)
    letters = [letter for letter in letters[:37] if len(letter) == 1]
    drawn = ["".join(rng.choice(letters, rng.integers(1, 15))) for _ in range(42)]
    return ["محمد", "علي", "فاطمة", "عبد", "القاهرة", "نور", "يوسف", "بغداد", *drawn]


def translations(translator, words, **options):
    results = translator.translate_batch(
        list(map(list, words)),
        beam_size=5,
        num_hypotheses=5,
        disable_unk=True,
        max_decoding_length=24,
        return_scores=True,
        **options,
    )
    return [["".join(h) for h in result.hypotheses] for result in results], [
        result.scores for result in results
    ]


@pytest.mark.parametrize("quantization", [None, "int8"])
def test_a_trained_model_comes_back(names, quantization, tmp_path):
    original, text_to_text, letters = names
    folder = export_ctranslate2(
        text_to_text, tmp_path / "model", quantization=quantization
    )
    # This model was trained on sources that do not end with the end token.
    config = json.loads((folder / "config.json").read_text())
    assert config["add_source_eos"] is True
    config["add_source_eos"] = False
    (folder / "config.json").write_text(json.dumps(config))
    exported = Exported(folder).translator
    words = some_names(letters)
    theirs, scores = translations(original, words, suppress_sequences=[["<blank>"]])
    ours, our_scores = translations(exported, words)
    if quantization is None:
        assert ours == theirs
        np.testing.assert_allclose(our_scores, scores, atol=1e-5)
    else:
        same = [a[0] == b[0] for a, b in zip(ours, theirs, strict=True)]
        assert np.mean(same) > 0.8
        assert exported.compute_type == "int8_float32"


@pytest.mark.once
def test_coverage_is_of_all_heads(names, tmp_path):
    _, text_to_text, letters = names
    words = some_names(letters)[:20]
    exported = Exported(export_ctranslate2(text_to_text, tmp_path / "model"))
    sampler = BeamSampler(5, early_stopping=True, coverage_penalty=0.3)
    tokenizers = text_to_text.source_tokenizer, text_to_text.target_tokenizer
    covering = TextToText(*tokenizers, text_to_text.model, sampler, max_length=LENGTH)
    expected = covering(words, return_scores=True)
    # In a batch theirs counts padding as source that was left out.
    options = {"coverage_penalty": 0.3, "max_batch_size": 1}
    found = exported(list(map(list, words)), 5, **options)
    for (text, score), hypotheses in zip(expected, found, strict=True):
        ids, their_score = hypotheses[0]
        assert tokenizers[1].decode([ids]).numpy()[0].decode() == text
        np.testing.assert_allclose(their_score, score, atol=1e-4)


@pytest.mark.once
@pytest.mark.parametrize("quantization", ["int8_float16", "int16", "bfloat16"])
def test_quantization_leaves_our_weights(quantization, tmp_path):
    text_to_text = text_to_text_of(LETTERS, LETTERS)
    before = [w.copy() for w in map(ops.convert_to_numpy, text_to_text.model.weights)]
    folder = export_ctranslate2(
        text_to_text, tmp_path / "model", quantization=quantization
    )
    after = map(ops.convert_to_numpy, text_to_text.model.weights)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    exact = Exported(export_ctranslate2(text_to_text, tmp_path / "exact"))
    coarse = Exported(folder)
    scores = [
        [result.log_probs for result in model.translator.score_batch([["a"]], [["c"]])]
        for model in (exact, coarse)
    ]
    np.testing.assert_allclose(*scores, atol=0.2)


# What is refused


@keras.saving.register_keras_serializable(package="tests_of_ctranslate2")
class OtherPosition(SinusoidalPosition):
    pass


class OtherTokenizer(Tokenizer):
    vocabulary_size = 12


@pytest.mark.once
def test_all_that_is_unknown_is_told_at_once(tmp_path):
    model = EncoderDecoder(
        12,
        16,
        24,
        num_heads=2,
        num_layers=1,
        activation="mish",
        positions=OtherPosition(),
    )
    model.encoder_blocks[0].feed_forward.output_dense.quantize("int8")
    source = CharacterTokenizer(["a"], prefix_ids=[7, 1], suffix_ids=[2, 8])
    text_to_text = TextToText(source, OtherTokenizer(), model)
    with pytest.raises(ValueError, match="CTranslate2 must know every") as caught:
        export_ctranslate2(text_to_text, tmp_path / "model", quantization="int4")
    for part in (
        "quantization='int4'; it knows None, int8,",
        "target_tokenizer=OtherTokenizer; it knows SentencePiece,",
        "activation='mish'; it knows relu, gelu",
        "positions=OtherPosition; it knows sinusoidal,",
        "weights that Keras has quantized; it knows float ones",
        "Choose options that it knows, or",
    ):
        assert part in str(caught.value)
    assert "source_tokenizer" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.once
def test_refuses_another_model(tmp_path):
    text_to_text = text_to_text_of(LETTERS, LETTERS)
    text_to_text.model = keras.Sequential()
    with pytest.raises(ValueError, match="model=Sequential; it knows EncoderDecoder"):
        export_ctranslate2(text_to_text, tmp_path / "model")


@pytest.mark.once
def test_refuses_a_folder_that_is_there_and_replaces_it(tmp_path):
    text_to_text = text_to_text_of(LETTERS, LETTERS)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="there already"):
        export_ctranslate2(text_to_text, tmp_path / "model")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "mine"]
    with pytest.raises(FileExistsError, match="holds model.bin is replaced"):
        export_ctranslate2(text_to_text, tmp_path / "model", overwrite=True)
    (tmp_path / "model" / "mine").rename(tmp_path / "model" / "model.bin")
    path = export_ctranslate2(text_to_text, str(tmp_path / "model"), overwrite=True)
    assert path == tmp_path / "model"
    files = ["README.md", "config.json", "model.bin", "shared_vocabulary.json"]
    assert sorted(file.name for file in path.iterdir()) == files
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.once
@pytest.mark.parametrize("exists", [False, True])
def test_a_failed_export_leaves_nothing(exists, tmp_path, monkeypatch):
    def fail(specification, folder):
        (Path(folder) / "model.bin").write_text("half")
        raise OSError("No space left on device")

    monkeypatch.setattr(ctranslate2.specs.TransformerSpec, "save", fail)
    if exists:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "model.bin").write_text("mine")
    text_to_text = text_to_text_of(LETTERS, LETTERS)
    with pytest.raises(OSError, match="No space"):
        export_ctranslate2(text_to_text, tmp_path / "model", overwrite=True)
    left = [path.name for path in tmp_path.rglob("*")]
    assert left == ["model", "model.bin"] * exists


@pytest.mark.once
def test_says_how_to_install_ctranslate2(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(ImportError, match="pip install ctranslate2"):
        export_ctranslate2(text_to_text_of(LETTERS, LETTERS), tmp_path / "model")


# A shortlist


def test_a_shortlist_is_its_vocabulary_map(tmp_path):
    size = LETTERS.vocabulary_size
    text_to_text = text_to_text_of(LETTERS, LETTERS)
    random = np.random.default_rng(3)
    candidates = random.integers(4, size, (size, 3))
    text_to_text.generator.shortlist = Shortlist(candidates, [1, 2, 3, 5], size)
    folder = export_ctranslate2(text_to_text, tmp_path / "letters")
    theirs, changed = Exported(folder), []
    for word in WORDS[2:5]:  # One by one, for theirs are those of the whole batch.
        (wanted,) = theirs([list(word)], 5, use_vmap=True)
        (all_ids,) = theirs([list(word)], 5)
        (ids,) = text_to_text.encode([word])
        ours = text_to_text.generator(
            [ids], LENGTH, num_return_sequences=5, return_scores=True
        )
        for (row, _), found in zip(wanted, ours.ids[0], strict=True):
            assert ended(row) == found[found != 0].tolist()
        np.testing.assert_allclose(
            [score for _, score in wanted], ours.scores[0], atol=1e-4
        )
        changed.append(all_ids != wanted)
    assert any(changed)
