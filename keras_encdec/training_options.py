"""The options of a training, each with its bounds, for Python and the command line."""

import dataclasses
import math
import numbers
from typing import Any, Literal

SCHEDULES = ("cosine", "inverse-square-root", "noam", "constant")
# What an epoch can be judged by, and which way is better.
MONITORS: dict[str, Literal["min", "max"]] = {
    "loss": "min",
    "bleu": "max",
    "chrf": "max",
    "character_error_rate": "min",
    "token_error_rate": "min",
    "sequence_error_rate": "min",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbers:
    """Finite numbers of a kind, between bounds.

    Args:
        kind: `int` or `float`.
        least: The least of them, or None.
        above: What all of them are above, or None.
        below: What all of them are below, or None.
        most: The largest of them, or None.

    Example:
        ```python
        from keras_encdec.training_options import Numbers

        share = Numbers(kind=float, least=0, below=1)
        assert 0.1 in share and 1 not in share and "0.1" not in share
        print(share)  # a number of at least 0 and less than 1
        ```
    """

    kind: type
    least: float | None = None
    above: float | None = None
    below: float | None = None
    most: float | None = None

    def __contains__(self, value: Any) -> bool:
        kind: Any = numbers.Integral if self.kind is int else numbers.Real
        return (
            isinstance(value, kind)
            and not isinstance(value, bool)
            and _is_finite(value)
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (self.most is None or value <= self.most)
        )

    def __str__(self) -> str:
        bounds = (
            ("of at least", self.least),
            ("above", self.above),
            ("less than", self.below),
            ("at most", self.most),
        )
        words = [f"{word} {bound}" for word, bound in bounds if bound is not None]
        kind = "a whole number" if self.kind is int else "a number"
        return f"{kind} {' and '.join(words)}" if words else f"{kind} that is finite"

    def read(self, text: str) -> Any:
        """Returns the number that a text says; the text if it says none."""
        try:
            return self.kind(text)
        except ValueError:
            return text


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # An int of hundreds of digits.
        return False


@dataclasses.dataclass(frozen=True)
class Names:
    """Some names.

    Args:
        names: All of them.

    Example:
        ```python
        from keras_encdec.training_options import Names

        print(Names(("cosine", "constant")))  # one of cosine, constant
        ```
    """

    names: tuple
    kind = str

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.names

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}"

    def read(self, text: str) -> Any:
        """Returns the text."""
        return text


@dataclasses.dataclass(frozen=True)
class SomeNames:
    """A list of names, one at least.

    Args:
        example: Some of them, for an error.

    Example:
        ```python
        from keras_encdec.training_options import SomeNames

        assert ("query", "value") in SomeNames("query") and "query" not in SomeNames("")
        ```
    """

    example: str
    kind = tuple

    def __contains__(self, value: Any) -> bool:
        return (
            isinstance(value, (tuple, list))
            and len(value) > 0
            and all(isinstance(name, str) and name for name in value)
        )

    def __str__(self) -> str:
        return f"a list of names, such as {self.example}"

    def read(self, text: str) -> Any:
        """Returns the names that a text says, between spaces."""
        return tuple(text.split())


# What changes nothing in what is learnt.
FREE_OPTIONS = ("checkpoint_minutes", "keep_checkpoints", "log_seconds")

COUNT = Numbers(kind=int, least=1)
POSITIVE = Numbers(kind=float, above=0)
SHARE = Numbers(kind=float, least=0, below=1)
PORTION = Numbers(kind=float, above=0, most=1)


