"""BART as KerasHub saves it by `save_to_preset`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_encdec.layers import LearnedPosition
from keras_encdec.pretrained.families import Architecture
from keras_encdec.pretrained.layouts import Layout, Pair

WEIGHTS_FILE = "model.weights.h5"
_BACKBONE = "BartBackbone"
# Of the tokenizer that the published models have, where the folder has none.
_PADDING_ID = 1


class KerasHubWeights(Mapping[str, np.ndarray]):
    """The tensors of a file of KerasHub, heads beside one another as ours are.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is no file of weights, or takes some from another file.
    """

    def __init__(self, path: Path) -> None:
        # Keras has it for its own files.
        import h5py

        if not path.is_file():
            raise FileNotFoundError(
                f"A preset of KerasHub has its weights in {WEIGHTS_FILE}; received "
                f"{str(path.parent)!r}, without one. Save it by save_to_preset, in one "
                "file."
            )
        shapes: dict[str, tuple[int, ...]] = {}
        elsewhere: list[str] = []

        def add(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                # Those of other files could be any on this machine.
                if item.external or item.is_virtual:
                    elsewhere.append(name)
                shapes[name] = _flat(name, item.shape)

        try:
            self._file = h5py.File(path, "r")
            self._file.visititems(add)
        except OSError as error:
            raise ValueError(
                f"{WEIGHTS_FILE} must be a file of HDF5; {str(path)!r} could not be "
                f"read: {error}. It may be truncated: copy it again."
            ) from error
        if elsewhere:
            raise ValueError(
                f"The numbers of {WEIGHTS_FILE} must be in it; {str(path)!r} takes "
                f"{elsewhere[0]!r} from another file. Do not use it unless you know "
                "who wrote it."
            )
        self.shapes = shapes

    def __getitem__(self, name: str) -> np.ndarray:
        return np.asarray(self._file[name]).reshape(self.shapes[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    # `Mapping` would read the tensor.
    def __contains__(self, name: object) -> bool:
        return name in self.shapes


def _flat(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape of a tensor with its heads in one axis."""
    if "_attention_layer/" not in name:
        return shape
    if len(shape) == 3 and "output_dense" in name:
        return shape[0] * shape[1], shape[2]
    if len(shape) == 3:
        return shape[0], shape[1] * shape[2]
    return (int(np.prod(shape)),)


def is_of_keras_hub(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is KerasHub's of a BART.

    Args:
        config: What it holds.
    """
    return config.get("class_name") == _BACKBONE


def keras_hub_architecture(config: Mapping[str, Any], folder: Path) -> Architecture:
    """Returns the model that a config.json of KerasHub describes.

    Args:
        config: What the file holds.
        folder: Its folder, whose tokenizer, if it has one, says the id of padding.

    Raises:
        ValueError: If a size is missing.
    """
    sizes = dict(config.get("config", {}))
    names = ["vocabulary_size", "num_layers", "num_heads", "hidden_dim"]
    names += ["intermediate_dim", "max_sequence_length"]
    if missing := [name for name in names if name not in sizes]:
        raise ValueError(
            "A preset of KerasHub must tell its model's sizes; received config.json "
            f"without {', '.join(missing)}. Save it by save_to_preset."
        )
    length = sizes["max_sequence_length"]
    both = {
        **{name: sizes[name] for name in names if name != "max_sequence_length"},
        "normalize_first": False,
        "embedding_norm": True,
        "scale_embeddings": False,
        "activation": "gelu",
        "dropout": sizes.get("dropout", 0.1),
        "padding_id": _padding_id(folder),
    }
    encoder, decoder = ({**both, "positions": LearnedPosition(length)} for _ in "12")
    decoder |= {"tie_embeddings": True, "output_bias": False}
    return Architecture("bart", encoder, decoder)


def _padding_id(folder: Path) -> int:
    path = folder / "assets" / "tokenizer" / "vocabulary.json"
    if not path.is_file():
        return _PADDING_ID
    return json.loads(path.read_text("utf-8")).get("<pad>", _PADDING_ID)


def keras_hub_layout(architecture: Architecture) -> Layout:
    """Returns where the weights of a model are in a file of KerasHub.

    Args:
        architecture: What `keras_hub_architecture` returned.
    """
    return Layout((*_pairs(architecture),))


def _numbered(name: str, number: int) -> str:
    return f"layers/{name}_{number}" if number else f"layers/{name}"


def _pairs(architecture: Architecture) -> Iterator[Pair]:
    table = "layers/reversible_embedding/vars/0"
    yield Pair(table, "encoder.embedding")
    yield Pair(table, "decoder.embedding")
    for number, side in enumerate(("encoder", "decoder")):
        positions = _numbered("position_embedding", number)
        yield Pair(f"{positions}/vars/0", f"{side}.positions")
        norm = _numbered("layer_normalization", number)
        yield from _both(norm, f"{side}.embedding_norm", "scale")
        for i in range(getattr(architecture, side)["num_layers"]):
            theirs, ours = _numbered(f"transformer_{side}", i), f"{side}.blocks.{i}"
            for attention in ("self_attention", "cross_attention"):
                layer = f"{theirs}/_{attention}_layer"
                for dense in ("query", "key", "value", "output"):
                    yield from _both(
                        f"{layer}/{dense}_dense", f"{ours}.{attention}.{dense}"
                    )
                yield from _both(f"{layer}_norm", f"{ours}.{attention}.norm", "scale")
            for dense in ("intermediate", "output"):
                yield from _both(
                    f"{theirs}/_feedforward_{dense}_dense",
                    f"{ours}.feed_forward.{dense}",
                )
            norm = f"{theirs}/_feedforward_layer_norm"
            yield from _both(norm, f"{ours}.feed_forward.norm", "scale")


def _both(theirs: str, ours: str, first: str = "kernel") -> Iterator[Pair]:
    yield Pair(f"{theirs}/vars/0", f"{ours}.{first}")
    yield Pair(f"{theirs}/vars/1", f"{ours}.bias")
