"""Pictures, by matplotlib (extra `plots`): each is one call that returns a `Figure`.

No state of pyplot is touched: a figure is shown by a notebook as it is returned, and
written by `figure.savefig`.
"""

import csv
import math
import pathlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from keras_encdec.annotations import AnyPath, Tensor
from keras_encdec.confidence import confidences
from keras_encdec.files import require_file
from keras_encdec.generation import BeamSampler
from keras_encdec.text.interface import require_several_texts
from keras_encdec.text_to_text import TextToText

# matplotlib's, which may not be there.
Figure: TypeAlias = Any
_LOG_FILE = "log.csv"


def plot_attention(
    text_to_text: TextToText,
    source: str,
    target: str | None = None,
    *,
    layers: Sequence[int] = (-1,),
    heads: Sequence[int] | None = None,
) -> Figure:
    """Draws where a model looks in a source for each token of a target.

    Args:
        text_to_text: A `TextToText`.
        source: The source text.
        target: The target text; by default what the model generates.
        layers: The blocks of the decoder, a row of panels each.
        heads: The heads, a column of panels each; by default the mean of all, in one.

    Returns:
        A matplotlib `Figure`: in each panel a row for each token of the target and a
        column for each of the source, special ones too; dark is 1.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If there is no such layer or head, or nothing is chosen.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, build
        from keras_encdec.plots import plot_attention

        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 2}
        text_to_text = build(ByteTokenizer(), ByteTokenizer(), **small)
        figure = plot_attention(text_to_text, "one", "eins", layers=[0, 1], heads=[0])
        figure.savefig("attention.png")
        ```

    Reference:
        Bahdanau et al. 2015, Neural Machine Translation by Jointly Learning to Align
        and Translate, figure 3.
    """
    if not len(layers) or (heads is not None and not len(heads)):
        raise ValueError(
            "A picture of attention needs a layer and a head; received "
            f"layers={layers!r}, heads={heads!r}. Name some, or leave them out."
        )
    if target is None:
        (target,) = text_to_text([source])
    panels = {}
    for layer in layers:
        for head in [None] if heads is None else heads:
            panels[layer, head] = _attention(text_to_text, source, target, layer, head)
    columns = len(panels) // len(layers)
    first = next(iter(panels.values()))
    height, width = first.weights.shape
    figure = _figure(
        columns * max(3.0, 0.3 * width + 1), len(layers) * max(2.5, 0.3 * height + 1)
    )
    for number, ((layer, head), found) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(len(layers), columns, number)
        axes.imshow(found.weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(width), found.source_tokens, rotation=90)
        axes.set_yticks(range(height), found.target_tokens)
        which = "mean of heads" if head is None else f"head {head}"
        axes.set_title(f"layer {layer}, {which}")
    return figure


def _attention(
    text_to_text: TextToText, source: str, target: str, layer: int, head: int | None
) -> Any:
    """The alignment by one head; `align` gives means of the first ones."""

    def of_first(heads: int | None) -> Any:
        (found,) = text_to_text.align([source], [target], layer=layer, heads=heads)
        return found

    if head is None:
        return of_first(None)
    decoder: Any = getattr(text_to_text.model, "decoder", None)
    number = decoder.options()["num_heads"] if hasattr(decoder, "options") else 0
    if not 0 <= head < number:
        raise ValueError(
            f"A head is one of the decoder's, counted from 0; received {head} where "
            f"there are {number or 'none known'}. Choose one of them, or leave it out."
        )
    found = of_first(head + 1)
    if head == 0:
        return found
    weights = (head + 1) * found.weights - head * of_first(head).weights
    return found._replace(weights=np.clip(weights, 0, 1))