def _option(default: Any, bounds: Any) -> Any:
    return dataclasses.field(default=default, metadata={"bounds": bounds})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a `TextToText` is trained.

    Args:
        epochs: The number of epochs.
        batch_tokens: As in `TokenBatches`.
        num_shapes: As in `TokenBatches`; JAX compiles a program for each.
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
        label_smoothing: As in `TokenCrossEntropy`.
        r_drop: None, or the weight of `RDrop`.
        simcut: None, or the weight of `SimCut`.
        cutoff: As in `SimCut`.
        teacher_weight: As in `WordDistillation`.
        temperature: As in `WordDistillation`.
        sampling: As in `TokenBatches`.
        source_dropout: None, or the probability of a source's token to be hidden, as
            one that the vocabulary does not know: `MaskTokens`.
        source_deletion: None, or the rate of `DeleteTokens` for sources.
        source_infilling: None, or the rate of `InfillSpans` for sources.
        source_shuffle: None, or the distance of `ShuffleTokens` for sources.
        ema: None, or the momentum of an exponential moving average of the weights,
            which is then what is evaluated and kept.
        average: Over how many of the last epochs to take the mean of the weights in
            the end; with validation it is kept if it is better than the best epoch.
        monitor: What to judge an epoch by: `"loss"`, `"bleu"`, `"chrf"`,
            `"character_error_rate"`, `"token_error_rate"` or `"sequence_error_rate"`.
            Without validation, the loss in training.
        patience: The number of epochs without a better one to stop after, or None.
        max_length: The largest number of tokens of a source or a target; longer texts
            are cut. By default that of the `TextToText`.
        lora: None, or the rank of an adapter that is trained in place of the model's
            weights, as in `enable_lora`.
        lora_targets: The names of the layers that are adapted, as there.
        seed: The seed of the order.
        checkpoint_minutes: After how many minutes to write a checkpoint within an
            epoch, or None. It and the next may be another when a training goes on.
        keep_checkpoints: How many checkpoints to keep, the newest ones.
        log_seconds: How often to log within an epoch, as in `RunningLog`; it may be
            another likewise.

    Raises:
        ValueError: If an option is out of its bounds, or does not fit another.

    Example:
        ```python
        from keras_encdec.training import TrainingOptions

        print(TrainingOptions(epochs=20, learning_rate=5e-4))
        ```
    """

    epochs: int = _option(10, COUNT)
    batch_tokens: int = _option(4096, COUNT)
    num_shapes: int = _option(16, COUNT)
    updates_per_epoch: int | None = _option(None, COUNT)
    schedule: str = _option("cosine", Names(SCHEDULES))
    learning_rate: float | None = _option(None, POSITIVE)
    warmup: int | None = _option(None, COUNT)
    clip_norm: float | None = _option(None, POSITIVE)
    weight_decay: float | None = _option(None, Numbers(kind=float, least=0))
    accumulate: int = _option(1, COUNT)
    label_smoothing: float = _option(0.1, SHARE)
    r_drop: float | None = _option(None, POSITIVE)
    simcut: float | None = _option(None, POSITIVE)
    cutoff: float = _option(0.05, Numbers(kind=float, above=0, below=1))
    teacher_weight: float = _option(0.5, PORTION)
    temperature: float = _option(1.0, POSITIVE)
    sampling: float | None = _option(None, Numbers(kind=float, least=0, most=1))
    source_dropout: float | None = _option(None, PORTION)
    source_deletion: float | None = _option(None, PORTION)
    source_infilling: float | None = _option(None, PORTION)
    source_shuffle: int | None = _option(None, COUNT)
    ema: float | None = _option(None, SHARE)
    average: int = _option(1, COUNT)
    monitor: str = _option("loss", Names(tuple(MONITORS)))
    patience: int | None = _option(None, COUNT)
    max_length: int | None = _option(None, COUNT)
    lora: int | None = _option(None, COUNT)
    lora_targets: tuple[str, ...] = _option(
        ("query", "value"), SomeNames('("query", "value")')
    )
    seed: int = _option(0, Numbers(kind=int, least=0, most=2**32 - 1))
    checkpoint_minutes: float | None = _option(None, POSITIVE)
    keep_checkpoints: int = _option(1, COUNT)
    log_seconds: float = _option(60.0, POSITIVE)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, bounds = getattr(self, field.name), field.metadata["bounds"]
            if value is None and field.default is None:
                continue
            if value not in bounds:
                raise ValueError(
                    f"`{field.name}` must be {bounds}; received {value!r}. Leave it "
                    "out for the default."
                )
            # NumPy's numbers too become those of Python, which JSON can hold.
            object.__setattr__(self, field.name, bounds.kind(value))
        default = type(self).lora_targets
        if self.lora is None and self.lora_targets != default:
            raise ValueError(
                "`lora_targets` are the layers that `lora` adapts; received "
                f"{self.lora_targets!r} without its rank. Give `lora` too, or leave "
                "them out."
            )
        if self.simcut is None and self.cutoff != type(self).cutoff:
            raise ValueError(
                "`cutoff` is how many tokens `simcut` cuts; received "
                f"{self.cutoff} without its weight. Give `simcut` too, or leave it out."
            )
        if self.schedule == "noam" and self.learning_rate is not None:
            raise ValueError(
                "Noam's learning rate follows from `hidden_dim` and `warmup`; received "
                f"learning_rate={self.learning_rate}. Leave it out, or choose "
                "'inverse-square-root'."
            )

    def check_company(self, *, validation: bool, teacher: bool) -> None:
        """Checks them together with what else a training was given.

        Args:
            validation: Whether there are validation texts.
            teacher: Whether there is a teacher.

        Raises:
            ValueError: If they do not fit.
        """
        if self.monitor != "loss" and not validation:
            raise ValueError(
                "What is generated is judged on validation texts; received "
                f"monitor={self.monitor!r} and none. Give some, or judge by the loss."
            )
        several = [
            f"{name}={getattr(self, name)}"
            for name in ("r_drop", "simcut")
            if getattr(self, name) is not None
        ] + ["a teacher"] * teacher
        if len(several) > 1:
            raise ValueError(
                "A training has R-Drop, SimCut or a teacher, one of them; received "
                f"{' and '.join(several)}. Leave all but one out."
            )


def plain_options(options: TrainingOptions) -> dict[str, Any]:
    """Returns training options as JSON holds them, which knows no tuples.

    Args:
        options: The `TrainingOptions`.

    Example:
        ```python
        from keras_encdec.training_options import TrainingOptions, plain_options

        print(plain_options(TrainingOptions())["lora_targets"])  # ['query', 'value']
        ```
    """
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(options).items()
    }


def bounds_of(name: str) -> Any:
    """Returns what a training option may be: it knows `in`, `str` and `read`.

    Args:
        name: The name of the option.

    Example:
        ```python
        from keras_encdec.training_options import bounds_of

        assert bounds_of("epochs").read("20") in bounds_of("epochs")
        ```
    """
    fields = {field.name: field for field in dataclasses.fields(TrainingOptions)}
    return fields[name].metadata["bounds"]
