"""What a `tokenizer.json` says, and the settings beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

from keras_encdec.pretrained import languages
from keras_encdec.pretrained.added_words import SENTINEL
from keras_encdec.pretrained.piece_models import (
    CONTROL,
    NORMAL,
    USER_DEFINED,
    PieceModel,
    charsmap_of_white_space,
    read_piece_model,
)
from keras_encdec.text import (
    ByteLevelBPETokenizer,
    SentencePieceTokenizer,
    SentinelPieceTokenizer,
    Tokenizer,
)
from keras_encdec.text.sentinels import Sentinel

# The sign of a space in pieces.
SPACE = "▁"
# The content of each file, by its name: bytes, or what is written as JSON.
Contents: TypeAlias = dict[str, Any]


def piece_contents(
    source: Tokenizer, target: SentencePieceTokenizer, family: str
) -> Contents:
    """The files of tokenizers of pieces, of one vocabulary."""
    model = read_piece_model(target.proto)
    if model.kind not in ("unigram", "bpe"):
        refuse(target, family, f"a SentencePiece model of type {model.kind}")
    of_ids = dict(enumerate(piece for piece, _, _ in model.pieces))
    named = _named(target, of_ids)
    model = model.extended({name: i for i, name in named.items()}, CONTROL)
    of_ids = dict(enumerate(piece for piece, _, _ in model.pieces))
    kind, more = _kind_of_pieces(source, target, family, model, of_ids)
    added = {
        i: kind != USER_DEFINED or bool(SENTINEL.fullmatch(piece))
        for i, (piece, _, kind) in enumerate(model.pieces)
        if kind != NORMAL
    }
    words = _words(target, model.ids)
    of_model = _without_words(target, family, model, added, words)
    metaspace = {
        "type": "Metaspace",
        "replacement": SPACE,
        "prepend_scheme": "always",
        "split": True,
    }
    splits = {
        "type": "Sequence",
        "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace],
    }
    keep_spaces = getattr(target, "keep_spaces", False)
    description = {
        **_described(of_ids, added, words, (source.prefix_ids, source.suffix_ids)),
        "normalizer": _normalizer(target, model),
        "pre_tokenizer": metaspace if keep_spaces else splits,
        "decoder": metaspace,
        "model": _model(of_model, target.unknown_id),
    }
    settings = settings_of(kind, target, **{**_token_names(target, of_ids), **more})
    return {"tokenizer.json": description, "tokenizer_config.json": settings}


def byte_pair_contents(tokenizer: ByteLevelBPETokenizer) -> Contents:
    """The files of a tokenizer of byte pairs."""
    around = tokenizer.prefix_ids, tokenizer.suffix_ids
    table = tokenizer.vocabulary
    of_ids = {number: piece for piece, number in table.items()}
    named = _named(tokenizer, of_ids)
    table |= {piece: number for number, piece in named.items()}
    special = {*tokenizer.special_ids} | {table[word] for word in tokenizer.control}
    of_ids |= named
    words = _words(tokenizer, table)
    added = {number: number in special for number in special | words.keys()}
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": tokenizer.space_before,
        "trim_offsets": True,
        "use_regex": True,
    }
    description = {
        **_described(of_ids, added, words, around),
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
    settings = settings_of(
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


def refuse(tokenizer: Tokenizer, family: str, why: str = "of another kind") -> NoReturn:
    """Tells why a family cannot say what a tokenizer does, in a `ValueError`."""
    raise ValueError(
        f"The tokenizers that transformers has for {family!r} do not say what this one "
        f"does, which is {why}; received {tokenizer!r}. Export the model as 'marian', "
        "whose tokenizer takes pieces, words and characters, or write a tokenizer of "
        "your own beside it."
    )


def special_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """The ids of the special tokens that all families have."""
    return {
        "<pad>": tokenizer.padding_id,
        "</s>": tokenizer.end_id,
        "<unk>": tokenizer.unknown_id,
    }


def settings_of(kind: str, tokenizer: Tokenizer, **more: Any) -> dict[str, Any]:
    """What `tokenizer_config.json` says: the class, and its special tokens."""
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    close_up = getattr(tokenizer, "close_up", False)
    more = {"clean_up_tokenization_spaces": close_up, **more}
    return {"tokenizer_class": kind, **names, **more}


def _named(tokenizer: Tokenizer, of_ids: dict[int, str]) -> dict[int, str]:
    """Names of special ids that the vocabulary has no piece for."""
    names = {tokenizer.start_id: "<s>"}
    names |= {number: name for name, number in special_tokens(tokenizer).items()}
    taken = {*of_ids.values()}
    return {
        number: name if name not in taken else f"<special_{number}>"
        for number in tokenizer.special_ids
        if number not in of_ids
        for name in [names.get(number, f"<special_{number}>")]
    }


def _token_names(tokenizer: Tokenizer, of_ids: dict[int, str]) -> dict[str, str]:
    names = {
        "pad_token": of_ids[tokenizer.padding_id],
        "eos_token": of_ids[tokenizer.end_id],
        "unk_token": of_ids[tokenizer.unknown_id],
    }
    if tokenizer.start_id not in (tokenizer.padding_id, tokenizer.end_id):
        names["bos_token"] = of_ids[tokenizer.start_id]
    return names


def _normalizer(tokenizer: Tokenizer, model: PieceModel) -> dict[str, Any] | None:
    """How texts are normalized, by the steps of a tokenizer or its model of pieces."""
    of_model = {"type": "Precompiled"}
    steps = getattr(tokenizer, "normalizer", None)
    if steps is None:
        other = model.charsmap and model.charsmap != charsmap_of_white_space()
        steps = [of_model] if other else []
    charsmap = base64.b64encode(model.charsmap).decode("ascii")
    steps = [
        {**step, "precompiled_charsmap": charsmap} if step == of_model else step
        for step in steps
    ]
    if len(steps) > 1:
        return {"type": "Sequence", "normalizers": steps}
    return steps[0] if steps else None


def _words(tokenizer: Tokenizer, ids: Mapping[str, int]) -> dict[int, Sentinel]:
    """The words that are one token, by their ids."""
    words = map(Sentinel.of, getattr(tokenizer, "sentinels", ()))
    return {ids[word.content]: word for word in words}


def _without_words(
    tokenizer: Tokenizer,
    family: str,
    model: PieceModel,
    added: Mapping[int, bool],
    words: Mapping[int, Sentinel],
) -> PieceModel:
    """The pieces that texts between words are split into.

    What is added behind them takes the ids that follow. The model would find a word
    that it has where it is no token, such as in another word.
    """
    last = max(tokenizer.unknown_id, *({*range(len(model.pieces))} - added.keys()))
    for number, word in words.items():
        if number < last and word.single_word:
            why = f"with {word.content!r}, found alone, whose id is not behind pieces"
            refuse(tokenizer, family, why)
    behind = [number for number in words if number > last]
    return model.of_pieces(model.pieces[: min(behind, default=None)])


def _described(
    of_ids: dict[int, str],
    added: Mapping[int, bool],
    words: Mapping[int, Sentinel],
    around: tuple[tuple[int, ...], tuple[int, ...]],
) -> dict[str, Any]:
    """What all files `tokenizer.json` say; of what is added, whether it is special."""

    def part(number: int) -> dict[str, Any]:
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
                **words.get(number, Sentinel(of_ids[number]))._asdict(),
                # What is decoded as it is spelled is none.
                "special": special,
            }
            for number, special in sorted(added.items())
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


def _model(model: PieceModel, unknown_id: int) -> dict[str, Any]:
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


def _kind_of_pieces(
    source: Tokenizer,
    target: Tokenizer,
    family: str,
    model: PieceModel,
    of_ids: dict[int, str],
) -> tuple[str, dict[str, Any]]:
    """The class that reads the pieces, and its settings."""
    control = [piece for piece, _, kind in model.pieces if kind == CONTROL]
    sentinels = [
        piece
        for piece, _, kind in model.pieces
        if kind == USER_DEFINED and SENTINEL.fullmatch(piece)
    ]
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
        more: dict[str, Any] = {
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


def _languages(tokenizer: Tokenizer, of_ids: dict[int, str]) -> list[str]:
    around = {*tokenizer.prefix_ids, *tokenizer.suffix_ids}
    found = [of_ids[number] for number in around]
    return [name for name in found if languages.LANGUAGE.fullmatch(name)]
