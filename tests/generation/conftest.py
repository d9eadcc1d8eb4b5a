"""What the tests of generation share."""

import contextlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec import EncoderDecoder
from keras_encdec.generation import generate, row_seeds


@pytest.fixture(scope="session")
def small_model():
    """A function that builds a model with the same weights under every backend."""

    def build(seed=1, **options):
        # With tied embeddings, random weights mostly repeat one token.
        options = {"num_heads": 2, "num_layers": 1, "tie_embeddings": False, **options}
        model = EncoderDecoder(20, 16, 32, **options)
        rng = np.random.default_rng(seed)

        def weight(variable):
            center = float(variable.path.endswith(("gamma", "scale")))
            spread = 0.1 if len(variable.shape) == 1 else 0.6
            return (center + spread * rng.normal(size=variable.shape)).astype("float32")

        model.set_weights([weight(variable) for variable in model.weights])
        return model

    return build


class Counted:
    """A model that counts its steps."""

    def __init__(self, model):
        self.model, self.steps = model, 0

    def __getattr__(self, name):
        return getattr(self.model, name)

    def step(self, *args, **kwargs):
        self.steps += 1
        return self.model.step(*args, **kwargs)


def run_counted(model, sampler, source, limits=None, **options):
    """The ids and the number of steps, of loops that run as Python and rows that end
    at their limits alone, by default those of their sources, or as options say."""
    as_python = contextlib.nullcontext()
    if keras.backend.backend() == "jax":
        import jax

        as_python = jax.disable_jit()
    found, source = Counted(model), np.array(source, "int32")
    limits = [source.shape[1]] * len(source) if limits is None else limits
    with as_python:
        generated = generate(
            found,
            sampler,
            ops.convert_to_tensor(source),
            ops.convert_to_tensor(limits, "int32"),
            row_seeds(4, len(source)),
            max_length=max(limits),
            **{"end_id": 99, **options},
        )
    return ops.convert_to_numpy(generated.ids)[:, 0], found.steps


@pytest.fixture(scope="session")
def counted():
    """A function that runs a model and counts its steps."""
    return run_counted


class Edits:
    """Copies its source, but writes another id for those that some number divides."""

    steps_by_row = True

    def __init__(self, divisor):
        self.divisor = divisor

    def encode(self, source):
        return source

    def new_cache(self, batch_size, length):
        return ()

    def step(self, tokens, index, memory, cache):
        wide = len(tokens.shape) == 2
        steps = tokens.shape[1] if wide else 1
        index = ops.expand_dims(index, -1) + ops.arange(steps, dtype="int32")
        places = ops.broadcast_to(index, (memory.shape[0], steps))
        places = ops.minimum(places, memory.shape[1] - 1)
        ids = ops.take_along_axis(memory, places, axis=1)
        edited = ids % self.divisor == 0 if self.divisor else ids < 0
        logits = ops.one_hot(ops.where(edited, 98 - ids, ids), 100)
        return logits if wide else logits[:, 0], cache


@pytest.fixture(scope="session")
def edits():
    """What makes a model that copies its source, but for edits."""
    return Edits
