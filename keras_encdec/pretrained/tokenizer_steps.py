"""The steps of a `tokenizer.json`: what is done here exactly, and no other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NoReturn

from keras_encdec.pretrained.added_words import AddedWord
from keras_encdec.pretrained.tokenizer_files import TokenizerFiles

# The sign of a space in pieces.
_SPACE = "▁"
# What the parts of a sequence are called.
_PARTS = "normalizers", "pretokenizers", "processors", "decoders"
# Where these hold anything, a model splits in another way.
_NOT_DONE = (
    "byte_fallback",
    "continuing_subword_prefix",
    "dropout",
    "end_of_word_suffix",
    "ignore_merges",
)
_KEYS = {"type", "vocab", "merges", "unk_id", "unk_token", "fuse_unk", *_NOT_DONE}
# Spaces in a row and line ends, as the converters of transformers make them one space.
_SPACES = {
    (("Regex", " {2,}"), " "),
    (("Regex", " {2,}"), _SPACE),
    (("String", " "), _SPACE),
}
_LINE_ENDS = {(("Regex", r"\n"), " "), (("String", "\n"), " ")}
# As BARThez has it.
_WHITE_SPACE = (("Regex", r"\s{2,}|[\n\r\t]"), " ")
_SPLITS = [("Metaspace",), ("WhitespaceSplit", "Metaspace")]
_LINES = {"type": "Replace", "pattern": {"Regex": r"\n"}, "content": " "}
_ROWS = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
# What the classes of these do beside the normalization of their model, if it has one.
_REPLACED = {
    ("MBart50Tokenizer", True): [_ROWS],
    ("MBart50Tokenizer", False): [_ROWS],
    ("NllbTokenizer", True): [_ROWS],
    ("NllbTokenizer", False): [],
    ("PegasusTokenizer", True): [_ROWS],
    ("PegasusTokenizer", False): [_LINES, _ROWS],
}
# Those whose class has splits of its own: they have no token for a space that a text,
# or what stands before an added word, ends with.
_WITHOUT_SPACES = "MBartTokenizer", "MT5Tokenizer", "T5Tokenizer"
# Those that follow the file alone.
PLAIN = "BarthezTokenizer", "PreTrainedTokenizer", "TokenizersBackend"


def steps_of(step: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The steps that a step of a `tokenizer.json` is made of, in their order.

    Args:
        step: What it says of one, null or a sequence of others too.
    """
    if step is None:
        return []
    if step.get("type") != "Sequence":
        return [step]
    parts = next((step[name] for name in _PARTS if name in step), ())
    return [each for part in parts for each in steps_of(part)]


def types_of(step: Mapping[str, Any] | None) -> tuple[str | None, ...]:
    """The types of these steps."""
    return tuple(each.get("type") for each in steps_of(step))


def check_piece_steps(
    files: TokenizerFiles, said: Mapping[str, Any], *, rebuilt: bool, splits: bool
) -> None:
    """Checks that a `tokenizer.json` of pieces says no step that is not done.

    Args:
        files: The files that it is one of.
        said: What it says.
        rebuilt: Whether its class has splits of its own, which take the place of how
            the file says that words begin.
        splits: Whether texts are split at words first, as at sentinels.

    Raises:
        ValueError: If there is a step that is not done here, with those that are.
    """
    _check_normalizers(files, steps_of(said.get("normalizer")), rebuilt=rebuilt)
    found = types_of(said.get("pre_tokenizer"))
    if found not in _SPLITS:
        known = " or ".join("[" + ", ".join(each) + "]" for each in _SPLITS)
        _refuse(files, "pre_tokenizer", list(found), known)
    metaspace = steps_of(said["pre_tokenizer"])[-1]
    scheme = _prepend_scheme(metaspace)
    # A word that follows another one begins as all words do where nothing splits.
    begins = scheme == "always" or (
        scheme == "first" and (rebuilt or not (splits or len(found) > 1))
    )
    if metaspace.get("replacement") != _SPACE or not begins:
        known = f"Metaspace with replacement {_SPACE!r} and prepend_scheme 'always'"
        _refuse(files, "pre_tokenizer", metaspace, known)
    _check_model(files, said["model"])
    if said["model"].get("type") == "BPE" and not said["model"].get("fuse_unk"):
        _refuse(files, "model", "fuse_unk=false", "BPE with fuse_unk=true")
    _check_post_processors(files, said)
    decoders = types_of(said.get("decoder"))
    if tuple(x for x in decoders if x not in ("ByteFallback", "Fuse")) not in (
        (),
        ("Metaspace",),
        ("Replace", "Strip"),
    ):
        known = "Metaspace, or [Replace, Fuse, Strip]"
        _refuse(files, "decoder", list(decoders), known)


def normalizer_of(
    files: TokenizerFiles, words: Collection[AddedWord], *, charsmap: bool
) -> dict[str, Any]:
    """How a `SentinelPieceTokenizer` is to normalize, as its options.

    Args:
        files: The files of the tokenizer.
        words: Those that were added to it.
        charsmap: Whether its model of pieces normalizes.

    Returns:
        A dict, which is empty where the model does all that is to be done.
    """
    if files.kind in PLAIN:
        said = files.description or {}
        steps = [
            {k: v for k, v in step.items() if k != "precompiled_charsmap"}
            for step in steps_of(said.get("normalizer"))
        ]
        keep_spaces = "WhitespaceSplit" not in types_of(said.get("pre_tokenizer"))
        return {"normalizer": steps, "keep_spaces": keep_spaces}
    keep_spaces = files.kind not in _WITHOUT_SPACES
    steps = [{"type": "Precompiled"}] if charsmap else []
    if keep_spaces:
        steps += _REPLACED[files.kind, charsmap]
    if (words and keep_spaces) or (steps and any(x.sentinel.normalized for x in words)):
        return {"normalizer": steps, "keep_spaces": keep_spaces}
    return {}


