"""Other subwords for ids each time they come, and the room that they need."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_encdec.text.interface import Tokenizer, texts_given_back

# Of a few pairs a few draws each tell how much longer ids become.
_PROBED_PAIRS, _PROBED_DRAWS = 1000, 3
_NEVER = 2**32 - 1  # A pass that never comes.
# Room above the mean, in standard deviations. With what others in a batch need 2% of
# the draws of Multi30k are longer still, at 0.1 and 0.5; more would be more padding.
_ROOM = 1.0
# More texts that keep their usual subwords than this share are no exceptions.
_MANY = 0.1


class Draws:
    """Draws other subwords for ids, by numbers alone: the seed, the pass and the pair.

    Args:
        tokenizer: The `Tokenizer` of the ids, with `sample_ids`.
        alpha: How strongly to vary, as in its `sample`.
        seed: A list of ints of at least 0.

    Attributes:
        probed: The numbers of the pairs of which `room` drew.

    Example:
        ```python
        from keras_encdec.text import SentencePieceTokenizer
        from keras_encdec.text.draws import Draws

        texts = ["a cat sat", "a hat sat"]
        tokenizer = SentencePieceTokenizer.train(texts, 14, model_type="bpe")
        draws = Draws(tokenizer, 0.5, seed=[0])
        ids = tokenizer.encode(texts).to_list()
        print(draws(ids, rows=[0, 1], number=0), draws(ids, rows=[0, 1], number=1))
        ```
    """

    def __init__(self, tokenizer: Tokenizer, alpha: float, seed: Sequence[int]) -> None:
        self._tokenizer, self._alpha, self._seed = tokenizer, alpha, seed
        self.probed = np.array([], "int64")

    def __call__(self, ids: Sequence[Any], rows: Any, number: int) -> list[list[int]]:
        """Returns other ids for some pairs.

        Args:
            ids: Their ids, whole.
            rows: The numbers of the pairs.
            number: That of the pass.
        """
        seeds = [
            int(np.random.SeedSequence([*self._seed, number, row]).generate_state(1)[0])
            for row in map(int, rows)
        ]
        return self._tokenizer.sample_ids(ids, alpha=self._alpha, seeds=seeds)

    def room(self, ids: Callable[[Any], Sequence[Any]], lengths: Any) -> np.ndarray:
        """Returns how much room to give ids in batches, and notes draws for `growth`.

        A draw is longer by a share of the ids, and varies by the root of their number:
        both are measured on some pairs. Where draws are the usual ids there is no more
        room than these need.

        Args:
            ids: A function from numbers of pairs to their ids.
            lengths: The numbers of ids of all pairs, `(N,)`.

        Returns:
            The room of each pair, int32 `(N,)`.

        Raises:
            ValueError: If none of those pairs has other subwords, for the tokenizer
                does not give their ids again.
        """
        last = len(lengths) - 1
        self.probed = np.unique(np.linspace(0, last, _PROBED_PAIRS).astype("int64"))
        usual = [*ids(self.probed)]
        self._usual = np.array([*map(len, usual)])
        drawn = [
            [*map(len, self(usual, self.probed, _NEVER - draw))]
            for draw in range(_PROBED_DRAWS)
        ]
        self._check_draws(usual)
        self._drawn = np.array(drawn)
        around = len(self._tokenizer.prefix_ids) + len(self._tokenizer.suffix_ids)
        bare, more = self._usual - around, self._drawn - self._usual
        total = max(1, _PROBED_DRAWS * int(bare.sum()))
        mean = more.sum() / total
        deviation = np.sqrt(((more - mean * bare) ** 2).sum() / total)
        # By length, of which there are few.
        kinds = np.arange(int(lengths.max()) + 1)
        bare = np.maximum(kinds - around, 0)
        above = np.ceil(mean * bare + _ROOM * deviation * np.sqrt(bare))
        return (kinds + np.maximum(above, 0)).astype("int32")[lengths]

    def _check_draws(self, rows: Sequence[Any]) -> None:
        if type(self._tokenizer).sample_ids is not Tokenizer.sample_ids:
            return
        rows = [list(map(int, row)) for row in rows]
        number = texts_given_back(self._tokenizer, rows).count(None)
        words = (
            "Other subwords are drawn for ids that `encode` gives again of the text "
            f"that `decode` makes of them; received {type(self._tokenizer).__name__}, "
            f"which does not for {number:,} of {len(rows):,} texts: they keep their "
            "usual ones. Define its `sample_ids`, or leave out the sampling."
        )
        if number == len(rows):
            raise ValueError(words)
        if number > _MANY * len(rows):
            warnings.warn(words, stacklevel=2)

    def growth(self, room: Any, whole: int) -> float:
        """Returns how many tokens there are on average in place of a usual one.

        Args:
            room: The room in batches for the pairs `probed`.
            whole: The length to which ids are cut.
        """
        usual, drawn = (np.minimum(x, whole) for x in (self._usual, self._drawn))
        kept = np.where(drawn <= room, drawn, usual)
        return float(kept.sum() / max(1, len(drawn) * usual.sum()))
