import contextlib
import errno
import itertools
import os
import pathlib
import resource
import shutil
import stat
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_encdec.files import (
    FORMAT,
    check_format,
    new_file,
    new_folder,
    recover,
    require_place_of_folder,
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


def test_only_what_holds_its_file_is_replaced(tmp_path):
    place, options = tmp_path / "run", {"overwrite": True, "holds": "note.txt"}
    place.mkdir()
    write_folder(place, "into an empty one", **options)
    write_folder(place, "over its like", **options)
    (place / "note.txt").rename(place / "thesis.txt")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match="holds note.txt is .* holds 'sub'"):
        write_folder(place, "over something else", **options)
    assert contents(tmp_path) == before


def failing(monkeypatch, name, numbers, error):
    """Lets the calls with these numbers of a function of `os` fail."""
    function, calls = getattr(os, name), itertools.count(1)

    def called(*args, **kwargs):
        if next(calls) in numbers:
            raise error
        return function(*args, **kwargs)

    monkeypatch.setattr(os, name, called)


def write_folder(place, text, **options):
    with new_folder(place, **options) as folder:
        (folder / "sub").mkdir()
        for file in (folder / "note.txt", folder / "sub" / "more.txt"):
            file.write_text(text)


@pytest.mark.parametrize("renames", range(3))
def test_a_folder_is_recovered_after_a_kill_at_any_time(tmp_path, monkeypatch, renames):
    place = tmp_path / "run"
    write_folder(place, "old")
    with monkeypatch.context() as patched:
        # The kill comes before the first rename, and so on,
        failing(patched, "rename", range(renames + 1, 10), Killed())
        # and leaves no time to clean up.
        patched.setattr(shutil, "rmtree", lambda path: None)
        with contextlib.suppress(Killed):
            write_folder(place, "new", overwrite=True)
    recover(place)
    assert (place / "note.txt").read_text() == ("new" if renames else "old")
    assert os.listdir(tmp_path) == ["run"]


def test_a_folder_is_recovered_under_any_name(tmp_path):
    for name in ("run[1]", "run*", "a b", "best"):
        # As a kill between the two renames leaves it.
        work = tmp_path / f".{name}.0123abcd.part"
        write_folder(work / "new", "new")
        write_folder(work / "old-0", "old")
        recover(tmp_path / name)
        assert (tmp_path / name / "note.txt").read_text() == "new"
        assert not work.exists()
    recover(tmp_path / "none" / "run")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "name", [".best.backup", ".best.old.0123abcd.part", ".bestx", ".best.0123abc.part"]
)
@pytest.mark.parametrize("there", [False, True])
def test_what_is_not_ours_stays(tmp_path, name, there):
    for folder in (name, "best") if there else (name,):
        (tmp_path / folder / "new").mkdir(parents=True)
    before = contents(tmp_path)
    recover(tmp_path / "best")
    assert contents(tmp_path) == before


