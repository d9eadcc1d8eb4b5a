"""A word at the head of a source that tells a model of several tasks which is meant."""

from keras_encdec.text import SentencePieceTokenizer, Tokenizer
from keras_encdec.text_to_text import TextToText


def with_tag(text_to_text: TextToText, tag: str) -> TextToText:
    """Returns a `TextToText` that puts a tag at the head of each source by itself.

    What it answers is what the one that was given answers to texts that begin with the
    tag and a space. It is saved and exported so: its source tokenizer has the tag in
    `prefix_ids`.

    Args:
        text_to_text: A `TextToText` that was trained on sources with tags, whose
            `SentencePieceTokenizer` has each as a symbol, as `learn_subwords(tags=)`
            learns them. The model is shared.
        tag: The tag, such as `"__de__"`.

    Returns:
        A `TextToText`.

    Raises:
        ValueError: If the tag is no symbol of the source tokenizer, or that begins its
            texts with ids already.

    Example:
        ```python
        from keras_encdec import build, with_tag
        from keras_encdec.recipe import learn_subwords

        texts = ["one two", "eins zwei"]
        tokenizer = learn_subwords(texts, 30, tags=["__de__", "__en__"])
        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
        both = build(tokenizer, tokenizer, max_length=4, **small)
        assert with_tag(both, "__de__")(["one"]) == both(["__de__ one"])
        ```

    Reference:
        Johnson et al. 2017, Google's Multilingual Neural Machine Translation System:
        Enabling Zero-Shot Translation, section 3.
    """
    tokenizer = text_to_text.source_tokenizer
    if tokenizer.prefix_ids:
        raise ValueError(
            f"A tag stands at the head of sources that have none; received {tag!r} for "
            f"a tokenizer with prefix_ids={tokenizer.prefix_ids}. Leave it out, or "
            "take the model that was trained with several."
        )
    config = {**tokenizer.get_config(), "prefix_ids": [tag_id(tokenizer, tag)]}
    tagged = text_to_text.with_sampler(text_to_text.sampler)
    tagged.source_tokenizer = type(tokenizer).from_config(config)
    return tagged


def tag_id(tokenizer: Tokenizer, tag: str) -> int:
    """Returns the id of a tag, of which it is sure that texts have it at their head.

    Args:
        tokenizer: A `Tokenizer`.
        tag: The tag, a word.

    Raises:
        ValueError: If the tokenizer has no such symbol.

    Example:
        ```python
        from keras_encdec.recipe import learn_subwords
        from keras_encdec.tags import tag_id

        print(tag_id(learn_subwords(["one"], 20, tags=["__de__"]), "__de__"))
        ```
    """
    if isinstance(tokenizer, SentencePieceTokenizer):
        from sentencepiece import sentencepiece_model_pb2

        pieces = sentencepiece_model_pb2.ModelProto.FromString(tokenizer.proto).pieces
        symbol = tag_symbol(tag)
        for number, piece in enumerate(pieces):
            if piece.piece == symbol and piece.type == piece.USER_DEFINED:
                return number
    raise ValueError(
        f"A tag must be a symbol of a SentencePiece vocabulary; received {tag!r} and "
        f"{tokenizer!r:.80}, which has none of it. Learn the vocabulary with it, by "
        "the command vocabulary --tags, or write tags into the texts."
    )


def tag_symbol(tag: str) -> str:
    """Returns the piece of SentencePiece that a tag is at the head of a text.

    Args:
        tag: The tag.

    Example:
        ```python
        from keras_encdec.tags import tag_symbol

        print(tag_symbol("__de__"))
        ```
    """
    # What stands there for the space before a word.
    return f"\N{LOWER ONE EIGHTH BLOCK}{tag}"
