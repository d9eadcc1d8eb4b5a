"""The arguments of a training."""

import argparse
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from keras_encdec.cli.arguments import (
    Within,
    add_licence,
    add_pairs,
    file_of_texts,
    file_of_vocabulary,
    positive,
    saved_model,
    saved_or_checkpoint,
    vocabulary_size,
)
from keras_encdec.cli.configuration import add_configuration, configuration
from keras_encdec.cli.model_arguments import add_sizes
from keras_encdec.cli.models import add_languages, word
from keras_encdec.training_options import (
    Names,
    Numbers,
    TrainingOptions,
    bounds_of,
)

TOKENIZERS = ("sentencepiece", "byte-level-bpe", "word", "character", "byte")
VOCABULARY_OPTIONS = (
    "tokenizer",
    "source_tokenizer",
    "target_tokenizer",
    "vocabulary",
    "vocabulary_size",
    "shared_vocabulary",
    "continuation",
)


def add_training_option(
    parser: argparse._ActionsContainer, name: str, words: str, **changes: Any
) -> None:
    """Adds an option of a training, with its bounds and its default.

    Args:
        parser: The parser, or a group of it.
        name: The name of the option, as in `TrainingOptions`.
        words: What `--help` says of it.
        **changes: What `add_argument` is given in place of these.
    """
    bounds = bounds_of(name)
    default = getattr(TrainingOptions(), name)
    options = {"type": Within(bounds), "default": default, "help": words, **changes}
    if isinstance(bounds, Names):
        options["choices"] = bounds.names
    parser.add_argument(f"--{name.replace('_', '-')}", **options)


class CorpusAndTimes(NamedTuple):
    """The path of a corpus, and how many times a pass takes it."""

    folder: str
    times: int

    def __str__(self) -> str:
        """Returns it as it is typed."""
        return f"{self.folder}:{self.times}"


def corpus_and_times(text: str) -> CorpusAndTimes:
    """Returns what `PATH` or `PATH:3` says, a `CorpusAndTimes`.

    Args:
        text: What was typed.
    """
    folder, times = text, 1
    if found := re.fullmatch("(.+):([0-9]+)", text):
        folder, times = found[1], int(found[2])
    if times < 1 or not os.path.isfile(os.path.join(folder, "corpus.json")):
        raise argparse.ArgumentTypeError(
            "A corpus is a folder that the command encode wrote, alone or with how "
            f"many times a pass takes it, as a:3; received {text!r}, which holds no "
            "corpus.json or no such number. Encode the texts first."
        )
    return CorpusAndTimes(folder, times)