def plot_mask(mask: Tensor, *, title: str = "mask") -> Figure:
    """Draws a mask: what each position may attend to.

    Args:
        mask: Booleans `(T, S)`, True where it may; leading axes of size 1, as of
            `(1, 1, T, S)`, are left out.
        title: What stands above.

    Returns:
        A matplotlib `Figure`: a row for each query and a column for each key;
        dark is True.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If it has more axes of more than one position.

    Example:
        ```python
        from keras_encdec.layers import look_ahead_mask
        from keras_encdec.plots import plot_mask

        plot_mask(look_ahead_mask(5)).savefig("mask.png")
        ```
    """
    import keras

    array = np.asarray(keras.ops.convert_to_numpy(mask)).astype(bool)
    if array.ndim < 2 or math.prod(array.shape[:-2]) != 1:
        raise ValueError(
            f"A mask is drawn of two axes, (T, S); received shape {array.shape}. Take "
            "one row of the batch, and one head."
        )
    height, width = array.shape[-2:]
    array = array.reshape(height, width)
    figure = _figure(1.5 + 0.25 * width, 1.5 + 0.25 * height)
    axes = figure.add_subplot()
    axes.imshow(array, cmap="Blues", vmin=0, vmax=1)
    axes.set(title=title, xlabel="key", ylabel="query")
    return figure


