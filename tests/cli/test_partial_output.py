import os
import stat

import pytest

from keras_encdec.cli.partial_output import (
    as_line,
    growing_file,
    is_finished,
    name_of_work,
    written_lines,
)

pytestmark = pytest.mark.once


def contents(folder):
    # Without what tells that they are finished.
    places = (path for path in folder.iterdir() if path.suffix != ".done")
    return {path.name: path.read_text() for path in places}


def test_a_text_is_a_line():
    assert as_line("a\nb\u2028c\x85") == b"a b c\n"
    assert as_line("") == b"\n"


@pytest.mark.parametrize(
    "left, lines_each, done, kept",
    [
        ("", 1, 0, ""),
        ("a\nb\nc", 1, 2, "a\nb\n"),
        ("a\nb\nc\n", 2, 1, "a\nb\n"),
        ("a", 1, 0, ""),
    ],
)
def test_texts_that_are_not_whole_are_left_out(left, lines_each, done, kept, tmp_path):
    (tmp_path / "out.x.partial").write_text(left)
    options = {"resume": True, "lines_each": lines_each}
    with written_lines(str(tmp_path / "out"), "x", **options) as (number, write):
        assert number == done
        write("é")
    assert (tmp_path / "out").read_text("utf-8") == f"{kept}é\n"


def test_the_name_of_a_work_is_that_of_all_it_depends_on(tmp_path):
    source, model = tmp_path / "a.txt", tmp_path / "saved" / "model.keras"
    few = tmp_path / "few.safetensors"
    model.parent.mkdir()
    source.write_text("a"), model.write_text("b"), few.write_text("c")

    def name(**options):
        return name_of_work([str(model.parent)], str(source), **options)

    first = name(seed=1, beams=None)
    assert first == name(beams=None, seed=1) and len(first) == 12
    assert first != name(seed=2, beams=None)
    os.utime(model, (5, 5))
    assert first != (second := name(seed=1, beams=None))
    source.write_text("ab")
    assert second != name(seed=1, beams=None)
    third = name(shortlist=str(few))
    few.write_text("cd")
    assert third != name(shortlist=str(few))


def test_what_is_written_is_there_at_once_and_another_process_keeps_off(tmp_path):
    place = str(tmp_path / "out")
    with written_lines(place, "x") as (_, write):
        write("one")
        # What a kill leaves, with nothing closed.
        assert contents(tmp_path) == {"out.x.partial": "one\n"}
        for resume in (True, False):
            with pytest.raises(BlockingIOError, match="A file is written by one"):
                with written_lines(place, "x", resume=resume):
                    pass
        write("two")
    assert contents(tmp_path) == {"out": "one\ntwo\n"}


def test_what_grows_stays_beside_its_place_until_it_is_whole(tmp_path):
    place = tmp_path / "answers.txt"
    place.write_text("old")
    place.chmod(0o640)
    with pytest.raises(KeyboardInterrupt):
        with growing_file(place, "mine") as file:
            file.write(b"one\n")
            raise KeyboardInterrupt
    assert contents(tmp_path) == {
        "answers.txt": "old",
        "answers.txt.mine.partial": "one\n",
    }
    with growing_file(place, "mine", resume=True) as file:
        assert file.read() == b"one\n"
        file.write(b"two\n")
    assert contents(tmp_path) == {"answers.txt": "one\ntwo\n"}
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    # Begun anew, and left before anything was written.
    (tmp_path / "answers.txt.mine.partial").write_text("left")
    with pytest.raises(OSError, match="full"):
        with growing_file(place, "mine"):
            raise OSError("full")
    assert contents(tmp_path) == {"answers.txt": "one\ntwo\n"}
    with growing_file("/dev/null", "mine") as file:
        file.write(b"x")


def test_finished_is_what_the_same_work_wrote_and_nobody_changed(tmp_path):
    place, link = tmp_path / "out", tmp_path / "link"
    link.symlink_to(place)
    assert not is_finished(place, "x")
    with written_lines(str(link), "x", resume=True) as (_, write):
        write("é")
        assert not is_finished(place, "x")
    assert is_finished(place, "x") and is_finished(link, "x")
    assert not is_finished(place, "y")
    place.touch()
    assert is_finished(place, "x")
    # Of as many lines, and bytes.
    place.write_text("ü\n", "utf-8")
    assert not is_finished(place, "x")
    place.unlink()
    assert not is_finished(place, "x")
    # The work of another in the same place.
    for name in "xy":
        with written_lines(str(place), name, resume=True) as (_, write):
            write("é")
    assert is_finished(place, "y") and not is_finished(place, "x")
    (tmp_path / ".out.done").write_bytes(b"\xff")
    assert not is_finished(place, "y")
