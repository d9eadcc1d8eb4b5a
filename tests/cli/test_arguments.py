"""Arguments that several commands take."""

import argparse

import pytest

from keras_encdec.cli.arguments import (
    add_command,
    finite,
    int32,
    portion,
    positive,
    positive_real,
    saved_folder,
    share,
)

pytestmark = pytest.mark.once


def test_numbers_are_read_within_their_bounds():
    assert positive("12") == 12
    assert share("0") == 0.0 and share("0.999") == 0.999
    assert portion("1") == 1.0 and portion("1e-3") == 0.001
    assert finite("-1e3") == -1000.0 and positive_real("0.5") == 0.5
    assert int32(str(-(2**31))) == -(2**31) and int32(str(2**31 - 1)) == 2**31 - 1


@pytest.mark.parametrize(
    "read, text, says",
    [
        (portion, "0", "above 0 and at most 1"),
        (portion, "1.1", "above 0 and at most 1"),
        (portion, "nan", "above 0 and at most 1"),
        (positive_real, "0", "a number above 0"),
        (positive_real, "inf", "a number above 0"),
        (positive_real, "nan", "a number above 0"),
        (finite, "nan", "a number that is finite"),
        (finite, "-inf", "a number that is finite"),
        (finite, "1,5", "a number that is finite"),
        (int32, str(2**31), "less than 2147483648"),
        (int32, "1.0", "less than 2147483648"),
        (int32, 5000 * "9", "less than 2147483648"),
    ],
)
def test_what_is_beyond_the_bounds_is_refused(read, text, says):
    with pytest.raises(argparse.ArgumentTypeError, match=f"{says}; received") as caught:
        read(text)
    assert len(str(caught.value)) < 120


def test_help_tells_the_defaults_that_say_something():
    def act():
        """Acts."""

    parser = argparse.ArgumentParser()
    added = add_command(parser.add_subparsers(), act, "act")
    added.add_argument("--sizes", type=int, default=3, help="of all")
    added.add_argument("--beams", type=int, help="of beam")
    added.add_argument("--fast", action="store_true", help="faster")
    added.add_argument("--slow", dest="fast", action="store_false", help="slower")
    printed = added.format_help()
    assert "of all (default: 3)" in printed and printed.count("default") == 1


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "ten", str(2**31)])
def test_what_is_not_positive_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
        positive(text)


@pytest.mark.parametrize("text", ["1", "-0.1", "", "half", "nan"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="less than 1"):
        share(text)


def test_the_folder_of_a_run_stands_for_its_best_model(tmp_path):
    assert saved_folder(str(tmp_path)) == str(tmp_path)
    (tmp_path / "best").mkdir()
    assert saved_folder(str(tmp_path)) == str(tmp_path / "best")
