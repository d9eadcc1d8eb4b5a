"""What the config.json of a checkpoint says of a model, in our options, and back."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_encdec.layers import LearnedPosition, SinusoidalPosition
from keras_encdec.pretrained.families import (
    ACTIVATIONS,
    BART_LIKE,
    FAMILIES,
    T5_LIKE,
    Architecture,
)


def architecture_of(
    config: Mapping[str, Any], *, shares_table: bool = True, ties_logits: bool = True
) -> Architecture:
    """Returns the model that a config.json of transformers describes.

    Args:
        config: What the file holds.
        shares_table: Whether source and target have one table, which only the weights
            tell.
        ties_logits: Whether the target's table also gives the logits, likewise.

    Returns:
        An `Architecture`.

    Raises:
        ValueError: If the family or an option is unknown, the weights are quantized,
            or a size is missing or no positive integer.

    Example:
        ```python
        from keras_encdec.pretrained.configurations import architecture_of

        sizes = {"vocab_size": 20, "d_model": 16, "d_ff": 32, "d_kv": 4}
        sizes |= {"num_heads": 4, "num_layers": 2, "pad_token_id": 0}
        config = {"model_type": "t5", **sizes}
        print(architecture_of(config).encoder)
        ```
    """
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ValueError(
            f"A checkpoint's model must be one of {', '.join(FAMILIES)} (NLLB is "
            "m2m_100; mBART-50 is mbart; Flan, ByT5 and T5 1.1 are t5), or a BART of "
            f"KerasHub; received {family or config.get('class_name')!r}. For another "
            "layout, build an EncoderDecoder and give its weights by "
            "keras_encdec.pretrained.layouts.Pair."
        )
    if config.get("is_encoder_decoder") is False:
        raise ValueError(
            "A checkpoint must have an encoder and a decoder; received a config with "
            "is_encoder_decoder=false."
        )
    quantized = config.get("quantization_config")
    if quantized is not None:
        method = quantized.get("quant_method") if isinstance(quantized, dict) else None
        raise ValueError(
            "The weights of a checkpoint must be floats that are not quantized; "
            f"received a config with quantization_config, by {method!r}. Load the "
            "checkpoint that was quantized."
        )
    of_family = _bart_architecture if family in BART_LIKE else _t5_architecture
    return of_family(config, family, shares_table, ties_logits)


def _bart_architecture(
    config: Mapping[str, Any], family: str, shares_table: bool, ties_logits: bool
) -> Architecture:
    kind = BART_LIKE[family]
    sizes = _sizes(
        config,
        *("vocab_size", "d_model"),
        *(f"{side}_{of}" for side in _SIDES for of in ("layers", "ffn_dim")),
        *(f"{side}_attention_heads" for side in _SIDES),
        *(["max_position_embeddings"] if kind.positions.startswith("learned") else []),
    )
    padding = _padding(config)
    positions = {
        "sinusoidal": lambda: SinusoidalPosition(interleaved=False),
        "sinusoidal behind padding": lambda: SinusoidalPosition(
            interleaved=False, endpoint=True, first=padding + 1
        ),
        "learned": lambda: LearnedPosition(sizes["max_position_embeddings"]),
        "learned behind 2": lambda: LearnedPosition(
            sizes["max_position_embeddings"], offset=2
        ),
    }
    both = {
        "hidden_dim": sizes["d_model"],
        "normalize_first": kind.normalize_first,
        "embedding_norm": kind.embedding_norm,
        "scale_embeddings": bool(config.get("scale_embedding", kind.scales)),
        "activation": _activation(config.get("activation_function", kind.activation)),
        "dropout": config.get("dropout", 0.1),
        "attention_dropout": config.get("attention_dropout", 0.0),
        "activation_dropout": config.get("activation_dropout", 0.0),
        "padding_id": padding,
        # Their `padding_idx`.
        "freeze_padding": True,
    }
    encoder, decoder = (
        {
            "vocabulary_size": sizes["vocab_size"],
            "intermediate_dim": sizes[f"{side}_ffn_dim"],
            "num_heads": sizes[f"{side}_attention_heads"],
            "num_layers": sizes[f"{side}_layers"],
            "positions": positions[kind.positions](),
            **both,
        }
        for side in _SIDES
    )
    if config.get("share_encoder_decoder_embeddings") is False and family == "marian":
        shares_table = False
        size = config.get("decoder_vocab_size") or sizes["vocab_size"]
        decoder["vocabulary_size"] = size
    decoder["tie_embeddings"] = ties_logits
    decoder["output_bias"] = kind.logits_bias
    return Architecture(family, encoder, decoder, shares_table)


def _t5_architecture(
    config: Mapping[str, Any], family: str, shares_table: bool, ties_logits: bool
) -> Architecture:
    kind = T5_LIKE[family]
    sizes = _sizes(
        config, "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads"
    )
    feed_forward = config.get("feed_forward_proj", kind.feed_forward)
    activation = feed_forward.removeprefix("gated-")
    if feed_forward == "gated-gelu":
        activation = "gelu_new"
    dropout = config.get("dropout_rate", 0.1)
    encoder = {
        "vocabulary_size": sizes["vocab_size"],
        "hidden_dim": sizes["d_model"],
        "intermediate_dim": sizes["d_ff"],
        "num_heads": sizes["num_heads"],
        "num_layers": sizes["num_layers"],
        "head_dim": sizes["d_kv"],
        "positions": "relative",
        "num_buckets": config.get("relative_attention_num_buckets", 32),
        "max_distance": config.get("relative_attention_max_distance", 128),
        "bias_per_block": kind.bias_per_block,
        "normalization": "rms",
        "epsilon": config.get("layer_norm_epsilon", 1e-6),
        "use_bias": False,
        "scale_embeddings": False,
        "activation": _activation(activation),
        "gated": feed_forward.startswith("gated-"),
        "dropout": dropout,
        "attention_dropout": dropout,
        "activation_dropout": dropout,
        "padding_id": _padding(config),
    }
    depth = config.get("num_decoder_layers") or sizes["num_layers"]
    decoder = {**encoder, "num_layers": depth, "tie_embeddings": ties_logits}
    scales = kind.scales_logits
    if family == "t5":
        # Published models of 1.1 say it by a word for tied tables, and tie them or not;
        # transformers 5 writes another word. Of UMT5 it hears neither.
        unscaled = config.get("tie_word_embeddings") is False
        scales = config.get("scale_decoder_outputs", not unscaled)
    return Architecture(family, encoder, decoder, shares_table, scales)


_SIDES = "encoder", "decoder"


def _sizes(config: Mapping[str, Any], *names: str) -> dict[str, int]:
    bad = [
        f"{name}={config.get(name)!r}"
        for name in names
        if not isinstance(config.get(name), int) or config[name] < 1
    ]
    if bad:
        raise ValueError(
            "A config.json must tell its model's sizes, each a positive integer; "
            f"received {', '.join(bad)}. Take the file that belongs to the weights."
        )
    return {name: config[name] for name in names}


def _padding(config: Mapping[str, Any]) -> int:
    padding = config.get("pad_token_id")
    if not isinstance(padding, int):
        raise ValueError(
            "A config.json must tell the id of padding; received "
            f"pad_token_id={padding!r}. Take the file that belongs to the weights."
        )
    return padding


def _activation(name: str) -> str:
    if name not in ACTIVATIONS:
        raise ValueError(
            f"An activation must be one of {', '.join(ACTIVATIONS)}; received "
            f"{name!r} in config.json."
        )
    return ACTIVATIONS[name]


def _their_activation(name: Any) -> str:
    known = (theirs for theirs, ours in ACTIVATIONS.items() if ours == name)
    return next(known, "relu")


def read_config(folder: str | Path) -> dict[str, Any]:
    """Returns what config.json of a checkpoint's folder holds.

    Args:
        folder: The folder.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a JSON object.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            "A checkpoint is a folder with config.json beside its weights; received "
            f"{str(folder)!r}, without one. Give the folder that has it."
        )
    try:
        config = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"config.json must be JSON; {str(path)!r} is not: {error}. Fetch it again."
        ) from error
    if not isinstance(config, dict):
        raise ValueError(
            f"config.json must hold a JSON object; {str(path)!r} holds "
            f"{type(config).__name__}. Fetch it again."
        )
    return config


