"""Autoregressive generation: encode once, then one compiled loop of cached steps.

Legend of shapes: B batch, S source, L largest length, P prefix, T target.
"""

import keras
import numpy as np
from keras import ops

from keras_encdec.backend import calls_at_a_time, compile_function
from keras_encdec.generation.checks import require_one_of, require_size
from keras_encdec.generation.inputs import (
    pad_phrases,
    pad_prefixes,
    pad_rows,
    pad_to_few_sizes,
    require_room,
    row_limits,
    seeds_of_rows,
)
from keras_encdec.generation.interface import Sampler
from keras_encdec.generation.keras_hub_sampler import KerasHubSampler, is_keras_hub
from keras_encdec.generation.samplers import GreedySampler
from keras_encdec.generation.scoring import align, score
from keras_encdec.generation.side_by_side import side_by_side
from keras_encdec.generation.speculative import SpeculativeSampler
from keras_encdec.generation.task import Generated, as_tuple, generate, make_task


class Generator:
    """Generates target ids from source ids, with any sampler.

    The encoder runs once, the source's keys and values are projected once and the
    target's are cached; the loop is compiled (a `tf.function`, a `jax.jit`, or eager
    under `torch.inference_mode`) for a few sizes of batch and source, to which inputs
    are padded. It ends when every row has ended. A row's ids depend on its source, its
    seed and the sampler, not on the other rows: on CPUs parts run side by side.

    Args:
        model: An `EncoderDecoder`, or any object with its `encode`, `new_cache` and
            `step`.
        sampler: A `Sampler`, by default greedy; or one of `keras_hub.samplers`.
        processors: Functions `(ids, logits, step) -> logits`, such as
            `NoRepeatNGram(3)`, applied in turn before the sampler.
        start_id: The id that the target begins with.
        end_id: The id that ends a row, or a list of several.
        padding_id: The id of padding in source and target.
        draft_model: A small model with the same target ids, which proposes tokens that
            the model then checks several at a time; the result is the same.
        num_draft_tokens: The number of tokens it proposes at a time.
        jit_compile: Whether TensorFlow compiles the loop by XLA, which takes seconds
            for each of the few sizes and makes every step several times as fast: True,
            False, or "auto", on CPUs for a size that has come 32 times. JAX does so
            always, PyTorch never.

    Call arguments:
        source: Source ids: `(B, S)`, integer, or a list of lists of any lengths.
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
            be met.
        TypeError: If the sampler is not a `Sampler`, or a processor not a function.

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
        model,
        sampler=None,
        *,
        processors=(),
        start_id=1,
        end_id=2,
        padding_id=0,
        draft_model=None,
        num_draft_tokens=4,
        jit_compile="auto",
    ):
        require_one_of("jit_compile", jit_compile, (True, False, "auto"))
        sampler = GreedySampler() if sampler is None else sampler
        if is_keras_hub(sampler):
            sampler = KerasHubSampler(sampler)
        if not isinstance(sampler, Sampler):
            raise TypeError(
                "sampler must be a Sampler, an object such as GreedySampler() or "
                f"TopKSampler(k=5), or one of keras_hub.samplers; received {sampler!r}."
            )
        for processor in processors:
            if isinstance(processor, type) or not callable(processor):
                raise TypeError(
                    "processors must be functions (ids, logits, step) -> logits, such "
                    f"as NoRepeatNGram(3); received {processor!r}."
                )
        if draft_model is not None:
            sampler = SpeculativeSampler(sampler, draft_model, num_draft_tokens)
        self.model = model
        self.sampler = sampler
        self.processors = tuple(processors)
        self.start_id = start_id
        self.end_id = end_id
        self.padding_id = padding_id
        self.jit_compile = jit_compile
        self._variables = list(getattr(model, "variables", ()))
        self._variables += getattr(draft_model, "variables", ())
        self._largest = getattr(model, "max_length", None)
        self._compiled = {}
        by_row = sampler.draws_by_row
        self._calls_at_a_time = calls_at_a_time(self._variables) if by_row else 1
        # What a sampler of KerasHub draws for a seed is something else by XLA.
        self._jit = jit_compile is True or (by_row and jit_compile)

    def __call__(
        self,
        source,
        max_length,
        seed=0,
        *,
        num_return_sequences=None,
        prefix=None,
        phrases=None,
        return_scores=False,
    ):
        """Returns the target ids."""
        number = 1 if num_return_sequences is None else num_return_sequences
        arrays, options = self._inputs(
            source, max_length, seed, number, prefix, phrases, return_scores
        )
        rows, longest = len(arrays["source"]), options["max_length"]
        if rows:
            arrays = pad_to_few_sizes(arrays, self.padding_id, self._largest)
            compiled = self._compile("generate", self._generate, arrays, options)

            def run(arrays):
                generated = compiled(*map(ops.convert_to_tensor, arrays.values()))
                return keras.tree.map_structure(ops.convert_to_numpy, generated)

            each = self.sampler.rows_per_source(number)
            generated = side_by_side(run, arrays, self._calls_at_a_time, each)
            generated = keras.tree.map_structure(lambda x: x[:rows], generated)
        else:
            generated = Generated(
                np.zeros((0, number, longest), "int32"),
                np.zeros((0, number), "float32"),
                np.zeros((0, number, longest), "float32"),
            )
        if num_return_sequences is None:
            generated = keras.tree.map_structure(lambda x: x[:, 0], generated)
        return generated if return_scores else generated.ids

    def stream(self, source, max_length, seed=0, *, prefix=None):
        """Yields the tokens of all rows as they come.

        Args:
            source: As of a call, and the other arguments too.
            max_length: The largest number of tokens to generate.
            seed: The seed of random samplers.
            prefix: The ids that each target begins with, yielded too.

        Yields:
            Arrays `(B,)`, int32: the next token of each row, padding after its end.

        Raises:
            ValueError: As a call does, and if the sampler settles whole sequences.

        Example:
            ```python
            from keras_encdec import EncoderDecoder, Generator

            model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
            for tokens in Generator(model).stream([[5, 7, 2]], max_length=4):
                print(tokens)
            ```
        """
        if not self.sampler.one_token_a_step:
            raise ValueError(
                "Only a sampler that settles each token as it comes can be streamed; "
                f"received {self.sampler!r}, which may change all of them at the last "
                "step. Use GreedySampler or a RandomSampler."
            )
        arrays, options = self._inputs(source, max_length, seed, 1, prefix)
        return self._stream(arrays, options)

    def _stream(self, arrays, options):
        rows = len(arrays["source"])
        if not rows:
            return
        arrays = pad_to_few_sizes(arrays, self.padding_id, self._largest)
        tensors = tuple(map(ops.convert_to_tensor, arrays.values()))
        start = self._compile("start", self._start, arrays, options)
        memory, state = start(*tensors)
        step = self._compile("step", self._step, arrays, options, signature=False)
        done = 0
        while not np.all(ops.convert_to_numpy(state.finished)[:rows]):
            state = step(memory, state, *tensors)
            index = int(state.index)
            ids = ops.convert_to_numpy(state.ids)
            for place in range(done, min(index, options["max_length"])):
                if np.any(ids[:rows, place] != self.padding_id):
                    yield ids[:rows, place].copy()
            done = index

    def score(self, source, target):
        """Returns how likely the model finds given targets.

        Args:
            source: Source ids: `(B, S)`, integer, or a list of lists.
            target: Target ids, likewise: without the start id; with the end id if it
                is to count.

        Returns:
            A pair of NumPy arrays, float32: the sums `(B,)` and the log-probability of
            each token `(B, T)`, 0 for padding.

        Raises:
            ValueError: If they are not ids, or not as many sources as targets.

        Example:
            ```python
            from keras_encdec import EncoderDecoder, Generator

            model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
            print(Generator(model).score([[5, 7, 2]], [[9, 8, 2]])[0])
            ```
        """
        tokens = self._teacher_forced(score, source, target)
        return tokens.sum(axis=1), tokens

    def align(self, source, target, *, layer=-1, heads=None):
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
            ValueError: If they are not ids, or not as many sources as targets.

        Example:
            ```python
            from keras_encdec import EncoderDecoder, Generator

            model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
            print(Generator(model).align([[5, 7, 2]], [[9, 8, 2]]).shape)
            ```
        """
        options = {"layer": layer, "heads": heads}
        return self._teacher_forced(align, source, target, **options)

    def _teacher_forced(self, function, source, target, **options):
        source = pad_rows("source", source, self.padding_id)
        target = pad_rows("target", target, self.padding_id)
        if len(source) != len(target):
            raise ValueError(
                "source and target must have a row each for every pair; received "
                f"{len(source)} and {len(target)}."
            )
        if hasattr(self.model, "check_ids"):
            self.model.check_ids(source, target)
        shape = source.shape, target.shape
        arrays = {"source": source.astype("int32"), "target": target.astype("int32")}
        if not len(source) or not target.shape[1]:
            lengths = (len(source), target.shape[1], source.shape[1])
            return np.zeros(lengths[: 2 if function is score else 3], "float32")
        arrays = pad_to_few_sizes(arrays, self.padding_id, self._largest)
        options.update(start_id=self.start_id, padding_id=self.padding_id)
        run = self._compile(
            function.__name__,
            lambda source, target, **options: function(
                self.model, source, target, **options
            ),
            arrays,
            options,
        )
        result = run(*map(ops.convert_to_tensor, arrays.values()))
        (rows, sources), (_, targets) = shape
        result = ops.convert_to_numpy(result)[:rows, :targets]
        return result if function is score else result[..., :sources]

    def _inputs(
        self,
        source,
        max_length,
        seed,
        number,
        prefix=None,
        phrases=None,
        return_scores=False,
    ):
        """Returns the checked arrays of a call by name, and its static options."""
        source = pad_rows("source", source, self.padding_id)
        limits = row_limits(max_length, len(source))
        arrays = {
            "source": source,
            "limits": limits,
            "seeds": seeds_of_rows(seed, len(source)),
        }
        require_size("num_return_sequences", number)
        self.sampler.rows_per_source(number)
        if hasattr(self.model, "check_ids"):
            self.model.check_ids(source)
        arrays["source"] = source.astype("int32")
        longest = int(limits.max(initial=0)) if np.ndim(max_length) else int(max_length)
        largest = self._largest
        if largest is not None and longest + self.sampler.extra_positions > largest:
            raise ValueError(
                "max_length must not be above the model's positions, "
                f"max_length={largest - self.sampler.extra_positions}; received "
                f"{longest}."
            )
        lengths = (source != self.padding_id).sum(axis=1)
        for processor in self.processors:
            if hasattr(processor, "check"):
                processor.check(limits, lengths)
        embedding = getattr(self.model, "target_embedding", None)
        vocabulary_size = getattr(embedding, "vocabulary_size", None)
        special = as_tuple(self.end_id), self.padding_id, vocabulary_size
        if prefix is not None:
            arrays["prefix"] = pad_prefixes(prefix, limits, *special)
        if phrases is not None:
            arrays["phrases"] = pad_phrases(phrases, limits, *special)
        if prefix is not None and phrases is not None:
            require_room(arrays["prefix"], arrays["phrases"], limits, self.padding_id)
        return arrays, {
            "max_length": longest,
            "num_return_sequences": number,
            "return_scores": return_scores,
        }

    def _generate(self, **kwargs):
        return generate(self.model, self.sampler, **kwargs, **self._constants())

    def _start(self, **kwargs):
        task = make_task(self.model, self.sampler, **kwargs, **self._constants())
        return task.memory, self.sampler.start(task)

    def _step(self, memory, state, **kwargs):
        task = make_task(
            self.model, self.sampler, memory=memory, **kwargs, **self._constants()
        )
        return self.sampler.step(task, state)

    def _constants(self):
        return {
            "start_id": self.start_id,
            "end_id": self.end_id,
            "padding_id": self.padding_id,
            "processors": self.processors,
        }

    def _compile(self, name, function, arrays, options, signature=True):
        names = tuple(arrays)
        phrases = arrays["phrases"].shape[1:] if "phrases" in arrays else ()
        key = name, names, phrases, tuple(options.items())
        if key not in self._compiled:

            def compiled(*args):
                others = args[: len(args) - len(names)]
                named = dict(zip(names, args[len(others) :], strict=True))
                return function(*others, **named, **options)

            sizes = {k: [None] * (array.ndim - 1) for k, array in arrays.items()}
            sizes["phrases"] = phrases
            inputs = [keras.KerasTensor((None, *sizes[k]), "int32") for k in names]
            self._compiled[key] = compile_function(
                compiled, inputs if signature else None, self._variables, self._jit
            )
        return self._compiled[key]
