"""The cross entropy of hidden states, whose logits are never all there at once.

Shapes: N tokens, C chunks of them, D model, V vocabulary.
"""

from keras import ops

from keras_encdec.backend import write_at

# 16 MB. Larger chunks are no faster, and smaller ones add to the table's gradient, as
# large as the table, the more often.
LOGITS_AT_ONCE = 2**22
LEAST_CHUNK_SIZE = 64


def projected_cross_entropy(
    hidden, table, labels, weights, *, label_smoothing=0.0, chunk_size=None
):
    """Returns what the logits `hidden @ table.T` cost, and how often they are right.

    Of a vocabulary of tens of thousands the logits, their probabilities and their
    gradient are by far the largest arrays of a training. Here they exist for a few
    hundred tokens at a time, and the gradient is taken while they do: it is
    `(probabilities - smoothed labels) @ table`, in which the probabilities go into
    matrix products as they are, and everything else is done to the small arrays on
    either side.

    Args:
        hidden: `(N, D)`, float32.
        table: A vector for each id `(V, D)`, float32.
        labels: `(N,)`, int32, in `[0, V)` where the weight is not 0, or all is nan.
        weights: `(N,)`, float32, the weight of each token; no gradient flows to it.
        label_smoothing: Probability spread evenly over the vocabulary.
        chunk_size: About how many tokens' logits are there at once; by default as many
            as make four million, and 64 at least.

    Returns:
        `(2,)`, float32: the sum of the tokens' cross entropies, in nats, and the number
        of tokens whose largest logit is the label's, each times its weight.

    Example:
        ```python
        import numpy as np
        from keras import ops
        from keras_encdec.training.projected_loss import projected_cross_entropy

        hidden, table = ops.zeros((3, 4)), ops.zeros((8, 4))
        labels, weights = ops.array([1, 2, 0]), ops.array([1.0, 1.0, 0.0])
        loss, _ = projected_cross_entropy(hidden, table, labels, weights)
        assert np.isclose(float(loss), 2 * np.log(8))
        ```

    Reference:
        Wijmans et al. 2024, Cut Your Losses in Large-Vocabulary Language Models, for
        the aim.
    """
    if chunk_size is None:
        chunk_size = max(LOGITS_AT_ONCE // table.shape[0], LEAST_CHUNK_SIZE)
    given = ops.where(weights == 0, 0, ops.cast(labels, "int32"))
    labels = ops.clip(given, 0, table.shape[0] - 1)
    weights = ops.where(labels == given, weights, ops.cast(float("nan"), weights.dtype))
    keep, spread = 1.0 - label_smoothing, label_smoothing

    @ops.custom_gradient
    def cost(hidden, table):
        tokens = ops.shape(hidden)[0]
        at_least_one = max if isinstance(tokens, int) else ops.maximum
        # Even without tokens, for JAX traces the loop's body in any case.
        chunks = at_least_one(-(-tokens // chunk_size), 1)
        size = at_least_one(-(-tokens // chunks), 1)
        filled = [[0, chunks * size - tokens]]
        by_chunk = (chunks, size)
        hidden = ops.reshape(
            ops.pad(hidden, [*filled, [0, 0]]), (*by_chunk, table.shape[1])
        )
        ids, share = (
            ops.reshape(ops.pad(x, filled), by_chunk) for x in (labels, weights)
        )
        center = ops.mean(table, axis=0)  # (D,)

        def of_chunk(i, sums, hidden_gradient, table_gradient):
            x, label, weight = hidden[i], ids[i], share[i]
            logits = ops.matmul(x, ops.transpose(table))
            largest = ops.max(logits, axis=-1)
            chosen = ops.take_along_axis(logits, label[:, None], axis=-1)[:, 0]
            # Within one kernel, where sums of exponentials would take several.
            likely = ops.softmax(logits)
            # The largest logit's is one of the total of all exponentials.
            nats = largest - ops.log(ops.max(likely, axis=-1)) - keep * chosen
            nats = nats - spread * ops.matmul(x, center)
            hits = ops.cast(chosen >= largest, "float32")
            sums = sums + ops.stack([ops.sum(nats * weight), ops.sum(hits * weight)])
            predicted = ops.matmul(likely, table)
            true = keep * ops.take(table, label, axis=0) + spread * center
            gradient = weight[:, None] * (predicted - true)
            return (
                i + 1,
                sums,
                write_at(hidden_gradient, i, gradient[None], axis=0),
                table_gradient + ops.matmul(ops.transpose(likely), x * weight[:, None]),
            )

        _, sums, hidden_gradient, table_gradient = ops.while_loop(
            lambda i, *others: i < chunks,
            of_chunk,
            (
                ops.convert_to_tensor(0, dtype="int32"),
                ops.zeros((2,), dtype="float32"),
                ops.zeros_like(hidden),
                ops.zeros_like(table),
            ),
        )
        weighted = ops.reshape(hidden * share[..., None], (-1, table.shape[1]))
        even = ops.sum(weighted, axis=0) / table.shape[0]
        table_gradient = ops.scatter_update(
            table_gradient - spread * even,
            ops.reshape(ids, (-1, 1)),
            -keep * weighted,
            reduction="add",
        )
        flat = ops.reshape(hidden_gradient, (-1, table.shape[1]))[:tokens]

        def gradient(*args, upstream=None):
            # PyTorch gives the arguments beside the upstream gradient.
            upstream = (args[-1] if upstream is None else upstream)[0]
            return flat * upstream, table_gradient * upstream

        return sums, gradient

    return cost(hidden, table)
