"""Scores of generated texts, against sacrebleu's functions and by hand."""

import pytest
import sacrebleu

from keras_encdec.evaluation import evaluate_texts
from keras_encdec.text import (
    CharacterTokenizer,
    character_error_rate,
    sequence_error_rate,
    token_error_rate,
)

pytestmark = pytest.mark.once

HYPOTHESES = ["The cat sat on the mat .", "a dog", "it's raining , again ."]
REFERENCES = ["the cat sat on a mat .", "a dog barks", "It is raining again ."]
SOURCES = ["x", "y", "z"]


def test_scores_are_those_of_sacrebleu():
    found = evaluate_texts(SOURCES, HYPOTHESES, REFERENCES, tokenize="none")
    bleu = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES], tokenize="none")
    chrf = sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES])
    assert found.values == {
        "bleu": bleu.score,
        "chrf": chrf.score,
        "token_error_rate": token_error_rate(HYPOTHESES, REFERENCES),
        "character_error_rate": character_error_rate(HYPOTHESES, REFERENCES),
        "sequence_error_rate": 1.0,
    }
    assert "tok:none" in found.report[0] and "chrF2|" in found.report[1]


def test_confidences_are_judged_by_how_they_find_the_wrong_texts():
    sources = ["1", "2", "3", "4", "1"]
    hypotheses, references = ["a", "b", "c", "d", "a"], ["x", "b ", "y", "d", "a"]
    # The first of equal sources counts, and any of their targets is right.
    sure = [0.4, 0.9, 0.5, 0.5, 0.0]
    found = evaluate_texts(sources, hypotheses, references, confidences=sure)
    # Of right ones 0.4, 0.9 and 0.5, one is above and one beside that of the wrong one.
    assert found.area_under_curve == found.values["area_under_curve"] == 0.5
    assert found.report[-1].endswith("curve = 0.500, 1 wrong of 4 texts")
    plain = evaluate_texts(sources, hypotheses, references)
    assert plain.area_under_curve is None and plain.report == found.report[:-1]


@pytest.mark.parametrize("hypotheses", [["a", "b"], ["b", "a"]])
def test_where_all_are_right_or_wrong_there_is_no_curve(hypotheses):
    found = evaluate_texts(["1", "2"], hypotheses, ["a", "b"], confidences=[0.5, 0.7])
    assert found.area_under_curve is None and "area_under_curve" not in found.values
    assert "where some are right and some not" in found.report[-1]


def test_case_may_be_ignored():
    found = evaluate_texts(SOURCES, HYPOTHESES, REFERENCES, lowercase=True)
    bleu = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES], lowercase=True)
    assert found.bleu == bleu.score and "case:lc" in found.report[0]
    assert found.bleu > evaluate_texts(SOURCES, HYPOTHESES, REFERENCES).bleu


def test_any_target_of_a_source_is_right():
    sources = ["read", "lead", "read"]
    hypotheses, references = ["R EH D", "L IY", "R EH D"], ["R IY D", "L EH", "R EH D"]
    found = evaluate_texts(sources, hypotheses, references)
    several = [["R IY D", "R EH D"], ["L EH"]]
    assert found.sequence_error_rate == sequence_error_rate(hypotheses[:2], several)
    assert found.token_error_rate == token_error_rate(hypotheses[:2], several)
    assert found.report[-1] == "sequence error rate = 50.00% of 2 texts"


def test_tokens_may_be_those_of_a_tokenizer():
    hypotheses, references = ["abcd", "ab"], ["abxd", "ab"]
    letters = CharacterTokenizer(["a"])
    plain = evaluate_texts(["x", "y"], hypotheses, references)
    found = evaluate_texts(["x", "y"], hypotheses, references, tokenizer=letters)
    assert (plain.token_error_rate, plain.character_error_rate) == (1 / 2, 1 / 6)
    assert found.token_error_rate == found.character_error_rate == 1 / 6
    assert "character error rate = 16.67% of 2 texts" in found.report


def test_the_scale_of_the_published_metric(shared_data):
    # The published reference length, of lower-case words joined from their pieces.
    from keras_encdec.text import WordTokenizer, read_lines

    lines = read_lines(shared_data / "multi30k" / "bpe" / "test.2016.de.gz")
    words = WordTokenizer(["a"], continuation="@@").join(lines)
    report = evaluate_texts(lines, words, words, tokenize="none").report
    assert "ref_len = 12103)" in report[0]


@pytest.mark.parametrize(
    "texts, options, message",
    [
        (
            (["x"], ["a", "b"], ["a"]),
            {},
            "received 1 sources, 1 references, 2 hypotheses",
        ),
        (([], [], []), {}, "at least one line"),
        ((["x"], ["a"], ["  "]), {}, "received 1 references, all empty"),
        ((["x"], ["a"], ["a"]), {"tokenize": "13"}, "'13a', .*received tokenize='13'"),
        ((["x"], ["a"], ["a"]), {"confidences": []}, "received 0 for 1 texts"),
        ((["x"], ["a"], ["a"]), {"confidences": [float("nan")]}, "none that is nan"),
    ],
)
def test_refuses_what_cannot_be_scored(texts, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate_texts(*texts, **options)
