"""What is refused beside the table of `test_checks.py`, which shows when it is told."""

import pytest

from keras_encdec.cli.use_checks import check_candidates, check_distill

pytestmark = pytest.mark.once


def test_candidates_are_as_many_as_a_sampler_gives():
    for sampler, beams in ((None, None), ("beam", None), ("beam", 8), ("random", None)):
        check_candidates(8, sampler, beams)
    for sampler, beams in (("greedy", None), ("mbr", None), ("beam", 7), (None, 7)):
        with pytest.raises(ValueError, match="of candidates, .* received 8 with"):
            check_candidates(8, sampler, beams)


def test_a_pipe_may_be_distilled_but_not_gone_on_with():
    names = ("source_language", "target_language", "sampler", "beams", "k", "p")
    names += ("length_penalty", "temperature", "samples", "utility", "tag")
    options = dict.fromkeys(names)
    check_distill(["saved"], None, "-", "made.tsv", False, **options)
    for pipe in ("-", "/dev/null"):
        with pytest.raises(ValueError, match="--resume goes on"):
            check_distill(["saved"], None, pipe, "made.tsv", True, **options)
