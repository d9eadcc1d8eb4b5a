"""A backend that is not there, told in one line."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.once

WITHOUT_JAX = "import sys; sys.modules['jax'] = None\n"


def run(program, backend):
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend},
    )


@pytest.mark.parametrize(
    "backend, says",
    [
        ("pytorch", "received 'pytorch'. Set KERAS_BACKEND=torch."),
        ("TensorFlow", "received 'TensorFlow'. Set KERAS_BACKEND=tensorflow."),
        ("numpy", "KERAS_BACKEND must be one of tensorflow, jax, torch; "),
        ("jax", "needs JAX, which is not installed. Install it with `pip install "),
    ],
)
def test_a_backend_that_is_not_there_is_one_line(backend, says):
    python = run(WITHOUT_JAX + "from keras_encdec import EncoderDecoder", backend)
    *trace, line = python.stderr.splitlines()
    assert says in line and len(trace) < 25
    kind = "ImportError" if backend == "jax" else "ValueError"
    assert line.startswith(f"{kind}: ")
    # A file that is there, for paths are looked at before.
    words = ["vocabulary", "--input", __file__, "--output", "none"]
    program = f"from keras_encdec.cli import main\nraise SystemExit(main({words}))"
    command = run(WITHOUT_JAX + program, backend)
    assert command.returncode == 2
    assert command.stderr == f"keras-encdec: error: {line.partition(': ')[2]}\n"


def test_help_needs_no_backend():
    program = "from keras_encdec.cli import main\nmain(['--help'])"
    assert run(program, "pytorch").returncode == 0
