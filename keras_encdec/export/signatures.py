"""What a server can be asked: a text-to-text model as TensorFlow functions.

Legend of shapes: B batch, S source, T target, V vocabulary, D model, K beams. The batch
is the first dimension of every input and output, so that a server may join requests.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import keras
from keras import ops

from keras_encdec.annotations import Tensor, TensorFunction
from keras_encdec.backend import (
    calls_at_a_time,
    compile_function,
    import_tensorflow,
    key_of,
)
from keras_encdec.export.id_functions import never_empty
from keras_encdec.export.shortlist import InGraph
from keras_encdec.generation import (
    BeamSampler,
    PerRowSampler,
    Sampler,
    row_seeds,
    score,
)
from keras_encdec.generation.side_by_side import FEWEST
from keras_encdec.generation.task import as_tuple
from keras_encdec.text import Tokenizer
from keras_encdec.text_to_text import TextToText

tf = import_tensorflow()

SIGNATURES = (
    "serving_default",
    "generate",
    "beam",
    "sample",
    "score",
    "logits",
    "encode",
)
# From source, limits, seeds and options to ids and scores.
Search: TypeAlias = Callable[..., tuple[Tensor, Tensor]]
# The inputs of the signatures: the types and shapes without the batch.
_INPUTS = {
    "text": (tf.string, ()),
    "reference": (tf.string, ()),
    "max_length": (tf.int32, ()),
    "seed": (tf.int32, ()),
    "temperature": (tf.float32, ()),
    "top_k": (tf.int32, ()),
    "top_p": (tf.float32, ()),
    "source": (tf.int32, (None,)),
    "target": (tf.int32, (None,)),
}


class Signatures:
    """The signatures of a `TextToText`; the methods' names are the signatures' names.

    Signatures that search in the same way share one function.

    Args:
        text_to_text: A `TextToText`, under the TensorFlow backend.
        max_length: The largest number of tokens to generate.
        beams: The `BeamSampler` of the signature `beam`.
        jit: Whether XLA compiles the search, for batches and lengths padded to powers
            of two; on CPUs the halves of a batch run side by side.

    Attributes:
        module: A `tf.Module` with all that the functions need: the variables and the
            tokenizers, not the Keras model, which would bring its own functions and
            names along.

    Example:
        ```python
        import os

        os.environ["KERAS_BACKEND"] = "tensorflow"
        from keras_encdec import BeamSampler, ByteTokenizer, EncoderDecoder, TextToText
        from keras_encdec.export.signatures import Signatures

        tokenizer = ByteTokenizer()
        model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1)
        text_to_text = TextToText(tokenizer, tokenizer, model)
        signatures = Signatures(text_to_text, 8, BeamSampler(2), jit=False)
        print(signatures.functions(["encode"])["encode"].input_signature)
        ```
    """

    def __init__(
        self,
        text_to_text: TextToText,
        max_length: int,
        beams: BeamSampler,
        jit: bool,
    ) -> None:
        self._model = text_to_text.model
        self._generator = text_to_text.generator
        self._max_length = max_length
        self._beams = beams
        self._jit = jit
        self._searches: dict[Any, Search] = {}
        self._tokenizers = text_to_text.source_tokenizer, text_to_text.target_tokenizer
        self._shortlist = None
        if self._generator.shortlist is not None:
            self._shortlist = InGraph(self._generator, self._generator.shortlist)
        self.module = tf.Module()
        self.module.shortlist = self._shortlist
        self.module.tokenizers = [x.module() for x in self._tokenizers]
        self.module.parameters = [variable.value for variable in self._model.variables]

    def functions(self, names: Iterable[str]) -> dict[str, TensorFunction]:
        """Returns the named signatures, a dict of `tf.function`s."""
        methods = {name: getattr(self, name) for name in names}
        return {
            name: tf.function(
                method, autograph=False, input_signature=_input_signature(method)
            )
            for name, method in methods.items()
        }

    def serving_default(self, text: Tensor) -> dict[str, Tensor]:
        """Texts `(B,)` to texts `(B,)`, by the sampler that the `TextToText` has."""
        return self.generate(text, tf.fill(tf.shape(text), self._max_length))

    def generate(self, text: Tensor, max_length: Tensor) -> dict[str, Tensor]:
        """The same, with a largest number of tokens for each row, int32 `(B,)`."""
        limits = tf.clip_by_value(max_length, 0, self._max_length)
        seeds = row_seeds(0, ops.shape(text)[0])
        sampler = self._generator.sampler
        ids, _ = self._search(sampler, self._encode(text), limits, seeds)
        return {"text": self._decode(ids[:, 0])}

    def beam(self, text: Tensor) -> dict[str, Tensor]:
        """Texts `(B,)` to the K best texts and their scores, float32, `(B, K)`."""
        source = self._encode(text)
        limits = tf.fill(tf.shape(text), self._max_length)
        ids, scores = self._search(self._beams, source, limits, tf.zeros_like(limits))
        texts = self._decode(tf.reshape(ids, (-1, self._max_length)))
        return {"text": tf.reshape(texts, tf.shape(scores)), "score": scores}

    def sample(
        self,
        text: Tensor,
        seed: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        top_p: Tensor,
    ) -> dict[str, Tensor]:
        """Texts `(B,)` to texts drawn by the options of each row, `(B,)`.

        A temperature of 0 takes the most likely token; `top_k` 0 and `top_p` 1 are no
        limits.
        """
        limits = tf.fill(tf.shape(text), self._max_length)
        options = temperature, top_k, top_p
        ids, _ = self._search(PerRowSampler, self._encode(text), limits, seed, *options)
        return {"text": self._decode(ids[:, 0])}

    def score(self, text: Tensor, reference: Tensor) -> dict[str, Tensor]:
        """The log-probability of given targets, float32, and their lengths, `(B,)`.

        Lengths are in tokens, int32; the end counts in both.
        """
        padding_id = self._tokenizers[1].padding_id
        source, target = self._encode(text), self._ids(self._tokenizers[1], reference)
        padded = [never_empty(ids, padding_id) for ids in (source, target)]
        scores = score(
            self._model,
            *padded,
            start_id=self._tokenizers[1].start_id,
            padding_id=padding_id,
        )
        lengths = tf.reduce_sum(tf.cast(target != padding_id, tf.int32), axis=1)
        return {
            "score": tf.reduce_sum(scores, axis=1)[: tf.shape(text)[0]],
            "length": lengths,
        }

    def logits(self, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Ids `(B, S)` and `(B, T)`, int32, to logits `(B, T, V)`, float32.

        The target begins with the start id; rows are padded.
        """
        rows, length = tf.unstack(tf.shape(target))
        padding_id = self._tokenizers[1].padding_id
        padded = [never_empty(ids, padding_id) for ids in (source, target)]
        return {"logits": self._model(padded)[:rows, :length]}

    def encode(self, text: Tensor) -> dict[str, Tensor]:
        """What the encoder makes of texts `(B,)`.

        `hidden` `(B, S, D)`; which of the S are tokens, `mask`, bool; and the mean over
        these, `pooled` `(B, D)`, for retrieval; float32.
        """
        source = self._encode(text)
        rows, length = tf.unstack(tf.shape(source))
        padding_id = self._tokenizers[0].padding_id
        hidden = self._model.encode_hidden(never_empty(source, padding_id))
        hidden = tf.cast(hidden, tf.float32)[:rows, :length]
        mask = source != padding_id
        weights = tf.cast(mask, tf.float32)[..., None]
        pooled = tf.math.divide_no_nan(
            tf.reduce_sum(hidden * weights, axis=1), tf.reduce_sum(weights, axis=1)
        )
        return {"hidden": hidden, "mask": mask, "pooled": pooled}

    def _ids(self, tokenizer: Tokenizer, texts: Tensor) -> Tensor:
        return tokenizer.encode(texts).to_tensor(tokenizer.padding_id)

    def _encode(self, texts: Tensor) -> Tensor:
        return self._ids(self._tokenizers[0], texts)

    def _decode(self, ids: Tensor) -> Tensor:
        return self._tokenizers[1].decode(ids)

    def _search(
        self,
        sampler: Sampler | type[PerRowSampler],
        source: Tensor,
        limits: Tensor,
        seeds: Tensor,
        *options: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The ids `(B, K, L)` and scores `(B, K)` that a sampler finds."""
        key = key_of(sampler)
        if key not in self._searches:
            self._searches[key] = self._new_search(sampler, len(options))
        search = self._searches[key]
        if not self._jit:
            return search(source, limits, seeds, *options)
        rows, length = tf.unstack(tf.shape(source))
        more = _power_of_two(rows, 1) - rows
        longer = _power_of_two(length, 16) - length
        padding_id = self._tokenizers[0].padding_id
        source = tf.pad(source, [[0, more], [0, longer]], constant_values=padding_id)
        # Rows that fill up have a limit of 0: they end before their first token.
        rest = (tf.pad(x, [[0, more]]) for x in (limits, seeds, *options))
        return tuple(x[:rows] for x in search(source, *rest))

    def _new_search(
        self, sampler: Sampler | type[PerRowSampler], num_options: int
    ) -> Search:
        number = sampler.num_beams if isinstance(sampler, BeamSampler) else 1
        dtypes = ["int32"] * 2 + ["float32", "int32", "float32"][:num_options]
        inputs = [keras.KerasTensor((None, None), "int32")]
        inputs += [keras.KerasTensor((None,), dtype) for dtype in dtypes]

        def search(
            source: Tensor, limits: Tensor, seeds: Tensor, *others: Tensor
        ) -> tuple[Tensor, Tensor]:
            options, shortlist = others[:num_options], others[num_options:]
            found = self._generator.search(
                source,
                limits,
                seeds,
                **dict(zip(("candidates", "allowed"), shortlist, strict=False)),
                sampler=sampler(*options) if isinstance(sampler, type) else sampler,
                max_length=self._max_length,
                num_return_sequences=number,
                return_scores=number > 1,
            )
            scores = found.scores if number > 1 else tf.zeros_like(found.ids[:, :, 0])
            return found.ids, scores

        if self._shortlist is not None:
            inputs += [
                keras.KerasTensor((None,), "int32"),
                keras.KerasTensor((None, None), "bool"),
            ]
        compiled = compile_function(search, inputs, jit=self._jit)
        if self._shortlist is not None:
            compiled = self._of_candidates(compiled, self._shortlist, number)
        by_row = sampler is PerRowSampler or sampler.draws_by_row
        if self._jit and by_row and calls_at_a_time(self._model.variables) > 1:
            return _in_halves(compiled, number)
        return compiled

    def _of_candidates(
        self,
        search: Search,
        shortlist: InGraph,
        number: int,
    ) -> Search:
        """A search that is given the candidates of its sources."""
        ends = len(as_tuple(self._generator.end_id))
        # So many ids beams look at in one step, and have to be there.
        least = (1 + ends) * number

        def search_candidates(source: Tensor, *others: Tensor) -> Any:
            found = shortlist.of_sources(source, least)
            return search(source, *others, *found)

        return search_candidates


def _input_signature(method: Callable[..., dict[str, Tensor]]) -> list[Any]:
    specs = []
    for name in inspect.signature(method).parameters:
        dtype, shape = _INPUTS[name]
        specs.append(tf.TensorSpec((None, *shape), dtype, name=name))
    return specs


def _in_halves(search: Search, rows_per_source: int) -> Search:
    """A search whose halves of a batch run at the same time, if it is large enough."""

    def search_halves(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        middle = tf.shape(inputs[0])[0] // 2

        def both() -> tuple[Tensor, Tensor]:
            halves = (slice(None, middle), slice(middle, None))
            found = [search(*(x[half] for x in inputs)) for half in halves]
            return tuple(tf.concat(pair, axis=0) for pair in zip(*found, strict=True))

        enough = middle * rows_per_source >= FEWEST
        return tf.cond(enough, both, lambda: search(*inputs))

    return search_halves


def _power_of_two(size: Tensor, smallest: int) -> Tensor:
    powers = tf.constant([smallest * 2**i for i in range(20)])
    return tf.reduce_min(tf.where(powers >= size, powers, powers[-1]))
