"""Tokenizers of checkpoints, beside those of transformers."""

import collections
import json
import random
import unicodedata

import pytest

from keras_encdec.pretrained.piece_models import read_piece_model
from keras_encdec.pretrained.tokenizers import tokenizers_from


@pytest.fixture(scope="session")
def fuzzed(multi30k):
    """Texts of words, white space and characters of all kinds, `fuzzed(number)`."""
    kinds = collections.defaultdict(list)
    for number in range(0x30000):
        kinds[unicodedata.category(chr(number))].append(chr(number))
    # Transformers loses marks behind a space, and splits at controls that are none.
    kinds = [kind for name, kind in kinds.items() if name[0] not in "CM"]
    words = [word for line in multi30k[0][:500] for word in line.split()]
    spaces = [" ", "  ", "\n", "\t", "\u00a0", "\u3000", "'s", " 'S", ".", " ."]

    def fuzz(number, seed=0):
        drawn = random.Random(seed)

        def text():
            for _ in range(drawn.randint(0, 20)):
                kind = drawn.choice([kinds, [words], [spaces], [words]])
                yield drawn.choice(drawn.choice(kind))

        return ["".join(text()) for _ in range(number)]

    return fuzz


def read_tokenizers(folder, languages, **changes):
    config = json.loads((folder / "config.json").read_text())
    return tokenizers_from(folder, {**config, **changes}, *languages)


def oracle(folder, name, languages):
    """What transformers gives for sources, for targets, and the text of ids."""
    from transformers import AutoTokenizer

    source, target = languages
    languages = {"src_lang": source, "tgt_lang": target} if source else {}
    tokenizer = AutoTokenizer.from_pretrained(folder, **languages)
    if name == "mbart" and (folder / "sentencepiece.bpe.model").exists():
        # Transformers 5 leaves out the normalization that the model has.
        from tokenizers import normalizers

        proto = (folder / "sentencepiece.bpe.model").read_bytes()
        charsmap = read_piece_model(proto).charsmap
        tokenizer.backend_tokenizer.normalizer = normalizers.Precompiled(charsmap)
    return (
        lambda texts: tokenizer(texts)["input_ids"],
        lambda texts: tokenizer(text_target=texts)["input_ids"],
        lambda rows: [tokenizer.decode(row, skip_special_tokens=True) for row in rows],
    )


def decoded(tokenizer, rows):
    return [text.decode("utf-8", "replace") for text in tokenizer.decode(rows).numpy()]


def compare_tokenizers(folder, name, languages, texts):
    source, target, _ = read_tokenizers(folder, languages)
    of_sources, of_targets, text_of = oracle(folder, name, languages)
    for tokenizer, ids_of in ((source, of_sources), (target, of_targets)):
        rows, theirs = tokenizer.encode(texts).to_list(), ids_of(texts)
        differ = [i for i, row in enumerate(rows) if row != theirs[i]]
        # Where a letter is repeated two ways to split have the same score, and it is
        # told by how each program rounds its sum.
        assert len(differ) <= len(texts) // 100
        for i in differ:
            assert sorted(rows[i]) == sorted(theirs[i]), texts[i]
        assert decoded(tokenizer, rows) == text_of(rows)


@pytest.fixture(scope="session", name="read")
def read_fixture(family_folders):
    """Reads the tokenizers of a folder, of two languages where the family has some."""

    def read(folder, name=None, **changes):
        languages = family_folders.LANGUAGES.get(name, (None, None))
        return read_tokenizers(folder, languages, **changes)

    return read


@pytest.fixture(scope="session", name="compare")
def compare_fixture(family_folders):
    """Compares ids and texts of a folder's tokenizers with those of transformers."""

    def compare(folder, name, texts):
        languages = family_folders.LANGUAGES.get(name, (None, None))
        compare_tokenizers(folder, name, languages, texts)

    return compare
