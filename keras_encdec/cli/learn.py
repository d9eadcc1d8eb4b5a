"""The commands that train: demo, vocabulary, train."""

import hashlib
import importlib.util
import json
import pathlib
import shutil

from keras_encdec.cli.arguments import (
    add_command,
    add_pairs,
    check_folder_of,
    positive,
    saved_folder,
    share,
)
from keras_encdec.files import new_file, new_folder, recover_folder

TOKENIZERS = ("sentencepiece", "word", "character", "byte")
OPTIONS_FILE = "options.json"
MODEL_OPTIONS = (
    "hidden_dim",
    "intermediate_dim",
    "num_heads",
    "num_layers",
    "num_decoder_layers",
    "positions",
    "activation",
    "normalize_first",
    "dropout",
    "attention_dropout",
    "dtype",
)
VOCABULARY_OPTIONS = (
    "tokenizer",
    "source_tokenizer",
    "target_tokenizer",
    "vocabulary",
    "vocabulary_size",
    "shared_vocabulary",
    "continuation",
)


def add_commands(commands):
    """Adds these commands to a parser."""
    added = add_command(
        commands, demo, "learn to pronounce English words, from data to SavedModel"
    )
    added.add_argument("--output", default="saved_models/g2p", help="folder to write")
    added.add_argument("--size", choices=("tiny", "small", "base"), default="small")
    added.add_argument("--epochs", type=positive, default=2)
    added.add_argument("--words", type=positive, help="use only so many words")
    added.add_argument("--held-out", type=positive, default=2000, help="words for test")
    added.add_argument("--batch-tokens", type=positive, default=2048)
    added.add_argument("--learning-rate", type=float, default=3e-3)
    added.add_argument("--seed", type=int, default=0)
    added.add_argument("--overwrite", action="store_true", help="replace the output")

    added = add_command(commands, vocabulary, "learn subwords from raw text files")
    added.add_argument(
        "--input", nargs="+", required=True, help="files of texts, a line each; .gz too"
    )
    added.add_argument(
        "--output", required=True, help="file to write: vocabulary.model"
    )
    added.add_argument(
        "--size", type=positive, default=8000, help="number of ids, 4 special ones too"
    )
    added.add_argument("--type", choices=("unigram", "bpe"), default="unigram")
    added.add_argument(
        "--character-coverage",
        type=float,
        default=1.0,
        help="share of characters to cover; 0.9995 for Chinese or Japanese",
    )

    _add_train(add_command(commands, train, "train a model on pairs of texts"))


