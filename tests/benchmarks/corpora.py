"""The time and the memory of a corpus of many pairs: to encode it, and to start.

    python tests/benchmarks/corpora.py FOLDER VOCABULARY [--pairs 1000000]

FOLDER holds Multi30k's `train.de.gz` and `train.en.gz`; the texts are repeated with a
number added, so that no two are the same. Each part runs in a process of its own, for
the peak of the memory is that of a process.
"""

import argparse
import ctypes
import gc
import itertools
import multiprocessing
import pathlib
import resource
import tempfile
import time

from keras_encdec.text import (
    Corpus,
    SentencePieceTokenizer,
    TokenBatches,
    encode_corpus,
    read_lines,
)


def pairs_of(folder, number):
    """Yields pairs that differ."""
    sides = [read_lines(pathlib.Path(folder, f"train.{x}.gz")) for x in ("de", "en")]
    for round_number in itertools.count():
        for place, pair in enumerate(zip(*sides, strict=True)):
            count = round_number * len(sides[0]) + place
            if count == number:
                return
            yield tuple(f"{text} {count}" for text in pair)


def encode(folder, vocabulary, number, corpus):
    """Encodes the pairs."""
    tokenizer = SentencePieceTokenizer(vocabulary)
    pairs = pairs_of(folder, number)
    print(encode_corpus(pairs, tokenizer, tokenizer, corpus, drop_duplicates=True))


def start(folder, vocabulary, number, corpus):
    """Makes the first batch."""
    tokenizer = SentencePieceTokenizer(vocabulary)
    options = {"max_source_length": 256, "max_target_length": 256}
    batches = TokenBatches(Corpus(corpus), None, tokenizer, tokenizer, 4096, **options)
    next(iter(batches.dataset()))
    print(f"{len(batches):,} batches of {len(batches.shapes)} shapes")


def nothing(folder, vocabulary, number, corpus):
    """Loads the tokenizer, TensorFlow and all."""
    SentencePieceTokenizer(vocabulary).encode(["a"])


def in_memory(folder, vocabulary, number, corpus):
    """Makes the first batch from texts."""
    tokenizer = SentencePieceTokenizer(vocabulary)
    tokenizer.encode(["a"] * 9000)
    options = {"max_source_length": 256, "max_target_length": 256}
    texts = [list(side) for side in zip(*pairs_of(folder, number), strict=True)]
    before = held()
    batches = TokenBatches(*texts, tokenizer, tokenizer, 4096, **options)
    next(iter(batches.dataset(count=1)))
    print(f"{(held() - before) / number:.0f} bytes a pair held, beside the texts")


def held():
    """The bytes that this process holds, without what it has only not given back."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096


def measured(function, *args):
    """Runs a function, and tells what it took."""
    begun = time.perf_counter()
    function(*args)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    seconds = time.perf_counter() - begun
    print(f"{function.__name__}: {seconds:.1f} s, {peak:,.0f} MB at the peak")


def main():
    """Measures each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("vocabulary")
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--in-memory", action="store_true")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    parts = [nothing, encode, start] + [in_memory] * options.in_memory
    with tempfile.TemporaryDirectory() as place:
        corpus = pathlib.Path(place, "corpus")
        for part in parts:
            args = part, options.folder, options.vocabulary, options.pairs, corpus
            process = context.Process(target=measured, args=args)
            process.start()
            process.join()
        size = sum(path.stat().st_size for path in corpus.iterdir())
        print(f"{size / 1e6:,.0f} MB on disk")


if __name__ == "__main__":
    main()
