"""Checkpoints of the hub, without a network."""

import fnmatch
import sys

import pytest

from keras_encdec.pretrained.hub import local_folder, parts_of

pytestmark = pytest.mark.once

FILES = [
    *("config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5"),
    *("flax_model.msgpack", "onnx/config.json", "source.spm", "modeling.py"),
    *("onnx/model.safetensors", "README.md", "training_args.bin"),
    *("LICENCE", "USE_POLICY.md"),
]


def repository(files, tmp_path, calls):
    """What stands for `snapshot_download` of a repository of these files."""

    def download(*, allow_patterns, ignore_patterns, **options):
        def fits(file, patterns):
            return any(fnmatch.fnmatch(file, pattern) for pattern in patterns)

        calls.append(options)
        for file in files:
            if fits(file, allow_patterns) and not fits(file, ignore_patterns):
                (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
                (tmp_path / file).touch()
        return str(tmp_path)

    return download


@pytest.mark.parametrize("safe", [True, False])
def test_downloads_what_is_read_and_nothing_else(safe, tmp_path, monkeypatch):
    files = [file for file in FILES if safe or file != "model.safetensors"]
    calls = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", repository(files, tmp_path, calls)
    )
    assert local_folder("hf://owner/name@v1") == tmp_path
    weights = "model.safetensors" if safe else "pytorch_model.bin"
    wanted = {"config.json", "source.spm", weights}
    wanted |= {"README.md", "LICENCE", "USE_POLICY.md"}
    assert {x.name for x in tmp_path.iterdir()} == wanted
    assert calls[0] == {"repo_id": "owner/name", "revision": "v1"}


def test_downloads_a_folder_of_a_repository(tmp_path, monkeypatch):
    files = [f"big/{file}" for file in FILES] + FILES
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", repository(files, tmp_path, [])
    )
    assert local_folder("hf://owner/name/big") == tmp_path / "big"
    assert [x.name for x in tmp_path.iterdir()] == ["big"]
    assert not (tmp_path / "big" / "onnx").exists()


def test_tells_what_hinders_it(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="could not be downloaded.*machine without net"):
        local_folder("hf://owner/no-such-name")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"keras-encdec\[hub\]"):
        local_folder("hf://owner/name")


def test_takes_folders_as_they_are(tmp_path):
    assert local_folder(tmp_path) == local_folder(str(tmp_path)) == tmp_path
    with pytest.raises(FileNotFoundError, match="hf:// before a name"):
        local_folder("Helsinki-NLP/opus-mt-en-de")


@pytest.mark.parametrize(
    "place", ["hf://name", "hf://a/../b", "hf://a/b@", "hf:///a/b", "hf://a/b c"]
)
def test_refuses_what_is_no_name(place):
    with pytest.raises(ValueError, match="hf://owner/name, with"):
        parts_of(place)
