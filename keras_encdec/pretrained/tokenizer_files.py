"""The files of a tokenizer beside a checkpoint, read without running code."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from typing import Any, TypeAlias, TypedDict

from keras_encdec.annotations import AnyPath
from keras_encdec.text import Tokenizer

# What special tokens are called where the files do not say it.
_NAMES = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "mask_token": "<mask>",
}
# Ids without a piece; vocabularies are rounded up to what hardware likes.
MOST_HOLES = 1024
# Published ones have up to 256 sentinels.
_MOST = 10_000
# The tokenizer of each architecture, where the files do not say it.
_CLASSES = {
    "bart": "BartTokenizer",
    "blenderbot": "BlenderbotTokenizer",
    "m2m_100": "M2M100Tokenizer",
    "marian": "MarianTokenizer",
    "mbart": "MBartTokenizer",
    "mt5": "T5Tokenizer",
    "pegasus": "PegasusTokenizer",
    "t5": "T5Tokenizer",
    "umt5": "T5Tokenizer",
}


@dataclasses.dataclass(frozen=True)
class DecoderStart:
    """How the decoder of a checkpoint begins.

    Args:
        start_id: The id before all, which is the target tokenizer's `start_id` too.
        forced_first_id: The id that a target must begin with, that of the target
            language; or None.

    Example:
        ```python
        from keras_encdec.pretrained.tokenizer_files import DecoderStart

        print(DecoderStart(start_id=2, forced_first_id=250_004))
        ```
    """

    start_id: int
    forced_first_id: int | None = None


# Of the source, of the target, and how a decoder begins.
Tokenizers: TypeAlias = tuple[Tokenizer, Tokenizer, DecoderStart]


class TokenizerFiles:
    """What a folder says of its tokenizer.

    Args:
        folder: The folder, `str` or `Path`.
        config: What its `config.json` says, a dict.

    Example:
        ```python
        import tempfile

        from keras_encdec.pretrained.tokenizer_files import TokenizerFiles

        files = TokenizerFiles(tempfile.mkdtemp(), {"model_type": "t5"})
        print(files.kind, files.token("pad_token"))  # T5Tokenizer <pad>
        ```
    """

    def __init__(self, folder: AnyPath, config: dict[str, Any]) -> None:
        self.folder = pathlib.Path(folder)
        self.config = config
        self.settings: dict[str, Any] = {
            **self._optional_json("special_tokens_map.json"),
            **self._optional_json("tokenizer_config.json"),
        }

    @property
    def kind(self) -> str:
        """The name of the tokenizer's class, without "Fast"."""
        model_type = self.config.get("model_type", "")
        named = self.settings.get("tokenizer_class") or self.config.get(
            "tokenizer_class"
        )
        kind = str(named or _CLASSES.get(model_type, model_type)).removesuffix("Fast")
        if kind in ("PreTrainedTokenizer", "TokenizersBackend"):
            return _CLASSES.get(model_type, kind) if model_type == "umt5" else kind
        # NLLB has the architecture of M2M100, and no table of pieces.
        if kind == "M2M100Tokenizer" and not self.has("vocab.json"):
            return "NllbTokenizer"
        return kind

    def has(self, *names: str) -> bool:
        """Whether the folder holds all of these files."""
        return all((self.folder / name).is_file() for name in names)

    def read_bytes(self, name: str) -> bytes:
        """What a file holds that must be there."""
        self._require(name)
        return (self.folder / name).read_bytes()

    def read_json(self, name: str) -> Any:
        """What a file of JSON says that must be there."""
        self._require(name)
        try:
            return json.loads((self.folder / name).read_text("utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{name} of a tokenizer must hold JSON; received {str(self.folder)!r}, "
                f"where it does not ({error}). Copy the file again."
            ) from error

    def _require(self, name: str) -> None:
        if not self.has(name):
            raise FileNotFoundError(
                f"A {self.kind} is read from its files; {name} is missing in "
                f"{str(self.folder)!r}. Copy the whole folder of the checkpoint, its "
                "tokenizer included."
            )

    def _optional_json(self, name: str) -> dict[str, Any]:
        found = self.read_json(name) if self.has(name) else {}
        if not isinstance(found, dict):
            raise ValueError(
                f"{name} of a tokenizer must hold an object; received "
                f"{type(found).__name__} in {str(self.folder)!r}."
            )
        return found

    @functools.cached_property
    def description(self) -> dict[str, Any] | None:
        """What `tokenizer.json` says, or None where there is none."""
        return self._optional_json("tokenizer.json") or None

    def setting(self, name: str, default: Any = None) -> Any:
        """One setting of the tokenizer, or `default` where it is not there or null."""
        value = self.settings.get(name)
        return default if value is None else value

    def token(self, name: str) -> str:
        """How a special token is spelled, such as that of `"pad_token"`."""
        return _content(self.setting(name, _NAMES.get(name, "")))

    @property
    def named_tokens(self) -> set[str]:
        """The special tokens that have a name, such as `"pad_token"`."""
        return {self.token(name) for name in (*_NAMES, "mask_token_sent")}

    @property
    def special_tokens(self) -> set[str]:
        """All special tokens, as far as the settings name them."""
        return self.named_tokens | {*self.more_tokens}

    @property
    def more_tokens(self) -> list[str]:
        """The additional special tokens, in their order."""
        found: list[Any] = []
        for name in ("additional_special_tokens", "extra_special_tokens"):
            more = self.setting(name, ())
            found += more.values() if isinstance(more, dict) else more
        return [_content(token) for token in found]

    @property
    def added_tokens(self) -> dict[str, int]:
        """The ids of tokens that were added later, from the settings."""
        listed = self.setting("added_tokens_decoder", {})
        found = {_content(token): int(number) for number, token in listed.items()}
        return {**self._optional_json("added_tokens.json"), **found}

    @property
    def added_entries(self) -> dict[str, dict[str, Any]]:
        """What all files say of each token that was added, by how it is spelled."""
        special = self.special_tokens
        found: dict[str, dict[str, Any]] = {
            content: {"special": True} for content in self.more_tokens
        }
        for content, number in self._optional_json("added_tokens.json").items():
            found[content] = {"id": number, "special": content in special}
        described = (self.description or {}).get("added_tokens") or []
        listed = self.setting("added_tokens_decoder", {})
        for token in (
            *described,
            *({**_entry(token), "id": int(i)} for i, token in listed.items()),
        ):
            found[token["content"]] = {**found.get(token["content"], {}), **token}
        return found

    def number(self, name: str, default: int) -> int:
        """How many there are of something, by the settings."""
        value = self.setting(name, default)
        if type(value) is not int or not 0 <= value <= _MOST:
            raise ValueError(
                f"{name} of a tokenizer must be an integer from 0 to {_MOST:,}; "
                f"received {value!r} in {str(self.folder)!r}. Copy the tokenizer's "
                "files again."
            )
        return value


def _entry(token: Any) -> dict[str, Any]:
    return token if isinstance(token, dict) else {"content": token}


def _content(token: Any) -> str:
    return token["content"] if isinstance(token, dict) else token


class SpecialIds(TypedDict):
    """The four special ids, as a `Tokenizer` takes them."""

    padding_id: int
    end_id: int
    unknown_id: int
    start_id: int


def start_id(files: TokenizerFiles, default: int) -> int:
    """The id that a decoder begins with, or `default` where the config says none."""
    start = files.config.get("decoder_start_token_id")
    return default if start is None else start


def ids_of_vocabulary(files: TokenizerFiles, ids: dict[str, int]) -> dict[str, int]:
    """The ids of a vocabulary, if they are as dense as its size tells.

    Args:
        files: The files of the tokenizer.
        ids: The id of each piece.

    Raises:
        ValueError: If one is far above the number of pieces.
    """
    for piece, number in ids.items():
        if number >= len(ids) + MOST_HOLES:
            raise ValueError(
                "The ids of a vocabulary must be as many as its pieces, or few more; "
                f"received {number:,} of {piece!r}, of {len(ids):,} pieces, in "
                f"{str(files.folder)!r}. Copy the tokenizer's files again."
            )
    return ids


def special_ids(
    files: TokenizerFiles, ids: dict[str, int], start: int | None = None
) -> SpecialIds:
    """The four special ids, of a dict from tokens to ids."""
    tokens = {
        "padding_id": files.token("pad_token"),
        "end_id": files.token("eos_token"),
        "unknown_id": files.token("unk_token"),
    }
    missing = [token for token in tokens.values() if token not in ids]
    if missing:
        raise ValueError(
            f"The vocabulary of a {files.kind} must hold its special tokens; "
            f"{', '.join(missing)} is missing in {str(files.folder)!r}. Copy the "
            "tokenizer's files again."
        )
    padding, end, unknown = (ids[token] for token in tokens.values())
    start = start_id(files, padding) if start is None else start
    ids_of_vocabulary(files, {**ids, "the start": start})
    return {
        "padding_id": padding,
        "end_id": end,
        "unknown_id": unknown,
        "start_id": start,
    }
