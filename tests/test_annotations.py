"""Names of types say what a call takes."""

import os
import pathlib
import typing

import pytest

from keras_encdec import annotations

pytestmark = pytest.mark.once


def test_names_stand_for_what_calls_take():
    assert {*typing.get_args(annotations.Text)} == {str, bytes}
    paths = [typing.get_origin(x) or x for x in typing.get_args(annotations.AnyPath)]
    assert paths == [str, os.PathLike] and isinstance(pathlib.Path(), os.PathLike)
