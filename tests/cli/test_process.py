"""Kept memory, by the pages that the system hands out."""

import platform
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's alone"),
]

PROGRAM = """
import resource, sys
if sys.argv[1] == "kept":
    from keras_encdec.cli.process import keep_freed_memory
    keep_freed_memory()

def step():
    blocks = [bytearray(b"x") * 2**23 for _ in range(8)]

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_what_a_step_frees_serves_the_next_one():
    faults = {
        way: int(
            subprocess.run(
                [sys.executable, "-c", PROGRAM, way],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for way in ("kept", "given back")
    }
    assert faults["kept"] < faults["given back"] / 10
