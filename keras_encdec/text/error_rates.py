"""Error rates of texts: how far hypotheses are from their references."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from keras_encdec.annotations import Tensor
from keras_encdec.backend import lazy_tensorflow
from keras_encdec.text.interface import Tokenizer

tf = lazy_tensorflow()

# A text, or its tokens.
Row: TypeAlias = str | Sequence[Hashable] | np.ndarray
_Tokens: TypeAlias = tuple[Hashable, ...]
_Rows: TypeAlias = list[tuple[_Tokens, list[_Tokens]]]


def token_error_rate(
    hypotheses: Sequence[Row],
    references: Sequence[Row | Sequence[Row]],
    *,
    tokenizer: Tokenizer | None = None,
) -> float:
    """Returns the edits from hypotheses to references, as a share of the references.

    The edits are the insertions, deletions and substitutions of tokens (Levenshtein
    distance), summed over the rows and divided by the number of reference tokens.
    On words this is the word error rate, on phonemes the phoneme error rate. It may
    exceed 1.

    Source: Levenshtein 1966, "Binary codes capable of correcting deletions,
    insertions, and reversals".

    Args:
        hypotheses: One hypothesis a row: a `str`, split into tokens, or a sequence of
            tokens, such as ids.
        references: One reference a row, given likewise; or a list of several, of
            which the nearest counts, and of equally near ones the longest. Tokens
            must not be sequences themselves.
        tokenizer: The `Tokenizer` that splits a `str`; None splits on whitespace.

    Returns:
        The rate, a `float` of at least 0.

    Raises:
        TypeError: If `hypotheses` or `references` is a single string.
        ValueError: If their numbers differ, there are none, a row has no reference,
            or all references are empty.

    Example:
        ```python
        from keras_encdec.text import token_error_rate

        print(token_error_rate(["a b c"], ["a x c d"]))  # 0.5
        print(token_error_rate(["a b"], [["a c", "a b"]]))  # 0.0
        ```
    """
    split = _split_words if tokenizer is None else tokenizer.split
    return _edits(_rows(hypotheses, references, split), "token")


def character_error_rate(
    hypotheses: Sequence[str], references: Sequence[str | Sequence[str]]
) -> float:
    """Returns the edits of characters, as a share of the characters of references.

    As `token_error_rate`, of Unicode code points, spaces included.

    Args:
        hypotheses: One hypothesis a row, a `str`.
        references: One reference a row, a `str`; or a list of several, of which the
            nearest counts.

    Returns:
        The rate, a `float` of at least 0.

    Raises:
        TypeError: If `hypotheses` or `references` is a single string.
        ValueError: If their numbers differ, there are none, a row has no reference,
            or all references are empty.

    Example:
        ```python
        from keras_encdec.text import character_error_rate

        print(character_error_rate(["abcd"], ["abxd"]))  # 0.25
        ```
    """
    # A text is a sequence of characters.
    return _edits(_rows(hypotheses, references, list), "character")


def _edits(rows: _Rows, what: str) -> float:
    edits = edit_distances(
        [
            (hypothesis, reference)
            for hypothesis, several in rows
            for reference in several
        ]
    )
    total_edits = total_tokens = first = 0
    for _, several in rows:
        nearest, length = min(
            zip(edits[first:], (-len(reference) for reference in several), strict=False)
        )
        total_edits += int(nearest)
        total_tokens -= length
        first += len(several)
    if total_tokens == 0:
        raise ValueError(
            f"A {what} error rate needs reference {what}s to divide by; received "
            f"{len(rows)} references, all empty. Check them, or use "
            "`sequence_error_rate`."
        )
    return total_edits / total_tokens


def edit_distances(
    pairs: Sequence[tuple[Sequence[Hashable], Sequence[Hashable]]],
) -> np.ndarray:
    """Returns the edits from one row of tokens to the other, of each of some pairs.

    Args:
        pairs: Pairs of rows of tokens, at least one.

    Returns:
        The Levenshtein distances, `(P,)`, float32.

    Example:
        ```python
        from keras_encdec.text.error_rates import edit_distances

        print(edit_distances([("abc", "axc"), ("abc", "")]))  # [1. 3.]
        ```
    """
    table: dict[Hashable, int] = {}
    numbered = (
        ([table.setdefault(token, len(table)) for token in tokens] for tokens in pair)
        for pair in pairs
    )
    left, right = zip(*numbered, strict=True)
    return tf.edit_distance(_sparse(left), _sparse(right), normalize=False).numpy()


def sequence_error_rate(
    hypotheses: Sequence[Row], references: Sequence[Row | Sequence[Row]]
) -> float:
    """Returns the share of rows whose hypothesis is none of its references.

    On grapheme-to-phoneme conversion, with one word a row, this is what is called
    the word error rate.

    Args:
        hypotheses: One hypothesis a row: a `str`, split on whitespace, or a sequence
            of tokens, such as ids.
        references: One reference a row, given likewise; or a list of several.

    Returns:
        The rate, a `float` between 0 and 1.

    Raises:
        TypeError: If `hypotheses` or `references` is a single string.
        ValueError: If their numbers differ, there are none, or a row has no
            reference.

    Example:
        ```python
        from keras_encdec.text import sequence_error_rate

        print(sequence_error_rate(["a b", "c"], ["a b", ["d", "e"]]))  # 0.5
        ```
    """
    rows = _rows(hypotheses, references, _split_words)
    return sum(hypothesis not in several for hypothesis, several in rows) / len(rows)


def _rows(
    hypotheses: Sequence[Row],
    references: Sequence[Any],
    split: Callable[[list[str]], Iterable[Iterable[Hashable]]],
) -> _Rows:
    """Returns a list of (hypothesis, its references), tuples of tokens all."""
    for name, texts in (("hypotheses", hypotheses), ("references", references)):
        if isinstance(texts, str):
            raise TypeError(
                f"`{name}` must be a list, one item a row; received the single string "
                f"{texts!r:.80}. Wrap it in a list."
            )
    if len(hypotheses) != len(references):
        raise ValueError(
            "There must be as many references as hypotheses; received "
            f"{len(hypotheses)} hypotheses and {len(references)} references. Give a "
            "row with several references as a list of them."
        )
    if len(hypotheses) == 0:
        raise ValueError(
            "An error rate needs at least one row; received 0 hypotheses and 0 "
            "references. Check the data they come from."
        )
    rows = []
    for index, (hypothesis, reference) in enumerate(
        zip(hypotheses, references, strict=True)
    ):
        several = reference if _is_several(hypothesis, reference) else [reference]
        if len(several) == 0:
            raise ValueError(
                f"Each row must have a reference; row {index} has none. Leave the row "
                "out, or give the empty string as its reference."
            )
        rows.append((hypothesis, several))
    words = {
        text for row in rows for text in (row[0], *row[1]) if isinstance(text, str)
    }
    tokens = dict(zip(words, split([*words]), strict=True))

    def tokens_of(row: Row) -> _Tokens:
        return tuple(tokens[row] if isinstance(row, str) else row)

    return [
        (tokens_of(hypothesis), [tokens_of(each) for each in several])
        for hypothesis, several in rows
    ]


def _is_several(hypothesis: Row, reference: Any) -> bool:
    if isinstance(reference, str):
        return False
    # Beside a string, a list holds strings; beside tokens, it may be tokens itself.
    return isinstance(hypothesis, str) or any(
        isinstance(each, (list, tuple, np.ndarray)) for each in reference
    )


def _split_words(texts: list[str]) -> list[list[str]]:
    return [text.split() for text in texts]


def _sparse(rows: Sequence[Sequence[int]]) -> Tensor:
    values = [token for row in rows for token in row]
    lengths = [len(row) for row in rows]
    return tf.RaggedTensor.from_row_lengths(
        tf.constant(values, tf.int64), lengths
    ).to_sparse()
