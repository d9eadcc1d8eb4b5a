"""The folder of a training."""

import os
import shutil

import numpy as np
import pytest

from keras_encdec.recipe import build
from keras_encdec.run import RunFolder
from keras_encdec.run.record import make_record
from keras_encdec.saved_parts import ASIDE, CONFIG_FILE, MOVING, saved_folder
from keras_encdec.text import ByteTokenizer, SentencePieceTokenizer
from keras_encdec.training import TrainingOptions

pytestmark = pytest.mark.once

SMALL = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 1}
PAIRS = ["one", 'z\u00e9 "\n', "\U0001f600"], ["eno", "", "b"]


@pytest.fixture
def text_to_text():
    tokenizer = ByteTokenizer()
    return build(tokenizer, tokenizer, max_length=8, **SMALL)


def record(pairs=PAIRS, validation=None, recipe=None, teacher=None, **options):
    options = TrainingOptions(**options)
    return make_record(options, pairs, validation, recipe=recipe, teacher=teacher)


def test_begins_in_a_free_place_and_goes_on_in_its_own(tmp_path, text_to_text):
    for place in (tmp_path / "new" / "run", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        folder = RunFolder(place)
        assert not folder.has_record and folder.epochs_done == 0
        folder.check_place()
        folder.begin(record(epochs=3), text_to_text)
        assert folder.has_record
        folder.check_place()
        folder.check_same(record(epochs=3), text_to_text)
        with pytest.raises(ValueError, match="`epochs` was 3 and is 4"):
            folder.check_same(record(epochs=4))


def test_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(FileExistsError, match="is something else"):
            RunFolder(place).check_place()


def test_what_differs_is_said(tmp_path, text_to_text):
    folder = RunFolder(tmp_path)
    recipe = {"hidden_dim": 16, "initial": None}
    folder.begin(record(recipe=recipe), text_to_text)
    folder.check_same(record(recipe=recipe))
    # In Python it goes on too: there a model is given.
    folder.check_same(record())
    with pytest.raises(ValueError, match="`hidden_dim` was 16 and is 32"):
        folder.check_same(record(recipe={**recipe, "hidden_dim": 32}))
    with pytest.raises(
        ValueError, match="`average` was 1 and is 2; `ema` was None and is"
    ):
        folder.check_same(record(average=2, ema=0.9))
    with pytest.raises(ValueError, match="the texts are others; the validation texts"):
        folder.check_same(record((["a"], ["b"]), PAIRS))
    folder.begin(record(), text_to_text)
    with pytest.raises(ValueError, match="begun in Python, with a model of its own"):
        folder.check_same(record(recipe=recipe))


def test_a_teacher_is_known_by_its_weights(tmp_path, text_to_text):
    folder = RunFolder(tmp_path)
    folder.begin(record(teacher=text_to_text.model), text_to_text)
    folder.check_same(record(teacher=text_to_text.model))
    model = text_to_text.model
    model.set_weights([np.ones_like(x) for x in model.get_weights()])
    with pytest.raises(ValueError, match="the teacher is another"):
        folder.check_same(record(teacher=model))


def test_options_that_a_record_lacks_had_their_defaults(tmp_path, text_to_text):
    folder = RunFolder(tmp_path)
    before = record()
    for number, name in enumerate(list(before["options"])):
        del before["options"][name]
        folder.begin(before, text_to_text, overwrite=number > 0)
        folder.check_same(record())
    with pytest.raises(ValueError, match="`num_shapes` was 16 and is 4"):
        folder.check_same(record(num_shapes=4))


def test_a_record_that_cannot_be_read_is_named(tmp_path, text_to_text):
    folder = RunFolder(tmp_path)
    for text, message in (
        ("{", "must hold the options of a training"),
        ("[1]", "must hold the options of a training"),
        ('{"format": 99}', "is of format 99. Install"),
        ('{"format": 2, "recipe": null}', "it lacks `options` or `recipe`"),
        ('{"format": 2, "options": {}}', "it lacks `options` or `recipe`"),
        ('{"format": 2, "options": [], "recipe": {}}', "lacks `options` or `rec"),
    ):
        (tmp_path / "options.json").write_text(text)
        with pytest.raises(ValueError, match=message) as error:
            folder.check_same(record())
        assert "options.json" in str(error.value)


@pytest.fixture
def overwritten(tmp_path, text_to_text):
    """A folder in which another training has begun, and what was there before."""
    folder = RunFolder(tmp_path / "run")
    folder.begin(record(), text_to_text)
    for name in ("best/model.keras", "checkpoints/epoch-00007.safetensors", "mine.txt"):
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_text(name)
    before = files_of(folder)
    assert folder.epochs_done == 7
    folder.begin(record(seed=1), text_to_text, overwrite=True)
    return folder, before


def files_of(folder):
    files = [path for path in folder.path.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder.path)): path.read_text() for path in files}


