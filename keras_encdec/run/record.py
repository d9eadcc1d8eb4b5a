"""What a training is begun with, and what differs between two of these records."""

import hashlib
import json
from typing import Any

import keras
import numpy as np

from keras_encdec.annotations import KerasModel, Pairs
from keras_encdec.backend import gathered
from keras_encdec.files import FORMAT
from keras_encdec.text import Corpus, MixedPairs, PairsOfIds
from keras_encdec.text.interface import require_several_texts
from keras_encdec.text_to_text import TextToText
from keras_encdec.training_options import (
    FREE_OPTIONS,
    TrainingOptions,
    plain_options,
)

_COSINE = (
    ", where a cosine schedule ends (to train longer, begin another folder with the "
    "best model of this one as `initial`)"
)
DEFAULTS = plain_options(TrainingOptions())
_DIGESTS = {
    "texts": "the texts",
    "validation": "the validation texts",
    "teacher": "the teacher",
}


def make_record(
    options: TrainingOptions,
    pairs: Any,
    validation: Pairs | None = None,
    *,
    teacher: KerasModel | None = None,
    recipe: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns what a training is begun with, a dict that JSON can hold.

    Args:
        options: The `TrainingOptions`.
        pairs: The source texts and the target texts, two lists; or pairs of ids and
            none.
        validation: The same to evaluate with, or None.
        teacher: The model to learn from, or None.
        recipe: None, or what the `TextToText` was made of, a dict that JSON can hold.

    Example:
        ```python
        from keras_encdec.training import TrainingOptions
        from keras_encdec.run.record import make_record

        print(make_record(TrainingOptions(), (["one"], ["eno"]))["texts"])
        ```
    """
    return {
        "format": FORMAT,
        "keras": keras.version(),
        "options": plain_options(options),
        "recipe": recipe,
        "texts": _digest(pairs),
        "validation": None if validation is None else _digest(validation),
        "teacher": None if teacher is None else _digest_of_weights(teacher),
    }


def require_same(record: dict[str, Any], text_to_text: TextToText) -> None:
    """Checks that all processes of a training were given the same.

    Args:
        record: What `make_record` returned.
        text_to_text: The `TextToText` to train.

    Raises:
        ValueError: In all of them, if one was given something else than the first.
    """
    parts = {
        side: keras.saving.serialize_keras_object(
            getattr(text_to_text, f"{side}_tokenizer")
        )
        for side in ("source", "target")
    }
    model = _as_json(text_to_text.model.get_config()) | {"name": None}
    told = json.dumps([_as_json(parts), model], sort_keys=True).encode()
    first, *others = gathered((record, hashlib.sha256(told).hexdigest()))
    for number, (other, digest) in enumerate(others, 1):
        changes = changes_of(first[0], other)
        if digest != first[1]:
            changes.append("the tokenizers, or the sizes of the model, are others")
        if changes:
            raise ValueError(
                "Processes share a training of the same texts, options and tokenizers; "
                f"from process 0 to process {number} {'; '.join(changes)}. Give all "
                "of them the same: a vocabulary that is there, in place of one that "
                "each learns."
            )


def _digest(pairs: Any) -> str:
    """That of `json.dumps(pairs)`, which is never there all at once."""
    if isinstance(pairs[0], PairsOfIds) and not pairs[1]:
        return _digest_of_ids(pairs[0])
    if not isinstance(pairs[0], PairsOfIds):
        require_several_texts(sources=pairs[0], targets=pairs[1])
    digest = hashlib.sha256(b"[")
    for side, texts in enumerate(pairs):
        digest.update(b", [" if side else b"[")
        for place, text in enumerate(texts):
            if isinstance(text, bytes):
                text = text.decode("utf-8", "surrogateescape")
            digest.update(b", " * (place > 0) + json.dumps(text).encode())
        digest.update(b"]")
    digest.update(b"]")
    return digest.hexdigest()


def _digest_of_ids(pairs: PairsOfIds) -> str:
    if isinstance(pairs, Corpus | MixedPairs):
        return pairs.digest
    # Of a sequence of somebody's own: to read all of it would take too long.
    return hashlib.sha256(np.ascontiguousarray(pairs.lengths()).data).hexdigest()


def _digest_of_weights(model: KerasModel) -> str:
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(f"{weights.shape} {weights.dtype}".encode())
        digest.update(weights.tobytes())
    return digest.hexdigest()


def changes_of(before: Any, now: Any) -> list[str]:
    """Returns what differs between two records, in words.

    Args:
        before: The one, as `make_record` returned it.
        now: The other.
    """
    changes = []
    for part in ("options", "recipe"):
        # A training in Python knows no recipe, for it is given a model.
        if now[part] is None:
            continue
        if before[part] is None:
            changes.append("it was begun in Python, with a model of its own")
            continue
        # An option that was not there yet had its default: what was done without it.
        known = {**DEFAULTS, **before[part]} if part == "options" else before[part]
        changed = [
            name
            for name in sorted({*known, *now[part]})
            if known.get(name) != now[part].get(name)
            and name not in FREE_OPTIONS
            # A model had no such option yet.
            and (name in known or now[part][name])
        ]
        changes += [
            f"`{name}` was {known.get(name)!r} and is {now[part].get(name)!r}"
            + (_COSINE if name == "epochs" else "")
            for name in changed
            if name != "epochs" or known.get("schedule") == "cosine"
        ]
    # What a record does not tell is not compared.
    changes += [
        f"{words} are others" if name != "teacher" else f"{words} is another"
        for name, words in _DIGESTS.items()
        if name in before and before[name] != now[name]
    ]
    return changes


def other_parts(before: TextToText, now: TextToText) -> list[str]:
    """Returns what differs between two `TextToText`, but for their weights, in words.

    Args:
        before: The one.
        now: The other.
    """
    changes = []
    for side in ("source", "target"):
        old, new = (
            keras.saving.serialize_keras_object(getattr(each, f"{side}_tokenizer"))
            for each in (before, now)
        )
        if _as_json(old) != _as_json(new):
            changes.append(f"the {side} tokenizer is another")
    old, new = (_as_json(each.model.get_config()) for each in (before, now))
    changes += [
        f"the model's {name} was {old.get(name)!r} and is {new.get(name)!r}"
        for name in sorted({*old, *new})
        if name != "name" and old.get(name) != new.get(name)
    ]
    return changes


def _as_json(config: Any) -> Any:
    # Where it was not saved yet, a list may still be a tuple; and Keras numbers what it
    # has loaded anew each time.
    return json.loads(
        json.dumps(config),
        object_hook=lambda x: {k: v for k, v in x.items() if k != "shared_object_id"},
    )
