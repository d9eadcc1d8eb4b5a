"""What the formats without strings share: small models, and what they must answer."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_encdec import (
    BeamSampler,
    ByteTokenizer,
    EncoderDecoder,
    GreedySampler,
    Sampler,
    SentencePieceTokenizer,
    TextToText,
    TopKSampler,
)
from keras_encdec.generation import MinimumLength, NoRepeatNGram

MAX_LENGTH = 8
# Rows and source lengths.
SHAPES = [(1, 1), (2, 9), (5, 4), (0, 3)]
TEXTS = ["a cat sat", "a hat sat", "a cat has a hat", "the cat and the hat"]


@keras.saving.register_keras_serializable(package="tests_of_export_of_ids")
@dataclasses.dataclass(frozen=True)
class PythonSampler(Sampler):
    """Known to this process alone, and no graph can hold it."""

    def __call__(self, logits, uniform):
        def pick(logits):
            return logits.argmax(-1).astype("int32")

        ids = tf.numpy_function(pick, [logits], tf.int32)
        return ops.reshape(ids, (ops.shape(uniform)[0],))


def text_to_text_of(source, target, sampler, *, num_layers=1, processors=(), **options):
    """A model with weights that are the same under every backend."""
    model = EncoderDecoder(source.vocabulary_size, 16, 32, 2, num_layers, **options)
    rng = np.random.default_rng(0)

    def weight(variable):
        center = float(variable.path.endswith("gamma"))
        spread = 0.1 if len(variable.shape) == 1 else 0.4
        return (center + spread * rng.normal(size=variable.shape)).astype("float32")

    model.set_weights([weight(variable) for variable in model.weights])
    return TextToText(
        source, target, model, sampler, processors=processors, max_length=MAX_LENGTH
    )


def greedy():
    tokenizer = SentencePieceTokenizer.train(TEXTS, 15)
    # Tied to the embeddings the logits alone would repeat one token.
    return text_to_text_of(
        tokenizer, tokenizer, GreedySampler(), processors=[NoRepeatNGram(1)]
    )


def beams():
    source, target = (
        SentencePieceTokenizer.train(TEXTS, 17),
        ByteTokenizer(prefix_ids=[4]),
    )
    return text_to_text_of(
        source,
        target,
        BeamSampler(3),
        processors=[NoRepeatNGram(2), MinimumLength(2)],
        num_layers=2,
        target_vocabulary_size=target.vocabulary_size,
        tie_embeddings=False,
        positions="rotary",
        num_key_value_heads=1,
    )


def random():
    tokenizer = ByteTokenizer()
    return text_to_text_of(
        tokenizer,
        tokenizer,
        TopKSampler(k=20, temperature=1.5),
        positions="relative",
        normalization="rms",
        gated=True,
    )


def arrays_of(text_to_text, rows, length):
    """Sources with padding, limits and seeds."""
    rng = np.random.default_rng(rows)
    size = text_to_text.model.source_embedding.vocabulary_size
    source = rng.integers(3, size, (rows, length)).astype("int32")
    for i in range(rows):
        source[i, max(1, length - i) :] = 0
    limits = np.full(rows, MAX_LENGTH, "int32")
    limits[1:2] = 3
    seeds = np.array([0, -1, -(2**31), 2**31 - 1, 99][:rows], "int32")
    return {"source": source, "max_length": limits, "seed": seeds}


def check_generate(run, inputs, text_to_text, number, shapes=SHAPES):
    """Checks ids and scores of the whole loop: those of Python.

    `run` maps a dict of arrays, named by `inputs`, to a dict of arrays.
    """
    different = set()
    for rows, length in shapes:
        arrays = arrays_of(text_to_text, rows, length)
        outputs = run({name: arrays[name] for name in inputs})
        expected = text_to_text.generator(
            *arrays.values(), num_return_sequences=number, return_scores=True
        )
        assert outputs["ids"].shape == (rows, number, MAX_LENGTH)
        assert outputs["ids"].dtype == np.int32
        longest = expected.ids.shape[-1]
        np.testing.assert_array_equal(outputs["ids"][..., :longest], expected.ids)
        np.testing.assert_allclose(outputs["scores"], expected.scores, atol=1e-4)
        different.update(map(tuple, expected.ids.reshape(rows * number, longest)))
    assert len(different) > 4 * number


def check_steps(encode, step, past, text_to_text, shapes=SHAPES[:-1]):
    """Checks the logits of some steps, two rows for each source: those of Python.

    `encode` and `step` map dicts of arrays to dicts of arrays; `past` are the shapes of
    the inputs that begin as zeros, by name, the dimensions that vary being strings,
    None or -1.
    """
    model = text_to_text.model
    size = model.target_embedding.vocabulary_size
    rng = np.random.default_rng(1)
    for rows, length in shapes:
        source = arrays_of(text_to_text, rows, length)["source"]
        memory = encode({"source": source})
        expected_memory = model.encode(ops.convert_to_tensor(source))
        mask = ops.convert_to_numpy(expected_memory[1])
        np.testing.assert_array_equal(memory["mask"], mask)
        tensors = {
            name: np.zeros((2 * rows, shape[1], MAX_LENGTH, shape[3]), "float32")
            for name, shape in past.items()
        }
        cache = model.new_cache(2 * rows, MAX_LENGTH)
        for index in range(4):
            tokens = rng.integers(3, size, 2 * rows).astype("int32")
            outputs = step(
                {"tokens": tokens, "index": np.array(index, "int32")} | memory | tensors
            )
            expected, cache = model.step(
                ops.convert_to_tensor(tokens), index, expected_memory, cache
            )
            np.testing.assert_allclose(
                outputs.pop("logits"), ops.convert_to_numpy(expected), atol=1e-4
            )
            tensors = {
                name.replace("present", "past"): tensor
                for name, tensor in outputs.items()
            }
