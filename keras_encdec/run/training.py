"""The training itself: all is checked and built, then the folder is begun."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from keras_encdec.annotations import AnyPath, KerasModel, Pairs
from keras_encdec.backend import (
    data_replica,
    data_replicas,
    from_first,
    gathered,
    process_count,
    process_index,
)
from keras_encdec.evaluation import evaluate_texts
from keras_encdec.generation.longest_targets import longest_of_pairs
from keras_encdec.interrupts import (
    check_interrupt,
    interrupts_kept,
    termination_kept,
)
from keras_encdec.printing import fit_verbosity, tell
from keras_encdec.run.batches import noise_of, pair_batches
from keras_encdec.run.ending import best_in_the_end, try_mean
from keras_encdec.run.folder import RUNNING_LOG_FILE, RunFolder
from keras_encdec.run.objective import build_metrics, check_can_learn, compiled
from keras_encdec.run.record import make_record, require_same
from keras_encdec.text import (
    PairsOfIds,
    TokenBatches,
    unknown_tokens,
)
from keras_encdec.text_to_text import TextToText
from keras_encdec.training import (
    Checkpoints,
    GenerationScores,
    HeldOutLoss,
    InterruptBetweenBatches,
    RunningLog,
    StopDivergence,
    averaged_weights,
)
from keras_encdec.training.adaptation import adapted
from keras_encdec.training_options import MONITORS, TrainingOptions


def train(
    text_to_text: TextToText,
    sources: Sequence[str] | PairsOfIds,
    targets: Sequence[str] = (),
    *,
    validation: Pairs | None = None,
    folder: AnyPath | None = None,
    overwrite: bool = False,
    teacher: KerasModel | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    tensorboard: bool = False,
    verbose: int | str = "auto",
    recipe: dict[str, Any] | None = None,
    options_file: str | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Trains a `TextToText` on pairs of texts.

    Adam with the moments of Vaswani et al. 2017, label smoothing, batches of about as
    many tokens each. After each epoch the validation texts are generated and scored.
    With a folder, a training that was interrupted, even by a kill, goes on from its
    last checkpoint when the same call is made again, and ends with the same weights:
    one is written after each epoch, after `checkpoint_minutes`, and after SIGTERM. With
    more `epochs` it goes on too, unless its schedule is the cosine's, which ends.

    Nothing is written, or overwritten, before all that it was given is checked and
    built. However it ends, `text_to_text` has the weights of the best epoch so far; if
    none was finished, those it had, and no folder stays behind; an earlier training
    that was to be overwritten is as it was. What LoRA learned is then merged; with
    `lora`, which begins with it and with which nothing else learns, the model has none
    in the end, and what may learn of it is what might before.

    Processes that have called `use_all_devices` all call this with the same, and train
    together; the first of them alone writes and prints.

    Args:
        text_to_text: The `TextToText` to train: of `recipe.build`, or a trained one.
        sources: The source texts, a list; or a `Corpus`, or other `PairsOfIds`, of the
            tokenizers of the `TextToText`.
        targets: The target texts, as many; none beside pairs of ids.
        validation: A pair `(sources, targets)` to evaluate after each epoch, or None.
        folder: Where to keep checkpoints, logs and, in `best/`, the best model: that
            of a `RunFolder`; of `lora` the adapter alone too, in
            `adapter.safetensors`. Or None to keep nothing.
        overwrite: Whether to begin anew where the folder holds an earlier training,
            which is removed when the first epoch is finished.
        teacher: None, or a trained `EncoderDecoder`, or an `Ensemble` of several, with
            the same vocabularies, to learn from, token by token.
        callbacks: Further Keras callbacks.
        tensorboard: Whether to log for TensorBoard too, in `tensorboard/` of the
            folder, which it then needs.
        verbose: As in `keras.Model.fit`; "auto" is a progress bar in a terminal or a
            notebook, a line for each epoch, and each `log_seconds`, elsewhere. 0 prints
            nothing.
        recipe: None, or what `text_to_text` was made of, a dict that JSON can hold: a
            part of the folder's record, and compared like all of it.
        options_file: None, or the text of `options.toml` in the folder, which tells
            people and the command line how to repeat the training.
        **options: The arguments of `TrainingOptions`.

    Returns:
        The logs of the epochs, a list of dicts.

    Raises:
        BlockingIOError: If another process trains in the folder.
        DivergenceError: If the loss, or what the model answers, is not finite.
        FileExistsError: If the folder is something else than a training's.
        KeyboardInterrupt: After Ctrl-C, between two batches, with what is kept; a
            second Ctrl-C does not wait.
        Terminated: After SIGTERM, when the batch, or the evaluation, is done and all
            is written; it is a `SystemExit` of status 143.
        TypeError: If there is no such option, or the texts are no strings.
        ValueError: If there are no pairs, an option is out of range, the folder holds
            a training that was begun with something else, or `lora_targets` are no
            layers of the model, or it has LoRA already.

    Example:
        ```python
        from keras_encdec import CharacterTokenizer
        from keras_encdec.recipe import build
        from keras_encdec.run import train

        sources, targets = ["one", "two"], ["eno", "owt"]
        tokenizer = CharacterTokenizer.from_texts(sources)
        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
        text_to_text = build(tokenizer, tokenizer, max_length=8, **small)
        train(text_to_text, sources, targets, epochs=2)
        print(text_to_text(["two"]))
        ```
    """
    chosen = TrainingOptions(**options)
    chosen.check_company(validation=validation is not None, teacher=teacher is not None)
    if chosen.max_length is None:
        chosen = dataclasses.replace(chosen, max_length=text_to_text.max_length)
    if tensorboard and folder is None:
        raise ValueError(
            "What is logged for TensorBoard is kept in the folder of the training; "
            "received tensorboard=True and no folder. Give one."
        )
    model = text_to_text.model
    _check_validation(validation)
    check_can_learn(model, teacher, chosen.lora)
    record = make_record(
        chosen, (sources, targets), validation, teacher=teacher, recipe=recipe
    )
    require_same(record, text_to_text)
    begun_for = chosen.epochs
    with contextlib.ExitStack() as stack:
        if folder is None:
            place = RunFolder(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            place = stack.enter_context(RunFolder(folder).held())
            from_first(place.check_place)
            if not overwrite:
                begun_for = from_first(lambda: place.check_same(record, text_to_text))
        as_before = stack.enter_context(
            adapted(model, chosen.lora, chosen.lora_targets)
        )
        batches = pair_batches(
            text_to_text,
            sources,
            targets,
            chosen,
            num_shapes=chosen.num_shapes,
            sampling=chosen.sampling,
            noise=noise_of(chosen, text_to_text.source_tokenizer),
            seed=chosen.seed,
        )
        generator = text_to_text.generator
        generator.longest_targets = longest_of_pairs(
            batches.lengths, generator.longest_targets
        )
        steps = chosen.updates_per_epoch or len(batches)
        if verbose:
            tell(
                f"{len(sources):,} pairs; a pass over them is {len(batches):,} batches "
                f"of {len(batches.shapes)} shapes, {batches.padding:.1%} padding."
            )
        judges = []
        scores: list[str] = []
        if validation is not None:
            held_out = pair_batches(text_to_text, *validation, chosen, shuffle=False)
            judges = _judges(
                text_to_text, held_out, *validation, scores, 3 if verbose else 0
            )
        guard = StopDivergence(None if judges else _example(batches))
        trained = compiled(model, teacher, chosen, steps, begun_for * steps)

        def tell_scores() -> None:
            text_to_text.card |= _told(sources, validation, scores)
            # What was calibrated were other weights.
            text_to_text.temperature = 1.0

        def save_best() -> None:
            tell_scores()
            with averaged_weights(trained):
                place.save_best(text_to_text, as_before)

        checkpoints = _checkpoints(place, chosen, judges, save_best)
        done = 0 if overwrite else checkpoints.restore(trained)
        begun = checkpoints.batches_done
        over = done >= chosen.epochs or checkpoints.is_over
        if verbose and over:
            tell(f"Nothing is left to train in {place.path} after epoch {done}.")
        elif verbose and (done or begun):
            within = f" and {begun:,} of {steps:,} batches" if begun else ""
            after = f"epoch {done} of {chosen.epochs}{within}"
            tell(f"Going on with {place.path} after {after}.")
        if begun:
            build_metrics(trained, batches, model.output_shape[-1])
        if verbose and not (done or begun):
            _print_cut("", batches, chosen.max_length)
            if not isinstance(sources, PairsOfIds):
                _print_unknown(text_to_text, "", batches, sources, targets)
            if validation is not None:
                _print_cut("validation ", held_out, chosen.max_length)
                _print_unknown(text_to_text, "validation ", held_out, *validation)
        # What begins, or puts away, a folder is not left half done.
        stack.enter_context(interrupts_kept(until_checked=True))
        if not ((done or begun) and place.has_record):
            place.begin(record, text_to_text, overwrite=overwrite)
        if options_file is not None:
            place.write_options_file(options_file)
        if folder is not None:
            stack.enter_context(termination_kept())
        named = folder is not None
        ending = best_in_the_end(place, model, chosen, named=named, overwrite=overwrite)
        with ending, checkpoints.settled():
            if not over:

                def write_log(epoch: int, logs: dict[str, Any]) -> None:
                    place.let_go()
                    place.write_log(checkpoints.history)

                first = process_index() == 0
                board = place.path / "tensorboard" if tensorboard and first else None
                running = RunningLog(
                    batches.counts(done * steps + begun),
                    chosen.epochs,
                    seconds=chosen.log_seconds,
                    file=place.path / RUNNING_LOG_FILE if first else None,
                    board=board,
                    printed=fit_verbosity(verbose) == 2,
                    start=(done, begun),
                )
                log = keras.callbacks.LambdaCallback(on_epoch_end=write_log)
                # Before the guard what adds a loss, after it what uses the model.
                order = [*judges[:1], guard, *judges[1:], *callbacks]
                trained.fit(
                    batches.dataset(
                        first=done * steps + begun,
                        accumulate=chosen.accumulate,
                        replicas=data_replicas(),
                        replica=data_replica(),
                    ),
                    steps_per_epoch=steps,
                    epochs=chosen.epochs,
                    initial_epoch=done,
                    callbacks=[
                        InterruptBetweenBatches(),
                        *order,
                        running,
                        checkpoints,
                        log,
                    ],
                    shuffle=False,
                    verbose=fit_verbosity(verbose),
                )
            # Again, for a kill may have come between a checkpoint and its line.
            place.write_log(checkpoints.history)
            if chosen.average > 1:
                try_mean(
                    *(place, text_to_text, trained, checkpoints, judges, as_before),
                    tell_scores,
                    chosen.average,
                )
    return checkpoints.history


def _print_unknown(
    text_to_text: TextToText, kind: str, batches: TokenBatches, *texts: Sequence[str]
) -> None:
    for side, some, ids in zip(("source", "target"), texts, batches.ids, strict=True):
        tokenizer = getattr(text_to_text, f"{side}_tokenizer")
        tell(unknown_tokens(tokenizer, some, ids=ids).message(kind + side))


def _print_cut(kind: str, batches: TokenBatches, max_length: int | None) -> None:
    for side, number in zip(("source", "target"), batches.cut, strict=True):
        of_all = f"{number:,} of the {len(batches.lengths):,} {kind}{side}s"
        if number:
            tell(f"{of_all} are longer than max_length, {max_length} tokens, and cut.")


def _check_validation(validation: Pairs | None) -> None:
    if validation is None:
        return
    if not (
        isinstance(validation, (tuple, list))
        and len(validation) == 2
        and len(validation[0]) == len(validation[1]) > 0
    ):
        raise ValueError(
            "`validation` must be a pair of lists, sources and targets, of as many "
            f"texts each and at least one; received {validation!r:.200}."
        )


def _example(batches: TokenBatches) -> Any:
    """One row of the first batch."""
    ((source, target), *_) = next(iter(batches.dataset(count=1)))
    return source[:1].numpy(), target[:1].numpy()


def _judges(
    text_to_text: TextToText,
    held_out: TokenBatches,
    sources: Sequence[str],
    targets: Sequence[str],
    report: list[str],
    examples: int,
) -> list[keras.callbacks.Callback]:
    """What judges the model after each epoch: by a loss, and by what it generates.

    The lines of the last scores are put in `report`.
    """

    def score(hypotheses: Sequence[str], references: Sequence[str]) -> Any:
        scores = evaluate_texts(sources, hypotheses, references)
        report[:] = scores.report
        return scores.values

    def generate(texts: Sequence[str]) -> list[str]:
        if process_count() == 1:
            return text_to_text(texts, progress=lambda *counts: check_interrupt())
        # In turn; and an interrupt waits, for no process leaves the others.
        number = process_count()
        shares = gathered(text_to_text(texts[process_index() :: number]))
        return [shares[i % number][i // number] for i in range(len(texts))]

    references = text_to_text.target_tokenizer.join(targets)
    batches = held_out.dataset(
        count=len(held_out), replicas=data_replicas(), replica=data_replica()
    )
    return [
        HeldOutLoss(batches),
        GenerationScores(generate, sources, references, score, examples=examples),
    ]


def _told(
    sources: Sequence[Any] | PairsOfIds, validation: Pairs | None, scores: Sequence[str]
) -> dict[str, Any]:
    """What the model card tells of a training."""
    held_out = "none" if validation is None else f"{len(validation[0]):,} pairs"
    data = f"Trained on {len(sources):,} pairs of texts; held out: {held_out}."
    if not scores:
        return {"data": data, "scores": []}
    head = "of the texts that were held out, by which the epoch was chosen:"
    return {"data": data, "scores": [head, *scores]}


def _checkpoints(
    place: RunFolder,
    options: TrainingOptions,
    judges: Sequence[keras.callbacks.Callback],
    save_best: Callable[[], None],
) -> Checkpoints:
    return Checkpoints(
        place.checkpoints,
        keep=max(options.average, options.keep_checkpoints),
        minutes=options.checkpoint_minutes,
        monitor=f"val_{options.monitor}" if judges else options.monitor,
        mode=MONITORS[options.monitor],
        patience=options.patience,
        save_best=save_best,
    )
