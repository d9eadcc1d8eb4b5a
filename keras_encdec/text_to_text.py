"""Text to text: tokenizers, a model and a sampler as one function of strings."""

import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Self, TypeAlias, Unpack, overload

import keras
import numpy as np

# They register what `load` reads, also what a model was compiled with.
import keras_encdec.model
import keras_encdec.training  # noqa: F401
from keras_encdec.annotations import AnyPath, CallArgs, Ids, KerasModel, Text
from keras_encdec.bulk import answers_in_order, pieces_of
from keras_encdec.evaluation import Evaluation, check_evaluation, evaluate_texts
from keras_encdec.files import FORMAT, check_format, new_folder
from keras_encdec.generation import Generator, Sampler, Shortlist, row_seeds
from keras_encdec.generation.processors.tokens import with_forced_prefix
from keras_encdec.generation.task import LogitsProcessor
from keras_encdec.model import with_options
from keras_encdec.model_card import write_card
from keras_encdec.option_checks import require_positive
from keras_encdec.pretrained.text_parts import text_parts
from keras_encdec.saved_parts import (
    CONFIG_FILE,
    MODEL_FILE,
    name_folder_in_errors,
    part_config,
    part_from_config,
    saved_folder,
    search_config,
    take_search_from_config,
)
from keras_encdec.text import Tokenizer
from keras_encdec.text.interface import require_several_texts, tokens_of_rows
from keras_encdec.text_checks import check_lengths, check_pairs, check_tokenizers


class Alignment(NamedTuple):
    """Where a model looks in a source text for each token of a target text."""

    source_tokens: list[str]  # S
    target_tokens: list[str]  # T
    weights: np.ndarray  # (T, S), float32


class EncodedTexts(list[np.ndarray]):
    """What `TextToText.encode` returns: rows of ids, none longer than the positions."""


Sources: TypeAlias = Sequence[Text] | EncodedTexts

# What a `TextToText` is made of, its generator's parts too.
_PARTS = (
    *("source_tokenizer", "target_tokenizer", "model", "sampler", "processors"),
    *("max_length", "shortlist", "longest_targets", "jit_compile"),
)


