"""What a checkpoint's folder says of its model: options, tensors, which is which."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_encdec.pretrained.checkpoint_files import Checkpoint, open_checkpoint
from keras_encdec.pretrained.configurations import architecture_of, read_config
from keras_encdec.pretrained.families import Architecture
from keras_encdec.pretrained.hub import TEXTS, local_folder
from keras_encdec.pretrained.keras_hub import (
    WEIGHTS_FILE,
    KerasHubWeights,
    is_of_keras_hub,
    keras_hub_architecture,
    keras_hub_layout,
)
from keras_encdec.pretrained.layouts import Layout, layout_of, prefix_of, table_names
from keras_encdec.pretrained.stored_sizes import layout_that_fits


class StoredModel(NamedTuple):
    """A model in a folder, before it is built.

    Attributes:
        config: What config.json holds.
        architecture: The model in our words.
        tensors: The tensors by their names, each read when it is looked up.
        layout: Which of them is which weight of ours.
        origin: The texts of config.json, README and licence by the names of their
            files, to go back with; None of what is no folder of transformers.
        folder: The folder.
    """

    config: dict[str, Any]
    architecture: Architecture
    tensors: Mapping[str, np.ndarray]
    layout: Layout
    origin: dict[str, str] | None
    folder: Path


def open_model(folder: str | Path) -> StoredModel:
    """Opens the folder of a model of transformers, or of a BART of KerasHub.

    Args:
        folder: The folder, or its place on the hub, as in `local_folder`.

    Returns:
        A `StoredModel`. Of the weights no more is read than what tells whether two
        tables are one.

    Raises:
        FileNotFoundError: If files are missing.
        ValueError: If the family or an option is unknown, a size in config.json is
            not that of the tensors, or a file is truncated.

    Example:
        ```python
        import tempfile
        from keras_encdec import EncoderDecoder
        from keras_encdec.export.hugging_face import export_hugging_face
        from keras_encdec.pretrained.models import open_model

        sizes = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2}
        model = EncoderDecoder(20, **sizes, num_layers=1)
        folder = export_hugging_face(model, tempfile.mkdtemp() + "/model")
        print(open_model(folder).architecture.family)
        ```
    """
    folder = local_folder(folder)
    config = read_config(folder)
    if is_of_keras_hub(config):
        architecture = keras_hub_architecture(config, folder)
        tensors = KerasHubWeights(folder / WEIGHTS_FILE)
        layout = layout_that_fits(
            architecture, tensors.shapes, lambda: keras_hub_layout(architecture)
        )
        return StoredModel(config, architecture, tensors, layout, None, folder)
    architecture_of(config)  # Before a large file is opened.
    checkpoint = open_checkpoint(folder)
    prefix = prefix_of(checkpoint)
    architecture = architecture_of(config, **_tables_of(checkpoint, prefix))
    layout = layout_that_fits(
        architecture, checkpoint.shapes, lambda: layout_of(architecture, prefix)
    )
    origin = _texts_of(folder)
    return StoredModel(config, architecture, checkpoint, layout, origin, folder)


def _texts_of(folder: Path) -> dict[str, str]:
    """Returns what people, and transformers, read of a folder."""
    names = "config.json", *TEXTS
    files = [path for name in names for path in sorted(folder.glob(name))]
    return {x.name: x.read_text("utf-8", "replace") for x in files if x.is_file()}


def _tables_of(checkpoint: Checkpoint, prefix: str) -> dict[str, bool]:
    """Returns which tables of a checkpoint are one."""
    names = table_names(checkpoint, prefix)
    if names is None:
        return {}
    source, target, logits = names

    def are_one(first: str, second: str) -> bool:
        if first == second:
            return True
        if checkpoint.shapes[first] != checkpoint.shapes[second]:
            return False
        return np.array_equal(checkpoint[first], checkpoint[second])

    return {
        "shares_table": are_one(source, target),
        "ties_logits": are_one(target, logits),
    }
