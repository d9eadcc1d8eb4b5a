"""The commands that train: demo, vocabulary, train."""

import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_encdec.cli.arguments import (
    Commands,
    add_command,
    file_of_texts,
    is_checkpoint,
    load_model,
    new_file_place,
    portion,
    positive,
    tell_licence,
    vocabulary_size,
)
from keras_encdec.cli.checks import (
    check_demo,
    check_train,
    check_vocabulary,
    no_lines,
)
from keras_encdec.cli.initial_model import as_asked_for
from keras_encdec.cli.model_arguments import MODEL_OPTIONS
from keras_encdec.cli.models import teacher_of, word
from keras_encdec.cli.process import keep_freed_memory
from keras_encdec.cli.program import program
from keras_encdec.cli.training_arguments import (
    VOCABULARY_OPTIONS,
    add_training,
    add_training_option,
    options_of_run,
)
from keras_encdec.cli.training_pairs import (
    check_both_directions,
    training_pairs,
    validation_pairs,
)
from keras_encdec.files import new_file

if TYPE_CHECKING:
    from keras_encdec.text_to_text import TextToText


def add_commands(commands: Commands) -> None:
    """Adds these commands to a parser."""
    added = add_command(
        commands,
        demo,
        "learn to pronounce English words, from data to SavedModel",
        "",
        "--size tiny --words 5000 --held-out 500",
        check=check_demo,
    )
    added.add_argument("--output", default="saved_models/g2p", help="folder to write")
    added.add_argument(
        "--size",
        choices=("tiny", "small", "base"),
        default="small",
        help="of the model",
    )
    add_training_option(added, "epochs", "passes over the dictionary", default=2)
    added.add_argument(
        "--words", type=positive, help="use only so many words; all if not given"
    )
    added.add_argument(
        "--held-out", type=positive, default=2000, help="words to test it with"
    )
    add_training_option(added, "batch_tokens", "most of a batch", default=2048)
    add_training_option(added, "learning_rate", "its peak", default=3e-3)
    add_training_option(added, "seed", "of the split, the weights and the order")
    added.add_argument("--overwrite", action="store_true", help="replace the output")

    added = add_command(
        commands,
        vocabulary,
        "learn subwords from raw text files",
        "--input train.en train.de --output vocabulary.model",
        "--input train.ja --output ja.model --size 4000 --character-coverage 0.9995",
        check=check_vocabulary,
    )
    added.add_argument(
        "--input",
        nargs="+",
        required=True,
        type=file_of_texts,
        help="files of texts, a line each; .gz too",
    )
    added.add_argument(
        "--output",
        required=True,
        type=new_file_place,
        help="file to write: vocabulary.model",
    )
    added.add_argument(
        "--size",
        type=vocabulary_size,
        default=8000,
        help="number of ids, 4 special ones too",
    )
    added.add_argument(
        "--type",
        choices=("unigram", "bpe"),
        default="unigram",
        help="how SentencePiece chooses the subwords",
    )
    added.add_argument(
        "--character-coverage",
        type=portion,
        default=1.0,
        help="share of characters to cover; 0.9995 for Chinese or Japanese",
    )

    added.add_argument(
        "--tags",
        nargs="+",
        default=[],
        type=word,
        metavar="WORD",
        help="words that are one id each, to tell at the head of a source which task "
        "is meant, as __de__",
    )

    added = add_command(
        commands,
        train,
        "train a model on pairs of texts",
        "--source train.en --target train.de --output runs/en-de",
        "--source words.tsv --tokenizer character --output runs/words --epochs 20",
        "--config run.toml --epochs 20",
        "--initial hf://Helsinki-NLP/opus-mt-en-de --lora 8 --source my.tsv "
        "--output runs/mine",
        check=check_train,
    )
    add_training(added)


def demo(output: str, **options: Any) -> None:
    """Learns to pronounce English words from CMUdict, and exports the model."""
    from keras_encdec.demo import run_demo
    from keras_encdec.printing import tell

    keep_freed_memory()
    run_demo(output, **options)
    folder = shlex.quote(output)
    tell(
        f"\nSaved for Python in {output}/saved and for TF Serving in {output}/1.\n"
        "Next:\n"
        f"  echo serendipity | {program()} generate {folder}/saved\n"
        f"  {program()} demo --size base --epochs 10 --output saved_models/g2p-base\n"
        f"  {program()} train --help    to train on texts of your own"
    )


def vocabulary(
    input: Sequence[str],
    output: str,
    size: int,
    type: str,
    character_coverage: float,
    tags: Sequence[str],
) -> None:
    """Learns a SentencePiece vocabulary from raw text files, joint if several."""
    from keras_encdec.printing import tell
    from keras_encdec.recipe import learn_subwords
    from keras_encdec.text import read_lines

    with new_file(output) as file:
        texts = [line for path in input for line in read_lines(path)]
        if not texts:
            raise no_lines(input)
        tokenizer = learn_subwords(
            texts,
            size,
            model_type=type,
            character_coverage=character_coverage,
            tags=tags,
        )
        file.write_bytes(tokenizer.proto)
    tell(f"{tokenizer.vocabulary_size:,} ids from {len(texts):,} lines: {output}")