class TextToText:
    """Generates target texts from source texts.

    Padding is the model's; the targets' tokenizer says which ids start and end them,
    and which stand before each text: a model that was trained to see them is not asked.

    Args:
        source_tokenizer: A `Tokenizer` of the sources.
        target_tokenizer: A `Tokenizer` of the targets; it may be the same.
        model: An `EncoderDecoder` for the ids of these tokenizers, or another model
            as in `Generator`; only a Keras model can be saved.
        sampler: As in `Generator`: such as `BeamSampler(4)`, or `"beam"`; by default
            greedy.
        processors: What may follow a row, such as `[NoRepeatNGram(3)]`.
        max_length: The largest number of tokens to generate, unless a call gives its
            own.
        shortlist: As in `Generator`.
        longest_targets: As in `Generator`; `train` takes it from its pairs, and it is
            saved.
        jit_compile: As in `Generator`.
        force_prefix: Whether each row must begin with the target tokenizer's
            `prefix_ids`, such as a language, by one more processor, unless one says
            already how a row begins.

    Attributes:
        card: What its model card tells beside its sizes, a dict that JSON takes, which
            is saved with it: `"name"`, `"data"`, `"scores"` (a list of lines) and
            `"licence"`. `train` tells data and scores.
        temperature: What its logits are divided by where `confidences` are told, which
            is saved with it: 1, or what `calibrate` returned.

    Call arguments:
        texts: A list of source texts, `str` or UTF-8 `bytes`; or what `encode` returned
            for them.
        max_length: The largest number of tokens to generate.
        seed: The seed of random samplers, a 32-bit int. A text's result depends
            on the seed and on its place in the list, not on other texts.
        batch_size: The number of texts generated at once; by default as many as have
            2,048 tokens together with their padding, and at most 64.
        num_return_sequences: The number of target texts for each source text: samples,
            or the best of a `BeamSampler`; by default one, not in a list.
        return_scores: Whether to return each text with its score.
        progress: A function called after each batch with the number of texts that are
            done and the number of all.

    Returns:
        A list of target texts, `str`; with `num_return_sequences` a list of lists, the
        best first. With `return_scores` each is a pair `(text, score)`; where there
        are fewer than asked for, the rest are empty with a score of -inf.

    Raises:
        TypeError: If `texts` is a single string or holds anything but strings.
        ValueError: If a tokenizer has more ids than the model's vocabulary or another
            id for padding, the model takes no ids, an argument of a call is out of
            range, or a text is longer than the model's positions; before anything is
            generated.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, EncoderDecoder, TextToText

        tokenizer = ByteTokenizer()
        size = tokenizer.vocabulary_size
        model = EncoderDecoder(size, 16, 32, num_heads=2, num_layers=1)
        text_to_text = TextToText(tokenizer, tokenizer, model, max_length=8)
        print(len(text_to_text(["one text", "another"])))
        ```
    """

    def __init__(
        self,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        model: KerasModel,
        sampler: Sampler | str | None = None,
        *,
        processors: Iterable[LogitsProcessor] = (),
        max_length: int = 64,
        shortlist: Shortlist | None = None,
        longest_targets: tuple[float, float] | None = None,
        jit_compile: bool | Literal["auto"] = "auto",
        force_prefix: bool = True,
    ) -> None:
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.model = model
        require_positive(max_length=max_length)
        self.max_length = max_length
        self.card: dict[str, Any] = {}
        self.temperature = 1.0
        check_tokenizers(model, source_tokenizer, target_tokenizer)
        self.generator = Generator(
            model,
            sampler,
            processors=(
                with_forced_prefix(processors, target_tokenizer.prefix_ids)
                if force_prefix
                else processors
            ),
            start_id=target_tokenizer.start_id,
            end_id=target_tokenizer.end_id,
            padding_id=target_tokenizer.padding_id,
            shortlist=shortlist,
            longest_targets=longest_targets,
            jit_compile=jit_compile,
        )

    @classmethod
    def from_preset(
        cls,
        place: AnyPath,
        source_language: str | None = None,
        target_language: str | None = None,
        **options: Any,
    ) -> Self:
        """Loads a checkpoint that transformers saved, with its tokenizers and settings.

        Nothing in it can run code. Beams, lengths and what may follow are those of its
        generation_config.json.

        Args:
            place: A folder; or `"hf://owner/name"` of the Hugging Face hub, which the
                extra `hub` downloads, with `@revision` behind it where one is meant.
            source_language: The language to translate from, as the checkpoint spells
                it (`"eng_Latn"`, `"en_XX"`, `"en"`), where it knows several.
            target_language: The language to translate to, likewise.
            **options: `dtype`, a dtype or dtype policy such as `"bfloat16"`, by default
                Keras's; `dropout`, the rate in training, by default that of the config;
                `sampler` and `max_length` in the place of the checkpoint's, which is 64
                where it says none; `jit_compile`, as in `Generator`.

        Returns:
            A `TextToText`.

        Raises:
            FileNotFoundError: If files are missing.
            OSError: If it cannot be downloaded.
            ValueError: If the family or an option is unknown, weights or a tokenizer
                do not fit, a language is not known, or settings change answers and
                have no counterpart here, unless a sampler is given.

        Example:
            ```python
            from keras_encdec import TextToText

            def translate(texts, place="hf://Helsinki-NLP/opus-mt-en-de"):
                return TextToText.from_preset(place)(texts)
            ```
        """
        from keras_encdec.model.pretrained import load_pretrained

        of_model = {x: options.pop(x, None) for x in ("dtype", "dropout")}
        folder, parts = text_parts(place, source_language, target_language, **options)
        # As transformers generates, which its settings say.
        parts["force_prefix"] = False
        return cls(model=load_pretrained(folder, **of_model).model, **parts)

    @property
    def sampler(self) -> Sampler:
        """The `Sampler`."""
        return self.generator.sampler

    def __repr__(self) -> str:
        parts = "source_tokenizer", "target_tokenizer", "model", "sampler", "max_length"
        return f"TextToText({', '.join(f'{x}={getattr(self, x)!r}' for x in parts)})"

    @overload
    def __call__(self, texts: Sources, **more: Unpack[CallArgs]) -> list[str]: ...

    @overload
    def __call__(
        self, texts: Sources, *, return_scores: Literal[True], **more: Unpack[CallArgs]
    ) -> list[tuple[str, float]]: ...

    @overload
    def __call__(
        self, texts: Sources, *, num_return_sequences: int, **more: Unpack[CallArgs]
    ) -> list[list[str]]: ...

    @overload
    def __call__(
        self,
        texts: Sources,
        *,
        num_return_sequences: int,
        return_scores: Literal[True],
        **more: Unpack[CallArgs],
    ) -> list[list[tuple[str, float]]]: ...

    @overload
    def __call__(
        self,
        texts: Sources,
        *,
        num_return_sequences: int | None = None,
        return_scores: bool = False,
        **more: Unpack[CallArgs],
    ) -> list[Any]: ...

    def __call__(
        self,
        texts: Sources,
        *,
        progress: Callable[[int, int], None] | None = None,
        **call: Any,
    ) -> list[Any]:
        """Returns the target texts."""
        rows = texts if isinstance(texts, EncodedTexts) else self.encode(texts)

        def tell(done: int) -> None:
            if progress is not None:
                progress(done, len(rows))

        return [*self.generate(rows, progress=tell, **call)]

    def generate(
        self,
        texts: Iterable[Text] | EncodedTexts,
        *,
        first: int = 0,
        max_length: int | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        num_return_sequences: int | None = None,
        return_scores: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> Iterator[Any]:
        """Yields what a call returns, in turn, for any number of texts.

        As many as 2,048 are read at a time, at first 256, and sorted by their lengths:
        memory does not grow with their number. Answers are the same as those of a call
        with all texts.

        Args:
            texts: An iterator of source texts, such as the lines of a file without
                their ends; or as in a call.
            first: The place of the first of them among all texts, from 0, where others
                were generated before.
            max_length: As in a call.
            seed: As in a call.
            batch_size: As in a call.
            num_return_sequences: As in a call.
            return_scores: As in a call.
            progress: A function called after each batch with the number of texts that
                are done.

        Yields:
            A target text for each source, `str`, in their order; with
            `num_return_sequences` lists, with `return_scores` pairs, as in a call.

        Raises:
            TypeError: As a call does.
            ValueError: As a call does: of options at once, of a text when it is read.

        Example:
            ```python
            from keras_encdec import ByteTokenizer, build

            small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
            text_to_text = build(ByteTokenizer(), ByteTokenizer(), **small)
            lines = (f"line {number}" for number in range(3))
            for answer in text_to_text.generate(lines, max_length=4):
                print(answer)
            ```
        """
        number = 1 if num_return_sequences is None else num_return_sequences
        max_length = self.max_length if max_length is None else max_length
        require_positive(max_length=max_length, num_return_sequences=number)
        require_positive(batch_size=1 if batch_size is None else batch_size)
        row_seeds(seed, 0)  # Refuses what is no seed.
        require_several_texts(texts=texts)
        self.sampler.rows_per_source(number)

        encoded = isinstance(texts, EncodedTexts)

        def encode(window: list[Any], place: int) -> Sequence[Any]:
            return window if encoded else self._encode(window, "source", place)

        return answers_in_order(
            self.generator,
            texts,
            encode,
            self._decode,
            growing=not encoded,
            first=first,
            seed=seed,
            batch_size=batch_size,
            progress=progress,
            max_length=max_length,
            num_return_sequences=num_return_sequences,
            return_scores=return_scores,
        )

    def with_sampler(
        self,
        sampler: Sampler | str | None,
        *,
        max_length: int | None = None,
        jit_compile: bool | Literal["auto"] | None = None,
    ) -> Self:
        """Returns the same `TextToText` with another sampler; the model is shared.

        Args:
            sampler: As in the constructor.
            max_length: The largest number of tokens to generate, if another one too.
            jit_compile: As in `Generator`, likewise.

        Returns:
            A `TextToText`.
        """
        chosen = "greedy" if sampler is None else sampler
        changes = {"max_length": max_length, "jit_compile": jit_compile}
        return self._with(sampler=chosen, **changes)

    def with_options(self, **options: Any) -> Self:
        """Returns the same `TextToText`, its model with some other options.

        Args:
            **options: As in `keras_encdec.with_options`, such as `dropout`, `dtype`, or
                a smaller `num_decoder_layers`.

        Returns:
            A `TextToText` with a model of its own, whose weights are floats.

        Raises:
            ValueError: As in `keras_encdec.with_options`.
            TypeError: Likewise.

        Example:
            ```python
            from keras_encdec import ByteTokenizer, build

            tokenizer = ByteTokenizer()
            text_to_text = build(tokenizer, tokenizer, size="tiny")
            faster = text_to_text.with_options(num_decoder_layers=1)
            print(faster.model.count_params() < text_to_text.model.count_params())
            ```
        """
        return self._with(model=with_options(self.model, **options))

    def _with(self, **changes: Any) -> Self:
        """Returns the same with other parts, those that are not None."""
        its = vars(self) | vars(self.generator)
        given = {name: value for name, value in changes.items() if value is not None}
        parts = {name: its[name] for name in _PARTS} | given
        other = type(self)(**parts, force_prefix=False)
        other.card, other.temperature = dict(self.card), self.temperature
        return other

    def stream(
        self, text: Text, *, max_length: int | None = None, seed: int = 0
    ) -> Iterator[str]:
        """Yields the target text of one source text, piece by piece as it comes.

        Args:
            text: A source text, `str` or UTF-8 `bytes`.
            max_length: The largest number of tokens to generate.
            seed: The seed of random samplers.

        Yields:
            Pieces, `str`, which together are the target text.

        Raises:
            TypeError: If `text` is not a string.
            ValueError: If the sampler settles whole sequences, as beams do.

        Example:
            ```python
            from keras_encdec import ByteTokenizer, EncoderDecoder, TextToText

            tokenizer = ByteTokenizer()
            size = tokenizer.vocabulary_size
            model = EncoderDecoder(size, 16, 32, num_heads=2, num_layers=1)
            text_to_text = TextToText(tokenizer, tokenizer, model, max_length=8)
            for piece in text_to_text.stream("one text"):
                print(piece, end="")
            ```
        """
        if not isinstance(text, (str, bytes)):
            raise TypeError(f"text must be one string; received {text!r:.200}.")
        max_length = self.max_length if max_length is None else max_length
        require_positive(max_length=max_length)
        rows = self.encode([text])
        return pieces_of(self.generator.stream(rows, max_length, seed), self._decode)

    def score(
        self, sources: Sequence[Text], targets: Sequence[Text], *, batch_size: int = 64
    ) -> np.ndarray:
        """Returns how likely the model finds each target text, its end included.

        Args:
            sources: A list of source texts, `str` or UTF-8 `bytes`.
            targets: A list of target texts, as many.
            batch_size: The number of pairs scored at once.

        Returns:
            The log-probabilities, in nats, a NumPy array `(N,)` of float32.

        Raises:
            ValueError: If there are not as many, or a text is longer than the model's
                positions.

        Example:
            ```python
            from keras_encdec import ByteTokenizer, build

            small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
            text_to_text = build(ByteTokenizer(), ByteTokenizer(), **small)
            print(text_to_text.score(["one"], ["eins"]))
            ```
        """
        scores: list[np.ndarray] = [np.zeros(0, "float32")]
        for source, target in self._batches(sources, targets, batch_size):
            scores.append(self.generator.score(source, target)[0])
        return np.concatenate(scores)

    def align(
        self,
        sources: Sequence[Text],
        targets: Sequence[Text],
        *,
        layer: int = -1,
        heads: int | None = None,
        batch_size: int = 64,
    ) -> list[Alignment]:
        """Returns where the model looks in each source for each token of its target.

        Args:
            sources: As in `score`.
            targets: As in `score`.
            layer: As in `Generator.align`.
            heads: As in `Generator.align`.
            batch_size: As in `score`.

        Returns:
            A list of `Alignment`, `(source_tokens, target_tokens, weights)`: tokens,
            also the special ones around a text, and the attention `(T, S)` of each of
            the T target tokens to the S source tokens, a NumPy array of float32.

        Raises:
            ValueError: As `score` does, or if there are no such heads or layer.

        Example:
            ```python
            from keras_encdec import ByteTokenizer, build

            small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
            text_to_text = build(ByteTokenizer(), ByteTokenizer(), **small)
            (aligned,) = text_to_text.align(["one"], ["eins"])
            print(aligned.target_tokens, aligned.weights.shape)
            ```
        """
        weights = []
        for source, target in self._batches(sources, targets, batch_size):
            found = self.generator.align(source, target, layer=layer, heads=heads)
            for row, x, y in zip(found, source, target, strict=True):
                weights.append(row[: len(y), : len(x)])
        tokens = (
            tokens_of_rows(self.source_tokenizer, sources),
            tokens_of_rows(self.target_tokenizer, targets),
        )
        return [Alignment(*each) for each in zip(*tokens, weights, strict=True)]

    def evaluate(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        *,
        tokenize: str = "13a",
        lowercase: bool = False,
        **call: Unpack[CallArgs],
    ) -> Evaluation:
        """Generates a text for each source, and scores them against the true ones.

        Args:
            sources: A list of source texts.
            targets: The true target texts, as many. Equal sources are one with several
                targets in the error rates, of which any is right.
            tokenize: As in `evaluate_texts`.
            lowercase: As in `evaluate_texts`.
            **call: Arguments of a call, such as `max_length` and `batch_size`.

        Returns:
            An `Evaluation`: `bleu`, `chrf`, error rates, and a `report` to print.

        Raises:
            ValueError: As a call and `evaluate_texts` do.

        Example:
            ```python
            from keras_encdec import ByteTokenizer, build

            small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
            text_to_text = build(ByteTokenizer(), ByteTokenizer(), **small)
            print(text_to_text.evaluate(["one"], ["eins"], max_length=4).chrf)
            ```
        """
        # Before the work, not after it.
        check_evaluation(sources, targets, tokenize=tokenize)
        return evaluate_texts(
            sources,
            self(sources, **call),
            self.target_tokenizer.join(targets),
            tokenize=tokenize,
            lowercase=lowercase,
        )

    def _batches(
        self, sources: Sequence[Text], targets: Sequence[Text], batch_size: int
    ) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
        """Yields the ids of pairs of texts, lists of rows."""
        require_positive(batch_size=batch_size)
        # The first, for it says that a text alone is no batch of its characters.
        rows, true = self.encode(sources), self.encode(targets, "target")
        check_pairs(rows, true)
        for start in range(0, len(rows), batch_size):
            some = slice(start, start + batch_size)
            yield rows[some], true[some]

    def encode(
        self, texts: Sequence[Text], side: Literal["source", "target"] = "source"
    ) -> EncodedTexts:
        """Returns the ids of texts, which a call takes too, when they were looked at.

        Args:
            texts: A list of texts, `str` or UTF-8 `bytes`.
            side: Whose texts these are, `"source"` or `"target"`.

        Returns:
            A list of NumPy arrays of int32, the ids of each text.

        Raises:
            TypeError: If `texts` is a single string or holds anything but strings.
            ValueError: If a text is longer than the model's positions.

        Example:
            ```python
            from keras_encdec import ByteTokenizer, build

            small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
            text_to_text = build(ByteTokenizer(), ByteTokenizer(), **small)
            ids = text_to_text.encode(["one", "another"])
            print([len(row) for row in ids], text_to_text(ids, max_length=4))
            ```
        """
        return self._encode(texts, side)

    def _encode(
        self, texts: Sequence[Text], side: Literal["source", "target"], first: int = 0
    ) -> EncodedTexts:
        rows = EncodedTexts(getattr(self, f"{side}_tokenizer").ids_of(texts))
        check_lengths(self.model, side, [*map(len, rows)], texts, first=first)
        return rows

    def _decode(self, ids: Ids) -> list[str]:
        return self.target_tokenizer.texts_of(ids)

    def save(self, folder: AnyPath, *, overwrite: bool = False) -> None:
        """Writes everything needed to `load` it, under any backend.

        Args:
            folder: The folder to write: `model.keras`, `text_to_text.json`, and
                `README.md` for people, the model card.
            overwrite: Whether to replace a folder that is there already.

        Raises:
            FileExistsError: If the folder is there and `overwrite` is False, or holds
                something else.
            ValueError: If a part could not be read again; nothing is written then.
        """
        config = {
            "format": FORMAT,
            "source_tokenizer": part_config("source_tokenizer", self.source_tokenizer),
            "target_tokenizer": part_config("target_tokenizer", self.target_tokenizer),
            **search_config(self.generator),
            "max_length": self.max_length,
            "card": self.card,
            "temperature": self.temperature,
        }
        with new_folder(folder, overwrite=overwrite, holds=CONFIG_FILE) as new:
            self.model.save(new / MODEL_FILE)
            (new / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
            write_card(new, self, "saved")

    @classmethod
    def load(cls, folder: AnyPath, modules: Iterable[str] = ()) -> Self:
        """Reads what `save` wrote; nothing in it can run code.

        Args:
            folder: The folder, or that of a training, whose best model it then is.
            modules: Modules to import before, by name, that register custom objects
                with `keras.saving.register_keras_serializable`: no other code than
                theirs, Keras's and this library's can be named by what is read.

        Returns:
            A `TextToText`.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is not what `save` wrote, or a later version wrote it.
        """
        for module in modules:
            importlib.import_module(module)
        saved = saved_folder(folder)
        with name_folder_in_errors(saved):
            config = dict(json.loads((saved / CONFIG_FILE).read_text("utf-8")))
        check_format(config.pop("format", None), saved / CONFIG_FILE)
        with name_folder_in_errors(saved):
            card, temperature = config.pop("card", {}), config.pop("temperature", 1.0)
            parts = {"max_length": config.pop("max_length"), "force_prefix": False}
            search = take_search_from_config(config)
            parts |= {name: part_from_config(part) for name, part in config.items()}
            model = keras.saving.load_model(saved / MODEL_FILE, safe_mode=True)
            loaded = cls(model=model, **search, **parts)
            loaded.card, loaded.temperature = dict(card), float(temperature)
            return loaded
