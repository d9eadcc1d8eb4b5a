"""The tokens of CTranslate2: both vocabularies, and what stands around a text."""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from keras_encdec.generation import ForcedFirst
from keras_encdec.pretrained.tokenizer_descriptions import byte_pair_contents
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
from keras_encdec.text_to_text import TextToText


def tokenizers_of(text_to_text: TextToText) -> dict[str, Tokenizer]:
    """Returns both tokenizers by their sides, a dict."""
    return {
        "source": text_to_text.source_tokenizer,
        "target": text_to_text.target_tokenizer,
    }


def tokens_of(tokenizer: Tokenizer) -> dict[int, str] | None:
    """Returns the spelled tokens by their ids, a dict; None of an unknown kind."""
    if isinstance(tokenizer, SentencePieceTokenizer):
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.proto)
        pieces = processor.id_to_piece([*range(processor.get_piece_size())])
        return dict(enumerate(pieces))
    if isinstance(tokenizer, (ByteLevelBPETokenizer, PieceTableTokenizer)):
        return {number: token for token, number in tokenizer.vocabulary.items()}
    tokens: Iterable[str]
    if isinstance(tokenizer, ByteTokenizer):
        tokens = [f"<0x{byte:02X}>" for byte in range(256)]
        if isinstance(tokenizer, SentinelByteTokenizer):
            tokens = [*tokens, *tokenizer.sentinels]
    elif isinstance(tokenizer, (WordTokenizer, CharacterTokenizer)):
        tokens = tokenizer.vocabulary
    else:
        return None
    return dict(zip(tokenizer.regular_ids(len(tokens)), tokens, strict=True))


def tokenizer_files(text_to_text: TextToText) -> dict[str, bytes]:
    """Returns files that split texts without this library, a dict of their contents."""
    files = {}
    for side, tokenizer in tokenizers_of(text_to_text).items():
        if isinstance(tokenizer, (SentencePieceTokenizer, PieceTableTokenizer)):
            files[f"{side}.model"] = tokenizer.proto
        elif isinstance(tokenizer, ByteLevelBPETokenizer):
            description = byte_pair_contents(tokenizer)["tokenizer.json"]
            files[f"{side}.tokenizer.json"] = json.dumps(description).encode()
    return files


def register_vocabularies(specification: Any, text_to_text: TextToText) -> None:
    """Says to a specification how each id is spelled, and what stands around a text.

    Args:
        specification: A `ctranslate2.specs.TransformerSpec`.
        text_to_text: A `TextToText` of tokenizers that `tokens_of` knows.
    """
    names = _names(text_to_text)
    model, config = text_to_text.model, specification.config
    specification.register_source_vocabulary(
        _vocabulary(names["source"], model.source_embedding.vocabulary_size)
    )
    specification.register_target_vocabulary(
        _vocabulary(names["target"], model.target_embedding.vocabulary_size)
    )
    source, target = text_to_text.source_tokenizer, text_to_text.target_tokenizer
    before = [names["source"][number] for number in source.prefix_ids]
    behind = [names["source"][number] for number in source.suffix_ids]
    # Nothing else can it put there by itself.
    by_itself = len(before) <= 1 and source.suffix_ids in ((), (source.end_id,))
    config.add_source_bos = by_itself and before != []
    config.add_source_eos = by_itself and behind != []
    config.bos_token = (
        before[0] if config.add_source_bos else names["source"][source.start_id]
    )
    config.decoder_start_token = names["target"][target.start_id]
    config.eos_token = names["target"][target.end_id]
    config.unk_token = names["target"][target.unknown_id]
    forced = [
        names["target"][token]
        for each in text_to_text.generator.processors
        if isinstance(each, ForcedFirst)
        for token in each.tokens
    ]
    # CTranslate2 does not read these: they are for those who call it.
    for name, tokens in (
        ("source_prefix", [] if by_itself else before),
        ("source_suffix", [] if by_itself else behind),
        ("target_prefix", forced),
    ):
        config.add_attribute(name, tokens)


def _names(text_to_text: TextToText) -> dict[str, dict[int, str]]:
    """Returns for each side how its ids are spelled, each in its own way."""
    tokenizers = tokenizers_of(text_to_text)
    # Another kind of tokenizer, which has none, was refused before.
    spelled = {side: tokens_of(each) or {} for side, each in tokenizers.items()}
    regular = {
        side: {i: x for i, x in tokens.items() if i not in tokenizers[side].special_ids}
        for side, tokens in spelled.items()
    }
    # Those that CTranslate2 has one name of for both sides.
    taken = {token for tokens in regular.values() for token in tokens.values()}
    shared = [_free(name, taken) for name in ("<pad>", "</s>", "<unk>")]
    names = {}
    for side, tokenizer in tokenizers.items():
        ids = tokenizer.padding_id, tokenizer.end_id, tokenizer.unknown_id
        names[side] = {**regular[side], **dict(zip(ids, shared, strict=True))}
        for number in tokenizer.special_ids:
            if number not in names[side]:
                usual = "<s>" if number == tokenizer.start_id else f"<{number}>"
                name = spelled[side].get(number, usual)
                names[side][number] = _free(name, {*names[side].values()})
    return names


def _free(name: str, taken: Collection[str]) -> str:
    # A regular token may be spelled like a special one, and both must be told.
    while name in taken:
        name = f"<{name}>"
    return name


def _vocabulary(names: Mapping[int, str], size: int) -> list[str]:
    """Returns the tokens of all ids; a model may have more than its tokenizer."""
    taken = {*names.values()}
    return [names.get(i) or _free(f"<unused_{i}>", taken) for i in range(size)]
