"""Encoder-decoder Transformers for Keras 3, from `fit` to TF Serving.

What it takes is imported when a name is first used, Keras too; TensorFlow only by what
works on text. Where Keras is there already, `import keras_encdec` is enough for
`keras.saving.load_model` to read this library's models.
"""

import importlib
import re
import sys
from typing import Any

__version__ = "0.2.0"

# The stub beside this file is the one list of what is public, and of where it is.
_IMPORT = r"^from (\S+) import \(?\s*(\w+) as \2,?\s*\)?$"
_stub = __spec__.loader.get_data(f"{__path__[0]}/__init__.pyi").decode()
_places = {name: place for place, name in re.findall(_IMPORT, _stub, re.M)}
__all__ = sorted(_places)


def __getattr__(name: str) -> Any:
    if name not in _places:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _register()
    if _places[name] == __name__:
        return importlib.import_module(f"{__name__}.{name}")
    found = getattr(importlib.import_module(_places[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _register() -> None:
    """Imports what is registered with Keras and needs no TensorFlow."""
    # The first of them looks for the backend.
    for room in ("backend", "generation", "model", "training"):
        importlib.import_module(f"{__name__}.{room}")


if "keras" in sys.modules:
    _register()