def test_a_file_that_was_killed_leaves_nothing_after_recovery(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", lambda path: None)
        with contextlib.suppress(Killed), new_file(tmp_path / "note.txt") as file:
            file.write_text("half")
            raise Killed
    assert len(os.listdir(tmp_path)) == 1
    recover(tmp_path / "note.txt")
    assert not os.listdir(tmp_path)


# ---- Failures


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("name", ["rename", "fsync", "open", "mkdir", "chmod", "stat"])
def test_a_folder_is_whole_whatever_fails(
    tmp_path, monkeypatch, name, number, before, error
):
    place = tmp_path / "above" / "run"
    if before is not None:
        write_folder(place, before)
        place.chmod(0o750)
    was = contents(tmp_path)
    with monkeypatch.context() as patched:
        failing(patched, name, [number], error)
        try:
            write_folder(place, "new", overwrite=True)
            failed = False
        except (OSError, KeyboardInterrupt):
            failed = True
    now = contents(tmp_path)
    if failed and now != was:
        # It was interrupted when the new one was in its place already.
        assert isinstance(error, KeyboardInterrupt)
        failed = False
    if not failed:
        assert now == {
            "above": None,
            "above/run": None,
            "above/run/note.txt": "new",
            "above/run/sub": None,
            "above/run/sub/more.txt": "new",
        }


def test_a_folder_that_cannot_be_put_back_is_named(tmp_path, monkeypatch):
    place = tmp_path / "run"
    write_folder(place, "old")
    with monkeypatch.context() as patched:
        failing(patched, "rename", [2, 3], OSError(errno.EIO, "broken"))
        with pytest.raises(OSError, match="Move one of them to its place") as caught:
            write_folder(place, "new", overwrite=True)
    (work,) = tmp_path.iterdir()
    assert f"it is '{work / 'old-0'}'" in str(caught.value)
    assert (work / "old-0" / "note.txt").read_text() == "old"
    # So does who goes on later.
    recover(place)
    assert (place / "note.txt").read_text() == "new"
    assert os.listdir(tmp_path) == ["run"]


def test_what_cannot_be_removed_is_told(tmp_path, monkeypatch):
    write_folder(tmp_path / "run", "old")

    def refuse(path):
        raise PermissionError("not yours")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", refuse)
        with pytest.warns(UserWarning, match="not yours.*Remove it by hand"):
            write_folder(tmp_path / "run", "new", overwrite=True)
    assert (tmp_path / "run" / "note.txt").read_text() == "new"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("number", range(1, 4))
@pytest.mark.parametrize("name", ["replace", "fsync", "open", "chmod", "stat"])
def test_a_file_is_whole_whatever_fails(
    tmp_path, monkeypatch, name, number, before, error
):
    place = tmp_path / "note.txt"
    if before is not None:
        place.write_text(before)
        place.chmod(0o640)
    was = contents(tmp_path)
    with monkeypatch.context() as patched:
        failing(patched, name, [number], error)
        try:
            with new_file(place) as file:
                file.write_text("new")
            failed = False
        except (OSError, KeyboardInterrupt):
            failed = True
    now = contents(tmp_path)
    if failed and now != was:
        assert isinstance(error, KeyboardInterrupt)
        failed = False
    if not failed:
        assert now == {"note.txt": "new"}


@pytest.fixture
def full_disk():
    """Lets no file grow beyond 8 kB, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_one_and_nothing_else(tmp_path, full_disk):
    write_folder(tmp_path / "run", "old")
    (tmp_path / "note.txt").write_text("old")
    was = contents(tmp_path)
    with pytest.raises(OSError), new_file(tmp_path / "note.txt") as file:
        file.write_text(10_000 * "x")
    with pytest.raises(OSError):
        write_folder(tmp_path / "run", 10_000 * "x", overwrite=True)
    assert contents(tmp_path) == was


@pytest.fixture
def read_only():
    """A folder in which nothing can be made, not by root either."""
    user = os.geteuid()
    # Not below pytest's own folder, which others may not enter.
    with tempfile.TemporaryDirectory() as above:
        os.chmod(above, 0o755)
        folder = pathlib.Path(above, "closed")
        folder.mkdir()
        (folder / "note.txt").write_text("old")
        folder.chmod(0o555)
        os.seteuid(user or 65534)
        yield folder
        os.seteuid(user)
        folder.chmod(0o755)


def test_a_read_only_folder_is_an_error_before_the_work(read_only):
    for place, new in (("run", new_folder), ("new.txt", new_file)):
        with pytest.raises(PermissionError), new(read_only / place):
            raise AssertionError("the block must not run")
    assert os.listdir(read_only) == ["note.txt"]


# ---- Two writers


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_faster_of_two_folders_is_replaced_only_if_allowed(tmp_path, overwrite):
    place = tmp_path / "run"
    with contextlib.ExitStack() as stack:
        if not overwrite:
            stack.enter_context(pytest.raises(FileExistsError, match="free place"))
        with new_folder(place, overwrite=overwrite) as folder:
            (folder / "note.txt").write_text("slower")
            write_folder(place, "faster", overwrite=overwrite)
    text = "slower" if overwrite else "faster"
    assert (place / "note.txt").read_text() == text
    assert os.listdir(tmp_path) == ["run"]


def test_writers_at_once_leave_what_one_of_them_wrote(tmp_path):
    errors = []

    def write(number):
        try:
            for _ in range(20):
                write_folder(tmp_path / "run", str(number), overwrite=True)
                with new_file(tmp_path / "note.txt") as file:
                    file.write_text(100 * str(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[i]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(os.listdir(tmp_path)) == ["note.txt", "run"]
    texts = {text for text in contents(tmp_path / "run").values() if text}
    assert len(texts) == 1 and texts < set("0123")
    assert (tmp_path / "note.txt").read_text() in [100 * x for x in "0123"]


# ---- Links, pipes, devices, permissions


@pytest.mark.parametrize("there", [False, True])
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path, there):
    (tmp_path / "disk").mkdir()
    if there:
        write_folder(tmp_path / "disk" / "run", "old")
        (tmp_path / "disk" / "note.txt").write_text("old")
    for name in ("run", "note.txt"):
        (tmp_path / f"link to {name}").symlink_to(f"disk/{name}")
        (tmp_path / name).symlink_to(f"link to {name}")
    if there:
        with pytest.raises(FileExistsError, match=f"'{tmp_path / 'run'}' is there"):
            write_folder(tmp_path / "run", "new")
    write_folder(tmp_path / "run", "new", overwrite=there)
    with new_file(str(tmp_path / "note.txt")) as file:
        file.write_text("new")
    for name in ("run", "note.txt"):
        assert os.readlink(tmp_path / name) == f"link to {name}"
        assert not (tmp_path / "disk" / name).is_symlink()
    assert (tmp_path / "disk" / "run" / "note.txt").read_text() == "new"
    assert (tmp_path / "disk" / "note.txt").read_text() == "new"
    assert sorted(os.listdir(tmp_path / "disk")) == ["note.txt", "run"]
    recover(tmp_path / "run")
    assert os.readlink(tmp_path / "run") == "link to run"


def test_links_in_a_circle_are_an_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for new in (new_file, new_folder):
        with pytest.raises(OSError), new(tmp_path / "a"):
            raise AssertionError("the block must not run")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_written_straight(tmp_path, linked):
    place = tmp_path / "pipe"
    os.mkfifo(place)
    if linked:
        (tmp_path / "link").symlink_to("pipe")
    read = []
    thread = threading.Thread(target=lambda: read.append(place.read_text()))
    thread.start()
    with new_file(tmp_path / ("link" if linked else "pipe")) as file:
        file.write_text("through")
    thread.join()
    assert read == ["through"] and stat.S_ISFIFO(place.stat().st_mode)
    with pytest.raises(FileExistsError), new_folder(place, overwrite=True):
        raise AssertionError("the block must not run")


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_device_is_written_straight(tmp_path, device, linked):
    was = os.stat(device)
    place = device
    if linked:
        place = tmp_path / "link"
        place.symlink_to(device)
    full = device == "/dev/full"
    with pytest.raises(OSError, match="No space") if full else contextlib.nullcontext():
        with new_file(place) as file:
            file.write_text("gone")
    assert os.stat(device).st_rdev == was.st_rdev
    assert stat.S_ISCHR(os.lstat(device).st_mode)


def test_what_a_process_has_open_is_written_straight(tmp_path):
    with open(tmp_path / "note.txt", "w+") as opened:
        with new_file(f"/dev/fd/{opened.fileno()}") as file:
            file.write_text("straight")
        assert opened.read() == "straight"
    assert os.listdir(tmp_path) == ["note.txt"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, None])
def test_permissions_are_kept_also_where_the_writer_makes_another_file(tmp_path, mode):
    place = tmp_path / "note.txt"
    place.write_text("old")
    usual = stat.S_IMODE(place.stat().st_mode)
    place.unlink() if mode is None else place.chmod(mode)
    with new_file(place) as file:
        file.unlink()
        file.touch(0o606)
        file.write_text("new")
    assert stat.S_IMODE(place.stat().st_mode) == mode or usual

    (tmp_path / "run").mkdir(mode or 0o777)
    usual = stat.S_IMODE((tmp_path / "run").stat().st_mode)
    write_folder(tmp_path / "run", "new", overwrite=True)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == usual


def test_a_file_needs_a_place_where_it_can_stand(tmp_path, monkeypatch):
    (tmp_path / "note.txt").write_text("old")
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for place, error, says in (
        ("run", IsADirectoryError, "is a folder"),
        ("none/note.txt", FileNotFoundError, "Make the folder first"),
        ("note.txt", PermissionError, "may not be written"),
    ):
        with pytest.raises(error, match=says), new_file(tmp_path / place):
            raise AssertionError("the block must not run")
    assert contents(tmp_path) == {"note.txt": "old", "run": None}


def test_a_mounted_disk_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: path.name == "run")
    with pytest.raises(FileExistsError, match="mounted"):
        write_folder(tmp_path / "run", "new", overwrite=True)


def test_folders_made_above_go_with_a_failure(tmp_path):
    with pytest.raises(Killed), new_folder(tmp_path / "a" / "b" / "run"):
        raise Killed
    assert not os.listdir(tmp_path)


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


def test_a_file_on_the_way_to_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(NotADirectoryError, match="a file on the way. Choose another"),
        new_folder(tmp_path / "file" / "1"),
    ):
        pass


def test_who_replaces_the_file_that_is_given_replaces_no_device(tmp_path):
    def write(path, text):
        with new_file(path, suffix=".safetensors") as file:
            assert file.name.endswith(".safetensors")
            other = file.with_name("other")
            other.write_text(text)
            os.replace(other, file)

    pipe, plain = tmp_path / "pipe", tmp_path / "plain"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as executor:
        read = executor.submit(pipe.read_text)
        write(pipe, "whole")
        assert read.result() == "whole"
    assert pipe.is_fifo()
    plain.write_text("old")
    write(plain, "new")
    assert plain.read_text() == "new"
    # What a kill leaves of it is known, too.
    (tmp_path / ".plain.0123abcd.part.weights.h5").touch()
    recover(plain)
    assert sorted(os.listdir(tmp_path)) == ["pipe", "plain"]


def test_only_a_folder_that_is_known_is_replaced(tmp_path):
    def check(**which):
        require_place_of_folder(tmp_path / "it", overwrite=True, **which)

    check(holds="index")
    (tmp_path / "it").mkdir()
    check(holds="index")
    (tmp_path / "it" / "mine").touch()
    check()
    check(only=["mine", "index"])
    with pytest.raises(FileExistsError, match="that holds index is .*holds 'mine'. "):
        check(holds="index")
    (tmp_path / "it" / "index").touch()
    check(holds="index")
    with pytest.raises(FileExistsError, match="here before is .*holds 'mine' too"):
        check(only=["index"])


def test_a_folder_that_may_not_be_written_is_told_before_the_work(
    tmp_path, monkeypatch
):
    asked = []

    def access(path, mode):
        asked.append((path, mode))
        return False

    monkeypatch.setattr(os, "access", access)
    with pytest.raises(PermissionError, match="may be written; received .*new/it"):
        require_place_of_folder(tmp_path / "new" / "it")
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]
