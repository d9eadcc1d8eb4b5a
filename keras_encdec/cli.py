"""The command line: demo, train, evaluate, generate, export."""

import argparse
import pathlib
import sys
import time


def main(arguments=None):
    """Runs a command.

    Args:
        arguments: The words after the program's name; by default those it was called
            with.

    Returns:
        The exit status: 0, or 2 after an error that the user can mend.

    Example:
        ```python
        from keras_encdec.cli import main

        try:
            main(["--help"])
        except SystemExit as leaving:
            print(leaving.code)
        ```
    """
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        command(**options)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        print(f"keras-encdec: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="keras-encdec",
        description="Encoder-decoder Transformers for Keras 3.",
        epilog="Choose the backend with KERAS_BACKEND=tensorflow, jax or torch.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(function, summary):
        added = commands.add_parser(
            function.__name__.strip("_"),
            help=summary,
            description=function.__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        added.set_defaults(command=function)
        return added

    demo = command(_demo, "learn to pronounce English words, from data to SavedModel")
    demo.add_argument("--output", default="saved_models/g2p", help="folder to write")
    demo.add_argument("--size", choices=("tiny", "small", "base"), default="small")
    demo.add_argument("--epochs", type=_positive, default=2)
    demo.add_argument("--words", type=_positive, help="use only so many words")
    demo.add_argument("--held-out", type=_positive, default=2000, help="words for test")
    demo.add_argument("--batch-size", type=_positive, default=256)
    demo.add_argument("--learning-rate", type=float, default=3e-3)
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument("--overwrite", action="store_true", help="replace the output")

    train = command(_train, "train a model on pairs of texts")
    _add_pairs(train)
    train.add_argument("--validation-source", help="texts to evaluate after each epoch")
    train.add_argument("--validation-target")
    train.add_argument("--output", required=True, help="folder to write")
    train.add_argument(
        "--tokenizer",
        choices=("sentencepiece", "word", "character", "byte"),
        default="sentencepiece",
        help="how texts are split into tokens",
    )
    train.add_argument(
        "--vocabulary-size", type=_positive, default=8000, help="largest number of ids"
    )
    train.add_argument(
        "--shared-vocabulary",
        action="store_true",
        help="one vocabulary and one embedding table for source and target",
    )
    for option, default in (
        ("--hidden-dim", 256),
        ("--intermediate-dim", 1024),
        ("--num-heads", 4),
        ("--num-layers", 3),
        ("--epochs", 10),
        ("--batch-size", 64),
    ):
        train.add_argument(option, type=_positive, default=default)
    train.add_argument("--num-decoder-layers", type=_positive, help="if not the same")
    train.add_argument(
        "--max-length", type=_positive, default=256, help="longer texts are cut"
    )
    train.add_argument("--dropout", type=float, default=0.1)
    train.add_argument("--label-smoothing", type=float, default=0.1)
    train.add_argument("--learning-rate", type=float, default=1e-3, help="its peak")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--overwrite", action="store_true", help="replace the output")

    evaluate = command(_evaluate, "compare generated texts with true ones")
    _add_saved(evaluate)
    _add_pairs(evaluate)
    evaluate.add_argument("--batch-size", type=_positive, default=64)

    generate = command(_generate, "generate a text for each line")
    _add_saved(generate)
    generate.add_argument("--source", default="-", help="file of texts, - for stdin")
    generate.add_argument("--output", default="-", help="file to write, - for stdout")
    generate.add_argument(
        "--sampler",
        choices=("greedy", "beam", "random", "top-k", "top-p", "min-p", "typical"),
        default="greedy",
    )
    generate.add_argument("--beams", type=_positive, default=4, help="of beam")
    generate.add_argument(
        "--length-penalty",
        type=float,
        default=1.0,
        help="of beam: above 0 favours long",
    )
    generate.add_argument(
        "--n-best", type=_positive, default=1, help="texts for each line, with scores"
    )
    generate.add_argument("--temperature", type=float, default=1.0)
    generate.add_argument("--k", type=_positive, default=10, help="of top-k")
    generate.add_argument(
        "--p", type=float, default=0.9, help="of top-p, min-p, typical"
    )
    generate.add_argument("--seed", type=int, default=0)
    generate.add_argument(
        "--max-length", type=_positive, help="largest number of tokens"
    )
    generate.add_argument("--batch-size", type=_positive, default=64)

    export = command(_export, "write a SavedModel: strings in, strings out")
    _add_saved(export)
    export.add_argument("path", help="folder to write, such as saved_models/en-de/1")
    export.add_argument("--max-length", type=_positive, help="largest number of tokens")
    export.add_argument("--overwrite", action="store_true", help="replace the folder")
    return parser


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be a whole number of at least 1; received {text!r}"
        )
    return int(text)


def _add_saved(parser):
    parser.add_argument("saved", help="folder that train or demo wrote")


def _add_pairs(parser):
    parser.add_argument(
        "--source",
        required=True,
        help="file of source texts, a line each; or of source<tab>target",
    )
    parser.add_argument("--target", help="file of target texts, a line each")


def _demo(output, **options):
    """Learns to pronounce English words from CMUdict, and exports the model."""
    from keras_encdec.demo import run_demo

    run_demo(output, **options)


def _train(
    source,
    target,
    validation_source,
    validation_target,
    output,
    tokenizer,
    vocabulary_size,
    shared_vocabulary,
    overwrite,
    **options,
):
    """Trains a model on pairs of texts and saves it with its tokenizers."""
    if pathlib.Path(output).exists() and not overwrite:
        # Before the work, not after it.
        raise FileExistsError(
            f"--output must be a new folder; {output!r} is there already. Choose "
            "another, or give --overwrite."
        )
    if validation_target is not None and validation_source is None:
        raise ValueError("--validation-target needs --validation-source beside it.")
    from keras_encdec.recipe import make_tokenizer, train
    from keras_encdec.text import read_pairs

    sources, targets = read_pairs(source, target)
    validation = None
    if validation_source is not None:
        validation = read_pairs(validation_source, validation_target)
    if shared_vocabulary:
        both = make_tokenizer(tokenizer, sources + targets, vocabulary_size)
        tokenizers = both, both
    else:
        tokenizers = (
            make_tokenizer(tokenizer, sources, vocabulary_size),
            make_tokenizer(tokenizer, targets, vocabulary_size),
        )
    print(
        f"{len(sources):,} pairs; {tokenizers[0].vocabulary_size:,} source and "
        f"{tokenizers[1].vocabulary_size:,} target ids."
    )
    text_to_text = train(
        sources, targets, *tokenizers, validation=validation, **options
    )
    text_to_text.save(output, overwrite=overwrite)
    print(
        f"Trained {text_to_text.model.count_params():,} parameters in "
        f"{text_to_text.training_seconds:,.0f} s; saved in {output}.\n"
        f"Next: keras-encdec generate {output} --source FILE"
    )


def _evaluate(saved, source, target, batch_size):
    """Compares generated texts with true ones.

    Lines with the same source are alternatives: any of their targets is right.
    """
    from keras_encdec.text import read_pairs, sequence_error_rate, token_error_rate
    from keras_encdec.text_to_text import TextToText

    references = {}
    for text, reference in zip(*read_pairs(source, target), strict=True):
        references.setdefault(text, []).append(reference)
    text_to_text = TextToText.load(saved)
    start = time.perf_counter()
    hypotheses = text_to_text(list(references), batch_size=batch_size)
    seconds = time.perf_counter() - start
    true = list(references.values())
    print(f"texts                {len(hypotheses):,} in {seconds:.1f} s")
    print(f"token error rate     {token_error_rate(hypotheses, true):.2%}")
    print(f"sequence error rate  {sequence_error_rate(hypotheses, true):.2%}")


def _generate(
    saved,
    source,
    output,
    sampler,
    temperature,
    k,
    p,
    beams,
    length_penalty,
    n_best,
    seed,
    max_length,
    batch_size,
):
    """Generates a text for each line of a file or of standard input.

    With --n-best each text has a line `line number<tab>score<tab>text`.
    """
    from keras_encdec import generation
    from keras_encdec.text_to_text import TextToText

    if output != "-" and not pathlib.Path(output).parent.is_dir():
        # Before the work, not after it.
        raise FileNotFoundError(
            f"--output must be a file in a folder that is there; received {output!r}. "
            "Make the folder first."
        )
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
    loaded = TextToText.load(saved)
    text_to_text = TextToText(
        loaded.source_tokenizer,
        loaded.target_tokenizer,
        loaded.model,
        sampler,
        max_length=max_length or loaded.max_length,
    )
    # Bytes, so that a line of invalid UTF-8 is a source like any other. Not
    # `splitlines`, which also splits at a carriage return within a line.
    if source == "-":
        lines = sys.stdin.buffer.read().split(b"\n")
    else:
        lines = pathlib.Path(source).read_bytes().split(b"\n")
    if not lines[-1]:
        lines.pop()
    lines = [line.removesuffix(b"\r") for line in lines]
    start = time.perf_counter()
    results = text_to_text(
        lines,
        seed=seed,
        batch_size=batch_size,
        num_return_sequences=n_best,
        return_scores=True,
    )
    seconds = time.perf_counter() - start
    # A generated line break would shift all lines after it.
    text = "".join(
        (f"{line}\t{score:.4f}\t" if n_best > 1 else "")
        + " ".join(result.splitlines())
        + "\n"
        for line, best in enumerate(results, start=1)
        for result, score in best
    )
    if output == "-":
        # Bytes, for the terminal's encoding may lack a character.
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    else:
        beside = pathlib.Path(f"{output}.part")
        beside.write_bytes(text.encode())
        beside.replace(output)
    rate = len(lines) / seconds if lines else 0
    print(f"{len(lines):,} texts in {seconds:.1f} s, {rate:,.1f}/s", file=sys.stderr)


def _export(saved, path, max_length, overwrite):
    """Writes a SavedModel: strings in, strings out, for TF Serving."""
    from keras_encdec.export import export_saved_model
    from keras_encdec.text_to_text import TextToText

    path = export_saved_model(
        TextToText.load(saved), path, max_length=max_length, overwrite=overwrite
    )
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    print(f"Wrote {path} ({size / 1e6:.1f} MB). Its signatures:")
    print(f"  saved_model_cli show --dir {path} --all")
