"""The commands that use a trained model: evaluate, generate."""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from keras_encdec.cli.answers import (
    add_resume,
    answering_models,
    checked_ids,
    progress_of,
    write_answers,
)
from keras_encdec.cli.arguments import (
    Commands,
    add_command,
    add_pairs,
    add_saved,
    file_of_texts,
    new_file_place,
    positive,
    read_some_pairs,
)
from keras_encdec.cli.models import add_languages
from keras_encdec.cli.partial_output import (
    as_line,
    written_lines,
)
from keras_encdec.cli.rescoring_file import Rescoring, add_rescoring
from keras_encdec.cli.search import add_search
from keras_encdec.cli.use_checks import check_evaluate, check_generate
from keras_encdec.files import new_file

if TYPE_CHECKING:
    from keras_encdec.text_to_text import TextToText


def add_commands(commands: Commands) -> None:
    """Adds these commands to a parser."""
    added = add_command(
        commands,
        evaluate,
        "score generated texts against true ones",
        "runs/en-de --source test.en --target test.de --beams 5",
        "runs/words --source test.tsv --output generated.txt",
        "runs/a runs/b --weights 2 1 --source test.tsv",
        check=check_evaluate,
    )
    add_saved(added)
    add_languages(added)
    add_pairs(added)
    added.add_argument(
        "--output",
        type=new_file_place,
        help="file for the generated texts, a line each; none if not given",
    )
    added.add_argument(
        "--errors",
        type=positive,
        metavar="NUMBER",
        help="print so many of the worst texts, with what differs; none if not given",
    )
    added.add_argument(
        "--confidence",
        action="store_true",
        help="tell how well the probabilities of the texts find the wrong ones, and "
        "those of the texts of --errors; the command calibrate sets them right",
    )
    added.add_argument(
        "--bleu-tokenize",
        dest="tokenize",
        type=_bleu_tokenizer,
        default="13a",
        help="sacrebleu's tokenizer; none for texts that are tokenized already",
    )
    added.add_argument(
        "--lowercase", action="store_true", help="BLEU and chrF ignore case"
    )
    add_rescoring(added)
    add_search(added)

    added = add_command(
        commands,
        generate,
        "generate a text for each line",
        "runs/en-de --beams 5 < test.en",
        "runs/en-de --source test.en --output test.de --n-best 4 --beams 5",
        "runs/en-de --source test.en --sampler mbr --samples 64",
        check=check_generate,
    )
    add_saved(added)
    add_languages(added)
    added.add_argument(
        "--source",
        type=file_of_texts,
        default="-",
        help="file of texts, a line each, or of source<tab>target; .gz too; - for "
        "standard input",
    )
    added.add_argument(
        "--output",
        type=new_file_place,
        default="-",
        help="file to write, - for standard output",
    )
    added.add_argument(
        "--n-best", type=positive, default=1, help="texts for each line, with scores"
    )
    add_rescoring(added)
    add_resume(added)
    add_search(added)


def _bleu_tokenizer(name: str) -> str:
    from sacrebleu import BLEU

    if name not in BLEU.TOKENIZERS:
        raise argparse.ArgumentTypeError(
            f"must be one of {', '.join(BLEU.TOKENIZERS)}; received {name!r}"
        )
    return name


def evaluate(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    modules: Iterable[str],
    source: str,
    target: str | None,
    output: str | None,
    tokenize: str,
    lowercase: bool,
    errors: int | None,
    confidence: bool,
    rescoring: Rescoring | None,
    **search: Any,
) -> None:
    """Scores the texts generated for some sources against the true ones.

    BLEU and chrF are sacrebleu's, with its signatures. In the error rates, lines with
    the same source are alternatives: any of their targets is right. With --errors what
    is missing is marked [-so-], and what is too much {+so+}. With --confidence the area
    under the ROC curve is how often a right text has a higher confidence, the geometric
    mean of its tokens' probabilities, than a wrong one. With --rescore other models
    choose among candidates.
    """
    from keras_encdec.evaluation import check_evaluation, evaluate_texts

    sources, references = read_some_pairs("An evaluation", source, target)
    check_evaluation(sources, references, tokenize=tokenize)
    with _writer(output) as write:
        text_to_text, answers_to = answering_models(
            *(saved, modules, weights, len(sources)), rescoring=rescoring, **search
        )
        ids = checked_ids(text_to_text, sources, references)
        start = time.perf_counter()
        show = progress_of(len(ids))
        hypotheses = [*answers_to(ids, sources, progress=show)]
        seconds = time.perf_counter() - start
        write(hypotheses)
    references = text_to_text.target_tokenizer.join(references)
    sure = _confidences(text_to_text, sources, hypotheses) if confidence else None
    scores = evaluate_texts(
        sources,
        hypotheses,
        references,
        tokenize=tokenize,
        lowercase=lowercase,
        confidences=sure,
    )
    print(f"texts                {len(sources):,} in {seconds:.1f} s")
    for line in scores.report:
        print(line)
    if errors is not None:
        _print_errors(sources, hypotheses, references, errors, sure)


def _confidences(
    text_to_text: "TextToText", sources: Sequence[str], hypotheses: Sequence[str]
) -> list[float] | None:
    from keras_encdec.confidence import confidences

    try:
        found = confidences(text_to_text, sources, hypotheses)
    except ValueError as error:
        # A text that was not ended may have a token more, its end, than there are
        # positions. All else can be told.
        words = f"keras-encdec: warning: No confidence is told. {error}"
        print(words, file=sys.stderr)
        return None
    return [each.mean_probability for each in found]


def _print_errors(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    number: int,
    confidences: Sequence[float] | None,
) -> None:
    from keras_encdec.text import marked_differences, worst_texts

    for wrong in worst_texts(sources, hypotheses, references, number):
        marked = marked_differences(hypotheses[wrong.place], wrong.reference)
        print(f"\nline {wrong.place + 1}: {wrong.error_rate:.0%} of characters wrong")
        print(f"  source      {sources[wrong.place]}")
        print(f"  reference   {wrong.reference}")
        print(f"  generated   {hypotheses[wrong.place]}")
        print(f"  difference  {marked}")
        if confidences is not None:
            print(f"  confidence  {confidences[wrong.place]:.3f}")


def generate(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    modules: Iterable[str],
    source: str,
    output: str,
    n_best: int,
    resume: bool,
    rescoring: Rescoring | None,
    **search: Any,
) -> None:
    """Generates a text for each line of a file or of standard input.

    With --rescore other models choose among candidates. With --n-best each text has a
    line `line number<tab>score<tab>text`. The memory it needs does not grow with the
    number of lines. What was written to a file before an interruption is kept beside
    it, and --resume goes on from there.
    """

    def lines_of(number: int, text: str, answer: Any) -> list[str]:
        if n_best == 1:
            return [answer]
        return [f"{number}\t{score:.4f}\t{text}" for text, score in answer]

    write_answers(
        *(saved, weights, modules, source, output, lines_of),
        command="generate",
        n_best=n_best,
        resume=resume,
        rescoring=rescoring,
        **search,
    )


@contextlib.contextmanager
def _writer(output: str | None) -> Iterator[Callable[[Iterable[str]], object]]:
    """Gives a function that writes texts, a line each; checks before that it can."""
    if output is None:
        yield lambda texts: None
    elif output == "-":
        with written_lines(output, "") as (_, write):
            yield lambda texts: [*map(write, texts)]
    else:
        with new_file(output) as file:
            yield lambda texts: file.write_bytes(b"".join(map(as_line, texts)))
