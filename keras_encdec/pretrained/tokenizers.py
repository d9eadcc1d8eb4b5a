"""Tokenizers of checkpoints of other libraries: their ids and texts, in the graph."""

from __future__ import annotations

from typing import Any

from keras_encdec.annotations import AnyPath
from keras_encdec.pretrained.byte_families import bart, blenderbot, byt5
from keras_encdec.pretrained.piece_families import (
    mbart,
    mbart_50,
    nllb,
    pegasus,
    plain_pieces,
    t5,
)
from keras_encdec.pretrained.table_families import m2m_100, marian
from keras_encdec.pretrained.tokenizer_files import (
    MOST_HOLES,
    DecoderStart,
    TokenizerFiles,
)
from keras_encdec.text import Tokenizer


def tokenizers_from(
    folder: AnyPath,
    config: dict[str, Any],
    source_language: str | None = None,
    target_language: str | None = None,
) -> tuple[Tokenizer, Tokenizer, DecoderStart]:
    """Reads the tokenizers of a checkpoint's folder, without running code.

    Args:
        folder: The folder, `str` or `Path`, with the files that the family has.
        config: What its `config.json` says, a dict.
        source_language: The language to translate from, as the checkpoint spells it
            (`"en_XX"`, `"eng_Latn"`, `"en"`); None is the one its settings name.
        target_language: The language to translate to, likewise; of a Marian model of
            several, the mark without its signs (`"fra"` for `>>fra<<`).

    Returns:
        `(source_tokenizer, target_tokenizer, decoder_start)`: two `Tokenizer`s, the
        same object where nothing tells them apart, and a `DecoderStart`. Prefix and
        suffix ids are those of the family: of NLLB `[language] text </s>`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the family is unknown; if a language is unknown to the
            tokenizer, or needed and not given; if the tokenizer has other special ids
            than the config, more ids than its vocabulary, or far fewer; or if a file
            is no such file.

    Example:
        ```python
        import tempfile

        from keras_encdec.pretrained.tokenizers import tokenizers_from

        config = {"model_type": "t5", "tokenizer_class": "ByT5Tokenizer"}
        tokenizer, _, start = tokenizers_from(tempfile.mkdtemp(), config)
        print(tokenizer.encode(["é"]).to_list(), start.start_id)  # [[198, 172, 1]] 0
        ```
    """
    files = TokenizerFiles(folder, config)
    readers = {
        "BartTokenizer": bart,
        "BarthezTokenizer": plain_pieces,
        "BlenderbotTokenizer": blenderbot,
        "ByT5Tokenizer": byt5,
        "M2M100Tokenizer": m2m_100,
        "MBart50Tokenizer": mbart_50,
        "MBartTokenizer": mbart,
        "MT5Tokenizer": t5,
        "MarianTokenizer": marian,
        "NllbTokenizer": nllb,
        "PegasusTokenizer": pegasus,
        "PreTrainedTokenizer": plain_pieces,
        "RobertaTokenizer": bart,
        "T5Tokenizer": t5,
        "TokenizersBackend": plain_pieces,
    }
    if files.kind not in readers:
        raise ValueError(
            f"The tokenizer of a checkpoint must be one of {', '.join(readers)}; "
            f"received {files.kind!r} in {str(files.folder)!r}. Build a Tokenizer of "
            "its vocabulary, and a TextToText of that and the model."
        )
    try:
        found = readers[files.kind](files, source_language, target_language)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(
            "The files of a tokenizer must be of the form that transformers writes; "
            f"received {str(files.folder)!r}, where they are not ({error!r:.200}). "
            "Copy them again."
        ) from error
    source, target, _ = found
    for side, tokenizer in (("source", source), ("target", target)):
        _check_ids(files, side, tokenizer)
    return found


def _check_ids(files: TokenizerFiles, side: str, tokenizer: Tokenizer) -> None:
    """Compares a tokenizer's ids with those that the config names."""
    config = files.config
    for name, own in (
        ("pad_token_id", tokenizer.padding_id),
        ("eos_token_id", tokenizer.end_id),
    ):
        said = config.get(name)
        if said is not None and own not in (said if isinstance(said, list) else [said]):
            raise ValueError(
                "The tokenizer beside a checkpoint must have its special ids; received "
                f"{name}={said} in the config and {own} in the {side} tokenizer of "
                f"{str(files.folder)!r}. Copy the tokenizer that belongs to the "
                "checkpoint."
            )
    size = config.get("vocab_size")
    if side == "target":
        size = config.get("decoder_vocab_size") or size
    number = tokenizer.vocabulary_size
    if size is not None and not number <= size < number + MOST_HOLES:
        raise ValueError(
            "The tokenizer beside a checkpoint must have its vocabulary; received "
            f"{number:,} ids of the {side} tokenizer and a vocabulary of {size:,} in "
            f"the config of {str(files.folder)!r}. Copy the tokenizer that belongs to "
            "the checkpoint."
        )