def config_of(
    family: str,
    architecture: Architecture,
    *,
    start_id: int,
    end_id: int,
    positions: int = 1024,
) -> dict[str, Any]:
    """Returns the config.json of a model, as near as a family comes to it.

    What it does not say is found by reading it again with `architecture_of`.

    Args:
        family: One of `FAMILIES`.
        architecture: The model in our words.
        start_id: The id that targets start with.
        end_id: The id that ends them.
        positions: The largest length, of positions that have none by themselves.

    Returns:
        A dict, for JSON.
    """
    encoder, decoder = architecture.encoder, architecture.decoder
    of_family = _bart_config if family in BART_LIKE else _t5_config
    kind = BART_LIKE.get(family) or T5_LIKE[family]
    return {
        "model_type": family,
        "architectures": [kind.name],
        "is_encoder_decoder": True,
        "vocab_size": encoder["vocabulary_size"],
        "d_model": encoder["hidden_dim"],
        "pad_token_id": decoder["padding_id"],
        "eos_token_id": end_id,
        "decoder_start_token_id": start_id,
        "bos_token_id": None,
        "tie_word_embeddings": decoder["tie_embeddings"],
        "use_cache": True,
        **of_family(family, architecture, positions),
    }


def _bart_config(
    family: str, architecture: Architecture, positions: int
) -> dict[str, Any]:
    encoder = architecture.encoder
    lengths = [
        length
        for side in _SIDES
        if (length := getattr(_positions(architecture, side), "max_length", None))
    ]
    config = {
        "activation_function": _their_activation(encoder["activation"]),
        "dropout": encoder["dropout"],
        "attention_dropout": encoder["attention_dropout"],
        "activation_dropout": encoder["activation_dropout"],
        "scale_embedding": encoder["scale_embeddings"],
        "max_position_embeddings": min(lengths, default=positions),
        "num_hidden_layers": encoder["num_layers"],
        # What the family's own default would be is no wish of this model's.
        "forced_eos_token_id": None,
    }
    for side in _SIDES:
        options = getattr(architecture, side)
        config[f"{side}_layers"] = options["num_layers"]
        config[f"{side}_attention_heads"] = options["num_heads"]
        config[f"{side}_ffn_dim"] = options["intermediate_dim"]
        config[f"{side}_layerdrop"] = 0.0
    if family == "marian":
        config["share_encoder_decoder_embeddings"] = architecture.shares_table
        config["decoder_vocab_size"] = architecture.decoder["vocabulary_size"]
    return config


def _positions(architecture: Architecture, side: str) -> Any:
    return getattr(architecture, side)["positions"]


def _t5_config(
    family: str, architecture: Architecture, positions: int
) -> dict[str, Any]:
    encoder = architecture.encoder
    feed_forward = _their_activation(encoder["activation"])
    if encoder["gated"]:
        # "gated-gelu" has always meant the one by tanh.
        feed_forward = f"gated-{feed_forward.removesuffix('_new')}"
    return {
        "d_kv": encoder["head_dim"],
        "d_ff": encoder["intermediate_dim"],
        "num_heads": encoder["num_heads"],
        "num_layers": encoder["num_layers"],
        "num_decoder_layers": architecture.decoder["num_layers"],
        "relative_attention_num_buckets": encoder["num_buckets"],
        "relative_attention_max_distance": encoder["max_distance"],
        "dropout_rate": encoder["dropout"],
        "layer_norm_epsilon": encoder["epsilon"],
        "feed_forward_proj": feed_forward,
        # Of a tied model of the first version alone.
        "scale_decoder_outputs": architecture.decoder["tie_embeddings"],
    }
