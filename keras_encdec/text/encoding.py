"""Texts to pairs of ids, on disk or in memory, in one pass and in little memory."""

import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from keras_encdec.annotations import AnyPath, Texts
from keras_encdec.files import FORMAT, new_file, recover, require_place_of_folder
from keras_encdec.lock import held
from keras_encdec.text.corpora import (
    DESCRIPTION,
    SIDES,
    FlatPairs,
    dtype_of_ids,
    tokenizer_digest,
)
from keras_encdec.text.interface import Tokenizer, as_bytes, require_several_texts
from keras_encdec.text.sentence_piece import SentencePieceTokenizer

# Pairs that are read, encoded and written at a time; the digest depends on it.
_CHUNK = 8192
_PROGRESS, _SEEN = "progress.json", "seen"
_ARRAYS = tuple(f"{side}.{kind}" for side in SIDES for kind in ("ids", "ends"))
_WHOLE = _PROGRESS, DESCRIPTION, *(f"{side}.model" for side in SIDES)


def encode_corpus(
    pairs: Iterable[tuple[str, str]],
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    folder: AnyPath,
    *,
    min_length: int = 0,
    max_ratio: float | None = None,
    drop_duplicates: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Writes pairs of texts as a corpus of ids.

    The pairs are read once, some thousands at a time. What was interrupted, even by a
    kill, goes on where it was when the same is called again, with the same pairs in the
    same order: until the corpus is whole it is in a folder beside it. Those that were
    read are read again, and compared.

    Args:
        pairs: Iterates over pairs `(source, target)` of `str`.
        source_tokenizer: A `Tokenizer`.
        target_tokenizer: A `Tokenizer`; it may be the same.
        folder: Where to write the corpus, a new folder.
        min_length: The least number of tokens of a source and a target, without prefix
            and suffix ids; other pairs are left out.
        max_ratio: The most times that one may have as many tokens as the other, or
            None.
        drop_duplicates: Whether to leave out a pair whose texts are those of an earlier
            one; it takes some 10 bytes of memory for each pair.
        progress: None, or a function that is told the numbers of pairs read and kept.

    Returns:
        How many pairs were `"read"`, `"kept"`, and left out as `"short"`, `"uneven"`
        and `"duplicates"`.

    Raises:
        BlockingIOError: If another process writes it.
        FileExistsError: If there is something in the folder's place, or something else
            in that of the folder beside it.
        ValueError: If an option is out of range, no pair is left, or an interrupted
            corpus was begun with other pairs.

    Example:
        ```python
        import tempfile
        from keras_encdec import ByteTokenizer, encode_corpus

        folder = tempfile.mkdtemp() + "/corpus"
        pairs, tokenizer = [("one", "eno"), ("", "")], ByteTokenizer()
        print(encode_corpus(pairs, tokenizer, tokenizer, folder, min_length=1))
        ```
    """
    if min_length < 0 or not (max_ratio is None or max_ratio >= 1):
        raise ValueError(
            "`min_length` must be at least 0 and `max_ratio` at least 1; received "
            f"{min_length} and {max_ratio}. Correct them."
        )
    require_place_of_folder(folder)
    filters = {"min_length": min_length, "max_ratio": max_ratio}
    filters["drop_duplicates"] = drop_duplicates
    tokenizers = source_tokenizer, target_tokenizer
    place = pathlib.Path(folder)
    writer = _Writer(place.with_name(f"{place.name}.partial"), tokenizers, filters)
    writer.folder.mkdir(parents=True, exist_ok=True)
    with held(writer.folder):
        with writer, concurrent.futures.ThreadPoolExecutor(2) as threads:
            remaining = iter(pairs)
            writer.skip(remaining)
            for texts in _chunks(remaining):
                encoded = list(threads.map(_encoded, tokenizers, texts))
                writer.write(encoded, texts)
                if progress is not None:
                    progress(writer.counts["read"], writer.counts["kept"])
        counts = writer.finish()
        os.rename(writer.folder, place)
    return counts


def encode_in_memory(
    sources: Texts,
    targets: Texts,
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
) -> FlatPairs:
    """Returns pairs of texts as ids, in as few bytes as a corpus has on disk.

    Args:
        sources: The source texts.
        targets: The target texts, as many.
        source_tokenizer: A `Tokenizer`.
        target_tokenizer: A `Tokenizer`; it may be the same.

    Raises:
        TypeError: If the texts are not strings.

    Example:
        ```python
        from keras_encdec import ByteTokenizer
        from keras_encdec.text.encoding import encode_in_memory

        tokenizer = ByteTokenizer()
        pairs = encode_in_memory(["one"], ["eno"], tokenizer, tokenizer)
        print(pairs.ids("target", [0]))
        ```
    """
    tokenizers = source_tokenizer, target_tokenizer
    dtype, ids, ends = dtype_of_ids(*tokenizers), {}, {}
    for side, texts, tokenizer in zip(
        SIDES, (sources, targets), tokenizers, strict=True
    ):
        require_several_texts(texts=texts)
        remaining = iter(texts.numpy() if hasattr(texts, "numpy") else texts)
        parts, numbers, done = [], [], 0
        while some := list(itertools.islice(remaining, _CHUNK)):
            part, lengths = _encoded(tokenizer, as_bytes(some, first=done))
            parts.append(part.astype(dtype))
            numbers.append(lengths)
            done += len(some)
        ids[side] = np.concatenate(parts)
        ends[side] = np.cumsum(np.concatenate(numbers), dtype="<i8")
    return FlatPairs(ids, ends)


def _chunks(pairs: Iterator[Any], most: int | None = None) -> Iterator[list[Any]]:
    """Yields lists of the sources and targets of pairs, of all or so many."""
    pairs = itertools.islice(pairs, most)
    while chunk := list(itertools.islice(pairs, _CHUNK)):
        yield [list(side) for side in zip(*chunk, strict=True)]


def _encoded(tokenizer: Tokenizer, texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    """The ids of texts one behind the other, and the numbers of them."""
    ids = tokenizer.encode(texts)
    return ids.values.numpy(), ids.row_lengths().numpy()


class _Writer:
    """The folder of a corpus that is not whole yet."""

    def __init__(
        self,
        folder: pathlib.Path,
        tokenizers: tuple[Tokenizer, Tokenizer],
        filters: dict[str, Any],
    ) -> None:
        self.folder, self.filters = folder, filters
        self._tokenizers = tokenizers
        self.dtype = dtype_of_ids(*tokenizers)
        settings = json.dumps([[*map(tokenizer_digest, tokenizers)], filters])
        self._settings = hashlib.sha256(settings.encode()).hexdigest()
        self.counts = dict.fromkeys(
            ("read", "kept", "short", "uneven", "duplicates"), 0
        )
        self._totals = [0, 0]
        self._digest = self._read_digest = ""
        self._seen = _Seen()
        self._files: list[Any] = []

    def __enter__(self) -> None:
        """Begins, or goes on where what is written ends."""
        for name in _WHOLE:
            recover(self.folder / name)
        path = self.folder / _PROGRESS
        known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        if known.get("settings") != self._settings:
            ours = *_WHOLE, *_ARRAYS, _SEEN
            require_place_of_folder(self.folder, overwrite=True, only=ours)
            for name in ours:
                (self.folder / name).unlink(missing_ok=True)
            known = {}
        self.counts = known.get("counts", self.counts)
        self._totals = known.get("totals", self._totals)
        self._digest = known.get("digest", self._digest)
        self._read_digest = known.get("read_digest", self._read_digest)
        sizes = known.get("sizes", {})
        for name in (*_ARRAYS, _SEEN):
            # A kill may have come after the last that is known.
            file = open(self.folder / name, "ab")
            file.truncate(sizes.get(name, 0))
            self._files.append(file)
        if sizes.get(_SEEN):
            self._seen.add(np.fromfile(self.folder / _SEEN, "<u8"))

    def __exit__(self, *error: Any) -> None:
        for file in self._files:
            file.close()

    def skip(self, pairs: Iterator[Any]) -> None:
        """Goes past the pairs that were read before, if they are the same."""
        digest = ""
        for texts in _chunks(pairs, self.counts["read"]):
            digest = _later_digest(digest, texts)
        if digest != self._read_digest:
            raise ValueError(
                "An interrupted corpus goes on with the pairs it was begun with; of "
                f"the first {self.counts['read']:,} some are others than those "
                f"in {str(self.folder)!r}. Give the same, or remove it to begin anew."
            )

    def write(self, encoded: list[Any], texts: list[list[str]]) -> None:
        """Writes pairs: the ids of each side and their numbers, and the texts."""
        lengths = np.stack([numbers for _, numbers in encoded], axis=1)
        around = [len(x.prefix_ids) + len(x.suffix_ids) for x in self._tokenizers]
        bare = lengths - around
        kept = bare.min(axis=1) >= self.filters["min_length"]
        self.counts["short"] += int(np.count_nonzero(~kept))
        if (ratio := self.filters["max_ratio"]) is not None:
            uneven = bare.max(axis=1) > ratio * np.maximum(bare.min(axis=1), 1)
            self.counts["uneven"] += int(np.count_nonzero(kept & uneven))
            kept &= ~uneven
        if self.filters["drop_duplicates"]:
            rows = np.flatnonzero(kept)
            hashes = np.array(
                [_hash(texts[0][row], texts[1][row]) for row in rows], "<u8"
            )
            new = self._seen.add(hashes)
            self.counts["duplicates"] += int(np.count_nonzero(~new))
            kept[rows] = new
            self._files[-1].write(hashes[new].tobytes())
        digest = hashlib.sha256(self._digest.encode())
        for place, (ids, numbers) in enumerate(encoded):
            chosen = ids[np.repeat(kept, numbers)].astype(self.dtype).tobytes()
            ends = self._totals[place] + np.cumsum(numbers[kept], dtype="<i8")
            self._totals[place] = int(ends[-1]) if len(ends) else self._totals[place]
            for file, data in zip(
                self._files[2 * place :], (chosen, ends.tobytes()), strict=False
            ):
                file.write(data)
                digest.update(data)
        self._digest = digest.hexdigest()
        self._read_digest = _later_digest(self._read_digest, texts)
        self.counts["read"] += len(kept)
        self.counts["kept"] += int(np.count_nonzero(kept))
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
        sizes = {pathlib.Path(file.name).name: file.tell() for file in self._files}
        with new_file(self.folder / _PROGRESS) as path:
            path.write_text(
                json.dumps(
                    {
                        "settings": self._settings,
                        "counts": self.counts,
                        "totals": self._totals,
                        "digest": self._digest,
                        "read_digest": self._read_digest,
                        "sizes": sizes,
                    }
                ),
                "utf-8",
            )

    def finish(self) -> dict[str, int]:
        """Describes what is whole; returns the counts."""
        if self.counts["kept"] == 0:
            shutil.rmtree(self.folder)
            raise ValueError(
                "A corpus needs at least one pair; received "
                f"{self.counts['read']}, of which none was kept. Check what was read, "
                "or loosen the filters."
            )
        for side, tokenizer in zip(SIDES, self._tokenizers, strict=True):
            if isinstance(tokenizer, SentencePieceTokenizer):
                with new_file(self.folder / f"{side}.model") as path:
                    path.write_bytes(tokenizer.proto)
        facts = {
            "format": FORMAT,
            "pairs": self.counts["kept"],
            "dtype": self.dtype,
            "digest": self._digest,
            "tokenizers": dict(
                zip(SIDES, map(tokenizer_digest, self._tokenizers), strict=True)
            ),
            "counts": self.counts,
            **self.filters,
        }
        with new_file(self.folder / DESCRIPTION) as path:
            path.write_text(json.dumps(facts, indent=2), "utf-8")
        for name in (_PROGRESS, _SEEN):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / name).unlink()
        return self.counts


def _later_digest(digest: str, texts: list[list[str]]) -> str:
    return hashlib.sha256(f"{digest}{texts}".encode()).hexdigest()


def _hash(source: str, target: str) -> int:
    text = f"{len(source)} {source}{target}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class _Seen:
    """A set of hashes: sorted arrays, each at least twice as long as the next."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []

    def add(self, hashes: np.ndarray) -> np.ndarray:
        """Adds hashes; returns which of them are new, each but once."""
        new = np.zeros(len(hashes), bool)
        new[np.unique(hashes, return_index=True)[1]] = True
        for array in self._arrays:
            places = np.minimum(np.searchsorted(array, hashes), len(array) - 1)
            new &= array[places] != hashes
        if new.any():
            self._arrays.append(np.sort(hashes[new]))
        while len(self._arrays) > 1 and len(self._arrays[-2]) < 2 * len(
            self._arrays[-1]
        ):
            last = np.concatenate([self._arrays.pop(), self._arrays.pop()])
            last.sort()
            self._arrays.append(last)
        return new
