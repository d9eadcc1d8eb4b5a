"""Tokenizers written as transformers reads them."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from keras_encdec.annotations import AnyPath
from keras_encdec.pretrained import languages
from keras_encdec.pretrained.piece_models import (
    CHARACTERS,
    NORMAL,
    UNKNOWN,
    WORDS,
    PieceModel,
    charsmap_of_white_space,
    read_piece_model,
)
from keras_encdec.pretrained.tokenizer_descriptions import (
    SPACE,
    Contents,
    byte_pair_contents,
    piece_contents,
    refuse,
    settings_of,
    special_tokens,
)
from keras_encdec.text import (
    ByteLevelBPETokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    PieceTableTokenizer,
    SentencePieceTokenizer,
    SentinelByteTokenizer,
    Tokenizer,
    WordTokenizer,
)
from keras_encdec.text.sentinels import Sentinel


def write_tokenizers(
    folder: AnyPath,
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
    elif isinstance(source_tokenizer, PieceTableTokenizer) and isinstance(
        target_tokenizer, PieceTableTokenizer
    ):
        files = _m2m_100(source_tokenizer, target_tokenizer, family)
    else:
        _require_one_vocabulary(*both, family)
        if isinstance(target_tokenizer, ByteLevelBPETokenizer):
            files = byte_pair_contents(target_tokenizer)
        elif isinstance(target_tokenizer, ByteTokenizer):
            files = _bytes(target_tokenizer, family)
        elif isinstance(target_tokenizer, SentencePieceTokenizer):
            files = piece_contents(source_tokenizer, target_tokenizer, family)
        else:
            refuse(target_tokenizer, family)
    return {
        name: content if isinstance(content, bytes) else _as_json(content)
        for name, content in files.items()
    }


def _as_json(content: Any) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()


def _require_one_vocabulary(source: Tokenizer, target: Tokenizer, family: str) -> None:
    around = "prefix_ids", "suffix_ids", "start_id"
    configs = [
        {k: v for k, v in each.get_config().items() if k not in around}
        for each in (source, target)
    ]
    if type(source) is not type(target) or configs[0] != configs[1]:
        refuse(target, family, f"another one than that of sources, {source!r}")


def _marian(source: Tokenizer, target: Tokenizer) -> Contents:
    if special_tokens(source) != special_tokens(target):
        refuse(target, "marian", f"of other special ids than {source!r}")
    added = _added(source, target, "marian")
    models, tables = [], []
    for each in (source, target):
        marks = each.prefix_ids if isinstance(each, PieceTableTokenizer) else ()
        if len(each.prefix_ids) > len(marks) or each.suffix_ids != (each.end_id,):
            refuse(each, "marian", "with other ids before or behind a text")
        model, table = _table(each)
        special = special_tokens(each)
        if each.start_id not in special.values():
            # Else transformers takes it for the piece of that number.
            special["<s>"] = each.start_id
        table = {piece: i for piece, i in table.items() if i not in special.values()}
        tables.append({**special, **table})
        models.append(model)
    separate = tables[0] != tables[1]
    files = {"source.spm": models[0], "target.spm": models[1], "vocab.json": tables[0]}
    if separate:
        files["target_vocab.json"] = tables[1]
    settings = settings_of(
        "MarianTokenizer",
        target,
        separate_vocabs=separate,
        **(_settings_of_words(added) if added else {}),
    )
    if "<s>" in tables[1]:
        settings["bos_token"] = "<s>"
    return {**files, "tokenizer_config.json": settings}


def _table(tokenizer: Tokenizer) -> tuple[bytes, dict[str, int]]:
    """A tokenizer as a serialized model of pieces, and the id of each piece."""
    if isinstance(tokenizer, PieceTableTokenizer):
        return tokenizer.proto, tokenizer.vocabulary
    if isinstance(tokenizer, SentencePieceTokenizer):
        pieces = read_piece_model(tokenizer.proto).pieces
        return tokenizer.proto, {piece: i for i, (piece, _, _) in enumerate(pieces)}
    if not isinstance(tokenizer, (CharacterTokenizer, WordTokenizer)):
        refuse(tokenizer, "marian")
    words = isinstance(tokenizer, WordTokenizer)
    ids = tokenizer.regular_ids(len(tokenizer.vocabulary))
    spelled = [
        f"{SPACE}{token}" if words else SPACE if token == " " else token
        for token in tokenizer.vocabulary
    ]
    if len({*spelled}) < len(spelled):
        refuse(tokenizer, "marian", f"with a space and {SPACE!r}, its sign")
    laid_out = [("<unk>", 0.0, UNKNOWN), *((piece, 0.0, NORMAL) for piece in spelled)]
    model = PieceModel(
        tuple(laid_out),
        WORDS if words else CHARACTERS,
        charsmap_of_white_space(ascii_alone=True) if words else b"",
    )
    return model.serialized(), dict(zip(spelled, ids, strict=True))


def _m2m_100(
    source: PieceTableTokenizer, target: PieceTableTokenizer, family: str
) -> Contents:
    if family != "m2m_100" or special_tokens(source) != special_tokens(target):
        refuse(target, family)
    added = _added(source, target, family)
    spoken = [x for x in target.control if target.vocabulary[x] not in added]
    names = [token.strip("_") for token in spoken]
    codes = {tuple(listed): code for code, listed in languages.M2M_100.items()}
    languages_ids = {target.vocabulary[token]: token for token in spoken}
    if tuple(names) not in codes or len(source.prefix_ids + target.prefix_ids) != 2:
        refuse(target, family, "of other languages than those of M2M100")
    source_language, target_language = (
        languages_ids[each.prefix_ids[0]].strip("_") for each in (source, target)
    )
    # Languages stand behind the table, and what was added behind these.
    table = {p: i for p, i in target.vocabulary.items() if i < min(languages_ids)}
    # Else transformers gives languages other ids where there are words.
    entries = {i: _entry(Sentinel(x), special=True) for i, x in languages_ids.items()}
    entries = dict(sorted((entries | added).items()))
    return {
        "sentencepiece.bpe.model": target.proto,
        "vocab.json": table,
        "tokenizer_config.json": settings_of(
            "M2M100Tokenizer",
            target,
            bos_token="<s>",
            src_lang=source_language,
            tgt_lang=target_language,
            language_codes=codes[tuple(names)],
            **_settings_of_words(entries),
        ),
    }


def _added(
    source: Tokenizer, target: Tokenizer, family: str
) -> dict[int, dict[str, Any]]:
    """The words that are one token, by their ids, as the settings say them."""
    of_sources, of_targets = (_added_to(each, family) for each in (source, target))
    if of_sources != of_targets:
        refuse(target, family, f"of other words that are one token than {source!r}")
    return of_targets


def _added_to(tokenizer: Tokenizer, family: str) -> dict[int, dict[str, Any]]:
    words = [*map(Sentinel.of, getattr(tokenizer, "sentinels", ()))]
    # These families look for words in texts as they are, and alone in another way.
    if any(word.normalized or word.single_word for word in words):
        refuse(tokenizer, family, "with words that are found normalized, or alone")
    if isinstance(tokenizer, PieceTableTokenizer):
        control = {*tokenizer.control}
        ids = {tokenizer.vocabulary[word.content]: word for word in words}
        return {
            number: _entry(word, special=word.content in control)
            for number, word in sorted(ids.items())
        }
    if any(word.lstrip or word.rstrip for word in words):
        refuse(tokenizer, family, "with words that take the spaces beside them")
    if getattr(tokenizer, "normalizer", None) is not None:
        refuse(tokenizer, family, "with steps of normalization beside its model's")
    return {}


def _settings_of_words(entries: dict[int, dict[str, Any]]) -> dict[str, Any]:
    # What is special must be told twice, else it is decoded.
    special = [entry["content"] for entry in entries.values() if entry["special"]]
    return {"added_tokens_decoder": entries, "additional_special_tokens": special}


def _entry(word: Sentinel, *, special: bool) -> dict[str, Any]:
    return {**word._asdict(), "special": special}


def _bytes(tokenizer: ByteTokenizer, family: str) -> Contents:
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
        refuse(tokenizer, family, "of other ids than ByT5's: padding 0, end 1, text 3")
    # It takes none where the settings say that there are none.
    number = len(usual.sentinels)
    more: dict[str, Any] = (
        {"extra_ids": number} if number else {"additional_special_tokens": []}
    )
    return {"tokenizer_config.json": settings_of("ByT5Tokenizer", tokenizer, **more)}
