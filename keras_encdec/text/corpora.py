"""Pairs of texts as ids: one behind the other, in memory or mapped from disk."""

import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np

from keras_encdec.annotations import AnyPath
from keras_encdec.files import check_format
from keras_encdec.text.interface import Tokenizer
from keras_encdec.text.sentence_piece import SentencePieceTokenizer

SIDES = ("source", "target")
DESCRIPTION = "corpus.json"


@runtime_checkable
class PairsOfIds(Protocol):
    """What `TokenBatches` and `train` ask of pairs that are ids already.

    Example:
        ```python
        import numpy as np
        from keras_encdec import ByteTokenizer, TokenBatches
        from keras_encdec.text import PairsOfIds

        class Counting:
            def __len__(self):
                return 100

            def lengths(self):
                return np.tile([3, 2], (len(self), 1))

            def ids(self, side, rows):
                end = [ByteTokenizer().end_id]
                return [[4 + row, *end] if side == "target" else [4, 5, *end]
                        for row in rows]

        assert isinstance(Counting(), PairsOfIds)
        tokenizer = ByteTokenizer()
        batches = TokenBatches(Counting(), None, tokenizer, tokenizer, 64)
        print(batches.shapes)
        ```
    """

    def __len__(self) -> int:
        """The number of pairs."""

    def lengths(self) -> np.ndarray:
        """The numbers of ids of each source and target, integers `(N, 2)`."""

    def ids(self, side: str, rows: Sequence[int]) -> list[Any]:
        """The ids of a side, `"source"` or `"target"`, of some pairs, whole."""


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """Returns what tells a tokenizer, by all of its config, from others."""
    config = keras.saving.serialize_keras_object(tokenizer)
    text = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def dtype_of_ids(*tokenizers: Tokenizer) -> str:
    """Returns the smallest NumPy type, little-endian, that holds all their ids."""
    size = max(tokenizer.vocabulary_size for tokenizer in tokenizers)
    return "<u2" if size <= 2**16 else "<i4"


class FlatPairs:
    """Pairs of ids one behind the other, with the places where they end.

    Args:
        ids: For `"source"` and `"target"` all ids of that side, an integer array.
        ends: For each the places behind the last id of each pair, int64 `(N,)`.

    Example:
        ```python
        import numpy as np
        from keras_encdec.text.corpora import FlatPairs

        sides = {"source": np.array([4, 5, 2, 6, 2]), "target": np.array([7, 2, 2])}
        ends = {"source": np.array([3, 5]), "target": np.array([2, 3])}
        pairs = FlatPairs(sides, ends)
        print(pairs.lengths(), pairs.ids("source", [1]))
        ```
    """

    def __init__(
        self, ids: Mapping[str, np.ndarray], ends: Mapping[str, np.ndarray]
    ) -> None:
        self._ids, self._ends = ids, ends

    def __len__(self) -> int:
        return len(self._ends[SIDES[0]])

    def lengths(self) -> np.ndarray:
        """Returns the numbers of ids of each source and target, int32 `(N, 2)`."""
        lengths = np.empty((len(self), 2), "int32")
        for place, side in enumerate(SIDES):
            ends, out = self._ends[side], lengths[:, place]
            out[:1] = ends[:1]
            # Without another array of them, for there may be many.
            np.subtract(ends[1:], ends[:-1], out=out[1:], casting="same_kind")
        return lengths

    def ids(self, side: str, rows: Sequence[int]) -> list[np.ndarray]:
        """Returns the ids of some pairs.

        Args:
            side: `"source"` or `"target"`.
            rows: The numbers of the pairs, from 0 on.

        Returns:
            A list of arrays.
        """
        ends, ids = self._ends[side], self._ids[side]
        return [ids[ends[row - 1] if row else 0 : ends[row]] for row in rows]


class Corpus(FlatPairs):
    """Pairs of texts as ids in a folder, mapped into memory and not read at once.

    Args:
        folder: What `encode_corpus`, or the command `encode`, wrote.

    Attributes:
        digest: That of all ids in their order.
        tokenizers: The source and the target `SentencePieceTokenizer`, one object if
            both are the same; None where another kind encoded it.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is cut, or of a later version.

    Example:
        ```python
        import tempfile
        from keras_encdec import ByteTokenizer, Corpus, TokenBatches, encode_corpus

        tokenizer = ByteTokenizer()
        folder = tempfile.mkdtemp() + "/corpus"
        pairs = [("one", "eno"), ("two", "owt")]
        encode_corpus(pairs, tokenizer, tokenizer, folder)
        batches = TokenBatches(Corpus(folder), None, tokenizer, tokenizer, 32)
        print(len(Corpus(folder)), batches.shapes)
        ```
    """

    def __init__(self, folder: AnyPath) -> None:
        self.folder = pathlib.Path(folder)
        path = self.folder / DESCRIPTION
        if not path.is_file():
            raise FileNotFoundError(
                "A corpus is a folder that the command encode, or `encode_corpus`, "
                f"wrote; {str(self.folder)!r} holds no {DESCRIPTION}. Encode the texts "
                "first."
            )
        facts = json.loads(path.read_text("utf-8"))
        check_format(facts["format"], path)
        self.digest: str = facts["digest"]
        self._tokenizers: dict[str, str] = facts["tokenizers"]
        ids, ends = {}, {}
        for side in SIDES:
            ends[side] = self._mapped(f"{side}.ends", "<i8", facts["pairs"])
            ids[side] = self._mapped(f"{side}.ids", facts["dtype"], ends[side][-1])
        super().__init__(ids, ends)

    def _mapped(self, name: str, dtype: str, size: int) -> np.ndarray:
        path = self.folder / name
        found = path.stat().st_size if path.is_file() else 0
        if found != size * np.dtype(dtype).itemsize:
            raise ValueError(
                f"{str(path)!r} must hold {size:,} numbers; it has {found:,} bytes and "
                "is cut, or another's. Encode the texts again."
            )
        return np.memmap(path, dtype, "r")

    @property
    def tokenizers(self) -> tuple[Tokenizer, Tokenizer] | None:
        """The two tokenizers, or None."""
        paths = [self.folder / f"{side}.model" for side in SIDES]
        if not all(path.is_file() for path in paths):
            return None
        protos = [path.read_bytes() for path in paths]
        source = SentencePieceTokenizer(protos[0])
        same = protos[0] == protos[1]
        return source, source if same else SentencePieceTokenizer(protos[1])

    def require_tokenizers(self, source: Tokenizer, target: Tokenizer) -> None:
        """Raises unless the ids are those of these tokenizers.

        Args:
            source: A `Tokenizer`.
            target: Likewise.

        Raises:
            ValueError: If another one encoded a side.
        """
        for side, tokenizer in zip(SIDES, (source, target), strict=True):
            if self._tokenizers[side] != tokenizer_digest(tokenizer):
                raise ValueError(
                    "A corpus must hold ids of the model's vocabulary; received "
                    f"{str(self.folder)!r}, whose {side}s are of another. Encode the "
                    "texts with the model's own, such as its run's `source.model`."
                )
