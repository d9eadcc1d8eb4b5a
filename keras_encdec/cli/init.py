"""The command that writes a file of options for a task: init."""

import os
import shlex
from typing import Any

from keras_encdec.cli.arguments import Commands, add_command, new_file_place
from keras_encdec.cli.program import program
from keras_encdec.cli.training_arguments import training_options_file
from keras_encdec.files import new_file

# What differs from the defaults, by the arguments' names.
TASKS: dict[str, dict[str, Any]] = {
    "translation": {
        "source": "train.en",
        "target": "train.de",
        "validation_source": "valid.en",
        "validation_target": "valid.de",
        "output": "runs/en-de",
        "vocabulary_size": 8000,
        "shared_vocabulary": True,
        "clip_norm": 1.0,
        "ema": 0.999,
        "average": 4,
        "monitor": "bleu",
    },
    "words": {
        "source": "train.tsv",
        "validation_source": "valid.tsv",
        "output": "runs/words",
        "source_tokenizer": "character",
        "target_tokenizer": "word",
        "max_length": 40,
        "hidden_dim": 192,
        "intermediate_dim": 768,
        "num_layers": 4,
        "num_decoder_layers": 2,
        "batch_tokens": 2048,
        "clip_norm": 1.0,
        "ema": 0.999,
        "average": 4,
        "monitor": "token_error_rate",
    },
    "characters": {
        "source": "train.tsv",
        "validation_source": "valid.tsv",
        "output": "runs/characters",
        "tokenizer": "character",
        "max_length": 64,
        "hidden_dim": 128,
        "intermediate_dim": 512,
        "batch_tokens": 2048,
        "clip_norm": 1.0,
        "ema": 0.999,
        "average": 4,
        "monitor": "character_error_rate",
    },
}
_WHAT = {
    "translation": "Sentences to sentences, such as a translation.",
    "words": "The letters of a word to a list of words, such as its phonemes.",
    "characters": "Letters to letters, such as a transliteration.",
}


def add_commands(commands: Commands) -> None:
    """Adds this command to a parser."""
    added = add_command(
        commands,
        init,
        "write a file of options for train",
        "run.toml",
        "words.toml --task words",
        check=_check_place,
        needs_keras=False,
    )
    added.add_argument("path", type=new_file_place, help="file to write: run.toml")
    added.add_argument(
        "--task",
        choices=tuple(TASKS),
        default="translation",
        help="what sizes and measures are chosen for",
    )


def _check_place(path: str, task: str) -> None:
    if os.path.exists(path):
        raise FileExistsError(
            f"A file of options is written anew, and {path!r} is there already. Choose "
            "another place, or remove it."
        )


def init(path: str, task: str) -> None:
    """Writes a file of all options of train, each with what it is.

    Those that the task sets are set, with names of files to be replaced by your own;
    all others stand there with their defaults, commented out. Then: train --config.
    """
    head = (
        f"{_WHAT[task]} For: keras-encdec train --config FILE. What stands on the "
        "command line wins. Paths are seen from where the command is called. Commented "
        "out are defaults; ... stands where there is none."
    )
    with new_file(path) as file:
        file.write_text(training_options_file(TASKS[task], head), encoding="utf-8")
    print(
        f"Name your files in {path}. Then:\n"
        f"  {program()} train --config {shlex.quote(path)}"
    )
