"""The training step in plain JAX: what Keras's layers and trainer could at best reach.

Legend of shapes: B batch, T target, S source, D model, N heads, H head size.
"""

import functools

import jax
import jax.numpy as jnp
from sizes import LABEL_SMOOTHING, PADDING, POSITIONS, sinusoids

RATE, DECAYS, EPSILON = 1e-4, (0.9, 0.999), 1e-8


def dense(weights, name, x):
    return x @ weights[f"{name}.kernel"] + weights[f"{name}.bias"]


class Model:
    """The loss as a function of the weights."""

    def __init__(self, size, dropout):
        self._size, self._rate = size, dropout
        self._positions = sinusoids(POSITIONS, size.hidden_dim)

    def loss(self, weights, batch, key=None):
        source, target, labels = batch
        weights = jax.tree.map(lambda x: x.astype(self._size.dtype), weights)
        keys = iter([] if key is None else jax.random.split(key, 64))

        def drop(x):
            if key is None or not self._rate:
                return x
            kept = jax.random.bernoulli(next(keys), 1 - self._rate, x.shape)
            return jnp.where(kept, x / (1 - self._rate), 0)

        add_and_norm = functools.partial(self._add_and_norm, weights, drop)

        def attention(x, memory, mask, name):
            return add_and_norm(
                x, self._attention(weights, x, memory, mask, name), name
            )

        def feed(x, name):
            y = jax.nn.relu(dense(weights, f"{name}.inner", x))
            return add_and_norm(x, dense(weights, f"{name}.outer", y), name)

        def embed(ids):
            positions = self._positions[: ids.shape[1]].astype(self._size.dtype)
            return drop(weights["embedding"][ids] + positions)

        here = (source != PADDING)[:, None, None, :]
        causal = jnp.tri(target.shape[1], dtype=bool)[None, None]
        encoded = embed(source)
        for i in range(self._size.num_layers):
            encoded = attention(encoded, encoded, here, f"encoder.{i}.self")
            encoded = feed(encoded, f"encoder.{i}.feed")
        x = embed(target)
        for i in range(self._size.num_layers):
            x = attention(x, x, causal, f"decoder.{i}.self")
            x = attention(x, encoded, here, f"decoder.{i}.cross")
            x = feed(x, f"decoder.{i}.feed")
        return smoothed_loss(x @ weights["embedding"].T, labels)

    def _add_and_norm(self, weights, drop, x, y, name):
        x = x + drop(y)
        x = x - x.mean(axis=-1, keepdims=True)
        scale = jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + self._size.epsilon)
        return x * scale * weights[f"{name}.norm.gamma"] + weights[f"{name}.norm.beta"]

    def _attention(self, weights, x, memory, mask, name):
        def heads(x, projection):
            x = dense(weights, f"{name}.{projection}", x)
            x = x.reshape(*x.shape[:2], self._size.num_heads, -1)
            return x.transpose(0, 2, 1, 3)  # (B, N, T, H)

        query, key, value = (
            heads(x, "query"),
            heads(memory, "key"),
            heads(memory, "value"),
        )
        scores = query @ key.swapaxes(2, 3) * query.shape[-1] ** -0.5
        scores = jnp.where(mask, scores.astype("float32"), -1e30)
        shares = jax.nn.softmax(scores).astype(value.dtype)
        y = (shares @ value).transpose(0, 2, 1, 3).reshape(x.shape)
        return dense(weights, f"{name}.output", y)


def smoothed_loss(logits, labels):
    logits = logits.astype("float32")
    norms = jax.nn.logsumexp(logits, axis=-1)
    of_labels = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    smooth = logits.mean(axis=-1)
    losses = norms - (1 - LABEL_SMOOTHING) * of_labels - LABEL_SMOOTHING * smooth
    counts = labels != PADDING
    return jnp.where(counts, losses, 0.0).sum() / counts.sum()


def make_trainer(variant, size, weights, dropout):
    return Trainer(Model(size, dropout), weights)


class Trainer:
    def __init__(self, model, weights):
        self._loss = jax.jit(model.loss)

        @functools.partial(jax.jit, donate_argnums=0)
        def step(state, batch):
            weights, first, second, key, number = state
            key, drops = jax.random.split(key)
            loss, slopes = jax.value_and_grad(model.loss)(weights, batch, drops)
            number = number + 1
            one, two = DECAYS
            rate = RATE * jnp.sqrt(1 - two**number) / (1 - one**number)
            tree = jax.tree.map
            first = tree(lambda m, g: one * m + (1 - one) * g, first, slopes)
            second = tree(lambda v, g: two * v + (1 - two) * g * g, second, slopes)
            weights = tree(
                lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON),
                weights,
                first,
                second,
            )
            return (weights, first, second, key, number), loss

        weights = jax.tree.map(jnp.array, weights)

        def zeros():
            return jax.tree.map(jnp.zeros_like, weights)

        self._state = weights, zeros(), zeros(), jax.random.key(0), jnp.float32(0)
        self._step = step

    def loss(self, batch):
        return float(self._loss(self._state[0], batch))

    def train(self, batches):
        for batch in batches:
            self._state, loss = self._step(self._state, batch)
        # As Keras waits at the end of an epoch.
        float(loss)
