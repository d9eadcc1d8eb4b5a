"""Folders of small tokenizers of every family, as transformers reads them."""

import gzip
import io
import json
import random
import shutil

# The settings of each family's folder, and the SentencePiece model that it is made of.
FAMILIES = {
    "t5": ("spiece.model", "padded", {"model_type": "t5"}, {"extra_ids": 12}),
    "mbart": ("sentencepiece.bpe.model", "plain", {"model_type": "mbart"}, {}),
    "mbart50": (
        "sentencepiece.bpe.model",
        "plain",
        {"model_type": "mbart"},
        {"tokenizer_class": "MBart50Tokenizer"},
    ),
    "pegasus": ("spiece.model", "padded", {"model_type": "pegasus"}, {}),
    "m2m_100": ("sentencepiece.bpe.model", "pairs", {"model_type": "m2m_100"}, {}),
    "nllb": (
        "sentencepiece.bpe.model",
        "pairs",
        {"model_type": "m2m_100"},
        {"tokenizer_class": "NllbTokenizer"},
    ),
    "bart": (None, None, {"model_type": "bart"}, {}),
    "blenderbot": (None, None, {"model_type": "blenderbot"}, {}),
    "byt5": (None, None, {"model_type": "t5"}, {"tokenizer_class": "ByT5Tokenizer"}),
}
LANGUAGES = {
    "mbart": ("de_DE", "fr_XX"),
    "mbart50": ("de_DE", "fr_XX"),
    "nllb": ("deu_Latn", "fra_Latn"),
    "m2m_100": ("de", "fr"),
}
NLLB_LANGUAGES = ["deu_Latn", "eng_Latn", "fra_Latn"]


def lines_of(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().split("\n")[:-1]


def maker(texts, root):
    """Returns a function that makes the folder of a family, once.

    Args:
        texts: What the vocabularies are learned from.
        root: The folder of the folders.
    """
    import sentencepiece
    import tokenizers

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]

    def pieces(**options):
        writer = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=writer,
            vocab_size=600,
            minloglevel=2,
            **options,
        )
        return writer.getvalue()

    learned = {
        "plain": pieces(),
        "padded": pieces(pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
        "pairs": pieces(model_type="bpe"),
    }
    byte_pairs = tokenizers.ByteLevelBPETokenizer()
    byte_pairs.train_from_iterator(texts, 700, special_tokens=special)

    def make(name):
        folder = root / name
        if folder.exists():
            return folder
        folder.mkdir()
        file, kind, config, settings = FAMILIES[name]
        (folder / "config.json").write_text(json.dumps(config))
        if file:
            (folder / file).write_bytes(learned[kind])
        elif name != "byt5":
            byte_pairs.save_model(str(folder))
        if name == "m2m_100":
            settings = _m2m_100(folder, learned[kind])
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        if name in ("nllb", "blenderbot"):
            _of_transformers(folder, name)
        return folder

    return make


def _m2m_100(folder, proto):
    """A table in another order, without some pieces and with some runs of letters."""
    import sentencepiece

    from keras_encdec.pretrained.languages import M2M_100

    model = sentencepiece.SentencePieceProcessor(model_proto=proto)
    pieces = [model.id_to_piece(i) for i in range(3, model.get_piece_size())]
    random.Random(0).shuffle(pieces)
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *pieces[:-20], "日", "日本"]
    table = {piece: number for number, piece in enumerate(pieces)}
    (folder / "vocab.json").write_text(json.dumps(table))
    return {"additional_special_tokens": [f"__{x}__" for x in M2M_100["m2m100"]]}


def _of_transformers(folder, name):
    """What transformers writes, which published folders of these families hold."""
    from transformers import AutoTokenizer

    more = {"extra_special_tokens": NLLB_LANGUAGES} if name == "nllb" else {}
    config = (folder / "config.json").read_text()
    written = folder.with_name(f"{name}-written")
    AutoTokenizer.from_pretrained(folder, **more).save_pretrained(written)
    shutil.copytree(written, folder, dirs_exist_ok=True)
    (folder / "config.json").write_text(config)
    if name == "blenderbot":
        path = folder / "tokenizer.json"
        description = json.loads(path.read_text("utf-8"))
        text, end = {"Sequence": {"id": "A", "type_id": 0}}, {"id": "</s>"}
        description["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [text, {"SpecialToken": {**end, "type_id": 0}}],
            "pair": [text, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"</s>": {**end, "ids": [2], "tokens": ["</s>"]}},
        }
        path.write_text(json.dumps(description), "utf-8")
