"""SentencePiece models whose ids are those of a checkpoint.

How a text is split depends on pieces and their scores, not on their order, so that a
model can be written anew in another order, with pieces that no text spells.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
import pathlib
import tempfile
from collections.abc import Iterable
from typing import Any

from keras_encdec.pretrained.tokenizer_files import MOST_HOLES

# As numbered in SentencePiece's own description of a model.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
WORDS, CHARACTERS = "word", "char"
# The types of models, likewise.
_TYPES = {"unigram": 1, "bpe": 2, WORDS: 3, CHARACTERS: 4}
# What Unicode calls white space, and the sign that stands for it in pieces.
_SPACES = (*range(9, 14), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029)
_SPACES = (*_SPACES, 0x202F, 0x205F, 0x2581, 0x3000)


@dataclasses.dataclass(frozen=True)
class PieceModel:
    """The pieces of a SentencePiece model, in the order of their ids.

    Args:
        pieces: Triples `(text, score, kind)`, kind as SentencePiece numbers it.
        kind: `"unigram"`, `"bpe"`, `"word"` or `"char"`.
        charsmap: How a text is normalized first, as SentencePiece writes it; empty
            where only white space is.

    Example:
        ```python
        from keras_encdec.pretrained.piece_models import PieceModel

        pieces = (("<unk>", 0.0, 2), ("▁a", -1.0, 1), ("</s>", 0.0, 3))
        print(PieceModel(pieces).ids["▁a"])  # 1
        ```
    """

    pieces: tuple[tuple[str, float, int], ...]
    kind: str = "unigram"
    charsmap: bytes = b""

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """The id of each piece."""
        return {piece: number for number, (piece, _, _) in enumerate(self.pieces)}

    def of_kinds(self, kinds: dict[str, int]) -> PieceModel:
        """The same model in which pieces are of other kinds, where they are pieces."""
        pieces = tuple(
            (piece, score, kinds.get(piece, kind)) for piece, score, kind in self.pieces
        )
        return dataclasses.replace(self, pieces=pieces)

    def of_pieces(self, pieces: Iterable[tuple[str, float, int]]) -> PieceModel:
        """The same model of other pieces."""
        return dataclasses.replace(self, pieces=tuple(pieces))

    def extended(self, added: dict[str, int], kind: int) -> PieceModel:
        """The same model with pieces above, at ids that are given."""
        pieces = list(self.pieces)
        for piece, number in added.items():
            if number >= len(pieces) + len(added) + MOST_HOLES:
                raise ValueError(
                    "The id of an added token must follow those of the pieces; "
                    f"received {number:,} of {piece!r}, behind {len(pieces):,} pieces. "
                    "Copy the tokenizer's files again."
                )
        for piece, number in sorted(added.items(), key=lambda item: item[1]):
            # A hole is a piece that no text spells either.
            pieces += [
                (f"<hole_{i}>", 0.0, CONTROL) for i in range(len(pieces), number)
            ]
            if number == len(pieces):
                pieces.append((piece, 0.0, kind))
        return self.of_pieces(pieces)

    def shortened(self, size: int) -> PieceModel:
        """The same model without pieces that no text spells at its end, above a size.

        The mask of BART-like models is one that some published models leave out.
        """
        pieces = list(self.pieces)
        while len(pieces) > size and pieces[-1][2] == CONTROL:
            pieces.pop()
        return self.of_pieces(pieces)

    def serialized(self) -> bytes:
        """The model as SentencePiece reads it, which spells the unknown as nothing."""
        from sentencepiece import sentencepiece_model_pb2

        model = sentencepiece_model_pb2.ModelProto()
        for piece, score, kind in self.pieces:
            model.pieces.add(piece=piece, score=score, type=kind)
        model.trainer_spec.model_type = _TYPES[self.kind]
        kinds = [kind for _, _, kind in self.pieces]
        model.trainer_spec.unk_id = kinds.index(UNKNOWN)
        model.trainer_spec.unk_surface = ""
        for name in ("bos_id", "eos_id", "pad_id"):
            setattr(model.trainer_spec, name, -1)
        model.trainer_spec.vocab_size = len(self.pieces)
        charsmap = self.charsmap
        if self.kind == CHARACTERS:
            # They are the text as it is.
            model.normalizer_spec.add_dummy_prefix = False
            model.normalizer_spec.remove_extra_whitespaces = False
        elif not charsmap:
            charsmap = charsmap_of_white_space()
        model.normalizer_spec.precompiled_charsmap = charsmap
        return model.SerializeToString()


def read_piece_model(proto: bytes) -> PieceModel:
    """The pieces of a serialized SentencePiece model."""
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    try:
        model = sentencepiece_model_pb2.ModelProto.FromString(proto)
    except DecodeError as error:
        raise ValueError(
            "A SentencePiece model must be a serialized `ModelProto`; received "
            f"{len(proto)} bytes that are none ({error}). Copy the file again."
        ) from error
    kinds = {number: kind for kind, number in _TYPES.items()}
    return PieceModel(
        tuple((piece.piece, piece.score, piece.type) for piece in model.pieces),
        kinds[model.trainer_spec.model_type],
        model.normalizer_spec.precompiled_charsmap,
    )


def piece_model_of(description: dict[str, Any]) -> PieceModel:
    """The pieces of what a file `tokenizer.json` says, added tokens included.

    Args:
        description: What the file holds.

    Returns:
        A `PieceModel`: added tokens that are special are control pieces, and the others
        user-defined ones.

    Raises:
        ValueError: If its model is neither a unigram nor a BPE one.
    """
    model = description["model"]
    vocabulary = model.get("vocab")
    is_bpe = isinstance(vocabulary, dict) and "merges" in model
    if is_bpe:
        scores: dict[str, float] = {}
        for rank, merge in enumerate(model["merges"]):
            pair = merge.split(" ") if isinstance(merge, str) else merge
            scores.setdefault("".join(pair), -float(rank))
        pieces = [
            (piece, scores.get(piece, 0.0), NORMAL)
            for piece in sorted(vocabulary, key=vocabulary.__getitem__)
        ]
        unknown = model.get("unk_token")
    elif isinstance(vocabulary, list) and model.get("unk_id") is not None:
        pieces = [(piece, score, NORMAL) for piece, score in vocabulary]
        unknown = pieces[model["unk_id"]][0]
    else:
        raise ValueError(
            "A tokenizer.json must hold a model of type Unigram or BPE with an unknown "
            f"token; received {model.get('type')!r}."
        )
    added = description.get("added_tokens") or []
    found = PieceModel(
        tuple(pieces), "bpe" if is_bpe else "unigram", _charsmap(description)
    )
    found = found.extended({t["content"]: t["id"] for t in added}, CONTROL)
    kinds = {t["content"]: CONTROL if t["special"] else USER_DEFINED for t in added}
    return found.of_kinds({**kinds, unknown: UNKNOWN})


def _charsmap(description: dict[str, Any]) -> bytes:
    normalizer = description.get("normalizer") or {}
    for each in (normalizer, *normalizer.get("normalizers", ())):
        if each.get("type") == "Precompiled" and each.get("precompiled_charsmap"):
            return base64.b64decode(each["precompiled_charsmap"])
    return b""


@functools.cache
def charsmap_of_white_space(*, ascii_alone: bool = False) -> bytes:
    """A normalization that makes all white space a space, and leaves the rest.

    SentencePiece alone writes it, as a part of a model that it learns.

    Args:
        ascii_alone: Whether only that of ASCII is.
    """
    spaces = _SPACES[:5] if ascii_alone else _SPACES
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    writer = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules = pathlib.Path(folder) / "rules.tsv"
        rules.write_text("".join(f"{space:x}\t20\n" for space in spaces))
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["ab"]),
            model_writer=writer,
            model_type="char",
            vocab_size=6,
            normalization_rule_tsv=str(rules),
            minloglevel=2,
        )
    model = sentencepiece_model_pb2.ModelProto.FromString(writer.getvalue())
    return model.normalizer_spec.precompiled_charsmap
