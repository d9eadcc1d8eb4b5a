"""A lock on a folder or a file."""

import subprocess
import sys

import pytest

from keras_encdec.lock import held

pytestmark = pytest.mark.once


def test_a_folder_is_free_again_when_its_holder_is_done(tmp_path):
    for _ in range(2):
        with held(tmp_path):
            with pytest.raises(BlockingIOError, match="written by one process at a"):
                with held(tmp_path):
                    pass


def test_a_lock_dies_with_its_process(tmp_path):
    code = (
        "import fcntl, os, sys\n"
        "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError):
            with held(tmp_path):
                pass
        holder.kill()
    with held(tmp_path):
        pass


def test_without_locks_it_keeps_nobody_off(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with held(tmp_path), held(tmp_path):
        pass
