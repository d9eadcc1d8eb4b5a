"""Judging a model while it trains: by held-out batches and by what it generates."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_encdec.annotations import KerasModel
from keras_encdec.backend import random_state, set_random_state
from keras_encdec.printing import as_line, tell
from keras_encdec.training.averaging import averaged_weights
from keras_encdec.training.interruption import InterruptBetweenBatches


class _Judge(keras.callbacks.Callback):
    """Adds what it measures to the logs of an epoch, for the callbacks after it."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures the model, by the moving averages of its weights if it has them."""
        state = random_state()
        with averaged_weights(self.model):
            measured = self.measure(self.model)
        # Evaluation draws some too: training would go another way than without it.
        set_random_state(state)
        if logs is not None:
            logs.update(measured)


class HeldOutLoss(_Judge):
    """Adds the loss and the metrics of held-out batches to the logs.

    It differs from `validation_data` of `fit` in that it uses the moving averages of
    the weights where the optimizer has them.

    Args:
        dataset: What `evaluate` takes as its first argument, with an end.

    Example:
        ```python
        import numpy as np
        from keras_encdec import EncoderDecoder, TokenCrossEntropy, text_dataset
        from keras_encdec import ByteTokenizer
        from keras_encdec.training import HeldOutLoss

        tokenizer = ByteTokenizer()
        dataset = text_dataset(["a", "bc"], ["A", "BC"], tokenizer, tokenizer)
        model = EncoderDecoder(260, 16, 32, num_heads=2, num_layers=1)
        model.compile("adam", TokenCrossEntropy())
        history = model.fit(dataset, callbacks=[HeldOutLoss(dataset)], verbose=0)
        print(history.history["val_loss"])
        ```
    """

    def __init__(self, dataset: Any) -> None:
        super().__init__()
        self.dataset = dataset

    def measure(self, model: KerasModel) -> dict[str, float]:
        """Returns the logs for a model as it is now, a dict of floats."""
        callbacks = [InterruptBetweenBatches()]
        logs = model.evaluate(
            self.dataset, verbose=0, return_dict=True, callbacks=callbacks
        )
        return {f"val_{name}": float(value) for name, value in logs.items()}


class GenerationScores(_Judge):
    """Adds scores of generated texts to the logs, and shows some of the texts.

    After each epoch it generates a text for each source, by the moving averages of the
    weights where the optimizer has them, and adds `val_` scores to the logs. Put it
    before the callbacks that use them: `EarlyStopping`, `ModelCheckpoint`,
    `TensorBoard`, `CSVLogger`, `Checkpoints`.

    Args:
        generate: A function from a list of source texts to a list of texts, such as a
            `TextToText` of the model that is trained.
        sources: The source texts, a list.
        references: The true texts, as many; a list of several for each if `score`
            takes them.
        score: A function of the generated texts and the references that returns a dict
            of numbers, such as `{"bleu": 41.0}`, logged as `val_bleu`.
        examples: How many sources to print with what was generated for them, the same
            ones each time, each text in a line; as far as Keras prints.

    Raises:
        ValueError: If the numbers of sources and references differ, or there are none.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, EncoderDecoder, TextToText
        from keras_encdec import TokenCrossEntropy, text_dataset
        from keras_encdec.text import sequence_error_rate
        from keras_encdec.training import GenerationScores

        tokenizer = ByteTokenizer()
        sources, targets = ["a", "bc"], ["A", "BC"]
        dataset = text_dataset(sources, targets, tokenizer, tokenizer)
        model = EncoderDecoder(260, 16, 32, num_heads=2, num_layers=1)
        model.compile("adam", TokenCrossEntropy())
        scores = GenerationScores(
            TextToText(tokenizer, tokenizer, model, max_length=4),
            sources,
            targets,
            lambda texts, true: {"error_rate": sequence_error_rate(texts, true)},
        )
        history = model.fit(dataset, callbacks=[scores], verbose=0)
        print(history.history["val_error_rate"])
        ```
    """

    def __init__(
        self,
        generate: Callable[[Sequence[str]], list[str]],
        sources: Sequence[str],
        references: Sequence[str],
        score: Callable[..., Any],
        *,
        examples: int = 3,
    ) -> None:
        super().__init__()
        if len(sources) != len(references) or len(sources) == 0:
            raise ValueError(
                "There must be a reference for each source, and at least one; received "
                f"{len(sources)} sources and {len(references)} references. Pair them."
            )
        self.generate = generate
        self.sources = sources
        self.references = references
        self.score = score
        self.examples = examples

    def measure(self, model: KerasModel) -> dict[str, float]:
        """Returns the logs for a model as it is now, a dict of floats."""
        texts = self.generate(self.sources)
        shown = zip(self.sources, self.references, texts, strict=True)
        for source, reference, text in list(shown)[: self.examples]:
            tell("")
            for name, each in (
                ("source", source),
                ("reference", reference),
                ("generated", text),
            ):
                head = f"  {name:10} "
                tell(head + as_line(str(each), len(head)))
        scores = self.score(texts, self.references)
        return {f"val_{name}": float(value) for name, value in scores.items()}
