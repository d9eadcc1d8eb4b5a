"""Tokenizers written as transformers reads them."""

from __future__ import annotations

import base64
import json
import pathlib

from keras_encdec.pretrained import languages
from keras_encdec.pretrained.piece_models import (
    CHARACTERS,
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER_DEFINED,
    WORDS,
    PieceModel,
    charsmap_of_white_space,
    read_piece_model,
)
from keras_encdec.text import (
    ByteLevelBPETokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    PieceTableTokenizer,
    SentencePieceTokenizer,
    SentinelByteTokenizer,
    SentinelPieceTokenizer,
    Tokenizer,
    WordTokenizer,
)

# The sign of a space in pieces.
_SPACE = "▁"


def write_tokenizers(
    folder,
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    family: str,
) -> None:
    """Writes two tokenizers into a folder, from which `AutoTokenizer` reads them.

    What was read by `tokenizers_from` is written as its family has it. Of tokenizers
    made here, Marian's form takes SentencePiece models of all types and vocabularies of
    words or characters; the forms of the other families take one tokenizer for both
    sides: a unigram or BPE model, byte-level BPE, or for T5 bytes with ByT5's ids.

    A vocabulary of words or characters goes along as a SentencePiece model of that
    type. Its ids are the same, but for what is unknown: SentencePiece makes one token
    of unknown ones in a row. Pieces that `continuation` joins have their ids too, but
    are not joined by transformers: replace `"@@ "` in its texts.

    Args:
        folder: The folder, `str` or `Path`, which is made where it is missing.
        source_tokenizer: A `Tokenizer`.
        target_tokenizer: A `Tokenizer`.
        family: The `model_type` of the config beside it, such as `"marian"`.

    Raises:
        ValueError: If transformers has no tokenizer of that family with these ids,
            before anything is written.

    Example:
        ```python
        import tempfile

        from keras_encdec.pretrained.written_tokenizers import write_tokenizers
        from keras_encdec.text import WordTokenizer

        tokenizer = WordTokenizer(["the", "cat"])
        write_tokenizers(tempfile.mkdtemp(), tokenizer, tokenizer, "marian")
        ```
    """
    files = tokenizer_contents(source_tokenizer, target_tokenizer, family)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def tokenizer_contents(
    source_tokenizer: Tokenizer, target_tokenizer: Tokenizer, family: str
) -> dict[str, bytes]:
    """What `write_tokenizers` writes: the content of each file, by its name.

    Args:
        source_tokenizer: As in `write_tokenizers`.
        target_tokenizer: Likewise.
        family: Likewise.

    Raises:
        ValueError: As in `write_tokenizers`.
    """
    both = source_tokenizer, target_tokenizer
    if family == "marian":
        files = _marian(*both)
    elif all(isinstance(each, PieceTableTokenizer) for each in both):
        files = _m2m_100(*both, family)
    else:
        _require_one_vocabulary(*both, family)
        if isinstance(target_tokenizer, ByteLevelBPETokenizer):
            files = _byte_pairs(target_tokenizer, family)
        elif isinstance(target_tokenizer, ByteTokenizer):
            files = _bytes(target_tokenizer, family)
        elif isinstance(target_tokenizer, SentencePieceTokenizer):
            files = _pieces(*both, family)
        else:
            _refuse(target_tokenizer, family)
    return {
        name: content if isinstance(content, bytes) else _as_json(content)
        for name, content in files.items()
    }


def _as_json(content):
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()


def _refuse(tokenizer, family, why="of another kind"):
    raise ValueError(
        f"The tokenizers that transformers has for {family!r} do not say what this one "
        f"does, which is {why}; received {tokenizer!r}. Export the model as 'marian', "
        "whose tokenizer takes pieces, words and characters, or write a tokenizer of "
        "your own beside it."
    )


def _special(tokenizer):
    return {
        "<pad>": tokenizer.padding_id,
        "</s>": tokenizer.end_id,
        "<unk>": tokenizer.unknown_id,
    }


