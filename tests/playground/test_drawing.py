"""An answer as HTML: all of it is told, and what was typed is no HTML."""

import html.parser

import numpy as np
import pytest

from keras_encdec.playground import Answer, Candidate, Token
from keras_encdec.playground.drawing import draw_answer, draw_error

pytestmark = pytest.mark.once


class Drawn(html.parser.HTMLParser):
    """The tags of a drawing, each with its attributes and the words in it."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append([tag, dict(attributes), ""])
        self.open.append(self.tags[-1])

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open:
            self.open[-1][2] += data

    def named(self, tag, name=None):
        return [
            (attributes, words)
            for found, attributes, words in self.tags
            if found == tag and (not name or name in attributes.get("class", ""))
        ]


SOURCE = Token("a", False), Token("cat", True)
TOKENS = Token("eine", False, 0.9), Token("Katze", False, 0.3)
CANDIDATES = (
    Candidate("eine Katze", (4, 5), -0.4, TOKENS, np.array([[0.25, 0.75], [1, 0]])),
    Candidate("eine", (4,), -1.2, TOKENS[:1], np.array([[0.5, 0.5]]), is_cut=True),
)


def test_tells_tokens_their_probabilities_and_where_the_model_looked():
    drawn = Drawn(draw_answer(Answer(SOURCE, CANDIDATES, True, ("33% unknown",))))
    tokens = drawn.named("button", "token")
    assert [words for _, words in tokens] == ["a", "cat", "eine", "Katze", "eine"]
    assert [words for _, words in drawn.named("button", "unknown")] == ["cat"]
    assert [words for _, words in drawn.named("button", "unsure")] == ["Katze"]
    assert tokens[1][0]["title"] == "not in the vocabulary"
    assert tokens[2][0]["title"] == "probability 0.90"
    weights = [attributes.get("data-weights") for attributes, _ in tokens]
    assert weights == [None, None, "0.250 0.750", "1.000 0.000", "0.500 0.500"]
    assert drawn.named("p", "remark") == [({"class": "remark"}, "33% unknown")]
    scores = [words for _, words in drawn.named("span", "score")]
    assert scores == ["-0.40", "-1.20"]
    assert ["open" in found for found, _ in drawn.named("details")] == [True, False]
    assert len(drawn.named("span", "cut")) == 1


def test_what_is_not_whole_shows_the_source_alone():
    drawn = Drawn(draw_answer(Answer(SOURCE, CANDIDATES)))
    assert len(drawn.named("button")) == 2 and not drawn.named("details")


@pytest.mark.parametrize(
    "candidates, told",
    [((), "No text was found."), ((Candidate("", score=-1.0),), "(empty)")],
)
def test_what_there_is_not_is_told(candidates, told):
    assert told in draw_answer(Answer(SOURCE, candidates, is_whole=True))


@pytest.mark.parametrize("typed", ['<img src=x onerror="1">', "${1 + 1} {{value}} `"])
def test_what_was_typed_is_no_html_and_no_template(typed):
    tokens = (Token(typed, True, 0.1),)
    candidate = Candidate(typed, (1,), -1.0, tokens, np.ones((1, 1)))
    answer = Answer(tokens, (candidate,), is_whole=True, remarks=(typed,))
    for page in (draw_answer(answer), draw_error(typed)):
        assert not {*"${}`"} & {*page} and "<img" not in page
        assert typed in "".join(words for *_, words in Drawn(page).tags)
