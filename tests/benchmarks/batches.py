"""Batches for training, written once for all contenders.

A file of NumPy holds kinds of batches: `buckets`, real sentences as the library's
`TokenBatches` batches them; `padded`, the same sentences as many at a time, padded to
one length; `full`, ids without padding; and `check`, a small batch.
"""

import gzip
import json
import pathlib
import sys

import numpy as np
from sizes import END, FIRST_WORD, PADDING, START

CORPUS = pathlib.Path(__file__).resolve().parents[3] / "shared/data/multi30k/bpe"
LONGEST = 40
PARTS = ("source", "target", "labels")


def read_sentences(name, number=None):
    """The first sentences of a file of the corpus, such as `"test.2016.en"`, or all."""
    with gzip.open(CORPUS / f"{name}.gz", "rt", encoding="utf-8") as file:
        return file.read().splitlines()[:number]


def read_batches(path, kind):
    """Returns the batches of a kind, and the one to check the loss with."""
    with np.load(path) as arrays:

        def batch(name):
            return tuple(arrays[f"{name}.{part}"] for part in PARTS)

        count = sum(name.startswith(f"{kind}.") for name in arrays) // len(PARTS)
        return [batch(f"{kind}.{i}") for i in range(count)], batch("check.0")


def write_batches(path, kinds):
    np.savez(
        path,
        **{
            f"{kind}.{i}.{part}": ids.astype("int32")
            for kind, batches in kinds.items()
            for i, batch in enumerate(batches)
            for part, ids in zip(PARTS, batch, strict=True)
        },
    )


def full_batches(vocabulary_size, number, rows, length, seed=0):
    random = np.random.default_rng(seed)
    shape = number, 2, rows, length
    pairs = random.integers(FIRST_WORD, vocabulary_size, shape)
    pairs[..., -1] = END
    return [(source, shifted(labels), labels) for source, labels in pairs]


def check_batch(vocabulary_size):
    """Four pairs with padding."""
    source, _, labels = full_batches(vocabulary_size, 1, 4, 9, seed=1)[0]
    for ids, lengths in ((source, (9, 4, 1, 7)), (labels, (2, 9, 5, 6))):
        for row, length in zip(ids, lengths, strict=True):
            row[length - 1], row[length:] = END, PADDING
    return source, shifted(labels), labels


def shifted(labels):
    return np.concatenate([np.full_like(labels[:, :1], START), labels[:, :-1]], axis=1)


def padded_batches(sources, labels, rows, length=LONGEST):
    """Makes batches of about as many rows, all of one shape."""
    number = max(1, round(len(sources) / rows))
    rows = -(-len(sources) // number)
    # A few rows of nothing fill the last batch; a source must have a token.
    filling = number * rows - len(sources)

    def pad(ids):
        padded = np.full((len(ids), length), PADDING, "int32")
        for row, some in zip(padded, ids, strict=True):
            row[: len(some)] = some
        return padded.reshape(number, rows, length)

    sources, labels = (
        pad([*sources, *[[END]] * filling]),
        pad([*labels, *[[]] * filling]),
    )
    return [(s, shifted(x), x) for s, x in zip(sources, labels, strict=True)]


def sentences_of(batches):
    """Returns the sources and labels in batches without their padding."""
    pairs = [
        (source[source != PADDING], label[label != PADDING])
        for sources, _, labels in batches
        for source, label in zip(sources, labels, strict=True)
        if np.any(label != PADDING)
    ]
    return [list(side) for side in zip(*pairs, strict=True)]


def count(batches):
    """Returns the sentences, the target tokens and the share of padding in batches."""
    ids = [(source, labels) for source, _, labels in batches]
    sentences = sum(int(np.any(labels != PADDING, axis=1).sum()) for _, labels in ids)
    tokens = sum(int((labels != PADDING).sum()) for _, labels in ids)
    cells = sum(source.size + labels.size for source, labels in ids)
    filled = sum(int((x != PADDING).sum()) for pair in ids for x in pair)
    return sentences, tokens, 1 - filled / cells


def write_real(path, vocabulary_size, sentences, steps):
    """Writes `buckets`, and `padded` batches of the same sentences."""
    # TensorFlow, which only this needs.
    from keras_encdec import WordTokenizer
    from keras_encdec.text import TokenBatches

    texts = []
    for language in ("en", "de"):
        with gzip.open(CORPUS / f"train.{language}.gz", "rt", encoding="utf-8") as file:
            texts.append(file.read().splitlines())
    tokenizer = WordTokenizer.from_texts(
        texts[0] + texts[1], max_size=vocabulary_size - FIRST_WORD, continuation="@@"
    )
    # So many that the buckets are as narrow as in real training.
    texts = [side[: 64 * sentences] for side in texts]
    ids = [tokenizer.encode(side).to_list() for side in texts]
    lengths = [max(map(len, pair)) for pair in zip(*ids, strict=True)]
    texts = [
        [text for text, length in zip(side, lengths, strict=True) if length <= LONGEST]
        for side in texts
    ]
    # The fewest tokens of a batch that make them hold as many sentences on average.
    batch_tokens = LONGEST
    batches = TokenBatches(*texts, tokenizer, tokenizer, batch_tokens)
    while len(texts[0]) < sentences * len(batches):
        batch_tokens += sentences
        batches = TokenBatches(*texts, tokenizer, tokenizer, batch_tokens)
    buckets = [
        (source.numpy(), target.numpy(), labels.numpy())
        for (source, target), labels, _ in batches.dataset(count=steps)
    ]
    write_batches(
        path,
        {
            "buckets": buckets,
            "padded": padded_batches(*sentences_of(buckets), sentences),
            "check": [check_batch(vocabulary_size)],
        },
    )


if __name__ == "__main__":
    write_real(**json.loads(sys.argv[1]))
