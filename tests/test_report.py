"""The page about a model holds all that it shows, and shows what is so."""

import base64
import html.parser

import pytest

from keras_encdec import ByteTokenizer, build, evaluate_texts
from keras_encdec.report import write_report

pytestmark = pytest.mark.once

SOURCES = ["1", "2", "3", "4", "5"]
REFERENCES = ["one", "a <b>two</b>", "three", "four", "fi ve"]
HYPOTHESES = ["one", "a <b>owt now</b>", "three", "", "fi vee"]


class Page(html.parser.HTMLParser):
    """What a page holds: the words of each tag, its pictures, its addresses."""

    def __init__(self, text):
        super().__init__()
        self.words, self.pictures, self.addresses, self.open = {}, {}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.open.append(tag)
        if tag == "img":
            kind, data = attributes["src"].split(",")
            assert kind == "data:image/png;base64"
            self.pictures[attributes["alt"]] = base64.b64decode(data)
        self.addresses += [attributes[x] for x in ("href",) if x in attributes]

    def handle_data(self, data):
        if data.strip():
            self.words.setdefault(self.open[-1], []).append(data)


@pytest.fixture(scope="module")
def text_to_text():
    small = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 1}
    return build(ByteTokenizer(), ByteTokenizer(), max_length=4, **small)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,loss,val_loss\n1,3,4\n2,1,2\n")
    (tmp_path / "options.toml").write_text('# of all\n\ndropout = 0.1\nx = "<"\n')
    return tmp_path


def test_a_page_shows_what_is_so_and_needs_nothing_beside_it(
    text_to_text, run, eagerly
):
    path = run / "report.html"
    scores = write_report(
        text_to_text,
        SOURCES,
        REFERENCES,
        path,
        hypotheses=HYPOTHESES,
        run=run,
        title="a & b",
        number=2,
        pictures=1,
    )
    assert scores == evaluate_texts(SOURCES, HYPOTHESES, REFERENCES)
    page = Page(path.read_text("utf-8"))
    assert not page.addresses
    assert page.words["h1"] == ["a & b"]
    told, options = page.words["pre"]
    assert told == "\n".join(scores.report)
    assert "Speed" in page.words["h2"]
    assert options == 'dropout = 0.1\nx = "<"'
    assert list(page.pictures) == [
        "curves of the training",
        "lengths",
        "attention of '' to '4'",
    ]
    assert all(data.startswith(b"\x89PNG") for data in page.pictures.values())
    # The worst two, and then those that are right, the longest first.
    rows = page.words["dd"]
    assert rows[:2] == ["4", "four"] and page.words["del"][0] == "four"
    assert "a <b>two</b>" in rows and page.words["ins"] == ["<b>owt now</b>"]
    assert [x for x in rows if x in SOURCES] == ["4", "2", "3", "1"]
    assert "100% of characters" in rows


def test_texts_are_generated_where_none_are_given(text_to_text, tmp_path, eagerly):
    path = tmp_path / "report.html"
    scores = write_report(text_to_text, ["1"], ["one"], path, pictures=0, timed=0)
    assert scores == evaluate_texts(["1"], text_to_text(["1"]), ["one"])
    page = Page(path.read_text("utf-8"))
    assert list(page.pictures) == ["lengths"]
    assert page.words["h2"][:3] == ["The model", "Scores", "Lengths"]


def test_sizes_and_speed_are_those_of_the_model(
    text_to_text, tmp_path, eagerly, monkeypatch
):
    class Clock:
        """Two seconds go by each time that somebody looks."""

        now = 0.0

        def perf_counter(self):
            self.now += 2.0
            return self.now

    monkeypatch.setattr("keras_encdec.report.time", Clock())
    path, saved = tmp_path / "report.html", tmp_path / "saved"
    text_to_text.save(saved)
    options = {"hypotheses": HYPOTHESES, "run": saved, "pictures": 0}
    write_report(text_to_text, SOURCES, REFERENCES, path, timed=3, **options)
    lines = Page(path.read_text("utf-8")).words["li"]
    assert f"{text_to_text.model.count_params():,} parameters" in lines[0]
    size = sum(file.stat().st_size for file in saved.iterdir())
    assert f"{size:,} bytes on disk" in lines
    texts = text_to_text(SOURCES[:3])
    tokens = len([id for row in text_to_text.target_tokenizer(texts) for id in row])
    assert lines[-3] == "1.5 texts a second"
    assert lines[-2] == f"{tokens / 2:,.0f} target tokens a second"
    assert lines[-1].startswith("measured on 3 texts in 2.00 s, by tensorflow on CPUs")


def test_what_cannot_be_told_leaves_the_page_that_was_there(text_to_text, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(ValueError, match="one of each"):
        write_report(text_to_text, ["1"], ["one"], path, hypotheses=["x", "y"])
    for timed in (-1, 1.5, True):
        with pytest.raises(ValueError, match="timed"):
            write_report(text_to_text, ["1"], ["one"], path, timed=timed)
    assert path.read_text() == "old"