def _require_one_vocabulary(source, target, family):
    around = "prefix_ids", "suffix_ids", "start_id"
    configs = [
        {k: v for k, v in each.get_config().items() if k not in around}
        for each in (source, target)
    ]
    if type(source) is not type(target) or configs[0] != configs[1]:
        _refuse(target, family, f"another one than that of sources, {source!r}")


def _settings(kind, tokenizer, **more):
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    close_up = getattr(tokenizer, "close_up", False)
    more = {"clean_up_tokenization_spaces": close_up, **more}
    return {"tokenizer_class": kind, **names, **more}


def _marian(source, target):
    if _special(source) != _special(target):
        _refuse(target, "marian", f"of other special ids than {source!r}")
    models, tables = [], []
    for each in (source, target):
        marks = each.prefix_ids if isinstance(each, PieceTableTokenizer) else ()
        if len(each.prefix_ids) > len(marks) or each.suffix_ids != (each.end_id,):
            _refuse(each, "marian", "with other ids before or behind a text")
        model, table = _table(each)
        special = {*_special(each).values()}
        table = {piece: i for piece, i in table.items() if i not in special}
        tables.append({**_special(each), **table})
        models.append(model)
    separate = tables[0] != tables[1]
    files = {"source.spm": models[0], "target.spm": models[1], "vocab.json": tables[0]}
    if separate:
        files["target_vocab.json"] = tables[1]
    settings = _settings("MarianTokenizer", target, separate_vocabs=separate)
    return {**files, "tokenizer_config.json": settings}


def _table(tokenizer):
    """A tokenizer as a serialized model of pieces, and the id of each piece."""
    if isinstance(tokenizer, PieceTableTokenizer):
        return tokenizer.proto, tokenizer.vocabulary
    if isinstance(tokenizer, SentencePieceTokenizer):
        pieces = read_piece_model(tokenizer.proto).pieces
        return tokenizer.proto, {piece: i for i, (piece, _, _) in enumerate(pieces)}
    if not isinstance(tokenizer, (CharacterTokenizer, WordTokenizer)):
        _refuse(tokenizer, "marian")
    words = isinstance(tokenizer, WordTokenizer)
    ids = tokenizer.regular_ids(len(tokenizer.vocabulary))
    spelled = [
        f"{_SPACE}{token}" if words else _SPACE if token == " " else token
        for token in tokenizer.vocabulary
    ]
    if len({*spelled}) < len(spelled):
        _refuse(tokenizer, "marian", f"with a space and {_SPACE!r}, its sign")
    pieces = [("<unk>", 0.0, UNKNOWN), *((piece, 0.0, NORMAL) for piece in spelled)]
    model = PieceModel(
        tuple(pieces),
        WORDS if words else CHARACTERS,
        charsmap_of_white_space(ascii_alone=True) if words else b"",
    )
    return model.serialized(), dict(zip(spelled, ids, strict=True))


def _m2m_100(source, target, family):
    if family != "m2m_100" or _special(source) != _special(target):
        _refuse(target, family)
    names = [token.strip("_") for token in target.control]
    codes = {tuple(listed): code for code, listed in languages.M2M_100.items()}
    languages_ids = {target.vocabulary[token]: token for token in target.control}
    if tuple(names) not in codes or len(source.prefix_ids + target.prefix_ids) != 2:
        _refuse(target, family, "of other languages than those of M2M100")
    source_language, target_language = (
        languages_ids[each.prefix_ids[0]].strip("_") for each in (source, target)
    )
    control = {*target.control}
    table = {p: i for p, i in target.vocabulary.items() if p not in control}
    return {
        "sentencepiece.bpe.model": target.proto,
        "vocab.json": table,
        "tokenizer_config.json": _settings(
            "M2M100Tokenizer",
            target,
            bos_token="<s>",
            src_lang=source_language,
            tgt_lang=target_language,
            language_codes=codes[tuple(names)],
            additional_special_tokens=list(target.control),
        ),
    }


