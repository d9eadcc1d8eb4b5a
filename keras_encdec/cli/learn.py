"""The commands that train: demo, vocabulary, train."""

import importlib.util
import shlex

from keras_encdec.cli.arguments import (
    add_command,
    add_pairs,
    portion,
    positive,
    saved_folder,
    share,
    within,
)
from keras_encdec.cli.program import program
from keras_encdec.files import new_file
from keras_encdec.training.options import Names, TrainingOptions, bounds_of

TOKENIZERS = ("sentencepiece", "word", "character", "byte")
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
    add_training_option(added, "epochs", default=2)
    added.add_argument("--words", type=positive, help="use only so many words")
    added.add_argument("--held-out", type=positive, default=2000, help="words for test")
    add_training_option(added, "batch_tokens", default=2048)
    add_training_option(added, "learning_rate", default=3e-3)
    add_training_option(added, "seed")
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
        type=portion,
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
    add_training_option(parser, "seed")

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
    add_training_option(group, "max_length", "longer texts are cut", default=256)
    add_training_option(
        group,
        "sampling",
        "draw other subwords each time: probability to leave out a merge (BPE), or "
        "smoothing (unigram)",
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
    for name, words in (
        ("epochs", None),
        (
            "updates_per_epoch",
            "number of batches, if not those of a pass over the pairs",
        ),
        ("batch_tokens", "most tokens of a batch"),
        (
            "num_shapes",
            "most shapes of batches: fewer compile sooner, more have less padding",
        ),
        ("accumulate", "batches for one update"),
        ("schedule", "of the learning rate"),
        ("learning_rate", "its peak; 0.001 if not given"),
        ("warmup", "batches until the peak; by default a tenth"),
        ("clip_norm", "largest norm of the gradients"),
        ("weight_decay", None),
        ("label_smoothing", None),
        ("ema", "momentum of a moving average of weights, as 0.999"),
        ("average", "epochs whose mean to try in the end"),
        ("r_drop", "weight of R-Drop, as 5"),
    ):
        add_training_option(group, name, words)
    group.add_argument(
        "--teacher", type=saved_folder, help="trained model to distil, same vocabulary"
    )
    for name, words in (
        ("teacher_weight", None),
        ("temperature", "of the teacher"),
        ("monitor", "what the best epoch is chosen by"),
        ("patience", "epochs without a better one to stop after"),
    ):
        add_training_option(group, name, words)
    group.add_argument(
        "--tensorboard", action="store_true", help="log for TensorBoard too"
    )


def add_training_option(parser, name, words=None, **changes):
    """Adds an option of a training, with its bounds and its default.

    Args:
        parser: The parser, or a group of it.
        name: The name of the option, as of `TrainingOptions`.
        words: What `--help` says of it.
        **changes: What `add_argument` is given in place of these.
    """
    bounds = bounds_of(name)
    default = getattr(TrainingOptions(), name)
    options = {"type": within(bounds), "default": default, "help": words, **changes}
    if isinstance(bounds, Names):
        options["choices"] = bounds.names
    parser.add_argument(f"--{name.replace('_', '-')}", **options)


def demo(output, **options):
    """Learns to pronounce English words from CMUdict, and exports the model."""
    from keras_encdec.demo import run_demo

    run_demo(output, **options)
    folder = shlex.quote(output)
    print(
        f"\nSaved for Python in {output}/saved and for TF Serving in {output}/1.\n"
        "Next:\n"
        f"  echo serendipity | {program()} generate {folder}/saved\n"
        f"  {program()} demo --size base --epochs 10 --output saved_models/g2p-base\n"
        f"  {program()} train --help    to train on texts of your own"
    )


def vocabulary(input, output, size, type, character_coverage):
    """Learns a SentencePiece vocabulary from raw text files, joint if several."""
    from keras_encdec.text import SentencePieceTokenizer, read_lines

    with new_file(output) as file:
        texts = [line for path in input for line in read_lines(path)]
        tokenizer = SentencePieceTokenizer.train(
            texts,
            size,
            model_type=type,
            character_coverage=character_coverage,
            hard_vocab_limit=False,
        )
        file.write_bytes(tokenizer.proto)
    print(f"{tokenizer.vocabulary_size:,} ids from {len(texts):,} lines: {output}")


def train(
    source,
    target,
    validation_source,
    validation_target,
    output,
    overwrite,
    tensorboard,
    initial,
    teacher,
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
    from keras_encdec.text import read_pairs
    from keras_encdec.text_to_text import TextToText

    # What can be seen at once, before texts are read and subwords learned.
    recipe = {name: options.pop(name) for name in (*VOCABULARY_OPTIONS, *MODEL_OPTIONS)}
    TrainingOptions(**options).check_company(
        validation=validation_source is not None, teacher=teacher is not None
    )
    if validation_source is None and validation_target is not None:
        raise ValueError(
            "--validation-target needs --validation-source beside it; received "
            f"{validation_target!r} alone. Give both, or leave it out."
        )
    if tensorboard:
        _check_tensorboard()
    folder = run.RunFolder(output)
    folder.recover()
    folder.check_place()
    pairs = read_pairs(source, target)
    validation = None
    if validation_source is not None:
        validation = read_pairs(validation_source, validation_target)
    if folder.epochs_done and not overwrite:
        text_to_text = TextToText.load(folder.best)
    elif initial is not None:
        text_to_text = TextToText.load(initial)
    else:
        text_to_text = _untrained(
            *pairs, options["max_length"], options["seed"], **recipe
        )
    more = {}
    if teacher is not None:
        more["teacher"] = TextToText.load(teacher).model
    if tensorboard:
        board = keras.callbacks.TensorBoard(
            folder.path / "tensorboard", write_graph=False
        )
        more["callbacks"] = [board]
    print(
        f"{text_to_text.model.count_params():,} parameters; "
        f"{text_to_text.source_tokenizer.vocabulary_size:,} source and "
        f"{text_to_text.target_tokenizer.vocabulary_size:,} target ids."
    )
    # However much was drawn for the weights: so that going on is the same.
    keras.utils.set_random_seed(options["seed"])
    run.train(
        text_to_text,
        *pairs,
        validation=validation,
        folder=folder.path,
        overwrite=overwrite,
        recipe={**recipe, "initial": initial, "teacher": teacher},
        **more,
        **options,
    )
    output = shlex.quote(output)
    print(
        f"The best model is in {folder.best}. Next:\n"
        f"  {program()} evaluate {output} --source FILE --target FILE\n"
        f"  {program()} generate {output} --source FILE\n"
        f"  {program()} export {output} saved_models/{shlex.quote(folder.path.name)}"
    )


def _untrained(
    sources,
    targets,
    max_length,
    seed,
    *,
    tokenizer,
    source_tokenizer,
    target_tokenizer,
    vocabulary,
    vocabulary_size,
    shared_vocabulary,
    continuation,
    **model,
):
    from keras_encdec.recipe import build, make_tokenizer
    from keras_encdec.text import SentencePieceTokenizer

    kinds = [kind or tokenizer for kind in (source_tokenizer, target_tokenizer)]
    more = vocabulary_size, continuation
    if vocabulary is not None:
        tokenizers = [SentencePieceTokenizer(vocabulary)] * 2
    elif shared_vocabulary:
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
