"""N-best lists in the order of several models together, and how much each counts.

Legend of shapes: N sources, C candidates of a source, F scores of a candidate.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from keras_encdec.confidence import score_tokens
from keras_encdec.option_checks import require_one_of, require_positive
from keras_encdec.protocol import facts_of
from keras_encdec.text.interface import require_several_texts
from keras_encdec.text_to_text import TextToText

# From sources and as many targets to a number for each pair, larger being better.
Scorer: TypeAlias = Callable[[list[str], list[str]], Sequence[float] | np.ndarray]
# Pairs of a text and its score, the best first.
NBest: TypeAlias = Sequence[tuple[str, float]]

METRICS = "bleu", "chrf"


@dataclasses.dataclass(frozen=True)
class ModelScorer:
    """Scores pairs by the mean log-probability that a model gives to a token.

    Args:
        text_to_text: A `TextToText`.
        reverse: Whether it is a model of the other direction, which is asked how likely
            the source is, given the target.
        batch_size: The number of pairs scored at once.

    Call arguments:
        sources: The source texts, a list of `str`.
        targets: The target texts, as many.

    Returns:
        `(N,)`, float64, in nats; -inf for a text longer than the model's positions.

    Raises:
        FloatingPointError: If the model's logits are nan or infinite.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, ModelScorer, build

        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
        german_to_english = build(ByteTokenizer(), ByteTokenizer(), **small)
        print(ModelScorer(german_to_english, reverse=True)(["one"], ["eins"]))
        ```
    """

    text_to_text: TextToText
    reverse: bool = False
    batch_size: int = 64

    def __call__(self, sources: Sequence[str], targets: Sequence[str]) -> np.ndarray:
        """Returns the scores."""
        given = (targets, sources) if self.reverse else (sources, targets)
        facts = facts_of(self.text_to_text.model)
        fits = np.ones(len(sources), bool)
        for side, texts, most in zip(
            ("source", "target"),
            given,
            (facts.max_source_length, facts.max_length),
            strict=True,
        ):
            if most is not None and len(texts):
                tokenizer = getattr(self.text_to_text, f"{side}_tokenizer")
                rows = tokenizer([*texts]).to_list()
                fits &= np.array([len(row) <= most for row in rows])
        left, right = ([*itertools.compress(texts, fits)] for texts in given)
        scores = np.full(len(sources), -np.inf)
        found = score_tokens(self.text_to_text, left, right, batch_size=self.batch_size)
        scores[fits] = [x.mean(dtype="float64") if x.size else 0.0 for x in found]
        return scores


def rescore(
    sources: Sequence[str],
    candidates: Sequence[NBest],
    scorers: Sequence[Scorer | TextToText],
    weights: Sequence[float],
) -> list[list[tuple[str, float]]]:
    """Returns n-best lists in the order of what several models say together.

    Args:
        sources: The source texts, a list of `str`.
        candidates: For each the pairs `(text, score)` that a `TextToText` gives with
            `num_return_sequences` and `return_scores`. One of a score of -inf, which
            stands where there are fewer, stays behind all others.
        scorers: What else scores them: a `ModelScorer`, a `TextToText`, which is one of
            the same direction, or a function of a list of sources and as many targets
            that returns a number for each pair, larger being better.
        weights: How much each score counts, numbers of at least 0: that which a
            candidate came with first, then those of the scorers in their order.

    Returns:
        For each source a list of pairs `(text, score)`, the best first, the scores
        being the weighted sums; those of equal ones in the order that they had.

    Raises:
        TypeError: If sources are a single text, or candidates have no scores.
        ValueError: If there is not a list for each source, one has no candidate, the
            weights are not as many, or a scorer gives what is no number.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, ModelScorer, build, rescore

        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
        first, back = (
            build(ByteTokenizer(), ByteTokenizer(), max_length=4, seed=seed, **small)
            for seed in (1, 2)
        )
        sources, beams = ["one", "two"], first.with_sampler("beam")
        lists = beams(sources, num_return_sequences=4, return_scores=True)
        print(rescore(sources, lists, [ModelScorer(back, reverse=True)], [1, 0.5]))
        ```

    Reference:
        Yee et al. 2019, Simple and Effective Noisy Channel Modeling for Neural Machine
        Translation, section 3.
    """
    _check(sources, candidates)
    valid = _checked_weights(weights, len(scorers))
    features = _features(sources, candidates, scorers, valid[1:] > 0)
    ranked = []
    for some, scores in zip(candidates, features, strict=True):
        sums = _weighted(scores, valid)
        order = np.argsort(-sums, kind="stable")
        ranked.append([(some[place][0], float(sums[place])) for place in order])
    return ranked


class TunedWeights(NamedTuple):
    """What `tune_rescoring` returns.

    Example:
        ```python
        from keras_encdec.rescoring import TunedWeights

        print(TunedWeights((0.7, 0.3), score=31.2, score_before=30.5).weights)
        ```
    """

    weights: tuple[float, ...]  # F, whose sum is 1
    score: float  # In percent, of the best candidates by them
    score_before: float  # Likewise, by the first score alone


def tune_rescoring(
    sources: Sequence[str],
    candidates: Sequence[NBest],
    references: Sequence[str],
    scorers: Sequence[Scorer | TextToText],
    *,
    metric: str = "bleu",
    tokenize: str = "13a",
    trials: int = 200,
    seed: int = 0,
) -> TunedWeights:
    """Returns the weights of `rescore` whose best candidates are nearest to true texts.

    A random search, which begins with the first score alone and looks nearer and nearer
    to the best weights so far. On these texts the score is never below that of the
    start; others tell what it is worth.

    Args:
        sources: The source texts of a validation set, a list of `str`.
        candidates: As in `rescore`.
        references: The true texts, as many as sources.
        scorers: As in `rescore`.
        metric: `"bleu"` or `"chrf"`, of sacrebleu.
        tokenize: sacrebleu's tokenizer for BLEU.
        trials: How many weights to try.
        seed: The seed of what is tried: the same gives the same weights.

    Returns:
        The `TunedWeights`: `weights`, `score` and `score_before`.

    Raises:
        TypeError: As in `rescore`.
        ValueError: As in `rescore`; or if there are no texts, not as many references,
            or an option is out of its range.

    Example:
        ```python
        from keras_encdec import tune_rescoring

        lists = [[("a cat", -1.0), ("the cat", -1.5)], [("a dog", -1.0)]]
        longest = lambda sources, targets: [len(target) for target in targets]
        print(tune_rescoring(["1", "2"], lists, ["the cat", "a dog"], [longest]))
        ```

    Reference:
        Och 2003, Minimum Error Rate Training in Statistical Machine Translation, whose
        objective it is; Bergstra and Bengio 2012, Random Search for Hyper-Parameter
        Optimization.
    """
    import sacrebleu

    _check(sources, candidates)
    require_several_texts(references=references)
    require_one_of(METRICS, metric=metric)
    require_one_of(tuple(sacrebleu.BLEU.TOKENIZERS), tokenize=tokenize)
    require_positive(trials=trials)
    if len(references) != len(sources) or not len(sources):
        raise ValueError(
            "Weights are tuned on a true text for each source, at least one; received "
            f"{len(sources)} sources and {len(references)} references. Align them."
        )
    true: Any = [list(references)]
    judge = (
        # Forced, for it would warn that the texts look tokenized.
        sacrebleu.BLEU(tokenize=tokenize, force=True, references=true)
        if metric == "bleu"
        else sacrebleu.CHRF(references=true)
    )
    features = _features(sources, candidates, scorers, np.ones(len(scorers), bool))
    known: dict[bytes, float] = {}

    def score_of(weights: np.ndarray) -> float:
        choice = np.array([_weighted(each, weights).argmax() for each in features])
        key = choice.tobytes()
        if key not in known:
            texts = [x[i][0] for x, i in zip(candidates, choice, strict=True)]
            known[key] = float(judge.corpus_score(texts, None).score)
        return known[key]

    # Steps are of what scores differ by, for they are of different sizes.
    spreads = _spreads(features)
    best = np.eye(1 + len(scorers))[0]
    before = highest = score_of(best)
    random = np.random.default_rng(seed)
    for trial in range(trials):
        reach = 2.0 ** (1 - 8 * trial / trials)
        steps = random.normal(size=best.shape) * reach
        lengths = np.maximum(best * spreads / (best @ spreads) + steps, 0)
        if not lengths.any():
            continue
        tried = lengths / spreads
        tried = tried / tried.sum()
        if (found := score_of(tried)) > highest:
            best, highest = tried, found
    return TunedWeights(tuple(map(float, best)), highest, before)


def _check(sources: Sequence[str], candidates: Sequence[NBest]) -> None:
    require_several_texts(sources=sources)
    if len(sources) != len(candidates) or not all(map(len, candidates)):
        numbers = sorted({*map(len, candidates)})
        raise ValueError(
            "Each source needs a list of at least one candidate; received "
            f"{len(sources)} sources, and {len(candidates)} lists of {numbers!s:.80} "
            "candidates. Align them."
        )
    for some in candidates:
        for each in some:
            if isinstance(each, str | bytes) or len(each) != 2:
                raise TypeError(
                    "Candidates are pairs (text, score); received "
                    f"{each!r:.80}. Generate them with return_scores=True."
                )


def _checked_weights(weights: Sequence[float], number: int) -> np.ndarray:
    found = np.asarray(weights, "float64")
    valid = found.shape == (1 + number,) and bool(
        np.all(np.isfinite(found) & (found >= 0))
    )
    if not valid or not found.any():
        raise ValueError(
            "Scores count by numbers of at least 0, one of them by more: first that of "
            f"the candidates, then of each scorer; received {weights!r:.200} for "
            f"{number} scorers. Give {1 + number}."
        )
    return found


def _features(
    sources: Sequence[str],
    candidates: Sequence[NBest],
    scorers: Sequence[Scorer | TextToText],
    used: np.ndarray,
) -> list[np.ndarray]:
    """Returns the scores of the candidates of each source, `(C, F)`; unused ones are 0.

    What a candidate came with is the first.
    """
    pairs = [
        (source, text)
        for source, some in zip(sources, candidates, strict=True)
        for text, _ in some
    ]
    columns = [np.array([score for some in candidates for _, score in some], "float64")]
    _require_scores(columns[0], len(pairs), "the candidates")
    # Where there are fewer candidates than asked for, nothing is to be scored.
    real = np.flatnonzero(columns[0] > -np.inf)
    asked = [pairs[i][0] for i in real], [pairs[i][1] for i in real]
    for number, scorer in enumerate(scorers):
        column = np.zeros(len(pairs))
        if used[number] and len(real):
            function = ModelScorer(scorer) if isinstance(scorer, TextToText) else scorer
            found = np.asarray(function(*asked), "float64")
            _require_scores(found, len(real), f"scorers[{number}]")
            column[real] = found
        columns.append(column)
    rows = iter(np.stack(columns, axis=1))
    return [np.array([next(rows) for _ in some]) for some in candidates]


def _require_scores(found: np.ndarray, number: int, what: str) -> None:
    if found.shape != (number,) or np.isnan(found).any() or (found == np.inf).any():
        raise ValueError(
            f"Each of {number} candidates needs a number as its score, or -inf; "
            f"received {found!s:.80} of {what}. Mend what gives it."
        )


def _weighted(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the weighted sums of scores `(C, F)`, a float64 array `(C,)`."""
    total = np.zeros(len(features))
    # In turn, so that rounding is the same everywhere; 0 times -inf were nan.
    for place in np.flatnonzero(weights):
        total = total + weights[place] * features[:, place]
    return np.where(features[:, 0] > -np.inf, total, -np.inf)


def _spreads(features: Sequence[np.ndarray]) -> np.ndarray:
    """Returns how far each score lies from its mean among the same source's, `(F,)`."""
    squares, number = np.zeros(features[0].shape[1]), 0
    for each in features:
        finite = each[np.isfinite(each).all(axis=1)]
        if len(finite):
            squares += ((finite - finite.mean(axis=0)) ** 2).sum(axis=0)
            number += len(finite)
    spreads = np.sqrt(squares / max(number, 1))
    return np.where(spreads > 0, spreads, 1.0)
