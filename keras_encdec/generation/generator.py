"""Autoregressive generation: encode once, then one compiled loop of cached steps.

Legend of shapes: B batch, S source, V vocabulary, L largest length.
"""

import keras
import numpy as np
from keras import ops

from keras_encdec.backend import compile_function, write_at
from keras_encdec.generation.random_numbers import row_seeds, uniform
from keras_encdec.generation.samplers import GreedySampler, Sampler


def generate(
    model,
    sampler,
    source,
    limits,
    seeds,
    *,
    max_length,
    start_id=1,
    end_id=2,
    padding_id=0,
):
    """Generates target ids; made of tensor operations alone, to be compiled.

    Args:
        model: Any object with `encode(source) -> memory`, `new_cache(batch_size,
            length) -> cache` and `step(tokens, index, memory, cache) -> (logits,
            cache)`, as `EncoderDecoder` has them.
        sampler: A `Sampler`.
        source: Source ids `(B, S)`, int32.
        limits: The largest number of tokens of each row `(B,)`, int32.
        seeds: The random seed of each row `(B,)`, int32.
        max_length: The largest number of tokens of any row L, an int.
        start_id: The id that the target begins with.
        end_id: The id that ends a row.
        padding_id: The id that fills up a row after its end; never picked before, if
            it is not also the end id.

    Returns:
        Target ids `(B, L)`, int32, without the start id, with the end id.

    Example:
        ```python
        from keras import ops
        from keras_encdec import EncoderDecoder, GreedySampler
        from keras_encdec.generation import generate, row_seeds

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        source, limits = ops.array([[5, 7, 2]]), ops.array([4])
        seeds = row_seeds(0, 1)
        print(generate(model, GreedySampler(), source, limits, seeds, max_length=4))
        ```
    """
    batch_size = ops.shape(source)[0]
    memory = model.encode(source)

    def unfinished(index, tokens, finished, ids, cache):
        return ops.logical_not(ops.all(finished))

    def next_token(index, tokens, finished, ids, cache):
        logits, cache = model.step(tokens, index, memory, cache)
        if padding_id != end_id:
            padding = ops.arange(logits.shape[-1]) == padding_id
            logits = ops.where(padding, -float("inf"), logits)
        tokens = sampler(logits, uniform(seeds, index))
        tokens = ops.where(finished, padding_id, tokens)
        ids = write_at(ids, index, ops.expand_dims(tokens, -1))
        ended = ops.logical_or(tokens == end_id, index + 1 >= limits)
        return index + 1, tokens, ops.logical_or(finished, ended), ids, cache

    state = (
        ops.convert_to_tensor(0, dtype="int32"),
        ops.full((batch_size,), start_id, dtype="int32"),
        limits < 1,
        ops.full((batch_size, max_length), padding_id, dtype="int32"),
        model.new_cache(batch_size, max_length),
    )
    _, _, _, ids, _ = ops.while_loop(
        unfinished, next_token, state, maximum_iterations=max_length
    )
    return ids