def _add_train(parser):
    add_pairs(parser)
    parser.add_argument("--validation-source", help="texts to evaluate each epoch on")
    parser.add_argument("--validation-target")
    parser.add_argument("--output", required=True, help="folder of the run: runs/en-de")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the folder, start anew"
    )
    parser.add_argument("--seed", type=int, default=0)

    group = parser.add_argument_group("vocabulary")
    group.add_argument(
        "--tokenizer",
        choices=TOKENIZERS,
        default="sentencepiece",
        help="how texts are split into tokens",
    )
    for side in ("source", "target"):
        group.add_argument(
            f"--{side}-tokenizer", choices=TOKENIZERS, help=f"if another for {side}s"
        )
    group.add_argument(
        "--vocabulary", help="SentencePiece model for both sides, of vocabulary"
    )
    group.add_argument(
        "--vocabulary-size", type=positive, default=8000, help="largest number of ids"
    )
    group.add_argument(
        "--shared-vocabulary",
        action="store_true",
        help="one vocabulary and one embedding table for source and target",
    )
    group.add_argument(
        "--continuation",
        help="what ends a piece of a word in texts that are split already, such as @@",
    )
    group.add_argument(
        "--max-length", type=positive, default=256, help="longer texts are cut"
    )
    group.add_argument(
        "--sampling",
        type=share,
        help="draw other subwords each time: probability to leave out a merge (BPE), "
        "or smoothing (unigram)",
    )

    group = parser.add_argument_group("model")
    group.add_argument(
        "--initial",
        type=saved_folder,
        help="trained model to go on from, with its vocabulary, sizes and dropout",
    )
    for option, default in (
        ("--hidden-dim", 256),
        ("--intermediate-dim", 1024),
        ("--num-heads", 4),
        ("--num-layers", 3),
    ):
        group.add_argument(option, type=positive, default=default)
    group.add_argument("--num-decoder-layers", type=positive, help="if not the same")
    group.add_argument(
        "--positions",
        choices=("sinusoidal", "rotary", "relative"),
        default="sinusoidal",
    )
    group.add_argument("--activation", default="relu", help="relu, gelu, silu ...")
    group.add_argument(
        "--post-norm",
        dest="normalize_first",
        action="store_false",
        help="normalize after each residual connection, not before each sublayer",
    )
    group.add_argument("--dropout", type=share, default=0.1)
    group.add_argument("--attention-dropout", type=share, default=0.0)
    group.add_argument(
        "--dtype",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
        default="float32",
    )

    group = parser.add_argument_group("training")
    group.add_argument("--epochs", type=positive, default=10)
    group.add_argument(
        "--updates-per-epoch", type=positive, help="if not a pass over the pairs"
    )
    group.add_argument(
        "--batch-tokens", type=positive, default=4096, help="most tokens of a batch"
    )
    group.add_argument(
        "--num-shapes",
        type=positive,
        default=16,
        help="most shapes of batches: fewer compile sooner, more have less padding",
    )
    group.add_argument(
        "--accumulate", type=positive, default=1, help="batches for one update"
    )
    group.add_argument(
        "--schedule",
        choices=("cosine", "inverse-square-root", "noam", "constant"),
        default="cosine",
        help="of the learning rate",
    )
    group.add_argument(
        "--learning-rate", type=float, help="its peak; 0.001 if not given"
    )
    group.add_argument(
        "--warmup", type=positive, help="batches until the peak; by default a tenth"
    )
    group.add_argument("--clip-norm", type=float, help="largest norm of the gradients")
    group.add_argument("--weight-decay", type=float)
    group.add_argument("--label-smoothing", type=share, default=0.1)
    group.add_argument(
        "--ema", type=share, help="momentum of a moving average of weights, as 0.999"
    )
    group.add_argument(
        "--average",
        type=positive,
        default=1,
        help="epochs whose mean to try in the end",
    )
    group.add_argument("--r-drop", type=float, help="weight of R-Drop, as 5")
    group.add_argument(
        "--teacher", type=saved_folder, help="trained model to distil, same vocabulary"
    )
    group.add_argument("--teacher-weight", type=share, default=0.5)
    group.add_argument("--temperature", type=float, default=1.0, help="of the teacher")
    group.add_argument(
        "--monitor",
        choices=("loss", "bleu", "chrf", "token_error_rate", "sequence_error_rate"),
        default="loss",
        help="what the best epoch is chosen by",
    )
    group.add_argument(
        "--patience", type=positive, help="epochs without a better one to stop after"
    )
    group.add_argument(
        "--tensorboard", action="store_true", help="log for TensorBoard too"
    )


def demo(output, **options):
    """Learns to pronounce English words from CMUdict, and exports the model."""
    from keras_encdec.demo import run_demo

    run_demo(output, **options)


def vocabulary(input, output, size, type, character_coverage):
    """Learns a SentencePiece vocabulary from raw text files, joint if several."""
    from keras_encdec.text import SentencePieceTokenizer, read_lines

    check_folder_of(output)
    texts = [line for path in input for line in read_lines(path)]
    tokenizer = SentencePieceTokenizer.train(
        texts,
        size,
        model_type=type,
        character_coverage=character_coverage,
        hard_vocab_limit=False,
    )
    with new_file(output) as file:
        file.write_bytes(tokenizer.proto)
    print(f"{tokenizer.vocabulary_size:,} ids from {len(texts):,} lines: {output}")


