"""Hugging Face export: the folder that transformers' AutoModelForSeq2SeqLM loads."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_encdec.annotations import AnyPath
from keras_encdec.export.weights import refuse_nan
from keras_encdec.layers import LearnedPosition, SinusoidalPosition
from keras_encdec.model import Encoder, EncoderDecoder
from keras_encdec.model.weights import canonical_weights
from keras_encdec.model_card import write_card
from keras_encdec.pretrained.configurations import architecture_of, config_of
from keras_encdec.pretrained.families import FAMILIES, Architecture
from keras_encdec.pretrained.generation_settings import settings_from
from keras_encdec.pretrained.layouts import layout_of
from keras_encdec.pretrained.written_tokenizers import tokenizer_contents
from keras_encdec.saved_parts import new_export
from keras_encdec.text_to_text import TextToText

# What changes no answer of a trained model, or is said in another place.
_UNSAID = {
    *("dropout", "attention_dropout", "activation_dropout", "dtype", "name"),
    *("memory_dim", "max_length", "freeze_padding"),
}


def export_hugging_face(
    model: TextToText | EncoderDecoder, path: AnyPath, *, overwrite: bool = False
) -> Path:
    """Writes a folder that transformers loads by `AutoModelForSeq2SeqLM`.

    A model that came from one goes back as what it was. Others go as the family that
    can say their options: normalization last with sinusoidal positions as Marian, with
    learned ones and a norm of embeddings as BART; normalization first as PEGASUS, mBART
    or Blenderbot; RMS normalization with relative positions and no biases as T5 or
    UMT5. Their logits stay the same to the last digits.

    Beside the weights and config.json a `TextToText` gives its tokenizers' files and
    generation_config.json, and what was loaded its README and licence.

    Args:
        model: An `EncoderDecoder`, or a `TextToText` of one.
        path: The folder to write.
        overwrite: Whether to replace a folder that is there already.

    Returns:
        The `pathlib.Path` of the folder.

    Raises:
        FileExistsError: If the folder is there and `overwrite` is False, or holds
            something else.
        ValueError: If no family can say an option of the model, a tokenizer, a sampler
            or a processor; the message lists all that is amiss. If a weight is nan.

    Example:
        ```python
        import tempfile
        from keras_encdec import EncoderDecoder
        from keras_encdec.export.hugging_face import export_hugging_face

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        path = export_hugging_face(model, tempfile.mkdtemp() + "/small")
        print(sorted(file.name for file in path.iterdir()))
        ```

    Reference:
        Wolf et al. 2020, Transformers: State-of-the-Art Natural Language Processing;
        https://huggingface.co/docs/transformers.
    """
    text_to_text = model if isinstance(model, TextToText) else None
    ids = {"start_id": 1, "end_id": 2}
    if text_to_text is not None:
        tokenizer = text_to_text.target_tokenizer
        ids = {"start_id": tokenizer.start_id, "end_id": tokenizer.end_id}
    written = model.model if isinstance(model, TextToText) else model
    problems, config = _config(written, ids)
    files: dict[str, bytes] = {}
    if text_to_text is not None and config:
        config["decoder_start_token_id"] = ids["start_id"]
        config["eos_token_id"] = ids["end_id"]
        unsaid, files = _files_of_texts(text_to_text, config["model_type"])
        problems += unsaid
    if problems:
        raise ValueError(
            "transformers must know every option; it does not know:\n- "
            + "\n- ".join(problems)
            + "\nChoose options that it knows, or write the model by "
            "export_saved_model, which takes all of them."
        )
    refuse_nan(written)
    with new_export(path, "hugging-face", overwrite=overwrite) as folder:
        write_card(folder, model, "hugging-face")
        for name, text in (written.origin or {}).items():
            (folder / name).write_text(text, "utf-8")
        for name, content in files.items():
            (folder / name).write_bytes(content)
        _write_model(written, config, folder)
    return Path(path)


def _files_of_texts(
    text_to_text: TextToText, family: str
) -> tuple[list[str], dict[str, bytes]]:
    """Returns what is amiss of tokenizers and settings, and their files' contents."""
    source, target = text_to_text.source_tokenizer, text_to_text.target_tokenizer
    generator = text_to_text.generator
    settings, unsaid = settings_from(
        generator.sampler,
        generator.processors,
        text_to_text.max_length,
        start_id=target.start_id,
        end_id=target.end_id,
        padding_id=target.padding_id,
    )
    files = {"generation_config.json": json.dumps(settings, indent=2).encode() + b"\n"}
    try:
        files |= tokenizer_contents(source, target, family)
    except ValueError as error:
        unsaid = [*unsaid, str(error)]
    return unsaid, files


