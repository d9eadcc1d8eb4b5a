import contextlib
import os
import pathlib
import shutil

import pytest

from keras_encdec.files import (
    FORMAT,
    check_format,
    new_file,
    new_folder,
    recover_folder,
)

pytestmark = pytest.mark.once


class Killed(Exception):
    pass


def contents(folder):
    """All files below a folder and what they hold, hidden ones included."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("as_type", [str, lambda path: path])
def test_writes_a_new_folder_and_its_parents(tmp_path, as_type):
    with new_folder(as_type(tmp_path / "a" / "b")) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "note.txt").write_text("whole")
    assert contents(tmp_path) == {
        "a": None,
        "a/b": None,
        "a/b/sub": None,
        "a/b/sub/note.txt": "whole",
    }


def test_is_not_at_its_place_before_it_is_whole(tmp_path):
    with new_folder(tmp_path / "run") as folder:
        assert folder.is_dir() and not list(folder.iterdir())
        assert not (tmp_path / "run").exists()
    assert (tmp_path / "run").is_dir()


def test_leaves_nothing_where_the_block_raises(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with new_folder(tmp_path / "run") as folder:
            (folder / "note.txt").write_text("half")
            raise KeyboardInterrupt
    assert contents(tmp_path) == {}


def test_old_folder_stays_where_the_block_raises(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old.txt").write_text("old")
    before = contents(tmp_path)
    with pytest.raises(RuntimeError, match="halfway"):
        with new_folder(tmp_path / "run", overwrite=True) as folder:
            (folder / "new.txt").write_text("half")
            raise RuntimeError("halfway")
    assert contents(tmp_path) == before


def test_overwrites_all_of_the_old_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old.txt").write_text("old")
    with new_folder(tmp_path / "run", overwrite=True) as folder:
        assert not list(folder.iterdir())
        (folder / "new.txt").write_text("new")
        assert contents(tmp_path / "run") == {"old.txt": "old"}
    assert contents(tmp_path) == {"run": None, "run/new.txt": "new"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_refuses_to_replace_what_it_must_not(tmp_path, overwrite):
    place = tmp_path / "run"
    place.write_text("a file") if overwrite else place.mkdir()
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=f"free place; '{place}' is there"):
        with new_folder(place, overwrite=overwrite):
            raise AssertionError("the block must not run")
    assert contents(tmp_path) == before


def test_a_folder_is_recovered_after_a_kill_at_any_time(tmp_path, monkeypatch):
    place = tmp_path / "run"
    for renames in range(3):  # The kill comes before the first rename, and so on.
        with new_folder(place, overwrite=True) as folder:
            (folder / "note.txt").write_text("old")
        done = []

        def rename(self, target, done=done, renames=renames):
            if len(done) == renames:
                raise Killed
            done.append(self)
            return os.rename(self, target)

        with monkeypatch.context() as patched:
            patched.setattr(pathlib.Path, "rename", rename)
            # A kill leaves no time to clean up.
            patched.setattr(shutil, "rmtree", lambda path: None)
            with contextlib.suppress(Killed):
                with new_folder(place, overwrite=True) as folder:
                    (folder / "note.txt").write_text("new")
        recover_folder(place)
        expected = "old" if renames == 0 else "new"
        assert (place / "note.txt").read_text() == expected
        assert os.listdir(tmp_path) == ["run"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    place = tmp_path / "note.txt"
    with pytest.raises(Killed), new_file(place) as file:
        file.write_text("half")
        raise Killed
    assert not os.listdir(tmp_path)
    for text in ("first", "second"):
        with new_file(place) as file:
            file.write_text(text)
        assert place.read_text() == text and os.listdir(tmp_path) == ["note.txt"]


def test_knows_the_formats_up_to_its_own():
    assert [check_format(x, "x") for x in (None, 1, FORMAT)] == [1, 1, FORMAT]


@pytest.mark.parametrize("number", [0, -1, FORMAT + 1, "2", 1.5, [], True])
def test_refuses_a_format_of_later_versions(number):
    with pytest.raises(ValueError, match="'a.json' is of format .*Install the version"):
        check_format(number, "a.json")