def train(
    source: str | None,
    target: str | None,
    corpus: Sequence[tuple[str, int]] | None,
    mixing_temperature: float | None,
    both_directions: Sequence[str] | None,
    validation_source: str | None,
    validation_target: str | None,
    output: str,
    overwrite: bool,
    tensorboard: bool,
    initial: str | None,
    source_language: str | None,
    target_language: str | None,
    tag: str | None,
    teacher: Sequence[str] | None,
    given: Mapping[str, Any],
    config: str | None,
    licence: str | None,
    data_parallel: bool,
    model_parallel: int,
    **options: Any,
) -> None:
    """Trains a model on pairs of texts, in a folder that holds all of the run.

    Interrupted, even by a kill, it goes on from its last checkpoint when the same
    command is given again; SIGTERM has one written first. The folder holds the options
    (options.toml, which --config takes), the vocabulary, checkpoints, the log of all
    epochs (log.csv), one of moments within them (log.jsonl) and, in best/, the best
    model so far with its tokenizers, for evaluate, generate and export.
    """
    import keras

    from keras_encdec import run
    from keras_encdec.backend import from_first, process_index
    from keras_encdec.distribution import use_all_devices
    from keras_encdec.layers.activations import get_activation
    from keras_encdec.printing import tell
    from keras_encdec.text_to_text import TextToText, saved_folder

    # What can be seen at once, before texts are read and subwords learned.
    recipe = {name: options.pop(name) for name in (*VOCABULARY_OPTIONS, *MODEL_OPTIONS)}
    get_activation(recipe["activation"])
    if data_parallel or model_parallel > 1:
        use_all_devices(model_parallel, vocabulary=False)
    with run.RunFolder(output).held() as folder:
        from_first(folder.check_place)
    # A record tells the folder itself.
    if initial is not None and not is_checkpoint(initial):
        initial = str(saved_folder(initial))
    teachers = [str(saved_folder(place)) for place in teacher or ()]
    sources, targets = training_pairs(
        source, target, corpus, mixing_temperature, both_directions
    )
    validation = validation_pairs(validation_source, validation_target, both_directions)
    before = from_first(lambda: folder.epochs_done)
    if before and not overwrite:
        text_to_text = TextToText.load(folder.best)
    elif initial is not None:
        text_to_text = load_model(
            initial,
            source_language=source_language,
            target_language=target_language,
            tag=tag,
        )
        asked = {k: v for k, v in recipe.items() if k in given}
        adapted = options["lora"] is not None
        text_to_text = as_asked_for(text_to_text, asked, adapted=adapted)
    else:
        text_to_text = _untrained(
            *(sources, targets, options["max_length"], options["seed"]),
            tags=both_directions or (),
            **recipe,
        )
    if both_directions is not None:
        check_both_directions(text_to_text, both_directions)
    tell_licence(text_to_text, licence)
    text_to_text.card["name"] = folder.path.name
    more: dict[str, Any] = {}
    if teachers:
        more["teacher"] = teacher_of(text_to_text, teachers).model
    tell(
        f"{text_to_text.model.count_params():,} parameters; "
        f"{text_to_text.source_tokenizer.vocabulary_size:,} source and "
        f"{text_to_text.target_tokenizer.vocabulary_size:,} target ids."
    )
    keep_freed_memory()
    before = 0 if overwrite else before
    # However much was drawn for the weights: so that going on is the same.
    keras.utils.set_random_seed(options["seed"])
    run.train(
        text_to_text,
        sources,
        targets,
        validation=validation,
        folder=folder.path,
        overwrite=overwrite,
        tensorboard=tensorboard,
        recipe={
            **recipe,
            "initial": initial,
            "source_language": source_language,
            "target_language": target_language,
            "tag": tag,
            "both_directions": both_directions,
            # One alone as it was told before there could be several.
            "teacher": teachers if len(teachers) > 1 else next(iter(teachers), None),
        },
        options_file=options_of_run(given),
        **more,
        **options,
    )
    output = shlex.quote(output)
    if options["lora"] is not None:
        tell(f"The adapter alone is in {folder.path / run.ADAPTER_FILE}.")
    if before == folder.epochs_done:
        if licence is not None and process_index() == 0:
            _license_best(folder.best, licence)
        tell(f"To train longer: {_longer(output, before, options['schedule'])}")
    tell(
        f"The best model is in {folder.best}. Next:\n"
        f"  {program()} evaluate {output} --source FILE --target FILE\n"
        f"  {program()} generate {output} --source FILE\n"
        f"  {program()} export {output} saved_models/{shlex.quote(folder.path.name)}"
    )


def _license_best(best: pathlib.Path, licence: str) -> None:
    """Puts a licence in the card of a model that is trained already."""
    from keras_encdec.text_to_text import TextToText

    text_to_text = TextToText.load(best)
    if text_to_text.card.get("licence") != licence:
        tell_licence(text_to_text, licence)
        text_to_text.save(best, overwrite=True)


def _longer(output: str, done: int, schedule: str) -> str:
    if schedule == "cosine":
        return f"{program()} train --initial {output} --output ANOTHER --source FILE"
    return f"the same command, with --epochs above {done}."


def _untrained(
    sources: Any,
    targets: list[str],
    max_length: int,
    seed: int,
    *,
    tokenizer: str,
    source_tokenizer: str | None,
    target_tokenizer: str | None,
    vocabulary: str | None,
    vocabulary_size: int,
    shared_vocabulary: bool,
    continuation: str | None,
    tags: Sequence[str],
    **model: Any,
) -> "TextToText":
    from keras_encdec.recipe import build, make_tokenizer
    from keras_encdec.text import SentencePieceTokenizer

    kinds = [kind or tokenizer for kind in (source_tokenizer, target_tokenizer)]
    more = vocabulary_size, continuation, tags
    if not targets:
        tokenizers = [*sources.parts[0].tokenizers]
    elif vocabulary is not None:
        tokenizers = [SentencePieceTokenizer(vocabulary)] * 2
    elif shared_vocabulary:
        tokenizers = [make_tokenizer(kinds[0], sources + targets, *more)] * 2
    else:
        tokenizers = [
            make_tokenizer(kind, texts, *more)
            for kind, texts in zip(kinds, (sources, targets), strict=True)
        ]
    return build(*tokenizers, max_length=max_length, seed=seed, **model)