def _bytes(tokenizer, family):
    usual = SentinelByteTokenizer(
        getattr(tokenizer, "sentinels", ()),
        padding_id=0,
        start_id=tokenizer.start_id,
        end_id=1,
        unknown_id=2,
    )
    if family != "t5" or usual.get_config() != {
        "sentinels": [],
        **tokenizer.get_config(),
    }:
        _refuse(tokenizer, family, "of other ids than ByT5's: padding 0, end 1, text 3")
    # It takes none where the settings say that there are none.
    number = len(usual.sentinels)
    more = {"extra_ids": number} if number else {"additional_special_tokens": []}
    return {"tokenizer_config.json": _settings("ByT5Tokenizer", tokenizer, **more)}


def _byte_pairs(tokenizer, family):
    around = tokenizer.prefix_ids, tokenizer.suffix_ids
    table = tokenizer.vocabulary
    of_ids = {number: piece for piece, number in table.items()}
    named = _named(tokenizer, of_ids)
    table |= {piece: number for number, piece in named.items()}
    special = {*tokenizer.special_ids} | {table[word] for word in tokenizer.control}
    of_ids |= named
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": tokenizer.space_before,
        "trim_offsets": True,
        "use_regex": True,
    }
    description = {
        **_described(of_ids, special, around),
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": table,
            "merges": [list(pair) for pair in tokenizer.merges],
        },
    }
    merges = ["#version: 0.2", *(" ".join(pair) for pair in tokenizer.merges), ""]
    settings = _settings(
        "PreTrainedTokenizerFast",
        tokenizer,
        add_prefix_space=tokenizer.space_before,
        **_token_names(tokenizer, of_ids),
    )
    return {
        "vocab.json": table,
        "merges.txt": "\n".join(merges).encode(),
        "tokenizer.json": description,
        "tokenizer_config.json": settings,
    }


def _named(tokenizer, of_ids):
    """Names of special ids that the vocabulary has no piece for."""
    names = {tokenizer.start_id: "<s>"}
    names |= {number: name for name, number in _special(tokenizer).items()}
    taken = {*of_ids.values()}
    return {
        number: name if name not in taken else f"<special_{number}>"
        for number in tokenizer.special_ids
        if number not in of_ids
        for name in [names.get(number, f"<special_{number}>")]
    }


def _token_names(tokenizer, of_ids):
    names = {
        "pad_token": of_ids[tokenizer.padding_id],
        "eos_token": of_ids[tokenizer.end_id],
        "unk_token": of_ids[tokenizer.unknown_id],
    }
    if tokenizer.start_id not in (tokenizer.padding_id, tokenizer.end_id):
        names["bos_token"] = of_ids[tokenizer.start_id]
    return names


def _described(of_ids, special, around):
    """What all files `tokenizer.json` say."""

    def part(number):
        return {"SpecialToken": {"id": of_ids[number], "type_id": 0}}

    before, behind = around
    single = [
        *map(part, before),
        {"Sequence": {"id": "A", "type_id": 0}},
        *map(part, behind),
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": of_ids[number],
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number in sorted(special)
            if number in of_ids
        ],
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {
                of_ids[number]: {
                    "id": of_ids[number],
                    "ids": [number],
                    "tokens": [of_ids[number]],
                }
                for number in {*before, *behind}
            },
        },
    }


