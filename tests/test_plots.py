"""Pictures show the numbers that they are made of."""

import io
import sys

import numpy as np
import pytest

from keras_encdec import BeamSampler, ByteTokenizer, build, confidences, plots
from keras_encdec.layers import look_ahead_mask

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def text_to_text():
    small = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 2}
    return build(ByteTokenizer(), ByteTokenizer(), max_length=4, **small)


def drawn(figure):
    """The pictures in the panels of a figure, which can be written."""
    figure.savefig(io.BytesIO(), format="png")
    return [axes.images[0].get_array() for axes in figure.axes]


def test_attention_is_that_of_align(text_to_text, eagerly):
    figure = plots.plot_attention(text_to_text, "ab", "cde", layers=[0, 1])
    for layer, shown in enumerate(drawn(figure)):
        (found,) = text_to_text.align(["ab"], ["cde"], layer=layer)
        np.testing.assert_array_equal(shown, found.weights)
    axes = figure.axes[0]
    assert [x.get_text() for x in axes.get_xticklabels()] == found.source_tokens
    assert [x.get_text() for x in axes.get_yticklabels()] == found.target_tokens


def test_each_head_is_shown_alone(text_to_text, eagerly):
    figure = plots.plot_attention(text_to_text, "ab", "cde", heads=[0, 1])
    heads = drawn(figure)
    assert len(heads) == 2 and np.abs(heads[0] - heads[1]).max() > 1e-4
    for head in heads:
        np.testing.assert_allclose(head.sum(axis=1), 1, atol=1e-5)
    (mean,) = text_to_text.align(["ab"], ["cde"])
    np.testing.assert_allclose(np.mean(heads, axis=0), mean.weights, atol=1e-6)
    with pytest.raises(ValueError, match="received 2 where there are 2"):
        plots.plot_attention(text_to_text, "ab", "cde", heads=[2])
    with pytest.raises(ValueError, match="needs a layer and a head"):
        plots.plot_attention(text_to_text, "ab", "cde", layers=[])


def test_a_mask_is_shown_as_it_is():
    (shown,) = drawn(plots.plot_mask(look_ahead_mask(4)))
    np.testing.assert_array_equal(shown, np.tri(4, dtype=bool))
    with pytest.raises(ValueError, match="one row of the batch"):
        plots.plot_mask(np.ones((2, 1, 3, 3), bool))


def test_beams_that_begin_alike_share_their_branches(text_to_text, eagerly):
    figure = plots.plot_beams(text_to_text, "ab", num_beams=4)
    figure.savefig(io.BytesIO(), format="png")
    search = text_to_text.with_sampler(BeamSampler(4))
    more = {"num_return_sequences": 4, "return_scores": True}
    (best,) = search(["ab"], **more)
    found = confidences(text_to_text, ["ab"] * 4, [text for text, _ in best])
    expected = {
        tuple(each.tokens[: end + 1]): f"{each.tokens[end]}\n{probability:.2f}"
        for each in found
        for end, probability in enumerate(each.token_probabilities)
    }
    (axes,) = figure.axes
    assert len(expected) < sum(len(each.tokens) for each in found)
    texts = [text.get_text() for text in axes.texts]
    assert sorted(texts[:-4]) == sorted(expected.values())
    assert texts[-4:] == [f"{score:.2f}" for _, score in best]
    assert len(axes.lines) == len(expected)
    # What begins alike stands side by side, the best at the top.
    heights = [text.get_position()[1] for text in axes.texts[-4:]]
    assert heights[0] == 0 and sorted(heights) == [-3, -2, -1, 0]
    for prefix in expected:
        of = [
            height
            for each, height in zip(found, heights, strict=True)
            if tuple(each.tokens[: len(prefix)]) == prefix
        ]
        assert max(of) - min(of) == len(of) - 1
    with pytest.raises(TypeError, match="of one source text"):
        plots.plot_beams(text_to_text, ["ab"])


def test_curves_are_those_of_the_log(tmp_path):
    log = "epoch,loss,val_loss,val_bleu\n1,3.5,3.25,\n2,2.5,2.25,12\n"
    (tmp_path / "log.csv").write_text(log)
    for place in (tmp_path, tmp_path / "log.csv"):
        loss, bleu = plots.plot_learning_curves(place).axes
        shown = {x.get_label(): [*x.get_ydata()] for x in loss.lines}
        assert shown == {"training": [3.5, 2.5], "held out": [3.25, 2.25]}
        assert bleu.get_title() == "bleu" and bleu.lines[0].get_ydata()[1] == 12
    (tmp_path / "log.csv").write_text("epoch,loss\n")
    with pytest.raises(ValueError, match="one epoch at least"):
        plots.plot_learning_curves(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"log\.csv; there is none"):
        plots.plot_learning_curves(tmp_path / "none")


def test_lengths_are_counted_in_words():
    (axes,) = plots.plot_lengths(["a b", "", "c"], ["a b c", "d", "e"]).axes
    points = axes.collections[0].get_offsets().tolist()
    assert points == [[3, 2], [1, 0], [1, 1]]
    assert axes.get_title().startswith("0.60 words")
    with pytest.raises(ValueError, match="2 hypotheses and 1 references"):
        plots.plot_lengths(["a", "b"], ["a"])


def test_no_state_is_left_and_a_missing_package_is_one_line(monkeypatch):
    assert type(plots.plot_mask(np.ones((2, 2), bool))).__name__ == "Figure"
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-encdec\[plots\]'"):
        plots.plot_mask(np.ones((2, 2), bool))


def test_a_file_that_is_no_log_is_told(tmp_path):
    path = tmp_path / "texts.en"
    path.write_text("one two\nthree\n")
    with pytest.raises(ValueError, match=r"column of epochs; '.*texts\.en' has none"):
        plots.plot_learning_curves(path)
