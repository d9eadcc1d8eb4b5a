"""Autoregressive generation: encode once, then one compiled loop of cached steps.

Legend of shapes: B batch, S source, L largest length, P prefix, T target.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, overload

import keras
import numpy as np
from keras import ops

from keras_encdec.annotations import Ids, KerasModel, Phrases, Tensor
from keras_encdec.generation.checks import (
    require_finite_logits,
    require_generated,
)
from keras_encdec.generation.inputs.calls import CallInputs, inputs_of_call
from keras_encdec.generation.inputs.rows import pad_pairs, pad_to_few_sizes
from keras_encdec.generation.inputs.special_ids import (
    padding_of,
    require_draft,
    require_special_ids,
    start_of,
)
from keras_encdec.generation.longest_targets import require_longest_targets
from keras_encdec.generation.processors.tokens import require_processors
from keras_encdec.generation.programs import Programs
from keras_encdec.generation.samplers.interface import Sampler
from keras_encdec.generation.samplers.names import sampler_of
from keras_encdec.generation.samplers.speculative import SpeculativeSampler
from keras_encdec.generation.scoring import align, score
from keras_encdec.generation.shortlist import Shortlist
from keras_encdec.generation.side_by_side import side_by_side
from keras_encdec.generation.task import (
    Generated,
    LogitsProcessor,
    as_tuple,
    generate,
    make_task,
)
from keras_encdec.option_checks import require_one_of
from keras_encdec.protocol import facts_of, largest_lengths


class Generator:
    """Generates target ids from source ids, with any sampler.

    The encoder runs once, the source's keys and values are projected once and the
    target's are cached; the loop is compiled (a `tf.function`, a `jax.jit`, or eager
    under `torch.inference_mode`) for a few sizes of batch, source and target, to which
    inputs are padded. It ends when every row has ended. A row's ids depend on its
    source, its seed and the sampler, not on other rows: on CPUs parts run side by side.
    A generator gives what the model is when it is called, whatever was loaded, adapted
    or quantized since; an untrained one mostly repeats the start id, which texts leave
    out. Threads may share it, and it can be pickled. Its `model`, `sampler`,
    `processors` and ids may be set anew: each call checks them.

    Args:
        model: An `EncoderDecoder`, or any object that keeps to
            `keras_encdec.protocol.GenerationModel`.
        sampler: A `Sampler`, or its name with usual options: `"greedy"`, which is the
            default, `"beam"`, `"top_k"` ...; or one of `keras_hub.samplers`.
        processors: Functions `(ids, logits, step) -> logits`, such as
            `NoRepeatNGram(3)`, applied in turn before the sampler.
        start_id: The id that the target begins with, by default 1; where that is
            padding, it must be given, be it padding, as for Marian and T5, or another.
        end_id: The id that ends a row, or a list of several.
        padding_id: The id of padding, by default the model's, or 0 for one without.
        draft_model: A small model with the same target ids, which proposes tokens that
            the model then checks several at a time; the result is the same.
        num_draft_tokens: The number of tokens it proposes at a time.
        shortlist: A `Shortlist` of the target ids that each source may have, which
            alone get logits; scores are of the distribution over them.
        longest_targets: How long a target may be for its source, if that is known: a
            factor of the source's tokens and a number of tokens more, as `(1.5, 10)`.
            Nothing is cut: beams stop where no target of up to so many can win, where
            else they wait as long as one of `max_length` could.
        jit_compile: Whether TensorFlow compiles the loop by XLA, which takes seconds
            for each of the few sizes and makes every step several times as fast: True,
            False, or "auto", on CPUs for a size that has come 32 times. JAX does so
            always, PyTorch never. The 32 programs called last are kept.

    Call arguments:
        source: Source ids: `(B, S)`, integer, or a list of lists of any lengths, or a
            ragged or nested tensor; for a model of features `(B, S, F)`, float, or a
            list of `(S, F)`.
        max_length: The largest number of tokens to generate, the end id included: an
            int, or `(B,)`, one of its own for each row.
        seed: The seed of random samplers: a 32-bit int, or `(B,)`, one of its own
            for each row.
        num_return_sequences: The number n of sequences for each source: samples, or
            the best of a `BeamSampler`; by default one, without an axis of its own.
        prefix: A list of ids for each row that its target begins with; they count in
            the length and not in the score.
        phrases: For each row a list of what its target must hold: lists of ids, or
            lists of alternatives, one of which must appear.
        return_scores: Whether to return a `Generated` with scores.

    Returns:
        A NumPy array of target ids `(B, L)`, int32, L being the largest `max_length`:
        without the start id, with the end id, then padding. With
        `num_return_sequences` `(B, n, L)`, the best first; with `return_scores` a
        `Generated` of NumPy arrays.

    Raises:
        ValueError: If the source is not 2D integer ids of the model's vocabulary, or
            too long for its positions, or another argument is out of range or cannot
            be met, or a special id is not the model's.
        TypeError: If the sampler is no sampler, or a processor not a function.
        FloatingPointError: In a call, if the model's logits are nan or infinite.

    Example:
        ```python
        from keras_encdec import EncoderDecoder, Generator, TopKSampler

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        generator = Generator(model, TopKSampler(k=5))
        print(generator([[5, 7, 2], [9, 2]], max_length=6, seed=3))
        ```
    """

    def __init__(
        self,
        model: KerasModel,
        sampler: Sampler | str | None = None,
        *,
        processors: Iterable[LogitsProcessor] = (),
        start_id: int | None = None,
        end_id: int | Sequence[int] = 2,
        padding_id: int | None = None,
        draft_model: KerasModel | None = None,
        num_draft_tokens: int = 4,
        shortlist: Shortlist | None = None,
        longest_targets: tuple[float, float] | None = None,
        jit_compile: bool | Literal["auto"] = "auto",
    ) -> None:
        require_one_of((True, False, "auto"), jit_compile=jit_compile)
        chosen: Sampler = sampler_of(sampler)
        if draft_model is not None:
            chosen = SpeculativeSampler(chosen, draft_model, num_draft_tokens)
        self.model = model
        self.sampler = chosen
        self.processors = tuple(processors)
        self.end_id = end_id
        self.padding_id = padding_of(model, padding_id)
        self.start_id = start_of(self.padding_id, start_id)
        self.shortlist = shortlist
        self.longest_targets = longest_targets
        self.jit_compile = jit_compile
        self._programs = Programs()
        self._check()

    def _check(self) -> None:
        self.sampler = sampler_of(self.sampler)
        require_processors(self.processors)
        require_longest_targets(self.longest_targets)
        padding_of(self.model, self.padding_id)
        require_special_ids(self.model, self.start_id, self.end_id, self.padding_id)
        for draft_model in self._models[1:]:
            require_draft(self.model, draft_model)
        if self.shortlist is not None:
            self.shortlist.check_model(self.model)
            if not self.sampler.takes_shortlist:
                raise ValueError(
                    "A shortlist serves samplers that pick from the logits of one step:"
                    f" greedy, random and beams; received {self.sampler!r}. Leave "
                    "shortlist out, or use another sampler."
                )

    @property
    def _models(self) -> tuple[Any, ...]:
        draft_model = getattr(self.sampler, "draft_model", None)
        return (self.model,) if draft_model is None else (self.model, draft_model)

    @property
    def _sizes(self) -> dict[str, Any]:
        masks_padding = facts_of(self.model).masks_padding
        return {**largest_lengths(self._models), "masks_padding": masks_padding}

    def __repr__(self) -> str:
        names = "model", "sampler", "processors", "start_id", "end_id", "padding_id"
        options = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__name__}({options})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_programs": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _programs=Programs())

    @overload
    def __call__(
        self,
        source: Ids,
        max_length: int | Sequence[int] | np.ndarray,
        seed: int | Sequence[int] | np.ndarray = 0,
        *,
        num_return_sequences: int | None = None,
        prefix: Ids | None = None,
        phrases: Phrases | None = None,
        return_scores: Literal[False] = False,
    ) -> np.ndarray: ...

    @overload
    def __call__(
        self,
        source: Ids,
        max_length: int | Sequence[int] | np.ndarray,
        seed: int | Sequence[int] | np.ndarray = 0,
        *,
        num_return_sequences: int | None = None,
        prefix: Ids | None = None,
        phrases: Phrases | None = None,
        return_scores: Literal[True],
    ) -> Generated: ...

    @overload
    def __call__(
        self,
        source: Ids,
        max_length: int | Sequence[int] | np.ndarray,
        seed: int | Sequence[int] | np.ndarray = 0,
        *,
        num_return_sequences: int | None = None,
        prefix: Ids | None = None,
        phrases: Phrases | None = None,
        return_scores: bool,
    ) -> np.ndarray | Generated: ...

    def __call__(
        self,
        source: Ids,
        max_length: int | Sequence[int] | np.ndarray,
        seed: int | Sequence[int] | np.ndarray = 0,
        *,
        num_return_sequences: int | None = None,
        prefix: Ids | None = None,
        phrases: Phrases | None = None,
        return_scores: bool = False,
    ) -> np.ndarray | Generated:
        """Returns the target ids."""
        number = 1 if num_return_sequences is None else num_return_sequences
        arrays, options, longest = self._inputs(
            *(source, max_length, seed, number, prefix, phrases),
            return_scores=return_scores,
        )
        rows = len(arrays["source"])
        if rows:
            arrays = pad_to_few_sizes(arrays, self.padding_id, **self._sizes)
            options["mark_nan"] = True
            self._see()  # It also says how many calls at a time.

            def run(arrays: Any) -> Any:
                arrays = self._with_candidates(arrays)
                compiled = self._compile("search", self.search, arrays, options)
                generated = compiled(*arrays.values())
                return keras.tree.map_structure(ops.convert_to_numpy, generated)

            each = self.sampler.rows_per_source(number)
            most = self._programs.calls_at_a_time if self.sampler.draws_by_row else 1
            generated = side_by_side(run, arrays, most, each).cut(rows, longest)
            require_generated(generated.ids, self.model)
        else:
            generated = Generated.of_no_rows(number, longest)
        if num_return_sequences is None:
            generated = keras.tree.map_structure(lambda x: x[:, 0], generated)
        return generated if return_scores else generated.ids

    def search(
        self,
        source: Tensor,
        limits: Tensor,
        seeds: Tensor,
        prefix: Tensor | None = None,
        phrases: Tensor | None = None,
        candidates: Tensor | None = None,
        allowed: Tensor | None = None,
        *,
        sampler: Sampler | None = None,
        **options: Any,
    ) -> Generated:
        """Generates target ids from tensors, which are not checked, to tensors.

        A call compiles it, and so may a program of one's own; exports hold it.

        Args:
            source: Source ids `(B, S)`, int32, or features `(B, S, F)`, float32.
            limits: The largest number of tokens of each row `(B,)`, int32.
            seeds: The seed of each row `(B,)`, int32.
            prefix: The ids that each row begins with, as in `generate`.
            phrases: What each row must hold, as in `generate`.
            candidates: The ids of a shortlist, as `Shortlist.of_sources` returns them.
            allowed: Which of them each row may have, likewise.
            sampler: A `Sampler` in the place of the generator's.
            **options: `max_length`, the largest number of tokens of any row L, an int;
                `num_return_sequences=1`, n; `return_scores=False`; `mark_nan=False`,
                whether ids are -1 where a row ended because its logits were nan.

        Returns:
            A `Generated` of tensors, the ids `(B, n, L)`; without `return_scores` its
            scores are empty tuples.

        Example:
            ```python
            from keras import ops
            from keras_encdec import EncoderDecoder, Generator

            generator = Generator(EncoderDecoder(20, 16, 32, 2, 1))
            tensors = ops.array([[5, 7, 2]]), ops.array([4]), ops.array([0])
            print(generator.search(*tensors, max_length=4).ids)
            ```
        """
        sampler = self.sampler if sampler is None else sampler
        tensors = source, limits, seeds, prefix, phrases, candidates, allowed
        options |= self._constants()
        return generate(self.model, sampler, *tensors, **options)

    def stream(
        self,
        source: Ids,
        max_length: int | Sequence[int] | np.ndarray,
        seed: int | Sequence[int] | np.ndarray = 0,
        *,
        prefix: Ids | None = None,
    ) -> Iterator[np.ndarray]:
        """Yields the tokens of all rows as they come.

        Args:
            source: As in a call, and the other arguments too.
            max_length: The largest number of tokens to generate.
            seed: The seed of random samplers.
            prefix: The ids that each target begins with, yielded too.

        Yields:
            Arrays `(B,)`, int32: the next token of each row, padding after its end.

        Raises:
            ValueError: As a call does, and if the sampler settles whole sequences.
            FloatingPointError: As a call does, when it is met.

        Example:
            ```python
            from keras_encdec import EncoderDecoder, Generator

            model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
            for tokens in Generator(model).stream([[5, 7, 2]], max_length=4):
                print(tokens)
            ```
        """
        inputs = self._inputs(source, max_length, seed, 1, prefix)
        if not self.sampler.one_token_a_step:
            raise ValueError(
                "Only a sampler that settles each token as it comes can be streamed; "
                f"received {self.sampler!r}, which may change all of them at the last "
                "step. Use GreedySampler or a RandomSampler."
            )
        return self._stream(*inputs)

    def _stream(
        self, arrays: Any, options: dict[str, Any], longest: int
    ) -> Iterator[np.ndarray]:
        if not (rows := len(arrays["source"])):
            return
        arrays = pad_to_few_sizes(arrays, self.padding_id, **self._sizes)
        arrays = self._with_candidates(arrays)
        self._see()
        tensors = tuple(arrays.values())
        start = self._compile("start", self._start, arrays, options)
        memory, state = start(*tensors)
        step = self._compile("step", self._step, arrays, options, nested=True)
        done = 0
        while not np.all(ops.convert_to_numpy(state.finished)[:rows]):
            state = step(memory, state, *tensors)
            index = int(self.sampler.number_settled(state))
            ids = ops.convert_to_numpy(state.ids)[:rows]
            require_generated(ids[:, None], self.model)
            for place in range(done, min(index, longest)):
                if np.any(ids[:, place] != self.padding_id):
                    yield ids[:, place].copy()
            done = index

    def score(
        self,
        source: Ids,
        target: Ids,
        *,
        temperature: float | tuple[float, ...] = 1.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns how likely the model finds given targets.

        Args:
            source: Source ids: `(B, S)`, integer, or a list of lists.
            target: Target ids, likewise: without the start id; with the end id if it
                is to count.
            temperature: What the logits are divided by, above 0; or a tuple of several.

        Returns:
            A pair of NumPy arrays, float32: the sums `(B,)` and the log-probability of
            each token `(B, T)`, 0 for padding. Of several temperatures both have one
            more axis, which is the last.

        Raises:
            ValueError: If they are not ids, or not as many sources as targets, or a
                temperature is not above 0.
            FloatingPointError: If the model's logits are nan or infinite.

        Example:
            ```python
            from keras_encdec import EncoderDecoder, Generator

            model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
            print(Generator(model).score([[5, 7, 2]], [[9, 8, 2]])[0])
            ```
        """
        options = {"temperature": temperature}
        tokens = self._teacher_forced(score, source, target, **options)
        return tokens.sum(axis=1), tokens

    def align(
        self,
        source: Ids,
        target: Ids,
        *,
        layer: int = -1,
        heads: int | None = None,
    ) -> np.ndarray:
        """Returns the attention of given targets to their sources.

        Args:
            source: Source ids: `(B, S)`, integer, or a list of lists.
            target: Target ids, likewise, without the start id.
            layer: The decoder block whose attention to return.
            heads: How many of its heads are averaged, the first ones; by default all.

        Returns:
            The weights `(B, T, S)`, a NumPy array of float32: where the model looked to
            predict each target token; 0 for padding.

        Raises:
            ValueError: If they are not ids or as many, or a number is out of range.
            FloatingPointError: If the model's attention is nan.

        Example:
            ```python
            from keras_encdec import EncoderDecoder, Generator

            model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
            print(Generator(model).align([[5, 7, 2]], [[9, 8, 2]]).shape)
            ```
        """
        options = {"layer": layer, "heads": heads}
        return self._teacher_forced(align, source, target, **options)

    def _teacher_forced(
        self, function: Callable[..., Any], source: Ids, target: Ids, **options: Any
    ) -> Any:
        self._check()
        arrays = pad_pairs(self.model, source, target, self.padding_id)
        (rows, sources), (_, targets) = (array.shape[:2] for array in arrays.values())
        if not rows or not targets:
            last = np.shape(options["temperature"]) if function is score else (sources,)
            return np.zeros((rows, targets, *last), "float32")
        arrays = pad_to_few_sizes(arrays, self.padding_id, **self._sizes)
        options.update(start_id=self.start_id, padding_id=self.padding_id)

        def of_model(source: Ids, target: Ids, **options: Any) -> Any:
            return function(self.model, source, target, **options)

        self._see()
        run = self._compile(function.__name__, of_model, arrays, options)
        result = run(*arrays.values())
        result = ops.convert_to_numpy(result)[:rows, :targets]
        require_finite_logits(np.isnan(result.reshape(rows, targets, -1)).any(axis=2))
        return result if function is score else result[..., :sources]

    def _inputs(self, *args: Any, **options: Any) -> CallInputs:
        self._check()
        positions = self._sizes["max_length"]
        return inputs_of_call(self, *args, positions=positions, **options)

    def _with_candidates(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns a call's arrays with those of the shortlist, if there is one."""
        if self.shortlist is None:
            return arrays
        rows = len(arrays["source"])
        given = [arrays[x] for x in ("prefix", "phrases") if x in arrays]
        ends = np.tile(as_tuple(self.end_id), (rows, 1))
        found = self.shortlist.of_sources(
            arrays["source"], self.padding_id, [ends, *given]
        )
        return arrays | found

    def _start(self, **kwargs: Any) -> Any:
        task = self._task(**kwargs)
        return task.memory, self.sampler.start(task)

    def _step(self, memory: Any, state: Any, **kwargs: Any) -> Any:
        return self.sampler.step(self._task(memory=memory, **kwargs), state)

    def _task(self, **kwargs: Any) -> Any:
        return make_task(self.model, self.sampler, **kwargs, **self._constants())

    def _constants(self) -> dict[str, Any]:
        return {
            "start_id": self.start_id,
            "end_id": self.end_id,
            "padding_id": self.padding_id,
            "processors": self.processors,
            "longest_of": self.longest_targets,
        }

    def _see(self) -> None:
        """Has programs be those of the model as it is, once in a call."""
        self._programs.see((self.model, self.sampler, self.processors))

    def _compile(
        self,
        name: str,
        function: Callable[..., Any],
        arrays: Any,
        options: dict[str, Any],
        nested: bool = False,
    ) -> Any:
        sampler, parts = self.sampler, (self.sampler, self._constants())
        # What a sampler of KerasHub draws for a seed is something else by XLA.
        jit = self.jit_compile is True or (sampler.draws_by_row and self.jit_compile)
        return self._programs.get(name, function, arrays, options, parts, jit, nested)
