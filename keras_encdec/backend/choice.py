"""The backend that is asked for, looked at before Keras is imported."""

import difflib
import importlib.util
import os
import sys

import keras_encdec.backend.shortcuts  # noqa: F401

# The name of each, for people, and the extra that installs it beside TensorFlow.
BACKENDS = {
    "tensorflow": ("TensorFlow", ""),
    "jax": ("JAX", "[jax]"),
    "torch": ("PyTorch", "[torch]"),
}


def check_backend() -> None:
    """Checks that there is a backend of the name in `KERAS_BACKEND`, if that is set.

    Raises:
        ValueError: If the name is none of `tensorflow`, `jax` and `torch`.
        ImportError: If it is not installed.

    Example:
        ```python
        from keras_encdec.backend.choice import check_backend

        check_backend()
        ```
    """
    name = os.environ.get("KERAS_BACKEND")
    # Once Keras runs, its backend is what it is.
    if not name or "keras" in sys.modules:
        return
    if name not in BACKENDS:
        near = difflib.get_close_matches(name.lower(), BACKENDS, 1) or ["tensorflow"]
        raise ValueError(
            f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}; received {name!r}. "
            f"Set KERAS_BACKEND={near[0]}."
        )
    known, extra = BACKENDS[name]
    if importlib.util.find_spec(name) is None:
        raise ImportError(
            f"KERAS_BACKEND={name} needs {known}, which is not installed. Install it "
            f"with `pip install 'keras-encdec{extra}'`, or set another of "
            f"{', '.join(BACKENDS)}."
        )


# Here, for this module is the first that the others are imported with. The names of
# shortcuts are looked at with it.
check_backend()
