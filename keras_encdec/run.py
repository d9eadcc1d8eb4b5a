"""A training from pairs of texts to the best model, which a kill only interrupts."""

import contextlib
import csv
import pathlib
import tempfile

import keras

from keras_encdec.evaluation import evaluate_texts
from keras_encdec.files import new_file
from keras_encdec.text import TokenBatches
from keras_encdec.text_to_text import TextToText
from keras_encdec.training import (
    Checkpoints,
    GenerationScores,
    HeldOutLoss,
    InverseSquareRoot,
    ProjectedLoss,
    RDrop,
    TokenAccuracy,
    TokenCrossEntropy,
    WordDistillation,
    average_weights,
    averaged_weights,
)

SCHEDULES = ("cosine", "inverse-square-root", "noam", "constant")
# What an epoch can be judged by, and which way is better.
MONITORS = {
    "loss": "min",
    "bleu": "max",
    "chrf": "max",
    "token_error_rate": "min",
    "sequence_error_rate": "min",
}


def train(
    text_to_text,
    sources,
    targets,
    *,
    validation=None,
    folder=None,
    epochs=10,
    batch_tokens=4096,
    num_shapes=16,
    updates_per_epoch=None,
    schedule="cosine",
    learning_rate=None,
    warmup=None,
    clip_norm=None,
    weight_decay=None,
    accumulate=1,
    label_smoothing=0.1,
    r_drop=None,
    teacher=None,
    teacher_weight=0.5,
    temperature=1.0,
    sampling=None,
    ema=None,
    average=1,
    monitor="loss",
    patience=None,
    max_length=None,
    seed=0,
    callbacks=(),
    verbose="auto",
):
    """Trains a `TextToText` on pairs of texts.

    Adam with the moments of Vaswani et al. 2017, label smoothing, batches of about as
    many tokens each. After each epoch the validation texts are generated and scored.
    With a folder, a training that was interrupted, even by a kill, goes on from its
    last epoch when the same call is made again, and ends with the same weights.

    Args:
        text_to_text: The `TextToText` to train: of `recipe.build`, or a trained one.
        sources: The source texts, a list.
        targets: The target texts, as many.
        validation: A pair `(sources, targets)` to evaluate after each epoch, or None.
        folder: Where to keep checkpoints, logs and, in `best/`, the best model, which
            `text_to_text` is in the end; or None to keep nothing.
        epochs: The number of epochs.
        batch_tokens: As of `TokenBatches`.
        num_shapes: As of `TokenBatches`; JAX compiles a program for each.
        updates_per_epoch: The number of batches in an epoch; by default those of one
            pass over the pairs.
        schedule: `"cosine"` down to 0, `"inverse-square-root"`, `"noam"` or
            `"constant"`; all but this after a linear warm-up.
        learning_rate: The highest learning rate, by default 1e-3; Noam's is
            `(hidden_dim * warmup) ** -0.5`.
        warmup: The number of batches of the warm-up; by default a tenth of all, and at
            most 4,000.
        clip_norm: The largest norm of all gradients together, or None.
        weight_decay: The weight decay, decoupled from the gradients, or None.
        accumulate: The number of batches whose gradients make one update.
        label_smoothing: As of `TokenCrossEntropy`.
        r_drop: None, or the weight of `RDrop`.
        teacher: None, or a trained `EncoderDecoder` with the same vocabularies to
            learn from, token by token.
        teacher_weight: As of `WordDistillation`.
        temperature: As of `WordDistillation`.
        sampling: As of `TokenBatches`.
        ema: None, or the momentum of an exponential moving average of the weights,
            which is then what is evaluated and kept.
        average: Over how many of the last epochs to take the mean of the weights in
            the end; with validation it is kept if it is better than the best epoch.
        monitor: What to judge an epoch by: `"loss"`, `"bleu"`, `"chrf"`,
            `"token_error_rate"` or `"sequence_error_rate"`. Without validation, the
            loss in training.
        patience: The number of epochs without a better one to stop after, or None.
        max_length: The largest number of tokens of a source or a target; longer texts
            are cut. By default that of `text_to_text`.
        seed: The seed of the order.
        callbacks: Further Keras callbacks.
        verbose: As of `keras.Model.fit`.

    Returns:
        The logs of the epochs, a list of dicts.

    Raises:
        ValueError: If there are no pairs, or an option is out of range.

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
    _check(schedule, learning_rate, monitor, validation, r_drop, teacher)
    mode = MONITORS[monitor]
    tokenizers = text_to_text.source_tokenizer, text_to_text.target_tokenizer
    max_length = max_length or text_to_text.max_length
    limits = {"max_source_length": max_length, "max_target_length": max_length}
    batches = TokenBatches(
        sources,
        targets,
        *tokenizers,
        batch_tokens,
        num_shapes=num_shapes,
        sampling=sampling,
        seed=seed,
        **limits,
    )
    steps = updates_per_epoch or len(batches)
    if verbose:
        print(
            f"{len(sources):,} pairs; a pass over them is {len(batches):,} batches of "
            f"{len(batches.shapes)} shapes, {batches.padding:.1%} padding."
        )
    model = text_to_text.model
    trained = _objective(model, r_drop, teacher, teacher_weight, temperature)
    rate = _schedule(
        schedule,
        learning_rate,
        warmup,
        epochs * steps,
        model.target_embedding.hidden_dim,
    )
    trained.compile(
        keras.optimizers.Adam(
            rate,
            beta_2=0.98,
            epsilon=1e-9,
            weight_decay=weight_decay,
            global_clipnorm=clip_norm,
            use_ema=ema is not None,
            ema_momentum=0.99 if ema is None else ema,
            gradient_accumulation_steps=accumulate if accumulate > 1 else None,
        ),
        TokenCrossEntropy(label_smoothing=label_smoothing),
        metrics=None if isinstance(trained, ProjectedLoss) else [TokenAccuracy()],
    )
    judges = []
    if validation is not None:
        monitor = f"val_{monitor}"
        held_out = TokenBatches(
            *validation, *tokenizers, batch_tokens, shuffle=False, **limits
        )
        judges = [
            HeldOutLoss(held_out.dataset(count=len(held_out))),
            _scores(text_to_text, *validation),
        ]
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
        folder = pathlib.Path(folder)

        def save_best():
            with averaged_weights(trained):
                text_to_text.save(folder / "best", overwrite=True)

        checkpoints = Checkpoints(
            folder / "checkpoints",
            keep=average,
            monitor=monitor,
            mode=mode,
            patience=patience,
            save_best=save_best,
        )
        done = checkpoints.restore(trained)
        if done < epochs and not checkpoints.is_over:
            log_file = keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: _write_log(checkpoints, folder)
            )
            try:
                trained.fit(
                    batches.dataset(first=done * steps),
                    steps_per_epoch=steps,
                    epochs=epochs,
                    initial_epoch=done,
                    callbacks=[*judges, *callbacks, checkpoints, log_file],
                    shuffle=False,
                    verbose=verbose,
                )
            except KeyboardInterrupt:
                print("\nInterrupted; with its folder it goes on from the last epoch.")
                return checkpoints.history
        # Again, for a kill may have come between a checkpoint and its line.
        _write_log(checkpoints, folder)
        if average > 1:
            average_weights(checkpoints.paths, trained)
            logs = {}
            for judge in judges:
                logs.update(judge.measure(trained))
            # Without validation there is nothing to tell which one is better.
            if not judges or checkpoints.is_better(logs[monitor]):
                text_to_text.save(folder / "best", overwrite=True)
        model.set_weights(TextToText.load(folder / "best").model.get_weights())
    return checkpoints.history


def _check(schedule, learning_rate, monitor, validation, r_drop, teacher):
    for name, value, known in (
        ("schedule", schedule, SCHEDULES),
        ("monitor", monitor, tuple(MONITORS)),
    ):
        if value not in known:
            raise ValueError(
                f"{name} must be one of {', '.join(known)}; received {value!r}."
            )
    if monitor != "loss" and validation is None:
        raise ValueError(
            "What is generated is judged on validation texts; received "
            f"monitor={monitor!r}, which needs validation. Give a pair of lists."
        )
    if schedule == "noam" and learning_rate is not None:
        raise ValueError(
            "Noam's learning rate follows from hidden_dim and warmup; received "
            f"learning_rate={learning_rate}. Leave it out, or choose "
            "'inverse-square-root'."
        )
    if r_drop is not None and teacher is not None:
        raise ValueError(
            "A training has R-Drop or a teacher, not both; received "
            f"r_drop={r_drop} and a teacher. Leave one out."
        )


def _schedule(name, learning_rate, warmup, batches, hidden_dim):
    warmup = warmup or min(4000, batches // 10 + 1)
    learning_rate = 1e-3 if learning_rate is None else learning_rate
    if name == "constant":
        return learning_rate
    if name == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            0.0,
            max(1, batches - warmup),
            warmup_target=learning_rate,
            warmup_steps=warmup,
        )
    if name == "noam":
        learning_rate = (hidden_dim * warmup) ** -0.5
    return InverseSquareRoot(learning_rate, warmup)


def _objective(model, r_drop, teacher, teacher_weight, temperature):
    if r_drop is not None:
        return RDrop(model, weight=r_drop)
    if teacher is None:
        return ProjectedLoss(model)
    return WordDistillation(model, teacher, teacher_weight, temperature)


def _scores(text_to_text, sources, references):
    def score(hypotheses, references):
        return evaluate_texts(sources, hypotheses, references).values

    references = text_to_text.target_tokenizer.join(references)
    return GenerationScores(text_to_text, sources, references, score)


def _write_log(checkpoints, folder):
    """Writes the logs of all epochs, those before an interruption too."""
    history = checkpoints.history
    names = list(dict.fromkeys(name for logs in history for name in logs))
    with new_file(folder / "log.csv") as path, open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", *names])
        writer.writeheader()
        for number, logs in enumerate(history, start=1):
            writer.writerow({"epoch": number, **logs})