class Generator:
    """Generates target ids from source ids, with any sampler.

    The encoder runs once, the source's keys and values are projected once and the
    target's are cached; the loop is compiled (a `tf.function`, a `jax.jit`, or eager
    under `torch.inference_mode`) for a few sizes of batch and source, to which inputs
    are padded. It ends when every row has ended. A row's ids depend on its source, its
    seed and the sampler, not on the other rows.

    Args:
        model: An `EncoderDecoder`, or any object with its `encode`, `new_cache` and
            `step`.
        sampler: A `Sampler`; by default greedy.
        start_id: The id that the target begins with.
        end_id: The id that ends a row.
        padding_id: The id of padding in source and target.

    Call arguments:
        source: Source ids: `(B, S)`, integer, or a list of lists of any lengths.
        max_length: The largest number of tokens to generate, the end id included: an
            int, or `(B,)`, one of its own for each row.
        seed: The seed of random samplers: a 32-bit int, or `(B,)`, one of its own
            for each row.

    Returns:
        A NumPy array of target ids `(B, L)`, int32, L being the largest `max_length`:
        without the start id, with the end id, then padding.

    Raises:
        ValueError: If the source is not 2D integer ids of the model's vocabulary, or
            too long for its positions, or `max_length` or `seed` is out of range.
        TypeError: If the sampler is not a `Sampler`.

    Example:
        ```python
        from keras_encdec import EncoderDecoder, Generator, TopKSampler

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        generator = Generator(model, TopKSampler(k=5))
        print(generator([[5, 7, 2], [9, 2]], max_length=6, seed=3))
        ```
    """

    def __init__(self, model, sampler=None, *, start_id=1, end_id=2, padding_id=0):
        sampler = GreedySampler() if sampler is None else sampler
        if not isinstance(sampler, Sampler):
            raise TypeError(
                "sampler must be a Sampler, an object such as GreedySampler() or "
                f"TopKSampler(k=5); received {sampler!r}."
            )
        self.model = model
        self.sampler = sampler
        self.start_id = start_id
        self.end_id = end_id
        self.padding_id = padding_id
        self._compiled = {}

    def __call__(self, source, max_length, seed=0):
        """Returns the target ids."""
        source = self._pad(source)
        rows = len(source)
        limits = self._limits(max_length, rows)
        seeds = self._seeds(seed, rows)
        if hasattr(self.model, "check_ids"):
            self.model.check_ids(source)
        source = source.astype("int32")
        longest = int(limits.max(initial=0)) if np.ndim(max_length) else int(max_length)
        largest = getattr(self.model, "max_length", None)
        if largest is not None and longest > largest:
            raise ValueError(
                "max_length must not be above the model's positions, "
                f"max_length={largest}; received {longest}."
            )
        if rows == 0:
            return np.zeros((0, longest), "int32")
        # Compiled for a few sizes: rows that fill up end before their first token.
        width = min(_round_up(source.shape[1], 8), largest or np.inf)
        fill = _round_up(rows, 1) - rows
        source = np.pad(
            source,
            ((0, fill), (0, max(0, width - source.shape[1]))),
            constant_values=self.padding_id,
        )
        arrays = source, np.pad(limits, (0, fill)), np.pad(seeds, (0, fill))
        ids = self._compile(longest)(*map(ops.convert_to_tensor, arrays))
        return ops.convert_to_numpy(ids)[:rows]

    def _compile(self, max_length):
        if max_length not in self._compiled:

            def function(source, limits, seeds):
                return generate(
                    self.model,
                    self.sampler,
                    source,
                    limits,
                    seeds,
                    max_length=max_length,
                    start_id=self.start_id,
                    end_id=self.end_id,
                    padding_id=self.padding_id,
                )

            self._compiled[max_length] = compile_function(
                function,
                [keras.KerasTensor((None,) * rank, "int32") for rank in (2, 1, 1)],
                getattr(self.model, "variables", ()),
            )
        return self._compiled[max_length]

    def _pad(self, source):
        if isinstance(source, (list, tuple)):
            if any(np.ndim(row) != 1 for row in source):
                raise ValueError(
                    "source must be a list of rows of ids, such as [[5, 7, 2], [9, 2]];"
                    f" received {source!r:.200}."
                )
            rows = [np.asarray(row) for row in source]
            for row in rows:
                if row.size and not np.issubdtype(row.dtype, np.integer):
                    raise ValueError(
                        "source must be integer token ids; received a row of dtype "
                        f"{row.dtype}. Encode the text with a tokenizer."
                    )
            # int64, for in int32 an id too large might wrap around to a good one.
            padded = np.full(
                (len(rows), max(map(len, rows), default=0)), self.padding_id, "int64"
            )
            for padded_row, row in zip(padded, rows, strict=True):
                padded_row[: len(row)] = row
            return padded
        source = np.asarray(ops.convert_to_numpy(source))
        if source.ndim != 2 or not np.issubdtype(source.dtype, np.integer):
            raise ValueError(
                "source must be 2D integer ids, a row for each sequence; received "
                f"shape {source.shape}, dtype {source.dtype}."
            )
        return source

    def _limits(self, max_length, rows):
        limits = np.asarray(max_length)
        if not np.issubdtype(limits.dtype, np.integer) or limits.shape not in (
            (),
            (rows,),
        ):
            raise ValueError(
                "max_length must be an int, or an int for each row of the source; "
                f"received {max_length!r:.200} for {rows} rows."
            )
        if limits.size and limits.min() < 1:
            raise ValueError(f"max_length must be at least 1; received {limits.min()}.")
        return np.broadcast_to(limits, (rows,)).astype("int32")

    def _seeds(self, seed, rows):
        seeds = np.asarray(seed)
        if not np.issubdtype(seeds.dtype, np.integer) or seeds.shape not in (
            (),
            (rows,),
        ):
            raise ValueError(
                "seed must be an int, or an int for each row of the source; received "
                f"{seed!r:.200} for {rows} rows."
            )
        if seeds.size and not -(2**31) <= seeds.min() <= seeds.max() < 2**31:
            raise ValueError(
                "seed must fit in 32 bits, from -2**31 to 2**31 - 1; received "
                f"{seed!r:.200}."
            )
        if seeds.ndim == 0:
            return ops.convert_to_numpy(row_seeds(int(seed), rows))
        return seeds.astype("int32")


def _round_up(size, smallest):
    """Returns a size of at least `size`: doubled up to 32, then multiples of 32."""
    rounded = smallest
    while rounded < min(size, 32):
        rounded *= 2
    return rounded if rounded >= size else -(-size // 32) * 32
