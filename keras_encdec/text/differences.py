"""Generated texts beside the true ones: which are the worst, and what differs."""

import difflib
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_encdec.text.error_rates import edit_distances
from keras_encdec.text.interface import require_several_texts


class WrongText(NamedTuple):
    """A generated text that is none of the true ones of its source.

    Example:
        ```python
        from keras_encdec.text import WrongText

        print(WrongText(place=1, error_rate=0.5, reference="two"))
        ```
    """

    place: int  # In the list, from 0.
    error_rate: float  # Edits, of the characters of the reference.
    reference: str  # The nearest.


def worst_texts(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    number: int,
) -> list[WrongText]:
    """Returns which generated texts are the furthest from the true ones.

    Equal sources are one with several references: the nearest counts, and its text is
    told once.

    Args:
        sources: The source texts, a list of `str`.
        hypotheses: The generated texts, as many.
        references: The true texts, as many.
        number: How many to return at most; what is right is left out.

    Returns:
        A list of `WrongText`, the worst first: by the edits of characters, of the
        characters of the reference.

    Raises:
        TypeError: If any of them is a single text.
        ValueError: If they are not as many.

    Example:
        ```python
        from keras_encdec.text import worst_texts

        hypotheses, references = ["one", "owt", "x"], ["one", "two", "xyz"]
        for wrong in worst_texts(["1", "2", "3"], hypotheses, references, 1):
            print(wrong)
        ```
    """
    require_several_texts(sources=sources, hypotheses=hypotheses, references=references)
    if not len(sources) == len(hypotheses) == len(references):
        raise ValueError(
            f"There must be one of each; received {len(sources)} sources, "
            f"{len(hypotheses)} hypotheses and {len(references)} references. Align "
            "them."
        )
    true = defaultdict(list)
    for source, reference in zip(sources, references, strict=True):
        true[source].append(reference)
    first = {source: place for place, source in reversed([*enumerate(sources)])}
    pairs = [
        (place, hypotheses[place], reference)
        for source, place in first.items()
        if hypotheses[place] not in true[source]
        for reference in dict.fromkeys(true[source])
    ]
    if not pairs:
        return []
    edits = edit_distances([(hypothesis, true) for _, hypothesis, true in pairs])
    rates = edits / np.array([max(len(reference), 1) for *_, reference in pairs])
    nearest: dict[int, WrongText] = {}
    for (place, _, reference), rate in zip(pairs, rates, strict=True):
        if place not in nearest or rate < nearest[place].error_rate:
            nearest[place] = WrongText(place, float(rate), reference)
    return sorted(nearest.values(), key=lambda x: (-x.error_rate, x.place))[:number]


def marked_differences(hypothesis: str, reference: str) -> str:
    """Returns a text with what differs from another marked, as `git --word-diff` does.

    Args:
        hypothesis: A text.
        reference: The text that it should be. Words are compared where it has several,
            else characters.

    Returns:
        A `str`: what is too much as `{+so+}`, what is missing as `[-so-]`.

    Example:
        ```python
        from keras_encdec.text import marked_differences

        print(marked_differences("a red dog", "a big red cat"))
        # a[- big-] red [-cat-]{+dog+}
        ```
    """
    marks = {"same": "{}", "missing": "[-{}-]", "added": "{{+{}+}}"}
    return "".join(
        marks[kind].format(part)
        for kind, part in text_differences(hypothesis, reference)
    )


def text_differences(hypothesis: str, reference: str) -> list[tuple[str, str]]:
    """Returns the parts of a text and of another, what they share once.

    Args:
        hypothesis: A text.
        reference: The text that it should be. Words are compared where it has several,
            else characters.

    Returns:
        A list of pairs `(kind, part)` in order: `"same"`, `"missing"` in the
        hypothesis, or `"added"` there.

    Example:
        ```python
        from keras_encdec.text import text_differences

        print(text_differences("a dog", "a cat"))
        # [('same', 'a '), ('missing', 'cat'), ('added', 'dog')]
        ```
    """
    pattern = r"\s+|\S+" if re.search(r"\S\s+\S", reference) else r"(?s:.)"
    true, generated = (re.findall(pattern, text) for text in (reference, hypothesis))
    found = difflib.SequenceMatcher(None, true, generated, autojunk=False)
    parts = []
    for kind, i, j, k, m in found.get_opcodes():
        missing, added = "".join(true[i:j]), "".join(generated[k:m])
        if kind == "equal":
            parts.append(("same", missing))
            continue
        parts += [("missing", missing)] if missing else []
        parts += [("added", added)] if added else []
    return parts
