"""The tokenizers of checkpoints that have one model of pieces."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from keras_encdec.pretrained import languages
from keras_encdec.pretrained.added_words import SENTINEL, added_words, check_words
from keras_encdec.pretrained.byte_families import plain_byte_pairs
from keras_encdec.pretrained.languages import no_languages, two_languages
from keras_encdec.pretrained.piece_models import (
    CONTROL,
    UNKNOWN,
    USER_DEFINED,
    PieceModel,
    piece_model_of,
    read_piece_model,
)
from keras_encdec.pretrained.tokenizer_files import (
    DecoderStart,
    TokenizerFiles,
    Tokenizers,
    special_ids,
    start_id,
)
from keras_encdec.pretrained.tokenizer_steps import (
    PLAIN,
    around,
    check_piece_steps,
    normalizer_of,
    types_of,
)
from keras_encdec.text import SentinelPieceTokenizer


def t5(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """Those of T5, mT5 and UMT5: sentinels above the pieces."""
    no_languages(source_language, target_language)

    def laid_out(model: PieceModel) -> PieceModel:
        number = files.number("extra_ids", 100)
        sentinels = [f"<extra_id_{i}>" for i in reversed(range(number))]
        missing = [word for word in sentinels if word not in model.ids]
        added = {word: len(model.pieces) + i for i, word in enumerate(missing)}
        return model.extended(added, USER_DEFINED)

    model = _piece_model(files, "spiece.model", laid_out)
    tokenizer = _pieces(files, model, **special_ids(files, model.ids))
    return tokenizer, tokenizer, DecoderStart(tokenizer.start_id)


def pegasus(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """Those of PEGASUS: pieces behind those that are masks and unused."""
    no_languages(source_language, target_language)
    tokens = {"<mask_1>": None, "<mask_2>": None}
    for name in ("mask_token_sent", "mask_token"):
        if name in files.settings:
            tokens = {files.token(name): None, **tokens}
    masks = list(tokens)[:2]

    def laid_out(model: PieceModel) -> PieceModel:
        offset = files.number("offset", 103)
        names = [files.token("pad_token"), files.token("eos_token"), *masks]
        names += [f"<unk_{i}>" for i in range(2, offset)]
        return model.of_pieces(
            [*((name, 0.0, CONTROL) for name in names), *model.pieces[2:]]
        )

    model = _piece_model(files, "spiece.model", laid_out)
    made_up = [piece for piece in model.ids if re.fullmatch(r"<unk_\d+>", piece)]
    model = model.of_kinds(dict.fromkeys([*masks, *made_up], CONTROL))
    tokenizer = _pieces(files, model, **special_ids(files, model.ids))
    return tokenizer, tokenizer, DecoderStart(tokenizer.start_id)


def mbart(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """Those of mBART: the language behind the end."""
    model, ids = _fairseq_pieces(files, languages.MBART)
    source_id, target_id = two_languages(files, ids, source_language, target_language)
    end = model.ids[files.token("eos_token")]

    def of(language: int) -> SentinelPieceTokenizer:
        special = special_ids(files, model.ids, language)
        return _pieces(files, model, suffix_ids=[end, language], **special)

    return of(source_id), of(target_id), DecoderStart(target_id)


def mbart_50(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """Those of mBART-50: the language before the text."""
    return _language_first(files, languages.MBART_50, source_language, target_language)


def nllb(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """Those of NLLB: the language before the text, or behind it as before."""
    names = [name for name in files.more_tokens if languages.LANGUAGE.fullmatch(name)]
    legacy = files.setting("legacy_behaviour", False)
    return _language_first(files, names, source_language, target_language, legacy)


def plain_pieces(
    files: TokenizerFiles, source_language: str | None, target_language: str | None
) -> Tokenizers:
    """A `tokenizer.json` as it is: pieces, or pairs of bytes."""
    description = files.description or files.read_json("tokenizer.json")
    if "ByteLevel" in types_of(description.get("pre_tokenizer")):
        return plain_byte_pairs(files, source_language, target_language)
    no_languages(source_language, target_language)
    model = _piece_model(files, "tokenizer.json", lambda model: model)
    before, behind = around(files, description, model.ids.values())
    special = special_ids(files, model.ids)

    def of(behind: list[int] | None) -> SentinelPieceTokenizer:
        return _pieces(files, model, prefix_ids=before, suffix_ids=behind, **special)

    source = of(behind)
    # What is generated must end, where a file has nothing behind a text too.
    target = source if behind else of(None)
    return source, target, DecoderStart(target.start_id)


def _language_first(
    files: TokenizerFiles,
    names: Sequence[str],
    source_language: str | None,
    target_language: str | None,
    legacy: bool = False,
) -> Tokenizers:
    """Tokenizers of texts that begin with their language."""
    model, ids = _fairseq_pieces(files, names)
    source_id, target_id = two_languages(files, ids, source_language, target_language)
    end = model.ids[files.token("eos_token")]
    special = special_ids(files, model.ids, start_id(files, end))

    def of(language: int) -> SentinelPieceTokenizer:
        if legacy:
            around = {"suffix_ids": [end, language]}
        else:
            around = {"prefix_ids": [language]}
        return _pieces(files, model, **around, **special)

    start = DecoderStart(special["start_id"], target_id)
    return of(source_id), of(target_id), start


def _fairseq_pieces(
    files: TokenizerFiles, names: Sequence[str]
) -> tuple[PieceModel, dict[str, int]]:
    """The pieces of a model whose ids fairseq gave, BOS, padding and EOS first."""
    first = [files.token(f"{name}_token") for name in ("bos", "pad", "eos", "unk")]

    def laid_out(model: PieceModel) -> PieceModel:
        behind = [*names, files.token("mask_token")] if names else []
        return model.of_pieces(
            [
                *((name, 0.0, CONTROL) for name in first),
                *(piece for piece in model.pieces if piece[0] not in first),
                *((name, 0.0, CONTROL) for name in behind),
            ]
        )

    model = _piece_model(files, "sentencepiece.bpe.model", laid_out)
    model = model.of_kinds(dict.fromkeys(names, CONTROL))
    found = [
        piece
        for piece, _, kind in model.pieces
        if kind == CONTROL and languages.LANGUAGE.fullmatch(piece)
    ]
    return model, {name: model.ids[name] for name in found}


def _piece_model(
    files: TokenizerFiles,
    name: str,
    laid_out: Callable[[PieceModel], PieceModel],
) -> PieceModel:
    """The pieces in the order of the family's ids, with no special one to be spelled.

    Args:
        files: The files.
        name: The SentencePiece model, for where there is no `tokenizer.json`.
        laid_out: Gives its pieces that order.
    """
    words = added_words(files)
    said = files.description
    if said is not None:
        model = piece_model_of(said)
        splits = bool(words) or any(map(SENTINEL.fullmatch, model.ids))
        rebuilt = files.kind not in PLAIN
        check_piece_steps(files, said, rebuilt=rebuilt, splits=splits)
    else:
        model = laid_out(read_piece_model(files.read_bytes(name)))
    numbers = {word.content: word.number for word in words if word.number is not None}
    model = model.extended({**files.added_tokens, **numbers}, CONTROL)
    check_words(files, words, model.ids)
    kinds = dict.fromkeys(files.special_tokens, CONTROL)
    kinds |= {piece: USER_DEFINED for piece in model.ids if SENTINEL.fullmatch(piece)}
    for word in words:
        kinds[word.content] = CONTROL if word.special else USER_DEFINED
    kinds[files.token("unk_token")] = UNKNOWN
    model = model.of_kinds(kinds)
    return model.shortened(files.config.get("vocab_size") or len(model.pieces))


def _pieces(
    files: TokenizerFiles, model: PieceModel, **special_ids: Any
) -> SentinelPieceTokenizer:
    """A tokenizer of pieces."""
    words = added_words(files)
    sentinels = [*filter(SENTINEL.fullmatch, model.ids)]
    return SentinelPieceTokenizer(
        model.serialized(),
        sentinels=[*sentinels, *(word.sentinel.said() for word in words)],
        # Of byte pairs it is not done, for they have no spaces to take out.
        close_up=model.kind != "bpe"
        and files.setting("clean_up_tokenization_spaces", False),
        **normalizer_of(files, words, charsmap=bool(model.charsmap)),
        **special_ids,
    )
