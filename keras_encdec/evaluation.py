"""How good generated texts are: sacrebleu's scores and error rates in one report."""

import dataclasses
import functools

from keras_encdec.text import (
    character_error_rate,
    sequence_error_rate,
    token_error_rate,
)


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

    @property
    def values(self):
        """The numbers by their names, a dict."""
        values = dataclasses.asdict(self)
        del values["report"]
        return values


def evaluate_texts(
    sources,
    hypotheses,
    references,
    *,
    tokenize="13a",
    lowercase=False,
    tokenizer=None,
):
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

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If the numbers of texts differ, there are none, sacrebleu has no
            such tokenizer, or all references are empty.

    Example:
        ```python
        from keras_encdec.evaluation import evaluate_texts

        hypotheses, references = ["a cat sat down"], ["the cat sat down"]
        for line in evaluate_texts(["x"], hypotheses, references).report:
            print(line)
        ```

    Reference:
        Papineni et al. 2002, BLEU; Popović 2015, chrF; Post 2018, A Call for Clarity
        in Reporting BLEU Scores.
    """
    import sacrebleu

    for texts in (sources, hypotheses, references):
        if isinstance(texts, (str, bytes)):
            raise TypeError(
                f"Texts must be a list of `str`; received {texts!r:.80}. Wrap a single "
                "text in a list: `[text]`."
            )
    if not len(sources) == len(hypotheses) == len(references) > 0:
        raise ValueError(
            "There must be a source, a generated and a true text for each line, and at "
            f"least one line; received {len(sources)}, {len(hypotheses)} and "
            f"{len(references)}. Align them."
        )
    if tokenize not in sacrebleu.BLEU.TOKENIZERS:
        raise ValueError(
            f"sacrebleu's tokenizers are {', '.join(sacrebleu.BLEU.TOKENIZERS)}; "
            f"received {tokenize!r}."
        )
    report, scores = [], []
    for metric in (
        # Forced, for it would warn that the texts look tokenized.
        sacrebleu.BLEU(tokenize=tokenize, lowercase=lowercase, force=True),
        sacrebleu.CHRF(lowercase=lowercase),
    ):
        score = metric.corpus_score(hypotheses, [references])
        scores.append(score.score)
        report.append(score.format(width=2, signature=metric.get_signature().format()))
    first, several = {}, {}
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
    return Evaluation(*scores, *rates, tuple(report))
