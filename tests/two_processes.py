"""Runs a program in two processes, as torchrun does, or with the variables of Keras."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_both(program, *arguments):
    """Runs a program twice, with its rank as the last argument.

    Returns, for each, its exit status and all that it said.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(2):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
        variables = {name: str(value) for name, value in place.items()}
        variables |= {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
        variables |= {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
            "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
            "KERAS_DISTRIBUTION_PROCESS_ID": str(rank),
        }
        child = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments), str(rank)],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        children.append(child)
    try:
        said = [child.communicate()[0] for child in children]
    finally:
        for child in children:
            child.kill()  # What waits for ever is ended with the test.
            child.wait()
            child.stdout.close()
    return [(child.returncode, x) for child, x in zip(children, said, strict=True)]


def check_both(program, *arguments):
    """Runs a program twice, which is to succeed; returns what each said."""
    results = run_both(program, *arguments)
    for status, said in results:
        assert status == 0, said
    return [said for _, said in results]


def run_alone(program, *arguments):
    """Runs a program once, which is to succeed."""
    child = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr[-3000:]
