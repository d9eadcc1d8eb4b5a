"""What a saved `TextToText` is: its folder, its files, and the configs of its parts."""

import contextlib
import pathlib
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

from keras_encdec.annotations import AnyPath
from keras_encdec.files import new_folder, require_place_of_folder, whole_folder

MODEL_FILE = "model.keras"
CONFIG_FILE = "text_to_text.json"
# What a training was begun with.
RECORD_FILE = "options.json"
# By which the folder of an export is known, of each format.
EXPORT_FILES = {
    "saved-model": "saved_model.pb",
    "hugging-face": "model.safetensors",
    "ctranslate2": "model.bin",
    "onnx": "ids.json",
    "openvino": "ids.json",
    "litert": "ids.json",
}
# Where an earlier training is until the one that overwrites it has finished an epoch;
# and while it is moved there or back.
ASIDE = ".overwritten.keras_encdec"
MOVING = f"{ASIDE}.part"


def new_export(
    path: AnyPath, format: str, *, overwrite: bool = False
) -> contextlib.AbstractContextManager[pathlib.Path]:
    """As `files.new_folder`, of an export: it replaces one of its format alone.

    Args:
        path: As in `new_folder`.
        format: One of `EXPORT_FILES`.
        overwrite: As in `new_folder`.

    Raises:
        FileExistsError: As in `new_folder`.
    """
    return new_folder(path, overwrite=overwrite, holds=EXPORT_FILES[format])


def saved_folder(folder: AnyPath) -> pathlib.Path:
    """Returns the folder that holds a saved `TextToText`: in that of a run, its best.

    Args:
        folder: A folder, `str` or `Path`: that `TextToText.save` wrote, or that of a
            training, whose `best/` is meant, also where a kill left it put aside.
            It is only read.

    Returns:
        A `Path`.

    Raises:
        FileNotFoundError: If a file is missing.

    Example:
        ```python
        import tempfile
        from keras_encdec.saved_parts import saved_folder

        try:
            saved_folder(tempfile.mkdtemp())
        except FileNotFoundError as error:
            print(error)
        ```
    """
    folder = given = whole_folder(folder)
    if not (given / CONFIG_FILE).exists():
        places = (given / aside / "best" for aside in ("", ASIDE, MOVING))
        found = (best for best in map(whole_folder, places) if best.is_dir())
        folder = next(found, given)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        raise FileNotFoundError(
            f"A saved model is read from its folder; received {str(folder)!r}, which "
            f"{what}. Give the folder that was saved, or that of a training."
        )
    for file in (MODEL_FILE, CONFIG_FILE):
        if not (folder / file).is_file():
            raise FileNotFoundError(
                f"A saved folder holds {MODEL_FILE} and {CONFIG_FILE}; {file} is "
                f"missing in {str(folder)!r}. Give the folder that was saved, or that "
                "of a training that has finished an epoch."
            )
    return folder


def require_place_of_run(folder: AnyPath) -> None:
    """Raises unless a training may begin or go on in a folder, which is only read.

    Args:
        folder: The folder, `str` or `Path`; it need not be there yet.

    Raises:
        FileExistsError: If something else is there.
        NotADirectoryError: If there is a file on the way.
        PermissionError: If no folder may be written there.

    Example:
        ```python
        import tempfile
        from keras_encdec.saved_parts import require_place_of_run

        require_place_of_run(tempfile.mkdtemp() + "/run")
        ```
    """
    folder = pathlib.Path(folder)
    if not folder.exists():
        require_place_of_folder(folder)
        return
    if folder.is_dir():
        ours = (folder / name for name in (RECORD_FILE, ASIDE, MOVING))
        # Version 0.1.0 wrote no record for a training in Python.
        epochs = (folder / "checkpoints").glob("epoch-*.safetensors")
        if any(x.exists() for x in ours) or any(epochs) or not any(folder.iterdir()):
            return
    raise FileExistsError(
        "A training takes a new folder, or that of a training to go on with; "
        f"{str(folder)!r} is something else. Choose another."
    )


def part_from_config(config: Any) -> Any:
    """Returns the part that `part_config` described."""
    import keras  # The command line finds a folder before it imports anything heavy.

    return keras.saving.deserialize_keras_object(config, safe_mode=True)


def part_config(name: str, part: Any) -> dict[str, Any]:
    """The config of a part, from which it can be made again without running code."""
    import keras

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of a lambda, which is refused here.
            config = keras.saving.serialize_keras_object(part)
        part_from_config(config)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"What is saved must be read again without running code of its own; "
            f"received {name}={part!r:.200}, which cannot: {error} Make it a class or "
            "function decorated by keras.saving.register_keras_serializable."
        ) from error
    return config


def search_config(generator: Any) -> dict[str, Any]:
    """Returns the configs of what a generator searches by, beside its ids.

    Args:
        generator: A `Generator`.

    Returns:
        A dict of what JSON takes.

    Raises:
        ValueError: If a part could not be read again.

    Example:
        ```python
        from keras_encdec import EncoderDecoder, Generator
        from keras_encdec.saved_parts import search_config, take_search_from_config

        generator = Generator(EncoderDecoder(20, 16, 32, 2, 1))
        print(take_search_from_config(search_config(generator)))
        ```
    """
    return {
        "sampler": part_config("sampler", generator.sampler),
        "processors": [part_config("processors", x) for x in generator.processors],
        "longest_targets": generator.longest_targets,
    }


def take_search_from_config(config: Any) -> dict[str, Any]:
    """Takes what `search_config` put there out of a dict, and returns it.

    Args:
        config: A dict; what it lacks is None, or none.

    Returns:
        A dict of arguments of a `Generator`: `sampler`, `processors` and
        `longest_targets`.
    """
    longest = config.pop("longest_targets", None)
    return {
        "sampler": part_from_config(config.pop("sampler", None)),
        "processors": [part_from_config(x) for x in config.pop("processors", [])],
        "longest_targets": None if longest is None else tuple(longest),
    }


@contextlib.contextmanager
def name_folder_in_errors(folder: AnyPath) -> Iterator[None]:
    """Names the folder and the remedy in an error of what is read from it."""
    try:
        yield
    except (
        AttributeError,
        KeyError,
        OSError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
    ) as error:
        raise ValueError(
            f"{str(folder)!r} must hold what TextToText.save wrote; it could not be "
            f"read: {error} Save it again, or name the module that registers its own "
            "classes in `modules`."
        ) from error