def add_training(parser: argparse.ArgumentParser) -> None:
    """Adds all arguments of the command train."""
    add_pairs(parser, required=False)
    parser.add_argument(
        "--corpus",
        nargs="+",
        type=corpus_and_times,
        metavar="FOLDER[:TIMES]",
        help="folders that the command encode wrote, with their vocabulary, in place "
        "of --source and --target, a:3 for one that a pass takes 3 times; texts are "
        "read if not given",
    )
    parser.add_argument(
        "--mixing-temperature",
        type=Within(Numbers(kind=float, least=1)),
        help="take the smaller of several --corpus more often, so that shares are "
        "those of sizes to the power of 1 / temperature, as 5; each once, or as often "
        "as is said behind it, if not given",
    )
    parser.add_argument(
        "--both-directions",
        nargs=2,
        type=word,
        metavar=("TAG", "BACK"),
        help="learn from pairs as they are and turned around, with these words at the "
        "head of sources, as __de__ __en__; --initial and --tag go on with one "
        "direction; as they are alone if not given",
    )
    parser.set_defaults(given={})
    parser.add_argument(
        "--validation-source",
        type=file_of_texts,
        help="texts to evaluate on after each epoch; none if not given",
    )
    parser.add_argument(
        "--validation-target",
        type=file_of_texts,
        help="their targets, as --target those of --source",
    )
    parser.add_argument("--output", required=True, help="folder of the run: runs/en-de")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the folder, start anew"
    )
    add_licence(parser)
    add_training_option(parser, "seed", "of the weights and the order")

    group = parser.add_argument_group("vocabulary")
    group.add_argument(
        "--tokenizer",
        choices=TOKENIZERS,
        default="sentencepiece",
        help="how texts are split into tokens",
    )
    for side in ("source", "target"):
        group.add_argument(
            f"--{side}-tokenizer",
            choices=TOKENIZERS,
            help=f"of {side}s alone; --tokenizer if not given",
        )
    group.add_argument(
        "--vocabulary",
        type=file_of_vocabulary,
        help="SentencePiece model for both sides, as the command vocabulary writes it; "
        "learned from the texts if not given",
    )
    group.add_argument(
        "--vocabulary-size",
        type=vocabulary_size,
        default=8000,
        help="largest number of ids",
    )
    group.add_argument(
        "--shared-vocabulary",
        action="store_true",
        help="one vocabulary and one embedding table for source and target",
    )
    group.add_argument(
        "--continuation",
        help="what ends a piece of a word in texts that are split already, such as @@; "
        "nothing if not given",
    )
    add_training_option(group, "max_length", "longer texts are cut", default=256)
    add_training_option(
        group,
        "sampling",
        "draw other subwords each time: probability to leave out a merge (BPE), or "
        "smoothing (unigram); the same each time if not given",
    )

    group = parser.add_argument_group("model")
    group.add_argument(
        "--initial",
        type=saved_or_checkpoint,
        help="trained model, or checkpoint as in generate, to go on from, with its "
        "vocabulary and sizes, but for fewer blocks, other dropout and dtype if given "
        "too; an untrained one if not given",
    )
    add_languages(group)
    add_training_option(
        group,
        "lora",
        "rank of an adapter of --initial to train in place of its weights, as 8; the "
        "weights themselves if not given",
        metavar="RANK",
    )
    add_training_option(
        group,
        "lora_targets",
        "names of the layers that --lora adapts; query and value if not given",
        type=str,
        nargs="+",
        metavar="LAYER",
    )
    add_sizes(group)

    group = parser.add_argument_group("training")
    for name, words in (
        ("epochs", "how often to evaluate, and to keep the model if it is better"),
        (
            "updates_per_epoch",
            "batches of an epoch; a pass over the pairs if not given",
        ),
        ("batch_tokens", "most tokens of a batch"),
        (
            "num_shapes",
            "most shapes of batches: fewer compile sooner, more have less padding",
        ),
        ("accumulate", "batches for one update"),
        ("schedule", "of the learning rate"),
        ("learning_rate", "its peak; 0.001 if not given"),
        ("warmup", "batches until the peak; a tenth, at most 4000, if not given"),
        ("clip_norm", "largest norm of the gradients; any if not given"),
        ("weight_decay", "apart from the gradients; none if not given"),
        ("label_smoothing", "probability that is spread over all tokens"),
        ("ema", "momentum of a moving average of weights, as 0.999; none if not given"),
        ("average", "epochs whose mean to try in the end"),
        ("r_drop", "weight of R-Drop, as 5; none if not given"),
        ("simcut", "weight of SimCut, as 3; none if not given"),
        ("cutoff", "probability of a token to be cut, of --simcut"),
        (
            "source_dropout",
            "probability of a source's token to be hidden; none is if not given",
        ),
        ("source_deletion", "and to be left out; none is if not given"),
        (
            "source_infilling",
            "share of a source's tokens in runs that are hidden as one, as 0.3; none "
            "if not given",
        ),
        (
            "source_shuffle",
            "most places that a source's tokens move by, as 3; they stay if not given",
        ),
    ):
        add_training_option(group, name, words)
    group.add_argument(
        "--teacher",
        nargs="+",
        type=saved_model,
        metavar="FOLDER",
        help="trained model to distil, of the same vocabulary; of several the mean of "
        "what they predict; none if not given",
    )
    for name, words in (
        ("teacher_weight", "its share of the loss"),
        ("temperature", "of the teacher"),
        ("monitor", "what the best epoch is chosen by"),
        (
            "patience",
            "epochs without a better one to stop after; all are trained if not given",
        ),
    ):
        add_training_option(group, name, words)
    for name, words in (
        (
            "checkpoint_minutes",
            "minutes after which to write a checkpoint within an epoch too; if not "
            "given, after SIGTERM alone",
        ),
        ("keep_checkpoints", "newest checkpoints to keep"),
        ("log_seconds", "seconds between lines of log.jsonl, and on no terminal"),
    ):
        add_training_option(group, name, words)
    group.add_argument(
        "--data-parallel",
        action="store_true",
        help="divide each batch among all devices: under TensorFlow and JAX those of "
        "the process, under JAX with KERAS_DISTRIBUTION_NUM_PROCESSES, ..._PROCESS_ID "
        "and ..._JOB_ADDRESSES those of several, on PyTorch those of the processes "
        "that torchrun started",
    )
    group.add_argument(
        "--model-parallel",
        type=positive,
        default=1,
        help="devices that share the weights of a model, all but embeddings, and rows "
        "with other such groups; under JAX",
    )
    group.add_argument(
        "--tensorboard",
        action="store_true",
        help="log for TensorBoard too; needs the extra tensorboard",
    )
    add_configuration(parser)


def training_options_file(values: Mapping[str, Any], head: str) -> str:
    """Returns the text of a file of options of the command train.

    Args:
        values: Those that are not left at their defaults, by the arguments' names.
        head: What the file says of itself.

    Example:
        ```python
        from keras_encdec.cli.training_arguments import training_options_file

        print(training_options_file({"epochs": 20}, "Twenty epochs."))
        ```
    """
    parser = argparse.ArgumentParser()
    add_training(parser)
    return configuration(parser, values, head)


def options_of_run(given: Mapping[str, Any]) -> str:
    """Returns the text of the file that repeats a run.

    Args:
        given: The arguments that stood in its command, with their values.
    """
    # Who repeats a run does not mean to remove it.
    values = {name: value for name, value in given.items() if name != "overwrite"}
    return training_options_file(
        values,
        "What this run was trained with: keras-encdec train --config FILE goes on with "
        "it, and with --output ANOTHER repeats it. Paths are those of the command. "
        "Commented out is what was left at its default.",
    )
