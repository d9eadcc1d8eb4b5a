"""The commands that use a trained model: evaluate, generate."""

import pathlib
import sys
import time

from keras_encdec.cli.arguments import (
    add_command,
    add_pairs,
    add_saved,
    check_folder_of,
    positive,
)
from keras_encdec.files import new_file

SAMPLERS = ("greedy", "beam", "random", "top-k", "top-p", "min-p", "typical")


def add_commands(commands):
    """Adds these commands to a parser."""
    added = add_command(commands, evaluate, "score generated texts against true ones")
    add_saved(added)
    add_pairs(added)
    added.add_argument("--output", help="file for the generated texts, a line each")
    added.add_argument(
        "--bleu-tokenize",
        default="13a",
        help="sacrebleu's tokenizer; none for texts that are tokenized already",
    )
    added.add_argument("--lowercase", action="store_true", help="score in lower case")
    _add_search(added)

    added = add_command(commands, generate, "generate a text for each line")
    add_saved(added)
    added.add_argument("--source", default="-", help="file of texts, - for stdin")
    added.add_argument("--output", default="-", help="file to write, - for stdout")
    added.add_argument(
        "--n-best", type=positive, default=1, help="texts for each line, with scores"
    )
    _add_search(added)


def _add_search(parser):
    parser.add_argument("--sampler", choices=SAMPLERS, default="greedy")
    parser.add_argument("--beams", type=positive, default=4, help="of beam")
    parser.add_argument(
        "--length-penalty",
        type=float,
        default=1.0,
        help="of beam: above 0 favours long",
    )
    parser.add_argument("--temperature", type=float, default=1.0, help="of samplers")
    parser.add_argument("--k", type=positive, default=10, help="of top-k")
    parser.add_argument("--p", type=float, default=0.9, help="of top-p, min-p, typical")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-length", type=positive, help="largest number of tokens")
    parser.add_argument("--batch-size", type=positive, default=64)


def evaluate(saved, module, source, target, output, bleu_tokenize, lowercase, **search):
    """Scores the texts generated for some sources against the true ones.

    BLEU and chrF are sacrebleu's, with its signatures. In the error rates, lines with
    the same source are alternatives: any of their targets is right.
    """
    from keras_encdec.evaluation import evaluate_texts
    from keras_encdec.text import read_pairs

    if output is not None:
        check_folder_of(output)
    sources, references = read_pairs(source, target)
    text_to_text, options = _searching(saved, module, **search)
    text_to_text = _compiled_for(text_to_text, len(sources))
    start = time.perf_counter()
    hypotheses = text_to_text(sources, progress=_show_progress, **options)
    seconds = time.perf_counter() - start
    references = text_to_text.target_tokenizer.join(references)
    if output is not None:
        _write_lines(output, hypotheses)
    scores = evaluate_texts(
        sources, hypotheses, references, tokenize=bleu_tokenize, lowercase=lowercase
    )
    print(f"texts                {len(sources):,} in {seconds:.1f} s")
    for line in scores.report:
        print(line)


def generate(saved, module, source, output, n_best, **search):
    """Generates a text for each line of a file or of standard input.

    With --n-best each text has a line `line number<tab>score<tab>text`.
    """
    if output != "-":
        check_folder_of(output)
    text_to_text, options = _searching(saved, module, n_best=n_best, **search)
    # Bytes, so that a line of invalid UTF-8 is a source like any other. Not
    # `splitlines`, which also splits at a carriage return within a line.
    if source == "-":
        lines = sys.stdin.buffer.read().split(b"\n")
    else:
        lines = pathlib.Path(source).read_bytes().split(b"\n")
    if not lines[-1]:
        lines.pop()
    lines = [line.removesuffix(b"\r") for line in lines]
    text_to_text = _compiled_for(text_to_text, len(lines))
    start = time.perf_counter()
    results = text_to_text(
        lines,
        num_return_sequences=n_best,
        return_scores=True,
        progress=_show_progress,
        **options,
    )
    seconds = time.perf_counter() - start
    rows = [
        (f"{line}\t{score:.4f}\t" if n_best > 1 else "") + result
        for line, best in enumerate(results, start=1)
        for result, score in best
    ]
    _write_lines(output, rows)
    rate = len(lines) / seconds if lines else 0
    print(f"{len(lines):,} texts in {seconds:.1f} s, {rate:,.1f}/s", file=sys.stderr)


def _searching(
    saved,
    modules,
    sampler,
    beams,
    length_penalty,
    temperature,
    k,
    p,
    max_length,
    seed,
    batch_size,
    n_best=1,
):
    """The saved model with the sampler asked for, and the options of its calls."""
    from keras_encdec import generation
    from keras_encdec.text_to_text import TextToText

    sampler = {
        "greedy": generation.GreedySampler,
        "beam": lambda: generation.BeamSampler(beams, length_penalty),
        "random": lambda: generation.RandomSampler(temperature),
        "top-k": lambda: generation.TopKSampler(temperature, k),
        "top-p": lambda: generation.TopPSampler(temperature, p),
        "min-p": lambda: generation.MinPSampler(temperature, p),
        "typical": lambda: generation.TypicalSampler(temperature, p),
    }[sampler]()
    # Before the model is loaded, not after it.
    sampler.rows_per_source(n_best)
    text_to_text = TextToText.load(saved, modules).with_sampler(
        sampler, max_length=max_length
    )
    return text_to_text, {"seed": seed, "batch_size": batch_size}


def _compiled_for(text_to_text, number):
    """The same, compiled at once if so many texts are worth the seconds it takes."""
    jit_compile = True if number > 200 else "auto"
    return text_to_text.with_sampler(text_to_text.sampler, jit_compile=jit_compile)


def _write_lines(output, texts):
    # A generated line break would shift all lines after it.
    data = "".join(" ".join(text.splitlines()) + "\n" for text in texts).encode()
    if output == "-":
        # Bytes, for the terminal's encoding may lack a character.
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        with new_file(output) as file:
            file.write_bytes(data)


def _show_progress(done, total):
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{done:,}/{total:,} texts", end=end, file=sys.stderr, flush=True)