def train(
    source,
    target,
    validation_source,
    validation_target,
    output,
    overwrite,
    **options,
):
    """Trains a model on pairs of texts, in a folder that holds all of the run.

    Interrupted, even by a kill, it goes on from its last epoch when the same command is
    given again. The folder holds the options, the vocabulary, checkpoints, the log of
    all epochs (log.csv) and, in best/, the best model so far with its tokenizers, for
    evaluate, generate and export.
    """
    import keras

    from keras_encdec import run
    from keras_encdec.text import SentencePieceTokenizer, read_pairs
    from keras_encdec.text_to_text import TextToText

    pairs = read_pairs(source, target)
    validation = None
    if validation_source is not None:
        validation = read_pairs(validation_source, validation_target)
    elif validation_target is not None:
        raise ValueError("--validation-target needs --validation-source beside it.")
    if options["tensorboard"]:
        _check_tensorboard()
    record = {**options, "texts": _digest(pairs), "validation": _digest(validation)}
    folder = pathlib.Path(output)
    if overwrite and (folder / OPTIONS_FILE).is_file():
        shutil.rmtree(folder)
    model_options = {name: options.pop(name) for name in MODEL_OPTIONS}
    vocabulary_options = {name: options.pop(name) for name in VOCABULARY_OPTIONS}
    initial = options.pop("initial")
    if folder.exists():
        _check_same(folder, record)
        recover_folder(folder / "best")
        print(f"Going on with {output}.")
    else:
        if initial is not None:
            text_to_text = TextToText.load(initial)
        else:
            text_to_text = _untrained(
                *pairs,
                options["max_length"],
                options["seed"],
                vocabulary_options,
                model_options,
            )
        with new_folder(folder) as new:
            text_to_text.save(new / "best")
            for side in ("source", "target"):
                tokenizer = getattr(text_to_text, f"{side}_tokenizer")
                if isinstance(tokenizer, SentencePieceTokenizer):
                    (new / f"{side}.model").write_bytes(tokenizer.proto)
            (new / OPTIONS_FILE).write_text(json.dumps(record, indent=2))
    keras.utils.set_random_seed(options["seed"])
    # Loaded even if it was just begun, so that going on is the same.
    text_to_text = TextToText.load(folder / "best")
    if options["teacher"] is not None:
        options["teacher"] = TextToText.load(options["teacher"]).model
    if options.pop("tensorboard"):
        board = keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False)
        options["callbacks"] = [board]
    print(
        f"{text_to_text.model.count_params():,} parameters; "
        f"{text_to_text.source_tokenizer.vocabulary_size:,} source and "
        f"{text_to_text.target_tokenizer.vocabulary_size:,} target ids."
    )
    run.train(text_to_text, *pairs, validation=validation, folder=folder, **options)
    print(
        f"The best model is in {folder / 'best'}. Next:\n"
        f"  keras-encdec evaluate {output} --source FILE --target FILE\n"
        f"  keras-encdec generate {output} --source FILE\n"
        f"  keras-encdec export {output} saved_models/{folder.name}"
    )


def _untrained(sources, targets, max_length, seed, vocabulary, model):
    from keras_encdec.recipe import build, make_tokenizer
    from keras_encdec.text import SentencePieceTokenizer

    kinds = [
        vocabulary[f"{side}_tokenizer"] or vocabulary["tokenizer"]
        for side in ("source", "target")
    ]
    more = vocabulary["vocabulary_size"], vocabulary["continuation"]
    if vocabulary["vocabulary"] is not None:
        tokenizers = [SentencePieceTokenizer(vocabulary["vocabulary"])] * 2
    elif vocabulary["shared_vocabulary"]:
        if kinds[0] != kinds[1]:
            raise ValueError(
                "A shared vocabulary is of one kind of tokens; received "
                f"{kinds[0]!r} and {kinds[1]!r}. Leave out --shared-vocabulary."
            )
        tokenizers = [make_tokenizer(kinds[0], sources + targets, *more)] * 2
    else:
        tokenizers = [
            make_tokenizer(kind, texts, *more)
            for kind, texts in zip(kinds, (sources, targets), strict=True)
        ]
    return build(*tokenizers, max_length=max_length, seed=seed, **model)


def _check_tensorboard():
    # Before the work: TensorFlow misses it only when there is something to log.
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError(
            "--tensorboard needs the package tensorboard, which is not installed. "
            "Install it with `pip install 'keras-encdec[tensorboard]'`."
        )


def _check_same(folder, record):
    if not (folder / OPTIONS_FILE).is_file():
        raise FileExistsError(
            f"--output must be a new folder, or that of a run to go on with; {folder} "
            "is something else. Choose another."
        )
    before = json.loads((folder / OPTIONS_FILE).read_text())
    changed = [
        f"{name} was {before.get(name)!r} and is {record.get(name)!r}"
        for name in sorted({*before, *record})
        if before.get(name) != record.get(name)
    ]
    if changed:
        raise ValueError(
            f"A run goes on with the texts and options it began with; in {folder} "
            f"{'; '.join(changed)}. Give the same, choose another --output, or start "
            "anew with --overwrite."
        )


def _digest(pairs):
    if pairs is None:
        return None
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
