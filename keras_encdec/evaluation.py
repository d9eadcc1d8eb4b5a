"""How good generated texts are: sacrebleu's scores and error rates in one report."""

import dataclasses
import functools
from collections.abc import Sequence

from keras_encdec.option_checks import require_one_of
from keras_encdec.reliability import area_under_curve
from keras_encdec.text import (
    Tokenizer,
    character_error_rate,
    sequence_error_rate,
    token_error_rate,
)
from keras_encdec.text.interface import require_several_texts


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores of generated texts.

    Args:
        bleu: BLEU in percent.
        chrf: chrF2 in percent.
        token_error_rate: The share of tokens that are wrong, which are words unless a
            tokenizer is given.
        character_error_rate: The share of characters that are wrong.
        sequence_error_rate: The share of texts that are wrong.
        report: The lines to print, BLEU and chrF just as sacrebleu prints them, with
            the signatures that others need to compute the same.
        area_under_curve: How often a right text has a higher confidence than a wrong
            one, the area under the ROC curve; None without confidences, or where all
            are right or all wrong.

    Example:
        ```python
        from keras_encdec.evaluation import Evaluation

        print(Evaluation(41.02, 62.5, 0.4, 0.3, 0.9, ("BLEU = 41.02",)).bleu)
        ```
    """

    bleu: float
    chrf: float
    token_error_rate: float
    character_error_rate: float
    sequence_error_rate: float
    report: tuple[str, ...]
    area_under_curve: float | None = None

    @property
    def values(self) -> dict[str, float]:
        """The numbers by their names, a dict."""
        values = dataclasses.asdict(self)
        del values["report"]
        return {name: value for name, value in values.items() if value is not None}


def check_evaluation(
    sources: Sequence[str],
    references: Sequence[str],
    hypotheses: Sequence[str] | None = None,
    *,
    tokenize: str = "13a",
) -> None:
    """Refuses what cannot be scored, before the work of generating texts for it.

    Args:
        sources: As in `evaluate_texts`.
        references: As in `evaluate_texts`.
        hypotheses: As in `evaluate_texts`, or None if there are none yet.
        tokenize: As in `evaluate_texts`.

    Raises:
        TypeError: If any of them is a single text.
        ValueError: As in `evaluate_texts`.

    Example:
        ```python
        from keras_encdec.evaluation import check_evaluation

        check_evaluation(["one", "two"], ["eins", "zwei"], tokenize="intl")
        ```
    """
    from sacrebleu import BLEU

    given = {"sources": sources, "references": references}
    if hypotheses is not None:
        given["hypotheses"] = hypotheses
    require_several_texts(**given)
    numbers = {name: len(texts) for name, texts in given.items()}
    if len({*numbers.values()}) > 1 or not len(sources):
        raise ValueError(
            "There must be one of each for every line, and at least one line; received "
            f"{', '.join(f'{number} {name}' for name, number in numbers.items())}. "
            "Align them."
        )
    if not any(text.strip() for text in references):
        raise ValueError(
            "Errors are a share of the true texts, of which one must not be empty; "
            f"received {len(references)} references, all empty. Check them."
        )
    require_one_of(tuple(BLEU.TOKENIZERS), tokenize=tokenize)


def evaluate_texts(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
    tokenizer: Tokenizer | None = None,
    confidences: Sequence[float] | None = None,
) -> Evaluation:
    """Scores generated texts against the true ones.

    BLEU and chrF compare line by line. In the error rates, equal sources are one with
    several references, of which any is right: words with several pronunciations.

    Args:
        sources: The source texts, a list of `str`.
        hypotheses: The generated texts, as many.
        references: The true texts, as many.
        tokenize: sacrebleu's tokenizer for BLEU, such as `"13a"`, `"intl"`, `"char"`,
            `"zh"`, or `"none"` for texts that are tokenized already.
        lowercase: Whether BLEU and chrF ignore case.
        tokenizer: The `Tokenizer` whose tokens the token error rate counts; None counts
            what whitespace separates, words or phonemes.
        confidences: How sure the model is of each hypothesis, as many numbers, such as
            `Confidence.mean_probability`: where some texts are right and some wrong, it
            is told how well they find the wrong ones.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If the numbers of texts differ, there are none, sacrebleu has no
            such tokenizer, all references are empty, or a confidence is nan.

    Example:
        ```python
        from keras_encdec.evaluation import evaluate_texts

        hypotheses, references = ["a cat sat down"], ["the cat sat down"]
        for line in evaluate_texts(["x"], hypotheses, references).report:
            print(line)
        ```

    Reference:
        Papineni et al. 2002, BLEU; Popović 2015, chrF; Post 2018, A Call for Clarity
        in Reporting BLEU Scores; of the curve as in `area_under_curve`.
    """
    import sacrebleu

    check_evaluation(sources, references, hypotheses, tokenize=tokenize)
    _check_confidences(confidences, len(sources))
    report, scores = [], []
    for metric in (
        # Forced, for it would warn that the texts look tokenized.
        sacrebleu.BLEU(tokenize=tokenize, lowercase=lowercase, force=True),
        sacrebleu.CHRF(lowercase=lowercase),
    ):
        score = metric.corpus_score(hypotheses, [references])
        scores.append(score.score)
        report.append(score.format(width=2, signature=metric.get_signature().format()))
    first: dict[str, str] = {}
    several: dict[str, list[str]] = {}
    for source, hypothesis, reference in zip(
        sources, hypotheses, references, strict=True
    ):
        first.setdefault(source, hypothesis)
        several.setdefault(source, []).append(reference)
    rates = []
    for name, rate in (
        ("token error rate", functools.partial(token_error_rate, tokenizer=tokenizer)),
        ("character error rate", character_error_rate),
        ("sequence error rate", sequence_error_rate),
    ):
        rates.append(rate(list(first.values()), list(several.values())))
        report.append(f"{name} = {100 * rates[-1]:.2f}% of {len(first):,} texts")
    area = None
    if confidences is not None:
        sure = dict(zip(reversed(sources), reversed(confidences), strict=True))
        # As in the sequence error rate, words are compared.
        right = [
            first[source].split() in [true.split() for true in several[source]]
            for source in first
        ]
        if True in right and False in right:
            area = area_under_curve([sure[source] for source in first], right)
        report.append(_words_of_curve(area, right))
    return Evaluation(*scores, *rates, tuple(report), area)  # type: ignore[call-arg]


def _check_confidences(confidences: Sequence[float] | None, number: int) -> None:
    if confidences is None:
        return
    if len(confidences) != number or any(x != x for x in confidences):
        raise ValueError(
            "There must be a number for each text, and none that is nan; received "
            f"{len(confidences)} for {number} texts: {confidences!r:.80}. Align them."
        )


def _words_of_curve(area: float | None, right: Sequence[bool]) -> str:
    wrong = f"{right.count(False):,} wrong of {len(right):,} texts"
    if area is None:
        return f"confidence finds errors where some are right and some not; {wrong}"
    return f"confidence finds errors: area under the ROC curve = {area:.3f}, {wrong}"
