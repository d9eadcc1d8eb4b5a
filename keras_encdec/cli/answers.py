"""A file of texts answered line by line, and what is told of texts before and while."""

import argparse
import array
import datetime
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from keras_encdec.cli.arguments import is_checkpoint
from keras_encdec.cli.models import searching_model
from keras_encdec.cli.partial_output import (
    is_finished,
    name_of_work,
    partial_place,
    written_lines,
)
from keras_encdec.cli.rescoring_file import (
    Rescoring,
    loaded_scorers,
    rescored,
    with_beams,
)
from keras_encdec.files import is_written_straight
from keras_encdec.interrupts import check_interrupt
from keras_encdec.saved_parts import saved_folder

if TYPE_CHECKING:
    from keras_encdec.text import UnknownTokens
    from keras_encdec.text.reading import SourceLines
    from keras_encdec.text_to_text import EncodedTexts, TextToText


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Adds the option to go on with a file that is written line by line."""
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with what the same command wrote before it was interrupted; what "
        "it has finished stays",
    )


def answering_models(
    saved: Sequence[str],
    modules: Iterable[str],
    weights: Sequence[float] | None,
    number: int,
    n_best: int = 1,
    *,
    rescoring: Rescoring | None = None,
    **search: Any,
) -> tuple["TextToText", Callable[..., Iterator[Any]]]:
    """Returns models, and what answers texts by them and by those that rescore.

    Args:
        saved: As in `searching_model`.
        modules: Likewise.
        weights: Likewise.
        number: Likewise.
        n_best: Likewise.
        rescoring: What orders the candidates of each text, or None.
        **search: As in `searching_model`.

    Returns:
        A `TextToText`, and a function of texts, or their ids, and of the same texts
        once more, with the options `first` and `progress`, to an iterator of answers.

    Raises:
        ValueError: If an option does not fit the models.
    """
    if rescoring is None:
        text_to_text, generate = searching_model(
            saved, modules, weights, number, n_best, **search
        )
        return text_to_text, lambda texts, again, **call: generate(texts, **call)
    search = with_beams(search, rescoring.candidates)
    text_to_text, candidates_of = searching_model(
        saved, modules, weights, number, rescoring.candidates, **search
    )
    scorers = loaded_scorers(rescoring, modules)

    def answers_to(texts: Any, again: Iterable[str], **call: Any) -> Iterator[Any]:
        candidates = candidates_of(texts, **call)
        return rescored(again, candidates, rescoring, scorers, n_best)

    return text_to_text, answers_to


def write_answers(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    modules: Iterable[str],
    source: str,
    output: str,
    lines_of: Callable[[int, str, Any], list[str]],
    *,
    command: str,
    n_best: int = 1,
    resume: bool = False,
    rescoring: Rescoring | None = None,
    **search: Any,
) -> None:
    """Generates for each line of a file, and writes what is made of the answers.

    What was written to a file before an interruption is kept beside it.

    Args:
        saved: As in `searching_model`.
        weights: Likewise.
        modules: Likewise.
        source: The path of the texts, or `"-"`.
        output: The path of what is written, or `"-"`.
        lines_of: A function of the number of a line from 1, its text and its answer, to
            the lines that are written of it, as many for each.
        command: What writes them; no other goes on with what it left.
        n_best: As in `searching_model`; there are as many lines of each answer.
        resume: Whether to go on with what is kept.
        rescoring: What orders the candidates of each text, or None.
        **search: As in `searching_model`.

    Raises:
        ValueError: If an option does not fit the models, or a text is too long.
    """
    from keras_encdec.printing import tell
    from keras_encdec.text.reading import SourceLines

    if source == "-" and sys.stdin is not None and sys.stdin.buffer.isatty():
        tell("Type texts, a line each; Ctrl-D ends them.", sys.stderr)
    lines = SourceLines(source)
    if not lines:
        place = "Standard input" if source == "-" else repr(source)
        print(
            f"keras-encdec: warning: {place} holds no line; nothing is generated.",
            file=sys.stderr,
        )
    places = [*saved]
    # Answers do not depend on what stands in a batch.
    options = {**search, "batch_size": None, "n_best": n_best, "modules": [*modules]}
    options["command"] = command
    if rescoring is not None:
        places += rescoring.models
        options["rescoring"] = (
            rescoring.candidates,
            rescoring.weights,
            rescoring.reverse,
        )
    models = [x if is_checkpoint(x) else str(saved_folder(x)) for x in places]
    name = name_of_work(models, source, weights=weights, **options)
    if resume and is_finished(output, name):
        tell(
            f"All {len(lines):,} texts are in {output} already, of the same files and "
            "options. Without --resume they are generated anew.",
            sys.stderr,
        )
        return
    text_to_text, answers_to = answering_models(
        *(saved, modules, weights, len(lines), n_best), rescoring=rescoring, **search
    )
    _check_lines(text_to_text, lines)
    number = done = 0
    try:
        with written_lines(output, name, resume=resume, lines_each=n_best) as (
            done,
            write,
        ):
            if resume:
                tell(f"{done:,} of {len(lines):,} texts are there already.", sys.stderr)
            start, number = time.perf_counter(), done
            show = progress_of(len(lines), done)
            # Each reads the file by itself.
            texts, too, again = (itertools.islice(lines, done, None) for _ in range(3))
            answers = answers_to(texts, too, first=done, progress=show)
            for text, answer in zip(again, answers, strict=True):
                number += 1
                for line in lines_of(number, text, answer):
                    write(line)
            seconds = time.perf_counter() - start
    except BaseException:
        if number and output != "-" and not is_written_straight(output):
            how = "" if source == "-" else "; the same command with --resume goes on"
            print(
                f"keras-encdec: {number:,} of {len(lines):,} texts are kept in "
                f"{partial_place(output, name)}{how}.",
                file=sys.stderr,
            )
        raise
    what, count = "text" if len(lines) == 1 else "texts", len(lines) - done
    rate = count / seconds if count else 0
    tell(f"{count:,} {what} in {seconds:.1f} s, {rate:,.1f}/s", sys.stderr)


def checked_ids(
    text_to_text: "TextToText", sources: Sequence[str], references: Sequence[str]
) -> "EncodedTexts":
    """Returns the ids of the sources; tells what of the texts the model does not know.

    Args:
        text_to_text: A `TextToText`.
        sources: A list of `str`.
        references: Likewise.
    """
    from keras_encdec.text import unknown_tokens

    ids = text_to_text.encode(sources)
    for side, texts, rows in (("source", sources, ids), ("target", references, None)):
        tokenizer = getattr(text_to_text, f"{side}_tokenizer")
        _tell_unknown(side, unknown_tokens(tokenizer, texts, ids=rows))
    return ids


def _check_lines(text_to_text: "TextToText", lines: "SourceLines") -> None:
    """Refuses lines too long, before any is generated; tells of unknown tokens."""
    from keras_encdec.text import unknown_tokens
    from keras_encdec.text_checks import check_lengths

    tokenizer, lengths = text_to_text.source_tokenizer, array.array("i")

    def rows() -> Iterator[list[int]]:
        texts = iter(lines)
        while chunk := [*itertools.islice(texts, 4096)]:
            check_interrupt()
            for row in tokenizer.ids_of(chunk):
                lengths.append(len(row))
                yield row.tolist()

    unknown = unknown_tokens(tokenizer, lines, ids=rows())
    check_lengths(text_to_text.model, "source", lengths, lines)
    _tell_unknown("source", unknown)


def _tell_unknown(side: str, unknown: "UnknownTokens") -> None:
    from keras_encdec.printing import tell

    if unknown.many:
        warning = f"keras-encdec: warning: {unknown.message(side)}"
        print(warning, file=sys.stderr)
    elif unknown.count:
        tell(f"keras-encdec: {unknown.message(side)}", sys.stderr)


def progress_of(total: int, first: int = 0) -> Callable[[int], None]:
    """Gives a function that shows how many of all texts are done, and the time left.

    Args:
        total: The number of texts.
        first: How many were done before.

    Returns:
        The function, which is told how many are done since it was made.
    """
    import keras

    start = time.perf_counter()

    def show(done: int) -> None:
        check_interrupt()  # If a library lost the one that came.
        if not (sys.stderr.isatty() and keras.config.is_interactive_logging_enabled()):
            return
        rate = done / max(time.perf_counter() - start, 1e-6)
        left = datetime.timedelta(seconds=round((total - first - done) / rate))
        end = "\n" if first + done == total else ""
        words = f"{first + done:,}/{total:,} texts, {rate:,.1f}/s, {left} left"
        # Over what stood there, which may have been longer.
        print(f"\r{words:60}", end=end, file=sys.stderr, flush=True)

    return show
