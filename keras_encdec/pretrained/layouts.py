"""Which tensor of a checkpoint is which weight of ours, in both directions.

Ours are named as in `keras_encdec.model.weights`. One list of pairs says what is read,
and what is written: neither can drift from the other.
"""

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from keras_encdec.pretrained.families import Architecture


class Pair(NamedTuple):
    """A tensor of theirs and a weight of ours.

    Attributes:
        theirs: The tensor's name; of several that may hold it, as the embeddings that
            are stored under one of their names, the first, which is written.
        ours: The weight's canonical name.
        transposed: Whether theirs is `(outputs, inputs)`, as in PyTorch's `Linear`.
        is_row: Whether theirs is `(1, V)`.
        factor: What theirs is multiplied by.
        others: The further names under which it may be stored.
        may_lack: Whether zeros stand for a tensor that is not stored.
    """

    theirs: str
    ours: str
    transposed: bool = False
    is_row: bool = False
    factor: float = 1.0
    others: tuple[str, ...] = ()
    may_lack: bool = False

    def read(self, tensor: np.ndarray) -> np.ndarray:
        """Returns our weight, made of their tensor."""
        if self.transposed:
            tensor = tensor.T
        if self.is_row:
            tensor = tensor[0]
        if self.factor != 1:
            tensor = tensor.astype("float32") * np.float32(self.factor)
        return tensor

    def write(self, weight: np.ndarray) -> np.ndarray:
        """Returns their tensor, made of our weight."""
        if self.factor != 1:
            weight = weight / np.float32(self.factor)
        if self.is_row:
            weight = weight[None]
        return np.ascontiguousarray(weight.T if self.transposed else weight)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of their tensor, from that of our weight."""
        shape = (1, *shape) if self.is_row else tuple(shape)
        return shape[::-1] if self.transposed else shape


class Layout(NamedTuple):
    """All tensors of a kind of checkpoint.

    Attributes:
        pairs: The tensors that are weights of ours.
        ignored: Patterns of the names of those that are none.
    """

    pairs: tuple[Pair, ...]
    ignored: tuple[str, ...] = ()


class TranslatedWeights(Mapping[str, np.ndarray]):
    """Our weights by their canonical names, each read when it is looked up.

    Args:
        tensors: Theirs by their names; with `shapes` they are not read to be checked.
        layout: A `Layout`.
        shapes: The shape of each weight of ours by its canonical name. Of names that
            share a weight, one is enough.

    Raises:
        ValueError: If a tensor is missing, left over or of another shape; all of them
            are named.

    Example:
        ```python
        import numpy as np
        from keras_encdec import EncoderDecoder
        from keras_encdec.model.weights import (
            canonical_shapes,
            canonical_weights,
            set_canonical_weights,
        )
        from keras_encdec.pretrained.layouts import Layout, Pair, TranslatedWeights

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        theirs = {f"their.{k}": v for k, v in canonical_weights(model).items()}
        shapes = canonical_shapes(model)
        pairs = tuple(Pair(f"their.{name}", name) for name in shapes)
        # The same table once more.
        layout = Layout(pairs, ignored=("their.decoder.embedding",))
        weights = TranslatedWeights(theirs, layout, shapes)
        set_canonical_weights(model, weights)
        ```
    """

    def __init__(
        self,
        tensors: Mapping[str, np.ndarray],
        layout: Layout,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._tensors = tensors
        self._pairs = {pair.ours: pair for pair in layout.pairs if pair.ours in shapes}
        self.shapes = {name: tuple(shapes[name]) for name in self._pairs}
        self._check(layout)

    def _check(self, layout: Layout) -> None:
        shapes = getattr(self._tensors, "shapes", None)
        if shapes is None:
            shapes = {name: np.shape(x) for name, x in self._tensors.items()}
        problems = []
        known = set()
        for name, pair in self._pairs.items():
            known |= {pair.theirs, *pair.others}
            stored = stored_name(pair, shapes)
            expected = pair.shape(self.shapes[name])
            if stored is None:
                if not pair.may_lack:
                    problems.append(f"{pair.theirs} {expected} is missing")
            elif tuple(shapes[stored]) != expected:
                shape = tuple(shapes[stored])
                problems.append(f"{stored} is {shape}, not {expected}")
        problems += [
            f"{name} {tuple(shapes[name])} is left over"
            for name in shapes
            if name not in known
            and not any(fnmatch.fnmatchcase(name, x) for x in layout.ignored)
        ]
        if problems:
            more = len(problems) - 20
            told = problems[:20] + ([f"{more} more"] if more > 0 else [])
            raise ValueError(
                "The tensors of a checkpoint must be the weights of the model that its "
                "configuration describes; in the one received:\n- "
                + "\n- ".join(told)
                + "\nCheck that config.json and the weights are of one model, and of "
                "one with a decoder that gives logits."
            )

    def __getitem__(self, name: str) -> np.ndarray:
        pair = self._pairs[name]
        stored = stored_name(pair, self._tensors)
        if stored is None:
            return np.zeros(self.shapes[name], "float32")
        return pair.read(self._tensors[stored])

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)


def stored_name(pair: Pair, names: Iterable[str]) -> str | None:
    """Returns the name under which a tensor is stored, None if it is not.

    Args:
        pair: A `Pair`.
        names: The names that are stored.
    """
    return next((x for x in (pair.theirs, *pair.others) if x in names), None)


def layout_of(architecture: Architecture, prefix: str = "model.") -> Layout:
    """Returns where the weights of a model are in transformers' checkpoints.

    Args:
        architecture: What `architecture_of` returned.
        prefix: What the names of a model like BART begin with: nothing in the file of
            a base model.
    """
    if architecture.is_t5:
        return Layout(
            (*_tables("", architecture), *_t5_pairs(architecture)),
            (
                # Of an old version of transformers, which never used it.
                "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
                *_all_tables(""),
            ),
        )
    return Layout(
        (*_tables(prefix, architecture), *_bart_pairs(prefix, architecture)),
        (
            # Sinusoids are computed; the others are of fairseq.
            f"{prefix}*.embed_positions.*",
            f"{prefix}*coder.version",
            *_all_tables(prefix),
        ),
    )


def prefix_of(names: Iterable[str]) -> str:
    """Returns what the names of a checkpoint begin with.

    Args:
        names: The names of all tensors.
    """
    return "model." if any(name.startswith("model.") for name in names) else ""


def _all_tables(prefix: str) -> tuple[str, ...]:
    """Returns all names of the tables, which are often one."""
    return (
        f"{prefix}encoder.embed_tokens.weight",
        f"{prefix}decoder.embed_tokens.weight",
        f"{prefix}shared.weight",
        "lm_head.weight",
    )


def table_names(names: Iterable[str], prefix: str) -> tuple[str, str, str] | None:
    """Returns under which names a checkpoint stores its tables.

    Args:
        names: The names of all tensors.
        prefix: What `prefix_of` returned.

    Returns:
        The names of the source's, the target's and the logits' table, of which two or
        all may be the same; None if there is none of them.
    """
    source, target, shared, head = _all_tables(prefix)
    stored = {name for name in (source, target, shared, head) if name in names}
    if not stored:
        return None
    of_source, of_target, of_logits = (
        next(name for name in order if name in stored)
        for order in (
            (source, shared, target, head),
            (target, shared, source, head),
            (head, target, shared, source),
        )
    )
    return of_source, of_target, of_logits


def _tables(prefix: str, architecture: Architecture) -> Iterator[Pair]:
    source, target, shared, head = _all_tables(prefix)
    if architecture.shares_table:
        others: tuple[str, ...] = (source, target)
        if architecture.decoder["tie_embeddings"]:
            others += (head,)
        yield Pair(shared, "encoder.embedding", others=others)
        yield Pair(shared, "decoder.embedding", others=others)
    else:
        yield Pair(source, "encoder.embedding", others=(shared,))
        of_target: tuple[str, ...] = (shared,)
        if architecture.decoder["tie_embeddings"]:
            of_target += (head,)
        yield Pair(target, "decoder.embedding", others=of_target)
    yield Pair(head, "logits.kernel", transposed=True)
    bias = "final_logits_bias"
    yield Pair(bias, "logits.bias", is_row=True, may_lack=True)


def _dense(theirs: str, ours: str, factor: float = 1.0) -> Iterator[Pair]:
    yield Pair(f"{theirs}.weight", f"{ours}.kernel", transposed=True, factor=factor)
    yield Pair(f"{theirs}.bias", f"{ours}.bias", factor=factor)


def _norm(theirs: str, ours: str, factor: float = 1.0) -> Iterator[Pair]:
    yield Pair(f"{theirs}.weight", f"{ours}.scale", factor=factor)
    yield Pair(f"{theirs}.bias", f"{ours}.bias", factor=factor)


_BART_ATTENTIONS = {"self_attn": "self_attention", "encoder_attn": "cross_attention"}
_BART_DENSES = {
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "out_proj": "output",
}


def _bart_pairs(prefix: str, architecture: Architecture) -> Iterator[Pair]:
    for side in ("encoder", "decoder"):
        theirs = f"{prefix}{side}"
        yield Pair(f"{theirs}.embed_positions.weight", f"{side}.positions")
        yield from _norm(f"{theirs}.layernorm_embedding", f"{side}.embedding_norm")
        yield from _norm(f"{theirs}.layer_norm", f"{side}.norm")
        for i in range(getattr(architecture, side)["num_layers"]):
            layer, block = f"{theirs}.layers.{i}", f"{side}.blocks.{i}"
            for attention, our_attention in _BART_ATTENTIONS.items():
                for dense, our_dense in _BART_DENSES.items():
                    yield from _dense(
                        f"{layer}.{attention}.{dense}",
                        f"{block}.{our_attention}.{our_dense}",
                    )
                yield from _norm(
                    f"{layer}.{attention}_layer_norm", f"{block}.{our_attention}.norm"
                )
            yield from _dense(f"{layer}.fc1", f"{block}.feed_forward.intermediate")
            yield from _dense(f"{layer}.fc2", f"{block}.feed_forward.output")
            yield from _norm(f"{layer}.final_layer_norm", f"{block}.feed_forward.norm")


_T5_DENSES = {"q": "query", "k": "key", "v": "value", "o": "output"}


def _t5_pairs(architecture: Architecture) -> Iterator[Pair]:
    for side in ("encoder", "decoder"):
        options = getattr(architecture, side)
        factor = 1.0
        if side == "decoder" and architecture.scales_logits:
            factor = options["hidden_dim"] ** -0.5
        yield from _norm(f"{side}.final_layer_norm", f"{side}.norm", factor)
        attentions = ["SelfAttention"] + ["EncDecAttention"] * (side == "decoder")
        ours = ["self_attention", "cross_attention"]
        for i in range(options["num_layers"]):
            theirs, block = f"{side}.block.{i}", f"{side}.blocks.{i}"
            for j, attention in enumerate(attentions):
                for dense, our_dense in _T5_DENSES.items():
                    # Ours divides the scores by the root of the heads' size.
                    factor = options["head_dim"] ** 0.5 if dense == "q" else 1.0
                    yield from _dense(
                        f"{theirs}.layer.{j}.{attention}.{dense}",
                        f"{block}.{ours[j]}.{our_dense}",
                        factor,
                    )
                yield from _norm(
                    f"{theirs}.layer.{j}.layer_norm", f"{block}.{ours[j]}.norm"
                )
            bias = f"{theirs}.layer.0.SelfAttention.relative_attention_bias.weight"
            if options["bias_per_block"] and options["num_layers"] > 1:
                yield Pair(bias, f"{block}.relative_bias")
            elif i == 0:
                yield Pair(bias, f"{side}.relative_bias")
            layer = f"{theirs}.layer.{len(attentions)}"
            names = {"wi": "intermediate", "wo": "output"}
            if options["gated"]:
                names = {"wi_0": "intermediate", "wi_1": "gate", "wo": "output"}
            for dense, our_dense in names.items():
                yield from _dense(
                    f"{layer}.DenseReluDense.{dense}",
                    f"{block}.feed_forward.{our_dense}",
                )
            yield from _norm(f"{layer}.layer_norm", f"{block}.feed_forward.norm")
