"""What a new model is like, on the command line."""

import argparse

import pytest

from keras_encdec.cli.model_arguments import MODEL_OPTIONS, add_sizes

pytestmark = pytest.mark.once


def test_all_options_of_a_model_are_there():
    parser = argparse.ArgumentParser()
    add_sizes(parser)
    assert set(vars(parser.parse_args([]))) == set(MODEL_OPTIONS)
    assert set(vars(parser.parse_args(["--model-size", "tiny"]))) == set(MODEL_OPTIONS)
