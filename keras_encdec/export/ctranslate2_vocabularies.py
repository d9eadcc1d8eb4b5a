"""The vocabularies of a model as CTranslate2 has them: tokens by their ids."""

from collections.abc import Iterable
from typing import Any

from keras_encdec.text import (
    ByteLevelBPETokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    PieceTableTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    WordTokenizer,
)
from keras_encdec.text_to_text import TextToText


def tokenizers_of(text_to_text: TextToText) -> dict[str, Tokenizer]:
    """Returns the two tokenizers by their sides."""
    return {
        "source": text_to_text.source_tokenizer,
        "target": text_to_text.target_tokenizer,
    }


def tokens_of(tokenizer: Tokenizer) -> dict[int, str] | None:
    """Returns the regular tokens by their ids, a dict; None of an unknown kind."""
    if isinstance(tokenizer, SentencePieceTokenizer):
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.proto)
        pieces = processor.id_to_piece([*range(processor.get_piece_size())])
        return {
            number: token
            for number, token in enumerate(pieces)
            if number not in tokenizer.special_ids
        }
    if isinstance(tokenizer, (ByteLevelBPETokenizer, PieceTableTokenizer)):
        table = {i: token for token, i in tokenizer.vocabulary.items()}
        return {i: table[i] for i in table.keys() - tokenizer.special_ids}
    tokens: Iterable[str]
    if isinstance(tokenizer, ByteTokenizer):
        tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    elif isinstance(tokenizer, (WordTokenizer, CharacterTokenizer)):
        tokens = tokenizer.vocabulary
    else:
        return None
    return dict(zip(tokenizer.regular_ids(len(tokens)), tokens, strict=True))


def register_vocabularies(specification: Any, text_to_text: TextToText) -> None:
    """Writes both vocabularies into a specification, special tokens by free names.

    Args:
        specification: A `TransformerSpec` of CTranslate2.
        text_to_text: The `TextToText` that is exported.
    """
    tokenizers = tokenizers_of(text_to_text)
    # Another kind of tokenizer, which has none, was refused before.
    tokens = {side: tokens_of(each) or {} for side, each in tokenizers.items()}
    taken = {token for known in tokens.values() for token in known.values()}

    def free(name: str) -> str:
        # A regular token may be spelled like a special one, and both must be told.
        while name in taken:
            name = f"<{name}>"
        return name

    model, names = text_to_text.model, {}
    for side, register, embedding in (
        (
            "source",
            specification.register_source_vocabulary,
            model.source_embedding,
        ),
        (
            "target",
            specification.register_target_vocabulary,
            model.target_embedding,
        ),
    ):
        tokenizer = tokenizers[side]
        # Names that both sides share; the start may be the padding or the end.
        names[side] = {
            tokenizer.start_id: free("<s>"),
            tokenizer.padding_id: free("<pad>"),
            tokenizer.end_id: free("</s>"),
            tokenizer.unknown_id: free("<unk>"),
        }
        known = {**tokens[side], **names[side]}
        # A model may have more ids than its tokenizer.
        size = embedding.vocabulary_size
        register([known.get(i) or free(f"<unused_{i}>") for i in range(size)])
    source, target = tokenizers["source"], tokenizers["target"]
    config = specification.config
    config.bos_token = names["source"][source.start_id]
    config.decoder_start_token = names["target"][target.start_id]
    config.eos_token = names["target"][target.end_id]
    config.unk_token = names["target"][target.unknown_id]
    config.add_source_bos = source.prefix_ids != ()
    config.add_source_eos = source.suffix_ids != ()