def _write_model(model: EncoderDecoder, config: dict[str, Any], folder: Path) -> None:
    from safetensors.numpy import save_file

    tensors = _tensors(model, config)
    # The tensors' own dtype, in which they are read again.
    dtype = keras.backend.standardize_dtype(model.dtype_policy.variable_dtype)
    config = {name: x for name, x in config.items() if name != "torch_dtype"}
    text = json.dumps({**config, "dtype": dtype}, indent=2, sort_keys=True)
    (folder / "config.json").write_text(text + "\n", "utf-8")
    tensors = {name: x.astype(_numpy_dtype(dtype)) for name, x in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _numpy_dtype(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


# What can be said


def _config(
    model: EncoderDecoder, ids: dict[str, int]
) -> tuple[list[str], dict[str, Any]]:
    """Returns what no config.json can say of a model, and the nearest that there is."""
    if not isinstance(model, EncoderDecoder):
        return [f"model={type(model).__name__}; it knows EncoderDecoder"], {}
    if not isinstance(model.encoder, Encoder):
        return [f"encoder={model.encoder.name}; it knows Encoder"], {}
    if not all(keras.backend.is_float_dtype(weight.dtype) for weight in model.weights):
        return ["weights that Keras has quantized; it knows float ones"], {}
    ours = _architecture(model)
    configs = [config_of(family, ours, **ids) for family in FAMILIES]
    if model.origin is not None:
        configs.insert(0, json.loads(model.origin["config.json"]))
    found = []
    for config in configs:
        try:
            theirs = _read_again(config, ours)
        except ValueError as error:
            found.append(([str(error)], config))
            continue
        found.append(([*_differences(ours, theirs)], config))
    problems, config = min(found, key=lambda x: len(x[0]))
    if problems:
        problems = [f"{problem}, as {config['model_type']}" for problem in problems]
    return problems, config


def _architecture(model: EncoderDecoder) -> Architecture:
    encoder, decoder = (
        {
            **stack.options(),
            "positions": stack.embedding.position_layer or stack.options()["positions"],
            "head_dim": stack.blocks[0].self_attention.query_dense.units
            // stack.blocks[0].num_heads,
        }
        for stack in (model.encoder, model.decoder)
    )
    return Architecture("", encoder, decoder, model.decoder.embedding.shares_table)


def _read_again(config: dict[str, Any], ours: Architecture) -> Architecture:
    return architecture_of(
        config,
        shares_table=ours.shares_table,
        ties_logits=ours.decoder["tie_embeddings"],
    )


def _differences(ours: Architecture, theirs: Architecture) -> Iterator[str]:
    """Yields each option that a config says otherwise."""
    if ours.shares_table != theirs.shares_table:
        yield "two tables of embeddings; it knows one"
    told = set()
    for side in ("encoder", "decoder"):
        mine = _comparable(getattr(ours, side), theirs)
        other = _comparable(getattr(theirs, side), theirs)
        for name, value in mine.items():
            if name in other and value != other[name]:
                text = f"{name}={value!r}; it knows {other[name]!r}"
                if text not in told:
                    yield text
                told.add(text)


def _comparable(options: dict[str, Any], theirs: Architecture) -> dict[str, Any]:
    """Returns options of a stack, where two are equal if they compute the same."""
    options = {k: v for k, v in options.items() if k not in _UNSAID}
    heads = options["num_heads"]
    options["num_key_value_heads"] = options.get("num_key_value_heads") or heads
    options["head_dim"] = options.get("head_dim") or options["hidden_dim"] // heads
    options["positions"] = _described(options["positions"])
    options = {**_DEFAULTS, **options}
    if options["positions"] != "relative":
        for name in ("num_buckets", "max_distance", "bias_per_block"):
            del options[name]
    elif options["num_layers"] == 1:
        del options["bias_per_block"]
    if theirs.is_t5:
        # The scale goes into the table.
        del options["scale_embeddings"]
    else:
        # Zeros go for biases that are not there.
        del options["use_bias"]
    if theirs.decoder.get("output_bias"):
        options.pop("output_bias", None)
    return options


_DEFAULTS = {
    "normalization": "layer",
    "normalize_first": True,
    "epsilon": 1e-5,
    "use_bias": True,
    "gated": False,
    "embedding_norm": False,
    "output_bias": False,
    "bias_per_block": False,
    "num_buckets": 32,
    "max_distance": 128,
}


def _described(positions: Any) -> Any:
    if isinstance(positions, SinusoidalPosition):
        # Features that take turns are put into another order.
        name = "sinusoidal"
        if positions.endpoint or positions.first:
            name += f"(endpoint={positions.endpoint}, first={positions.first})"
        return name
    if isinstance(positions, LearnedPosition):
        return f"learned({positions.max_length})"
    return getattr(positions, "name", positions)


# The weights


def _tensors(model: EncoderDecoder, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Returns their tensors by their names."""
    ours = _architecture(model)
    theirs = _read_again(config, ours)
    weights = canonical_weights(model)
    for side in ("encoder", "decoder"):
        _fold(weights, side, getattr(ours, side), getattr(theirs, side))
    if theirs.shares_table:
        table = weights.pop("decoder.embedding")
        if not np.array_equal(weights["encoder.embedding"], table):
            raise ValueError(
                "An encoder and a decoder with one table must have positions, and a "
                "scale of embeddings, that go into it in one way; received "
                f"positions={ours.encoder['positions']!r} and "
                f"{ours.decoder['positions']!r}. Build both with the same."
            )
    layout, tensors = layout_of(theirs), {}
    for pair in layout.pairs:
        if pair.ours in weights:
            tensors[pair.theirs] = pair.write(weights.pop(pair.ours))
            if not (theirs.is_t5 or config.get("tie_word_embeddings", True)):
                # Then no table takes the place of another.
                for other in pair.others:
                    tensors.setdefault(other, tensors[pair.theirs])
    if weights:
        raise AssertionError(f"No tensor of {theirs.family} holds {[*weights]}.")
    return tensors


def _fold(
    weights: dict[str, np.ndarray],
    side: str,
    ours: dict[str, Any],
    theirs: dict[str, Any],
) -> None:
    """Puts into the weights of a stack what theirs has no option for."""
    positions, others = ours["positions"], theirs["positions"]
    if isinstance(positions, SinusoidalPosition) and positions.interleaved:
        _reorder(weights, side, ours["hidden_dim"])
    if isinstance(positions, LearnedPosition):
        table = weights[f"{side}.positions"]
        unused = np.zeros((others.offset, table.shape[1]), "float32")
        if positions.offset != others.offset:
            table = np.concatenate([unused, table[positions.offset :]])
        weights[f"{side}.positions"] = table
    if ours["scale_embeddings"] and not theirs["scale_embeddings"]:
        factor = np.float32(ours["hidden_dim"] ** 0.5)
        weights[f"{side}.embedding"] = weights[f"{side}.embedding"] * factor
        if side == "decoder" and ours["tie_embeddings"]:
            for kind in ("scale", "bias"):
                if f"decoder.norm.{kind}" in weights:
                    weights[f"decoder.norm.{kind}"] /= factor
    if theirs.get("use_bias", True) and not ours["use_bias"]:
        for name in [x for x in weights if x.startswith(f"{side}.blocks.")]:
            if name.endswith(".kernel"):
                size = weights[name].shape[1]
                bias = name.removesuffix("kernel") + "bias"
                weights.setdefault(bias, np.zeros(size, "float32"))


def _reorder(weights: dict[str, np.ndarray], side: str, width: int) -> None:
    """Puts all sines before all cosines, in whatever is as wide as the model."""
    order = np.concatenate([np.arange(0, width, 2), np.arange(1, width, 2)])
    for name in [*weights]:
        # The parts after the side and the block.
        part = name.split(".", 1)[1] if name.startswith(side) else ""
        axis = _axis_of_width(part)
        if name == "logits.kernel" and side == "decoder":
            axis = 0
        crosses = ".cross_attention.key." in name or ".cross_attention.value." in name
        if crosses and name.endswith("kernel"):
            # They read the encoder's features.
            axis = 0 if side == "encoder" else None
        if axis is not None:
            weights[name] = weights[name].take(order, axis)


def _axis_of_width(part: str) -> int | None:
    """Returns which axis of a weight of a stack is of the model's width, if any."""
    if part in ("embedding", "positions"):
        return 1
    *_, layer, kind = ("", *part.split("."))
    if layer == "norm" or layer == "embedding_norm":
        return 0
    if layer == "output":
        return 1 if kind == "kernel" else 0
    return 0 if kind == "kernel" else None
