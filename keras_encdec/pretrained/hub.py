"""Where a checkpoint is: a folder, or a repository of the Hugging Face hub."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from keras_encdec.annotations import AnyPath

PREFIX = "hf://"
# What goes back with a model: a licence goes wherever it goes.
TEXTS = "README*", "LICEN[CS]E*", "NOTICE*", "USE_POLICY*"
# Nothing in other formats, and no code.
_FILES = ["*.json", "*.txt", "*.model", "*.spm", *TEXTS]
_SAFE, _PICKLED = "model*.safetensors", "pytorch_model*.bin"


def is_remote(place: AnyPath) -> bool:
    """Whether a place is one of the hub, `hf://owner/name`.

    Example:
        ```python
        from keras_encdec.pretrained.hub import is_remote

        print(is_remote("hf://Helsinki-NLP/opus-mt-en-de"), is_remote("runs/mine"))
        ```
    """
    return str(place).startswith(PREFIX)


def local_folder(place: AnyPath) -> Path:
    """Returns the folder of a checkpoint, downloaded where it is on the hub.

    The package `huggingface_hub` downloads, with its cache, its offline mode
    (`HF_HUB_OFFLINE=1`) and its tokens; nothing else needs it. Weights come as
    safetensors where there are any, in formats that are read, and no code.

    Args:
        place: A folder, `str` or `Path`; or `"hf://owner/name"`, with `@revision` and
            `/folder` behind it where they are meant.

    Returns:
        The `Path` of a folder.

    Raises:
        FileNotFoundError: If the folder is not there.
        ValueError: If a place of the hub is no such name.
        ImportError: If `huggingface_hub` is needed and not installed.
        OSError: If the repository cannot be had: it does not exist, is not open to
            you, or there is no network and it is not in the cache.

    Example:
        ```python
        import tempfile
        from keras_encdec.pretrained.hub import local_folder

        print(local_folder(tempfile.mkdtemp()).is_dir())  # True
        ```
    """
    if not is_remote(place):
        if not Path(place).is_dir():
            raise FileNotFoundError(
                "A checkpoint is a folder, or hf://owner/name; received "
                f"{str(place)!r}, which is no folder. Check the path, or write hf:// "
                "before a name of the hub."
            )
        return Path(place)
    repository, revision, folder = parts_of(str(place))
    require_downloader(place)
    import huggingface_hub

    before = f"{folder}/" if folder else ""
    patterns = [f"{before}{name}" for name in _FILES]
    options: dict[str, Any] = {"repo_id": repository, "revision": revision}
    # No folder below the one that is meant.
    ignored = [f"{before}*/*"]
    try:
        for weights in (_SAFE, _PICKLED):
            found = huggingface_hub.snapshot_download(
                allow_patterns=[*patterns, f"{before}{weights}"],
                ignore_patterns=ignored,
                **options,
            )
            path = Path(found, folder)
            if any(path.glob(weights)):
                break
    # Of several packages, and without a class that all of them share.
    except Exception as error:
        raise OSError(
            f"{str(place)!r} could not be downloaded: {type(error).__name__}: "
            f"{str(error).strip():.300} Check the name and your network; a closed "
            "repository needs `hf auth login`, a machine without network the cache of "
            "one that has it, or a folder."
        ) from error
    if not path.is_dir():
        raise FileNotFoundError(
            f"{repository} must hold the folder that is asked for; received "
            f"{str(place)!r}, which has no {folder}. Look at its files on the hub."
        )
    return path


def require_downloader(place: AnyPath) -> None:
    """Raises unless there is what downloads from the hub, which is not imported.

    Args:
        place: What is to be downloaded.

    Raises:
        ImportError: If `huggingface_hub` is not installed.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ImportError(
            f"{str(place)!r} is downloaded by the package huggingface_hub, which is "
            "not installed. Install it with `pip install 'keras-encdec[hub]'`, or give "
            "a folder."
        )


def parts_of(place: str) -> tuple[str, str | None, str]:
    """Returns the repository, the revision or None, and the folder in it.

    Args:
        place: `hf://owner/name`, `hf://owner/name@revision/folder` or the like.

    Raises:
        ValueError: If it is none.

    Example:
        ```python
        from keras_encdec.pretrained.hub import parts_of

        print(parts_of("hf://google/flan-t5-small@main"))
        ```
    """
    name = r"[\w.-]+"
    pattern = rf"hf://({name}/{name})(?:@({name}))?((?:/{name})*)/?"
    found = re.fullmatch(pattern, place, re.ASCII)
    if found is None or ".." in place:
        raise ValueError(
            "A repository of the hub is written hf://owner/name, with @revision and "
            f"/folder behind it where they are meant; received {place!r}. Copy the "
            "name from the head of its page."
        )
    repository, revision, folder = found.groups()
    return repository, revision, folder.strip("/")
