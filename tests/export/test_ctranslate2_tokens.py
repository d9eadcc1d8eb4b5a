"""Checkpoints of each family in CTranslate2, beside transformers and its converter."""

import json
import types

import ctranslate2
import numpy as np
import pytest
import sentencepiece
import tokenizers

from keras_encdec import TextToText
from keras_encdec.export.ctranslate2 import export_ctranslate2
from keras_encdec.text import ByteTokenizer

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses"),
]

LENGTH = 11
OF_ITS_OWN = ["t5 1.0", "umt5", "m2m_100", "nllb", "bart", "mbart", "pegasus"]
# With transformers 5 its converter scales the logits of those whose head is no table,
# and writes a folder of mBART-50 that it cannot read; it knows no Blenderbot. It leaves
# out the padding of Marian, which has then no name to be suppressed by.
OTHERS = ["marian", "t5 1.1", "mt5", "byt5", "mbart50", "blenderbot"]


@pytest.fixture(scope="module")
def texts(multi30k):
    return [*multi30k[1][:12], *multi30k[1][-4:]]


class Exported:
    """A folder of CTranslate2, asked as its config.json says."""

    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text())
        vocabulary = json.loads((folder / "shared_vocabulary.json").read_text())
        self.ids = {token: i for i, token in enumerate(vocabulary)}
        self.tokens = vocabulary
        self.translator = ctranslate2.Translator(str(folder), intra_threads=1)

    def __call__(self, sources, forced=(), **options):
        """Returns five hypotheses for each source, their ids, and their scores."""
        found = self.translator.translate_batch(
            sources,
            target_prefix=[[*forced]] * len(sources) if forced else None,
            beam_size=5,
            num_hypotheses=5,
            return_scores=True,
            min_decoding_length=0,
            max_decoding_length=LENGTH,
            **options,
        )
        ids = [[[self.ids[x] for x in row] for row in x.hypotheses] for x in found]
        return ids, np.array([x.scores for x in found])


def pieces_of(folder, texts):
    """Splits texts by the files that are in the folder, without our tokenizers."""
    if (folder / "source.model").exists():
        file = str(folder / "source.model")
        processor = sentencepiece.SentencePieceProcessor(model_file=file)
        return processor.encode(texts, out_type=str)
    if (folder / "source.tokenizer.json").exists():
        file = str(folder / "source.tokenizer.json")
        tokenizer = tokenizers.Tokenizer.from_file(file)
        rows = tokenizer.encode_batch(texts, add_special_tokens=False)
        return [row.tokens for row in rows]
    return [[f"<0x{byte:02X}>" for byte in text.encode()] for text in texts]


def exported(preset, texts, folder):
    """Returns the folder's answers, and the tokens of what it was asked."""
    text_to_text = TextToText.from_preset(preset.folder, **preset.options)
    export_ctranslate2(text_to_text, folder)
    ours = Exported(folder)
    assert len(ours.ids) == len(ours.tokens)
    pieces = pieces_of(folder, texts)
    if not isinstance(text_to_text.source_tokenizer, ByteTokenizer):
        assert text_to_text.source_tokenizer.split(texts) == pieces
    before, behind = ours.config["source_prefix"], ours.config["source_suffix"]
    sources = [[*before, *row, *behind] for row in pieces]
    return ours, ours(sources, ours.config["target_prefix"])


def scores_of_transformers(preset, texts, rows):
    """The mean log-probability of each token of hypotheses, 0 of the forced one."""
    import torch

    theirs, tokenizer = preset.checkpoint, preset.tokenizer
    number = len(rows[0])
    rows = [row for several in rows for row in several]
    ended = [row if len(row) == LENGTH else [*row, theirs.end_id] for row in rows]
    width = max(map(len, ended))
    padding = theirs.padding_id
    target = np.array([row + [padding] * (width - len(row)) for row in ended])
    inputs = tokenizer([x for x in texts for _ in range(number)], padding=True)
    begin = np.full((len(rows), 1), theirs.start_id)
    with torch.no_grad():
        logits = theirs.model(
            input_ids=torch.tensor(inputs["input_ids"]),
            attention_mask=torch.tensor(inputs["attention_mask"]),
            decoder_input_ids=torch.tensor(np.hstack([begin, target[:, :-1]])),
        ).logits
    logits[..., padding] = -np.inf
    scores = logits.log_softmax(-1).numpy()
    scores = np.take_along_axis(scores, target[..., None], 2)[..., 0]
    scores[:, : preset.forced is not None] = 0
    lengths = np.array([*map(len, ended)])
    is_token = np.arange(width) < lengths[:, None]
    means = np.where(is_token, scores, 0).sum(1) / lengths
    return means.reshape(-1, number)


@pytest.fixture(scope="module")
def preset_of(preset, family_preset, load_test_module):
    """The `Preset` of a family, or a Marian with the tokenizer of a published one."""
    from transformers import AutoTokenizer

    def marian():
        model = load_test_module("pretrained/checkpoints.py").Checkpoint.read(preset)
        config = model.config
        ids = {
            "end_id": config.eos_token_id,
            "padding_id": config.pad_token_id,
            "start_id": config.decoder_start_token_id,
        }
        return types.SimpleNamespace(
            folder=preset,
            options={},
            forced=None,
            tokenizer=AutoTokenizer.from_pretrained(preset),
            checkpoint=types.SimpleNamespace(model=model, **ids),
        )

    return lambda name: marian() if name == "marian" else family_preset(name)


def fitting(texts, preset):
    """Texts of no more tokens than the model has positions, none left out."""
    most = getattr(preset.checkpoint.model.config, "max_position_embeddings", 512)
    cut = []
    for text in texts:
        while len(preset.tokenizer(text)["input_ids"]) > most:
            text = text[: len(text) // 2]
        cut.append(text)
    return cut


@pytest.mark.parametrize("name", [*OF_ITS_OWN, *OTHERS])
def test_scores_are_those_of_transformers(name, preset_of, texts, tmp_path):
    preset = preset_of(name)
    texts = fitting(texts, preset)
    _, (rows, scores) = exported(preset, texts, tmp_path / "ours")
    expected = scores_of_transformers(preset, texts, rows)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert len({tuple(row[0]) for row in rows}) > 3


def convert(preset, folder):
    """Writes a checkpoint by the converter of CTranslate2."""
    from ctranslate2.converters import TransformersConverter

    class Converter(TransformersConverter):
        def load_tokenizer(self, *_, **__):
            return preset.tokenizer

    Converter(str(preset.folder)).convert(str(folder))


@pytest.mark.parametrize("name", OF_ITS_OWN)
def test_answers_are_those_of_its_own_converter(name, preset_of, texts, tmp_path):
    preset = preset_of(name)
    texts = fitting(texts, preset)
    ours, (rows, scores) = exported(preset, texts, tmp_path / "ours")
    convert(preset, tmp_path / "theirs")
    theirs = Exported(tmp_path / "theirs")
    sources = [
        preset.tokenizer.convert_ids_to_tokens(row)
        for row in preset.tokenizer(texts)["input_ids"]
    ]
    forced = [] if preset.forced is None else [theirs.tokens[preset.forced]]
    assert ours.config["target_prefix"] == forced
    padding = [[preset.tokenizer.pad_token]]
    if name == "mbart":
        # It is told the start of the target, which ours knows, as what is forced.
        forced = [theirs.tokens[preset.checkpoint.start_id]]
    found, expected = theirs(sources, forced, suppress_sequences=padding)
    assert rows == found
    np.testing.assert_allclose(scores, expected, atol=1e-4)
