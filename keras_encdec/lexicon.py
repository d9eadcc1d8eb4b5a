"""Which target tokens translate a source token, learned from pairs of texts.

Legend of shapes: P pairs of a source and a target token, M positions of all targets.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from keras_encdec.generation.shortlist import NONE, Shortlist
from keras_encdec.option_checks import require_number, require_positive
from keras_encdec.text_checks import check_pairs

# Pairs of tokens that are in memory at a time, about 1 GB of arrays.
MOST_LINKS = 20_000_000
# The source "token" of what translates no token.
_NULL = 0


def learn_shortlist(
    sources: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    source_vocabulary_size: int,
    target_vocabulary_size: int,
    *,
    per_token: int = 200,
    of_all: int = 2000,
    least: float = 1e-5,
    iterations: int = 5,
) -> Shortlist:
    """Learns a shortlist from pairs of texts, by IBM's model 1.

    Expectation maximization finds the probability of each target token given a source
    token, where every target token of a pair comes from one of its source tokens, or
    from none. A source token's candidates are its likeliest target tokens.

    Args:
        sources: The source ids of each text, a sequence of integer arrays.
        targets: The target ids of each text, as many.
        source_vocabulary_size: The number of source ids.
        target_vocabulary_size: The number of target ids.
        per_token: The largest number of candidates of a source id.
        of_all: The number of the most frequent target ids, candidates of every row.
        least: The least probability of a candidate, from 0 to 1.
        iterations: The number of passes of expectation maximization.

    Returns:
        A `Shortlist`. Source ids that no text has, have no candidates.

    Raises:
        ValueError: If there are not as many, there are none, or an option is out of
            range.

    Example:
        ```python
        import numpy as np
        from keras_encdec.lexicon import learn_shortlist

        sources = [np.array(ids) for ids in ([1, 2], [1], [2])]
        targets = [np.array(ids) for ids in ([3, 4], [3], [4])]
        shortlist = learn_shortlist(sources, targets, 5, 6, per_token=1, of_all=1)
        print(shortlist.candidates.tolist())
        ```

    Reference:
        Brown et al. 1993, The Mathematics of Statistical Machine Translation, section
        4.1.
    """
    require_positive(per_token=per_token, of_all=of_all, iterations=iterations)
    require_number(0, 1, least=least)
    check_pairs(sources, targets)
    if not len(sources):
        raise ValueError(
            "A shortlist is learned from pairs of texts; received none. Give those "
            "that the model was trained on."
        )
    size = target_vocabulary_size
    known = np.unique(
        np.concatenate([np.unique(x) for x, _ in _parts(sources, targets, size)])
    )
    given = known // size  # The source of each link.
    probabilities = np.ones(len(known))
    for _ in range(iterations):
        counts = np.zeros(len(known))
        for links, places in _parts(sources, targets, size):
            which = np.searchsorted(known, links)
            weights = probabilities[which]
            weights /= np.bincount(places, weights)[places]
            counts += np.bincount(which, weights, len(known))
        probabilities = counts / np.bincount(given, counts)[given]
    return Shortlist(
        _likeliest(
            known, probabilities, source_vocabulary_size, size, per_token, least
        ),
        _most_frequent(targets, size, of_all),
        size,
    )


def _parts(
    sources: Sequence[np.ndarray], targets: Sequence[np.ndarray], size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields links of target tokens to source tokens, and each one's target position.

    A link is an int, (source id + 1) * size + target id, and `_NULL` the source of one
    to none.
    """
    links: list[np.ndarray] = []
    places: list[np.ndarray] = []
    number = first = 0
    for source, target in zip(sources, targets, strict=True):
        given = np.concatenate([[_NULL], np.asarray(source, "int64") + 1])
        target = np.asarray(target, "int64")
        links.append((given[:, None] * size + target).ravel())
        places.append(np.tile(np.arange(first, first + len(target)), len(given)))
        first += len(target)
        number += len(links[-1])
        if number >= MOST_LINKS:
            yield np.concatenate(links), np.concatenate(places)
            links, places, number, first = [], [], 0, 0
    if number:
        yield np.concatenate(links), np.concatenate(places)


def _likeliest(
    links: np.ndarray,
    probabilities: np.ndarray,
    sources: int,
    size: int,
    most: int,
    least: float,
) -> np.ndarray:
    """Returns the likeliest target ids of each source id, `(sources, most)`."""
    kept = (probabilities >= least) & (links >= size)  # Not of none.
    links, probabilities = links[kept], probabilities[kept]
    order = np.lexsort((-probabilities, links // size))
    links = links[order]
    source = links // size - 1
    starts = np.searchsorted(source, np.arange(sources))
    ranks = np.arange(len(links)) - starts[source]
    table = np.full((sources, most), NONE, "int32")
    among = ranks < most
    table[source[among], ranks[among]] = links[among] % size
    return table


def _most_frequent(targets: Iterable[np.ndarray], size: int, number: int) -> np.ndarray:
    counts = np.bincount(np.concatenate([*targets]).astype("int64"), minlength=size)
    order = np.argsort(-counts, kind="stable")[:number]
    return order[counts[order] > 0]
