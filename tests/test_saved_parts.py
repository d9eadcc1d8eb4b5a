"""Where a saved model is."""

import pytest

from keras_encdec.saved_parts import (
    ASIDE,
    CONFIG_FILE,
    MODEL_FILE,
    RECORD_FILE,
    require_place_of_run,
    saved_folder,
)

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


@pytest.mark.parametrize(
    "mine", [RECORD_FILE, ASIDE, "checkpoints/epoch-1.safetensors"]
)
def test_a_training_takes_its_own_folder_and_a_new_one(tmp_path, mine):
    require_place_of_run(tmp_path / "new" / "run")
    (tmp_path / "empty").mkdir()
    require_place_of_run(str(tmp_path / "empty"))
    (tmp_path / "run" / mine).parent.mkdir(parents=True)
    (tmp_path / "run" / mine).touch()
    require_place_of_run(tmp_path / "run")
    (tmp_path / "run" / mine).rename(tmp_path / "run" / "else")
    for place in (tmp_path / "run", tmp_path / "run" / "else"):
        with pytest.raises(FileExistsError, match=f"{place.name}' is something else"):
            require_place_of_run(place)
    with pytest.raises(NotADirectoryError, match="a file on the way"):
        require_place_of_run(tmp_path / "run" / "else" / "run")
    assert not (tmp_path / "new").exists()
