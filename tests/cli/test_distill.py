"""What distill writes, and that train and encode read it."""

import numpy as np
import pytest

import keras_encdec.bulk
from keras_encdec.cli import main
from keras_encdec.generation import BeamSampler, GreedySampler
from keras_encdec.recipe import build
from keras_encdec.text import CharacterTokenizer, read_pairs
from keras_encdec.text_to_text import TextToText

pytestmark = pytest.mark.once

LINES = ["ab", "", "a b", "ba", "bab"]
LETTERS = CharacterTokenizer(["a", "b", " ", "\t"])


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    root, small = tmp_path_factory.mktemp("teachers"), {"intermediate_dim": 16}
    for seed in (1, 2):
        made = build(
            LETTERS,
            LETTERS,
            hidden_dim=8,
            num_heads=2,
            num_layers=1,
            max_length=5,
            tie_embeddings=False,
            seed=seed,
            **small,
        )
        # Large ones, so that answers differ, and the same under every backend.
        random = np.random.default_rng(seed)
        shapes = [weight.shape for weight in made.model.get_weights()]
        made.model.set_weights([random.normal(size=shape) for shape in shapes])
        made.save(root / str(seed))
    return [str(root / "1"), str(root / "2")]


@pytest.fixture
def sources(tmp_path):
    path = tmp_path / "sources.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path


def test_pairs_are_what_the_teachers_find_by_beams(
    teachers, sources, tmp_path, run, monkeypatch
):
    asked = []

    def generate(self, texts, **call):
        asked.append((self, [*texts]))
        return (text[::-1] for text in asked[-1][1])

    monkeypatch.setattr(TextToText, "generate", generate)
    output = tmp_path / "made.tsv"
    given = ("--source", sources, "--output", output)
    run("distill", *teachers, "--weights", 1, 3, *given)
    assert read_pairs(output) == (LINES, [text[::-1] for text in LINES])
    ((both, texts),) = asked
    assert texts == LINES and both.sampler == BeamSampler(4)
    assert both.model.options()["weights"] == [0.25, 0.75]
    for member, place in zip(both.model.models, teachers, strict=True):
        alone = TextToText.load(place).model.get_weights()
        np.testing.assert_array_equal(member.get_weights()[0], alone[0])
    run("distill", teachers[0], "--sampler", "greedy", *given)
    assert asked[1][0].sampler == GreedySampler()


def test_a_tab_ends_a_source_alone(teachers, tmp_path, run, monkeypatch):
    source, output = tmp_path / "source.txt", tmp_path / "made.tsv"
    # One line without a tab: tabs are a part of the texts.
    source.write_text("a\tb\nab\n")
    answers = lambda *given, **call: iter(["a\tb\ta", "b\nb"])  # noqa: E731
    monkeypatch.setattr(TextToText, "generate", answers)
    run("distill", teachers[0], "--source", source, "--output", output)
    assert output.read_text() == "a b\ta b a\nab\tb b\n"


def test_goes_on_with_its_own_work_alone(
    teachers, sources, tmp_path, run, monkeypatch, capsys, eagerly
):
    monkeypatch.setattr(keras_encdec.bulk, "WINDOW", 2)
    output, answers, asked = tmp_path / "made.tsv", keras_encdec.bulk._answers, []
    options = ["--sampler", "random", "--source", sources, "--output", output]
    command = [*map(str, ["distill", teachers[0], *options])]

    def interrupted(*given, **call):
        asked.append(given)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return answers(*given, **call)

    with monkeypatch.context() as patch:
        patch.setattr(keras_encdec.bulk, "_answers", interrupted)
        assert main(command) == 130
    assert "4 of 5 texts are kept" in capsys.readouterr().err and not output.exists()
    # The same options, but other lines.
    assert "0 of 5" in run("generate", *command[1:], "--resume").err
    generated = output.read_text().splitlines()
    assert "4 of 5 texts are there" in run(*command, "--resume").err
    assert read_pairs(output) == (LINES, [x.replace("\t", " ") for x in generated])


def test_what_is_made_is_trained_on(teachers, sources, tmp_path, run, monkeypatch):
    import keras_encdec.run

    made, seen = tmp_path / "made.tsv", []
    monkeypatch.setattr(keras_encdec.run, "train", lambda *x, **more: seen.append(x))
    answers = lambda *x, **call: iter(["a", "", "b a", "ab", "b"])  # noqa: E731
    monkeypatch.setattr(TextToText, "generate", answers)
    run("distill", *teachers, "--source", sources, "--output", made)
    run("train", "--source", made, "--output", tmp_path / "x", "--tokenizer", "byte")
    ((_, trained, targets),) = seen
    assert (trained, targets) == (LINES, ["a", "", "b a", "ab", "b"])


@pytest.mark.parametrize("text", ["", "\n"])
def test_a_line_may_be_empty_but_not_the_file(
    text, teachers, tmp_path, run, error_of, eagerly
):
    source, output = tmp_path / "source.txt", tmp_path / "made.tsv"
    source.write_text(text)
    given = ("distill", teachers[0], "--source", source, "--output", output)
    if text:
        run(*given)
        assert read_pairs(output)[0] == [""]
    else:
        assert "A distillation needs at least one line" in error_of(*given)
        assert not output.exists()
