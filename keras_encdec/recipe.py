"""The usual tokenizers and the usual model, untrained, of a few words."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_encdec.annotations import Text
from keras_encdec.model import EncoderDecoder
from keras_encdec.named_sizes import size_named
from keras_encdec.printing import tell
from keras_encdec.tags import tag_symbol
from keras_encdec.text import (
    ByteLevelBPETokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    WordTokenizer,
)
from keras_encdec.text_to_text import TextToText

TOKENIZERS = ("sentencepiece", "byte-level-bpe", "word", "character", "byte")


def make_tokenizer(
    kind: str,
    texts: Sequence[Text],
    vocabulary_size: int = 8000,
    continuation: str | None = None,
    tags: Sequence[str] = (),
) -> Tokenizer:
    """Builds a tokenizer of a kind from texts, and tells if it could not be as asked.

    Args:
        kind: `"sentencepiece"`, `"byte-level-bpe"`, `"word"`, `"character"` or
            `"byte"`.
        texts: A list of texts.
        vocabulary_size: The largest number of ids, the four special ones included. Of
            SentencePiece and byte-level BPE the number itself, which is lowered if the
            texts have fewer pieces; bytes have their own.
        continuation: Of words alone: what ends a piece that the next one continues,
            such as `"@@"`.
        tags: Of SentencePiece alone: as in `learn_subwords`.

    Returns:
        A `Tokenizer`.

    Raises:
        ValueError: If the kind is unknown, or the texts give no vocabulary.

    Example:
        ```python
        from keras_encdec.recipe import make_tokenizer

        print(make_tokenizer("character", ["one", "two"]).vocabulary_size)
        ```
    """
    if continuation is not None and kind != "word":
        raise ValueError(
            "Only words are continued; received continuation="
            f"{continuation!r} with {kind!r}. Leave it out, or choose 'word'."
        )
    if kind == "byte":
        return ByteTokenizer()
    if kind == "sentencepiece":
        return learn_subwords(texts, vocabulary_size, tags=tags)
    if kind == "byte-level-bpe":
        return _learn_byte_pairs(texts, vocabulary_size)
    if kind not in TOKENIZERS:
        raise ValueError(
            f"The kind of a tokenizer must be one of {', '.join(TOKENIZERS)}; received "
            f"{kind!r}."
        )
    of_kind: Any = {"character": CharacterTokenizer, "word": WordTokenizer}[kind]
    more = {"continuation": continuation} if kind == "word" else {}
    tokenizer = of_kind.from_texts(texts, **more)
    number = len(tokenizer.vocabulary)
    size = vocabulary_size - len(Tokenizer().special_ids)
    if number > size:
        tokenizer = of_kind.from_texts(texts, max_size=size, **more)
        tell(
            f"Of {number:,} different {kind}s the {number - size:,} rarest are left "
            f"out and will be unknown: the vocabulary has {vocabulary_size:,} ids."
        )
    return tokenizer


def _learn_byte_pairs(texts: Sequence[Text], vocabulary_size: int) -> Tokenizer:
    if not texts:
        raise ValueError(
            "Byte-level BPE is learned from texts; received none. Give some, or choose "
            "'byte'."
        )
    tokenizer = ByteLevelBPETokenizer.train(texts, vocabulary_size)
    _tell_fewer("Byte-level BPE", tokenizer, texts, vocabulary_size)
    return tokenizer


def _tell_fewer(
    name: str, tokenizer: Tokenizer, texts: Sequence[Text], vocabulary_size: int
) -> None:
    if tokenizer.vocabulary_size < vocabulary_size:
        tell(
            f"{name} found {tokenizer.vocabulary_size:,} ids in {len(texts):,} texts, "
            f"fewer than the {vocabulary_size:,} asked for."
        )


def learn_subwords(
    texts: Sequence[Text],
    vocabulary_size: int,
    *,
    character_coverage: float = 1.0,
    tags: Sequence[str] = (),
    **options: Any,
) -> Any:
    """Learns SentencePiece's subwords, fewer and told so if the texts have no more.

    Args:
        texts: A list of texts.
        vocabulary_size: The number of ids, the four special ones included.
        character_coverage: The share of characters to cover, 1 for all.
        tags: Words that are one id each, though the texts have none of them, for
            `with_tag`.
        **options: Of `SentencePieceTokenizer.train`.

    Returns:
        A `SentencePieceTokenizer`.

    Raises:
        ValueError: If the trainer refuses.

    Example:
        ```python
        from keras_encdec.recipe import learn_subwords

        print(learn_subwords(["one", "two"], 1000).vocabulary_size)
        ```
    """
    if texts and not any(text.strip() for text in texts):
        raise ValueError(
            f"Subwords are learned from texts; received {len(texts):,}, all of them "
            "blank. Give others."
        )
    tokenizer = SentencePieceTokenizer.train(
        texts,
        vocabulary_size,
        character_coverage=character_coverage,
        hard_vocab_limit=False,
        user_defined_symbols=[*map(tag_symbol, tags)],
        **options,
    )
    _tell_fewer("SentencePiece", tokenizer, texts, vocabulary_size)
    return tokenizer


def build(
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    *,
    max_length: int = 256,
    seed: int = 0,
    size: str = "small",
    **options: Any,
) -> TextToText:
    """Builds an untrained `TextToText` for two tokenizers.

    Args:
        source_tokenizer: A `Tokenizer`.
        target_tokenizer: A `Tokenizer`; if it is the same object, source and target
            share their embeddings.
        max_length: The largest number of tokens to generate.
        seed: The seed of the weights and of dropout.
        size: The name of its sizes, as in `size_named`.
        **options: Arguments of `EncoderDecoder` but for the vocabularies' sizes, which
            win over those of `size`; layers of the encoder are the decoder's too.

    Returns:
        A greedy `TextToText`.

    Raises:
        ValueError: If there is no such size, or an option is out of its range.

    Example:
        ```python
        from keras_encdec import ByteTokenizer
        from keras_encdec.recipe import build

        tokenizer = ByteTokenizer()
        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
        print(build(tokenizer, tokenizer, max_length=8, **small)(["two"]))
        ```
    """
    keras.utils.set_random_seed(seed)
    shared = source_tokenizer is target_tokenizer
    sizes = size_named(size)
    if "num_layers" in options:
        del sizes["num_decoder_layers"]
    model = EncoderDecoder(
        source_tokenizer.vocabulary_size,
        target_vocabulary_size=None if shared else target_tokenizer.vocabulary_size,
        **{
            **sizes,
            "padding_id": source_tokenizer.padding_id,
            **options,
        },
    )
    return TextToText(source_tokenizer, target_tokenizer, model, max_length=max_length)
