"""The model in NumPy and double precision: what all contenders must compute.

Legend of shapes: B batch, S source, T target, V vocabulary.
"""

import numpy as np
from sizes import LABEL_SMOOTHING, PADDING, START, sinusoids

# In nats, of two ids or sequences between which rounding may decide.
NEAR_TIE = 0.02


def log_probabilities(size, weights, source, target):
    """Returns `(B, T, V)` for ids `(B, S)` and `(B, T)`, the target being shifted."""
    weights = {name: value.astype("float64") for name, value in weights.items()}
    here = (source != PADDING)[:, None, None, :]
    causal = np.tri(target.shape[1], dtype=bool)[None, None]

    def dense(x, name):
        return x @ weights[f"{name}.kernel"] + weights[f"{name}.bias"]

    def add_and_norm(x, y, name):
        x = x + y
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + size.epsilon)
        return x * weights[f"{name}.norm.gamma"] + weights[f"{name}.norm.beta"]

    def heads(x, name):
        x = dense(x, name).reshape(*x.shape[:2], size.num_heads, -1)
        return x.transpose(0, 2, 1, 3)

    def attention(x, memory, mask, name):
        scores = heads(x, f"{name}.query") @ heads(memory, f"{name}.key").swapaxes(2, 3)
        scores = scores / np.sqrt(size.hidden_dim / size.num_heads)
        scores = np.where(mask, scores, -1e30)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares = shares / shares.sum(axis=-1, keepdims=True)
        y = (shares @ heads(memory, f"{name}.value")).transpose(0, 2, 1, 3)
        y = dense(y.reshape(x.shape), f"{name}.output")
        return add_and_norm(x, y, name)

    def feed(x, name):
        y = dense(np.maximum(dense(x, f"{name}.inner"), 0), f"{name}.outer")
        return add_and_norm(x, y, name)

    def embed(ids):
        return weights["embedding"][ids] + sinusoids(ids.shape[1], size.hidden_dim)

    encoded = embed(source)
    for i in range(size.num_layers):
        encoded = attention(encoded, encoded, here, f"encoder.{i}.self")
        encoded = feed(encoded, f"encoder.{i}.feed")
    x = embed(target)
    for i in range(size.num_layers):
        x = attention(x, x, causal, f"decoder.{i}.self")
        x = attention(x, encoded, here, f"decoder.{i}.cross")
        x = feed(x, f"decoder.{i}.feed")
    logits = x @ weights["embedding"].T
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def loss(size, weights, batch):
    """Returns the mean cross entropy of the labels, smoothed, without padding."""
    source, target, labels = batch
    found = log_probabilities(size, weights, source, target)
    of_labels = np.take_along_axis(found, labels[..., None], axis=-1)[..., 0]
    smooth = found.mean(axis=-1)
    losses = -(1 - LABEL_SMOOTHING) * of_labels - LABEL_SMOOTHING * smooth
    return losses[labels != PADDING].mean()


def difference(size, weights, source, ids, others):
    """Compares two contenders' ids `(B, T)`, arrays.

    Returns:
        None, or a text on the first difference that rounding does not explain.
    """
    if ids.shape != others.shape:
        return f"ids of shape {ids.shape}, and not {others.shape}"
    same = ids == others
    for row in np.flatnonzero(~same.all(axis=1)):
        place = int(np.argmin(same[row]))
        # Both continue alike up to there, and then in sequences nearly as likely, or
        # with ids nearly as likely.
        sums, single = [], []
        for sequence in (ids[row], others[row]):
            shifted = np.concatenate([[START], sequence[:-1]])[None]
            found = log_probabilities(size, weights, source[row : row + 1], shifted)[0]
            of_ids = np.take_along_axis(found, sequence[:, None], axis=1)[:, 0]
            sums.append(of_ids.sum())
            single.append(of_ids[place])
        apart = min(abs(sums[0] - sums[1]), abs(single[0] - single[1]))
        if apart > NEAR_TIE:
            return (
                f"row {row} differs from token {place} on, "
                f"{ids[row, place : place + 4].tolist()} and not "
                f"{others[row, place : place + 4].tolist()}, log-probabilities "
                f"{sums[0]:.3f} and {sums[1]:.3f} of the whole, {single[0]:.3f} and "
                f"{single[1]:.3f} of the token"
            )
    return None
