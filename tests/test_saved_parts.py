"""Where a saved model is."""

import pytest

from keras_encdec.saved_parts import CONFIG_FILE, MODEL_FILE, saved_folder

pytestmark = pytest.mark.once


def save(folder):
    folder.mkdir(parents=True)
    for file in (MODEL_FILE, CONFIG_FILE):
        (folder / file).touch()
    return folder


def test_the_folder_of_a_run_stands_for_its_best_model(tmp_path):
    best = save(tmp_path / "run" / "best")
    assert saved_folder(str(best)) == saved_folder(tmp_path / "run") == best
    # What was saved in a folder is it, whatever lies beside.
    saved = save(tmp_path / "saved")
    save(saved / "best")
    assert saved_folder(saved) == saved


@pytest.mark.parametrize("folder", ["none", "run"])
def test_what_is_missing_is_named(folder, tmp_path):
    (save(tmp_path / "run" / "best") / CONFIG_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=f"{folder}.*Give the folder that was"):
        saved_folder(tmp_path / folder)


def test_what_is_no_folder_is_named(tmp_path):
    file = save(tmp_path / "saved") / MODEL_FILE
    for path, says in ((file, "is a file"), (tmp_path / "none", "is not there")):
        with pytest.raises(FileNotFoundError, match=f"{path.name}.*{says}"):
            saved_folder(path)
