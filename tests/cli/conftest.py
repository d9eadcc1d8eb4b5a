"""What the tests of all commands share."""

import re

import pytest

from keras_encdec.cli import main


@pytest.fixture
def run(capsys):
    """Runs a command that must succeed; returns what it printed."""

    def run(*arguments):
        capsys.readouterr()
        status = main(list(map(str, arguments)))
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return printed

    return run


@pytest.fixture
def error_of(capsys):
    """Runs a command that must fail; returns the one line that it says."""

    def error_of(*arguments):
        capsys.readouterr()
        try:
            status = main(list(map(str, arguments)))
        except SystemExit as leaving:  # What argparse finds, below its usage.
            status = leaving.code
        assert status == 2
        printed = capsys.readouterr().err
        assert "Traceback" not in printed
        *usage, line = printed.splitlines()
        assert not usage or usage[0].startswith("usage: keras-encdec")
        assert re.match(r"keras-encdec( [\w-]+)?: error: \S", line), printed
        return line

    return error_of
