import pytest

from keras_encdec.files import new_folder

pytestmark = pytest.mark.once


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
