"""The sizes that a config tells, beside those of the tensors that are stored."""

from collections.abc import Callable, Iterator, Mapping

from keras_encdec.pretrained.families import Architecture
from keras_encdec.pretrained.layouts import Layout, Pair, stored_name

_Shapes = Mapping[str, tuple[int, ...]]


def layout_that_fits(
    architecture: Architecture, shapes: _Shapes, layout_of: Callable[[], Layout]
) -> Layout:
    """Returns a layout, of an architecture whose sizes are those of stored tensors.

    A model of other sizes could fill the memory before one of its tensors is compared.

    Args:
        architecture: What the config says.
        shapes: The shape of each stored tensor by its name.
        layout_of: Returns the layout of the architecture, which has as many pairs as
            there are layers.

    Raises:
        ValueError: If a size is another one than the tensors have; all of them are
            named.

    Example:
        ```python
        from keras_encdec.pretrained.configurations import architecture_of
        from keras_encdec.pretrained.layouts import layout_of
        from keras_encdec.pretrained.stored_sizes import layout_that_fits

        sizes = {"vocab_size": 20, "d_model": 16, "d_ff": 32, "d_kv": 4}
        sizes |= {"num_heads": 4, "num_layers": 10**9, "pad_token_id": 0}
        architecture = architecture_of({"model_type": "t5", **sizes})
        try:
            layout_that_fits(
                architecture,
                {"shared.weight": (20, 16)},
                lambda: layout_of(architecture),
            )
        except ValueError as error:
            print(error)
        ```
    """
    sides = {"encoder": architecture.encoder, "decoder": architecture.decoder}
    depths = {side: options["num_layers"] for side, options in sides.items()}
    # Each layer has tensors of its own.
    _refuse(
        _told(side, "layers", depth, f"at most {len(shapes):,}")
        for side, depth in depths.items()
        if depth > len(shapes)
    )
    layout = layout_of()
    stored = {
        pair.ours: name
        for pair in layout.pairs
        if (name := stored_name(pair, shapes)) is not None
    }
    problems = []
    for side, depth in depths.items():
        found = {name.split(".")[2] for name in stored if f"{side}.blocks." in name}
        if len(found) < depth:
            problems.append(_told(side, "layers", depth, f"{len(found):,}"))
    largest = max((size for shape in shapes.values() for size in shape), default=0)
    pairs = {pair.ours: pair for pair in layout.pairs}
    for side, what, size, name, axis in _sizes(architecture, pairs):
        if name not in stored:
            # What is missing is told with all else, of a model that is no larger.
            if size > largest:
                problems.append(_told(side, what, size, f"at most {largest:,}"))
            continue
        # A pair's own shape has the axes where theirs has ours.
        shape = shapes[stored[name]]
        axis = pairs[name].shape((0, 1)).index(axis)
        if len(shape) == 2 and shape[axis] != size:
            problems.append(_told(side, what, size, f"{shape[axis]:,}"))
    _refuse(problems)
    return layout


def _sizes(
    architecture: Architecture, pairs: Mapping[str, Pair]
) -> Iterator[tuple[str, str, int, str, int]]:
    """Yields side, what it is, size, and the name and axis of a weight that has it."""
    for side in ("encoder", "decoder"):
        options = getattr(architecture, side)
        yield side, "vocabulary", options["vocabulary_size"], f"{side}.embedding", 0
        yield side, "width", options["hidden_dim"], f"{side}.embedding", 1
        block = f"{side}.blocks.0"
        inner = f"{block}.feed_forward.intermediate.kernel"
        yield side, "feed-forward width", options["intermediate_dim"], inner, 1
        heads = options["num_heads"]
        if "head_dim" in options:
            width = heads * options["head_dim"]
            query = f"{block}.self_attention.query.kernel"
            yield side, "attention width (heads times their size)", width, query, 1
        if "num_buckets" in options:
            bias = next(
                x
                for x in (f"{side}.relative_bias", f"{block}.relative_bias")
                if x in pairs
            )
            yield side, "buckets of distances", options["num_buckets"], bias, 0
            yield side, "heads", heads, bias, 1
        length = getattr(options["positions"], "max_length", None)
        if length is not None:
            rows = length + options["positions"].offset
            yield side, "positions", rows, f"{side}.positions", 0


def _told(side: str, what: str, said: int, stored: str) -> str:
    return f"{what} of the {side}: {said:,} in config.json, {stored} in the weights"


def _refuse(problems: Iterator[str] | list[str]) -> None:
    problems = [*problems]
    if problems:
        raise ValueError(
            "The sizes in config.json must be those of the weights beside it; "
            "received\n- " + "\n- ".join(problems) + "\nTake the config.json and the "
            "weights of one model."
        )
