"""The sizes of the models, and weights that all contenders are given.

Legend of shapes: D model, F feed-forward, V vocabulary.
"""

import dataclasses

import numpy as np

# As in all tokenizers of the library; regular tokens follow.
PADDING, START, END, FIRST_WORD = 0, 1, 2, 4

# Of every loss; and the rows of a table of positions, where a contender needs one.
LABEL_SMOOTHING = 0.1
POSITIONS = 512


@dataclasses.dataclass(frozen=True)
class Size:
    name: str
    hidden_dim: int
    num_heads: int
    intermediate_dim: int
    num_layers: int
    vocabulary_size: int = 10_000
    epsilon: float = 1e-5
    # Of what is computed; in training weights are float32 all the same.
    dtype: str = "float32"


SIZES = {
    size.name: size
    for size in (
        # For tests of the benchmark itself.
        Size("micro", 16, 2, 32, 2, 200),
        Size("tiny", 128, 4, 256, 4),
        Size("base", 512, 8, 2048, 6),
        # For GPUs.
        Size("large", 1024, 16, 4096, 6),
    )
}


def operations(size, source, target, sequences=1):
    """The floating-point operations that matrix products of one pair's logits need.

    Args:
        size: A `Size`.
        source: The tokens of the source.
        target: The tokens of the target, each of which attends to those before it.
        sequences: The targets of one source.
    """
    dim, middle = size.hidden_dim, size.intermediate_dim
    encoder = source * (8 * dim**2 + 4 * dim * middle) + 4 * source**2 * dim
    decoder = target * (12 * dim**2 + 4 * dim * middle)
    decoder += 2 * target**2 * dim + 4 * target * source * dim
    logits = 2 * target * dim * size.vocabulary_size
    # The keys and values of cross-attention too are computed once for each source.
    once = size.num_layers * (encoder + source * 4 * dim**2)
    return once + sequences * (size.num_layers * decoder + logits)


def draw_weights(size, *, decisive, seed=0):
    """Draws weights by name.

    With `decisive` they are those of a model that knows what it wants: logits are far
    apart, so that rounding changes no id; what comes next depends on the source and on
    what came before; and the special ids are out of the question, so that every library
    generates for exactly as long as it may without being told to.
    """
    random = np.random.default_rng(seed)
    dim = size.hidden_dim
    weights = {}

    def normal(name, shape, std):
        weights[name] = random.standard_normal(shape, "float32") * np.float32(std)

    def dense(name, rows, columns):
        scale = SCALES.get(name.rpartition(".")[2], 1.0) if decisive else 1.0
        normal(f"{name}.kernel", (rows, columns), scale * rows**-0.5)
        normal(f"{name}.bias", (columns,), 0.1 if decisive else 0.0)

    def norm(name):
        weights[f"{name}.gamma"] = np.ones(dim, "float32")
        normal(f"{name}.beta", (dim,), 0.1 if decisive else 0.0)

    for stack, sublayers in STACKS.items():
        for i in range(size.num_layers):
            for sublayer in sublayers:
                name = f"{stack}.{i}.{sublayer}"
                if sublayer == "feed":
                    dense(f"{name}.inner", dim, size.intermediate_dim)
                    dense(f"{name}.outer", size.intermediate_dim, dim)
                else:
                    for projection in PROJECTIONS:
                        dense(f"{name}.{projection}", dim, dim)
                norm(f"{name}.norm")
    normal("embedding", (size.vocabulary_size, dim), 1.0 if decisive else dim**-0.5)
    if decisive:
        last = f"decoder.{size.num_layers - 1}.feed.norm"
        # Mostly negative, or the last token would repeat for ever: the table is tied.
        signs = random.choice([-1.0, 1.0], dim, p=[0.7, 0.3]).astype("float32")
        weights[f"{last}.gamma"] = signs * np.float32(5 * dim**-0.5)
        weights[f"{last}.gamma"][0], weights[f"{last}.beta"][0] = 0.0, 4.0
        table = weights["embedding"]
        table[:, 0] = 0.0
        table[:FIRST_WORD] *= 0.1
        table[:FIRST_WORD, 0] = -10.0
    return weights


# Of decisive weights: attention to few places, and a token that is not lost in what
# the sublayers add to it.
SCALES = {"query": 2.0, "key": 2.0, "output": 0.5, "outer": 0.5}

STACKS = {"encoder": ("self", "feed"), "decoder": ("self", "cross", "feed")}
PROJECTIONS = ("query", "key", "value", "output")


def sinusoids(length, dim):
    """Sines and cosines in turn, `(length, D)`."""
    timescales = 10_000.0 ** (-2.0 * (np.arange(dim) // 2) / dim)
    angles = np.arange(length)[:, None] * timescales
    return np.where(np.arange(dim) % 2, np.cos(angles), np.sin(angles)).astype(
        "float32"
    )


def draw_source(size, batch, length=32, seed=1):
    """Sources of one length, which end with the end id."""
    random = np.random.default_rng(seed)
    source = random.integers(FIRST_WORD, size.vocabulary_size, (batch, length))
    source[:, -1] = END
    return source.astype("int32")
