"""The files of a training's checkpoints: their names, and what is read of one."""

import json
import pathlib
import re
from typing import Any

import safetensors

from keras_encdec.annotations import AnyPath
from keras_encdec.files import check_format


def positions_in(folder: pathlib.Path) -> dict[tuple[int, int], pathlib.Path]:
    """Returns the checkpoints in a folder, those within epochs too, a dict.

    Args:
        folder: The folder; it need not be there yet.

    Returns:
        A dict from the numbers of epochs done and of batches of the next to paths.

    Example:
        ```python
        import pathlib
        import tempfile
        from keras_encdec.training.checkpoint_files import positions_in

        print(positions_in(pathlib.Path(tempfile.mkdtemp())))  # {}
        ```
    """
    name = re.compile(r"epoch-(\d+)(?:-batch-(\d+))?\.safetensors")
    return {
        (int(found[1]), int(found[2] or 0)): path
        for path in folder.glob("*")
        if (found := name.fullmatch(path.name))
    }


def checkpoints_in(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """Returns the checkpoints at the ends of epochs in a folder, a dict by number.

    Args:
        folder: The folder; it need not be there yet.

    Example:
        ```python
        import pathlib
        import tempfile
        from keras_encdec.training.checkpoint_files import checkpoints_in

        print(checkpoints_in(pathlib.Path(tempfile.mkdtemp())))  # {}
        ```
    """
    positions = positions_in(folder).items()
    return {epochs: path for (epochs, batches), path in positions if not batches}


class DamagedError(ValueError):
    """A checkpoint that cannot be read."""


def read_checkpoint(path: AnyPath) -> Any:
    """Returns the logs of all epochs and the arrays of a checkpoint.

    Args:
        path: The checkpoint.

    Raises:
        ValueError: If it cannot be read.

    Example:
        ```python
        import numpy as np
        import tempfile
        from safetensors.numpy import save_file
        from keras_encdec.training.checkpoint_files import read_checkpoint

        path = tempfile.mkdtemp() + "/epoch-00001.safetensors"
        save_file({"model/0": np.ones(2)}, path, {"history": "[{}]"})
        print(read_checkpoint(path))
        ```
    """
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        history = json.loads(metadata["history"])
        number = json.loads(metadata.get("format", "1"))
    except (KeyError, OSError, ValueError, safetensors.SafetensorError) as error:
        raise DamagedError(
            f"The checkpoint {str(path)!r} cannot be read; it is empty, cut or "
            f"something else ({type(error).__name__}: {error})."
        ) from error
    check_format(number, path)
    return history, arrays