def _pieces(source, target, family):
    model = read_piece_model(target.proto)
    if model.kind not in ("unigram", "bpe"):
        _refuse(target, family, f"a SentencePiece model of type {model.kind}")
    of_ids = dict(enumerate(piece for piece, _, _ in model.pieces))
    named = _named(target, of_ids)
    model = model.extended({name: i for i, name in named.items()}, CONTROL)
    of_ids = dict(enumerate(piece for piece, _, _ in model.pieces))
    kind, more = _kind_of_pieces(source, target, family, model, of_ids)
    special = {i for i, (_, _, kind) in enumerate(model.pieces) if kind != NORMAL}
    metaspace = {
        "type": "Metaspace",
        "replacement": _SPACE,
        "prepend_scheme": "always",
        "split": True,
    }
    splits = {"type": "Sequence"}
    splits["pretokenizers"] = [{"type": "WhitespaceSplit"}, metaspace]
    description = {
        **_described(of_ids, special, (source.prefix_ids, source.suffix_ids)),
        "normalizer": None,
        "pre_tokenizer": splits,
        "decoder": metaspace,
        "model": _model(model, target.unknown_id),
    }
    if model.charsmap and model.charsmap != charsmap_of_white_space():
        charsmap = base64.b64encode(model.charsmap).decode("ascii")
        description["normalizer"] = {
            "type": "Precompiled",
            "precompiled_charsmap": charsmap,
        }
    settings = _settings(kind, target, **{**_token_names(target, of_ids), **more})
    return {"tokenizer.json": description, "tokenizer_config.json": settings}


def _model(model, unknown_id):
    if model.kind == "unigram":
        vocabulary = [[piece, score] for piece, score, _ in model.pieces]
        return {"type": "Unigram", "unk_id": unknown_id, "vocab": vocabulary}
    ids = model.ids
    usual = [p for p in model.pieces if p[2] == NORMAL and len(p[0]) > 1]
    merges = [
        [piece[:cut], piece[cut:]]
        for piece, _, _ in sorted(usual, key=lambda piece: -piece[1])
        for cut in range(1, len(piece))
        if piece[:cut] in ids and piece[cut:] in ids
    ]
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": model.pieces[unknown_id][0],
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": False,
        "vocab": ids,
        "merges": merges,
    }


def _kind_of_pieces(source, target, family, model, of_ids):
    """The class that reads the pieces, and its settings."""
    control = [piece for piece, _, kind in model.pieces if kind == CONTROL]
    sentinels = [p for p, _, kind in model.pieces if kind == USER_DEFINED]
    spoken = [name for name in control if languages.LANGUAGE.fullmatch(name)]
    ends = of_ids[target.end_id] == "</s>" and of_ids[target.padding_id] == "<pad>"
    t5_ids = (target.padding_id, target.end_id, target.unknown_id) == (0, 1, 2)
    if family in ("t5", "mt5", "umt5") and ends and t5_ids:
        return "T5Tokenizer", {
            "extra_ids": len(sentinels),
            "additional_special_tokens": sentinels,
        }
    pegasus_ids = (target.padding_id, target.end_id) == (0, 1)
    if family == "pegasus" and ends and pegasus_ids and "<unk_2>" in control:
        offset = sum(piece.startswith("<unk_") for piece in control) + 2
        return "PegasusTokenizer", {
            "offset": offset,
            "mask_token": of_ids[2],
            "mask_token_sent": of_ids[3],
        }
    if family in ("mbart", "m2m_100") and spoken:
        *_, source_language = _languages(source, of_ids)
        *_, target_language = _languages(target, of_ids)
        more = {
            "src_lang": source_language,
            "tgt_lang": target_language,
            "bos_token": of_ids[0],
            "cls_token": of_ids[0],
            "sep_token": of_ids[target.end_id],
        }
        behind = len(target.suffix_ids) > 1
        if family == "m2m_100":
            more |= {"extra_special_tokens": spoken, "legacy_behaviour": behind}
            return "NllbTokenizer", more
        return ("MBartTokenizer" if behind else "MBart50Tokenizer"), more
    if isinstance(target, SentinelPieceTokenizer) and source.prefix_ids != ():
        return "PreTrainedTokenizerFast", {"cls_token": of_ids[source.prefix_ids[0]]}
    return "PreTrainedTokenizerFast", {}


def _languages(tokenizer, of_ids):
    around = {*tokenizer.prefix_ids, *tokenizer.suffix_ids}
    found = [of_ids[number] for number in around]
    return [name for name in found if languages.LANGUAGE.fullmatch(name)]