def check_byte_steps(files: TokenizerFiles, said: Mapping[str, Any]) -> None:
    """Checks that a `tokenizer.json` of byte pairs says no step that is not done.

    Args:
        files: The files that it is one of.
        said: What it says.

    Raises:
        ValueError: If there is a step that is not done here, with those that are.
    """
    if found := types_of(said.get("normalizer")):
        _refuse(files, "normalizer", list(found), "none, for byte pairs")
    splits = steps_of(said.get("pre_tokenizer"))
    if types_of(said.get("pre_tokenizer")) != ("ByteLevel",):
        found = types_of(said.get("pre_tokenizer"))
        _refuse(files, "pre_tokenizer", list(found), "ByteLevel alone, for byte pairs")
    if splits[0].get("use_regex") is False:
        _refuse(files, "pre_tokenizer", splits[0], "ByteLevel with use_regex=true")
    _check_model(files, said["model"])
    _check_post_processors(files, said)
    if types_of(said.get("decoder")) not in ((), ("ByteLevel",)):
        found = types_of(said.get("decoder"))
        _refuse(files, "decoder", list(found), "ByteLevel, for byte pairs")


def around(
    files: TokenizerFiles, said: Mapping[str, Any], known: Iterable[int]
) -> tuple[list[int], list[int]]:
    """The ids before and behind a text, by the post-processor of a `tokenizer.json`.

    Args:
        files: The files that it is one of.
        said: What it says.
        known: The ids of its vocabulary.

    Returns:
        Two lists of ids.

    Raises:
        ValueError: If a template has not one text, or an id is none of these.
    """
    before: list[int] = []
    behind: list[int] = []
    for step in steps_of(said.get("post_processor")):
        if step["type"] in ("BertProcessing", "RobertaProcessing"):
            before, behind = [step["cls"][1], *before], [*behind, step["sep"][1]]
        elif step["type"] == "TemplateProcessing":
            parts = [part.get("SpecialToken", {}).get("id") for part in step["single"]]
            if parts.count(None) != 1:
                _refuse(files, "post_processor", step["single"], "one text in it")
            ids = [
                [] if name is None else step["special_tokens"][name]["ids"]
                for name in parts
            ]
            middle = parts.index(None)
            before = [*sum(ids[:middle], []), *before]
            behind = [*behind, *sum(ids[middle:], [])]
    if others := {*before, *behind} - {*known}:
        _refuse(files, "post_processor", [*others], "ids of the vocabulary")
    return before, behind


def _check_normalizers(
    files: TokenizerFiles, normalizers: Collection[Mapping[str, Any]], *, rebuilt: bool
) -> None:
    types = [step.get("type") for step in normalizers]
    known = _SPACES
    if not rebuilt:
        known = known | _LINE_ENDS | {_WHITE_SPACE}
    elif "Precompiled" not in types:
        # Line ends are white space here where no other normalization is.
        known = known | _LINE_ENDS
    for step in normalizers:
        if step.get("type") == "Replace":
            pattern = tuple(next(iter(step["pattern"].items())))
            if (pattern, step["content"]) not in known:
                found = f"Replace of {pattern[1]!r} by {step['content']!r}"
                _refuse_normalizer(files, found)
        elif step.get("type") not in ("Precompiled", "Strip") and (
            rebuilt or step.get("type") != "NFC"
        ):
            _refuse_normalizer(files, step.get("type"))
    if (number := types.count("Precompiled")) > 1:
        _refuse_normalizer(files, f"{number} times Precompiled")


def _refuse_normalizer(files: TokenizerFiles, found: Any) -> NoReturn:
    known = "Precompiled once, NFC, Strip, and Replace of spaces in a row or line ends"
    _refuse(files, "normalizer", found, known)


def _prepend_scheme(metaspace: Mapping[str, Any]) -> str:
    # The word of files from before it had three values.
    before = "always" if metaspace.get("add_prefix_space", True) else "never"
    return metaspace.get("prepend_scheme", before)


def _check_model(files: TokenizerFiles, model: Mapping[str, Any]) -> None:
    if model.get("type", "BPE") not in ("BPE", "Unigram"):
        _refuse(files, "model", model["type"], "BPE, Unigram")
    for name, value in _options(model):
        known = f"BPE or Unigram without {', '.join(_NOT_DONE)}"
        _refuse(files, "model", f"{name}={value!r}", known)


def _options(model: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in model.items():
        if (name in _NOT_DONE or name not in _KEYS) and value:
            yield name, value


def _check_post_processors(files: TokenizerFiles, said: Mapping[str, Any]) -> None:
    known = "BertProcessing", "RobertaProcessing", "TemplateProcessing"
    for found in types_of(said.get("post_processor")):
        # That of bytes changes the places of tokens alone.
        if found not in (*known, "ByteLevel"):
            _refuse(files, "post_processor", found, ", ".join((*known, "ByteLevel")))


def _refuse(files: TokenizerFiles, part: str, found: Any, known: str) -> NoReturn:
    raise ValueError(
        f"Each step of a tokenizer.json must be one that is done here exactly; of its "
        f"{part} that is {known}; received {found!r:.200} in {str(files.folder)!r}. "
        "Build a Tokenizer of its vocabulary, and a TextToText of that and "
        "EncoderDecoder.from_preset; or do that step to the texts yourself, and take "
        "it out of the file."
    )