def test_overwriting_begins_anew_and_leaves_what_is_no_trainings(overwritten):
    folder, _ = overwritten
    assert folder.epochs_done == 0
    folder.check_same(record(seed=1))
    folder.let_go()
    assert sorted(files_of(folder)) == ["mine.txt", "options.json"]


def test_an_earlier_training_is_there_until_an_epoch_is_finished(overwritten):
    folder, before = overwritten
    (folder.path / "best").mkdir()
    (folder.path / "best" / "model.keras").write_text("of the new one")
    (folder.path / "log.csv").touch()
    assert folder.withdraw()
    assert files_of(folder) == before


def test_a_kill_before_the_first_epoch_brings_an_earlier_training_back(overwritten):
    folder, before = overwritten
    (folder.path / "log.csv").touch()
    folder.recover()
    assert files_of(folder) == before


def test_the_best_model_is_found_where_a_kill_left_it(overwritten):
    folder, before = overwritten
    config = folder.path / ASIDE / "best" / CONFIG_FILE
    config.touch()
    for aside in (ASIDE, MOVING):  # And while it is moved there or back.
        if aside == MOVING:
            os.rename(folder.path / ASIDE, folder.path / MOVING)
        assert saved_folder(folder.path) == folder.path / aside / "best"
    folder.recover()
    (folder.best / CONFIG_FILE).unlink()
    assert files_of(folder) == before
    # A kill within the replacement of the best: the new one is whole.
    work = folder.path / ".best.0123abcd.part"
    shutil.copytree(folder.best, work / "new")
    (work / "new" / CONFIG_FILE).touch()
    os.rename(folder.best, work / "old-0")
    assert saved_folder(folder.path) == saved_folder(folder.best) == work / "new"


def test_one_training_holds_a_folder(tmp_path):
    place = tmp_path / "new" / "run"
    with RunFolder(place).held():
        with pytest.raises(BlockingIOError, match="another one is writing .*run'"):
            with RunFolder(place).held():
                pass
        assert place.is_dir()
    # Where nothing was written nothing is left.
    assert not os.listdir(tmp_path)
    (tmp_path / "file").touch()
    with RunFolder(tmp_path / "file").held() as folder:
        with pytest.raises(FileExistsError):
            folder.check_place()


def test_what_killed_writers_left_of_checkpoints_is_removed(tmp_path):
    names = [
        ".epoch-00001-batch-0000004.safetensors.0123abcd.part",
        ".epoch-00001-batch-0000009.safetensors.89abcdef.part",
        ".epoch-00001.safetensors.mine.part",
        "epoch-00001.safetensors",
    ]
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    for name in names:
        (folder.checkpoints / name).touch()
    with folder.held():
        found = sorted(path.name for path in folder.checkpoints.iterdir())
        assert found == names[2:]
        writing = folder.checkpoints / names[0]
        writing.touch()
        with pytest.raises(BlockingIOError), RunFolder(tmp_path).held():
            pass
        assert writing.exists(), "it is being written"


def test_a_kill_after_the_first_epoch_does_not(overwritten):
    folder, _ = overwritten
    (folder.path / "checkpoints").mkdir()
    (folder.path / "checkpoints" / "epoch-00001.safetensors").touch()
    folder.recover()
    assert folder.epochs_done == 1
    folder.check_same(record(seed=1))
    assert not [name for name in files_of(folder) if name.startswith(".")]


def test_a_kill_at_any_rename_loses_nothing(tmp_path, text_to_text, monkeypatch):
    rename = os.rename
    for number in range(12):
        folder = RunFolder(tmp_path / f"run-{number}")
        folder.begin(record(), text_to_text)
        (folder.path / "checkpoints").mkdir()
        (folder.path / "checkpoints" / "epoch-00007.safetensors").touch()
        before, left = files_of(folder), [number]

        def failing(*paths, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise OSError("killed")
            rename(*paths)

        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", failing)
            try:
                folder.begin(record(seed=1), text_to_text, overwrite=True)
                folder.withdraw()
            except OSError:
                pass
        folder.recover()
        assert files_of(folder) == before


def test_withdrawing_removes_what_is_a_trainings_alone(tmp_path):
    tokenizer = SentencePieceTokenizer.train(["a b", "b c"], 8, model_type="bpe")
    text_to_text = build(tokenizer, tokenizer, max_length=8, **SMALL)
    folder = RunFolder(tmp_path / "run")
    folder.begin(record(), text_to_text)
    assert (folder.path / "target.model").read_bytes() == tokenizer.proto
    (folder.path / "tensorboard").mkdir()
    folder.withdraw()
    assert not folder.path.exists()
    folder.begin(record(), text_to_text)
    (folder.path / "mine.txt").write_text("mine")
    folder.withdraw()
    assert [path.name for path in folder.path.iterdir()] == ["mine.txt"]


def test_the_log_has_a_line_for_each_epoch(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_log([{"loss": 2.0}, {"loss": 1.0, "val_loss": 3.0}])
    assert (tmp_path / "log.csv").read_text() == (
        "epoch,loss,val_loss\n1,2.0,\n2,1.0,3.0\n"
    )