def plot_learning_curves(run: AnyPath) -> Figure:
    r"""Draws the logs of a training's epochs, each measure with that of held-out texts.

    Args:
        run: The folder of the training, or its `log.csv`.

    Returns:
        A matplotlib `Figure`, a panel for each measure.

    Raises:
        FileNotFoundError: If there is no log.
        ImportError: If matplotlib is missing.
        ValueError: If it tells of no epoch, or is another file.

    Example:
        ```python
        import pathlib
        from keras_encdec.plots import plot_learning_curves

        log = pathlib.Path("log.csv")
        log.write_text("epoch,loss,val_loss\n1,3.5,3.2\n2,2.5,2.4\n")
        plot_learning_curves(log).savefig("curves.png")
        ```
    """
    path = pathlib.Path(run)
    path = path / _LOG_FILE if path.is_dir() else path
    require_file(path, rule="Curves are drawn of a training's log.csv")
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and "epoch" not in rows[0]:
        raise ValueError(
            f"Curves are drawn of a log with a column of epochs; {str(path)!r} has "
            "none. Give the folder of a training, or its log.csv."
        )
    if not rows:
        raise ValueError(
            f"Curves are drawn of one epoch at least; {str(path)!r} tells of none. "
            "Train one."
        )
    # None where an epoch was logged before there was such a measure.
    series = {
        name: [float(row[name]) if row[name] else math.nan for row in rows]
        for name in rows[0]
    }
    epochs = series.pop("epoch")
    names = list(dict.fromkeys(name.removeprefix("val_") for name in series))
    columns = min(3, len(names))
    height = math.ceil(len(names) / columns)
    figure = _figure(4 * columns, 3 * height)
    for number, name in enumerate(names, start=1):
        axes = figure.add_subplot(height, columns, number)
        for key, label in ((name, "training"), (f"val_{name}", "held out")):
            if key in series:
                axes.plot(epochs, series[key], marker=".", label=label)
        axes.set(title=name, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
    return figure


def plot_beams(
    text_to_text: TextToText,
    source: str,
    *,
    num_beams: int = 4,
    max_length: int | None = None,
) -> Figure:
    """Draws the best texts of a beam search as a tree of their tokens.

    Texts that begin alike share their branches. The probabilities are the model's, of
    whole texts: each ends with its end token, though the search may have cut it.

    Args:
        text_to_text: A `TextToText`.
        source: The source text.
        num_beams: The number of beams, and of texts.
        max_length: As in calling it.

    Returns:
        A matplotlib `Figure`: from left to right the tokens, each with its probability
        after those before it, the wider the likelier; the best text is at the top,
        and right of each its score in the search.

    Raises:
        ImportError: If matplotlib is missing.
        TypeError: If the source is not one text.
        ValueError: If a number is not above 0, or the source is too long.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, build
        from keras_encdec.plots import plot_beams

        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
        text_to_text = build(ByteTokenizer(), ByteTokenizer(), **small)
        plot_beams(text_to_text, "one", max_length=4).savefig("beams.png")
        ```
    """
    if not isinstance(source, (str, bytes)):
        raise TypeError(
            f"The tree is of one source text; received {source!r:.200}. Draw one each."
        )
    searching = text_to_text.with_sampler(BeamSampler(num_beams))
    (best,) = searching(
        [source],
        max_length=max_length,
        num_return_sequences=num_beams,
        return_scores=True,
    )
    texts = [text for text, _ in best]
    found = confidences(text_to_text, [source] * len(texts), texts, temperature=1.0)
    rows: dict[tuple[str, ...], list[int]] = {}
    probabilities = {}
    for row, each in enumerate(found):
        for end in range(len(each.tokens) + 1):
            rows.setdefault(tuple(each.tokens[:end]), []).append(row)
        for end, probability in enumerate(each.token_probabilities, start=1):
            probabilities[tuple(each.tokens[:end])] = float(probability)

    def branches(row: int) -> list[int]:
        # Of each beginning the best text that has it: so that no branches cross.
        tokens = found[row].tokens
        return [rows[tuple(tokens[:end])][0] for end in range(len(tokens) + 1)]

    height = {row: -i for i, row in enumerate(sorted(range(len(found)), key=branches))}
    places = {
        prefix: (len(prefix), float(np.mean([height[row] for row in of])))
        for prefix, of in rows.items()
    }
    longest = max(map(len, rows))
    figure = _figure(2 + 0.9 * longest, 1 + 0.6 * len(texts))
    axes = figure.add_subplot()
    for prefix, probability in probabilities.items():
        (before, above), (x, y) = places[prefix[:-1]], places[prefix]
        width = 0.5 + 3 * probability
        axes.plot([before, x], [above, y], color="C0", linewidth=width, zorder=1)
        label = f"{prefix[-1]}\n{probability:.2f}"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axes.text(x, y, label, ha="center", va="center", bbox=box, parse_math=False)
    for row, (each, (_, score)) in enumerate(zip(found, best, strict=True)):
        place = len(each.tokens) + 0.6, height[row]
        axes.text(*place, f"{score:.2f}", va="center", color="C0")
    axes.set(xlim=(-0.2, longest + 1.4), ylim=(0.6 - len(texts), 0.6))
    axes.set_title(source, parse_math=False)
    axes.set_axis_off()
    return figure


def plot_lengths(hypotheses: Sequence[str], references: Sequence[str]) -> Figure:
    """Draws the lengths of generated texts against those of the true ones, in words.

    Args:
        hypotheses: The generated texts, a list of `str`.
        references: The true texts, as many.

    Returns:
        A matplotlib `Figure`: a point for each pair; below the line texts are too
        short.

    Raises:
        ImportError: If matplotlib is missing.
        TypeError: If one of them is a single text.
        ValueError: If there are none, or not as many.

    Example:
        ```python
        from keras_encdec.plots import plot_lengths

        plot_lengths(["a cat", "a"], ["the cat", "a dog"]).savefig("lengths.png")
        ```
    """
    require_several_texts(hypotheses=hypotheses, references=references)
    if len(hypotheses) != len(references) or not len(references):
        raise ValueError(
            "Lengths are compared pair by pair; received "
            f"{len(hypotheses)} hypotheses and {len(references)} references. Align "
            "them."
        )
    true, generated = (
        [len(text.split()) for text in texts] for texts in (references, hypotheses)
    )
    most = max(*true, *generated, 1)
    figure = _figure(4.5, 4)
    axes = figure.add_subplot()
    axes.plot([0, most], [0, most], color="gray", linewidth=1)
    axes.scatter(true, generated, alpha=0.4)
    share = sum(generated) / max(sum(true), 1)
    axes.set(
        title=f"{share:.2f} words for each true one",
        xlabel="words of the reference",
        ylabel="words of the hypothesis",
    )
    return figure


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Pictures need the package matplotlib, which is not installed. Install it "
            "with `pip install 'keras-encdec[plots]'`."
        ) from error
    return Figure(figsize=(min(width, 30), min(height, 30)), layout="constrained")
