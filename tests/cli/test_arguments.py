"""Arguments that several commands take."""

import argparse

import pytest

from keras_encdec.cli.arguments import (
    check_folder_of,
    positive,
    saved_folder,
    share,
)

pytestmark = pytest.mark.once


def test_numbers_are_read_within_their_bounds():
    assert positive("12") == 12
    assert share("0") == 0.0 and share("0.999") == 0.999


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "ten"])
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


def test_a_file_needs_a_folder_to_stand_in(tmp_path):
    check_folder_of(tmp_path / "texts.txt")
    with pytest.raises(FileNotFoundError, match="Make the folder first"):
        check_folder_of(tmp_path / "none" / "texts.txt")
