"""Sizes of models by name."""

import difflib

# By the names of the arguments of EncoderDecoder. What a step of decoding costs is the
# decoder's: of the deep and shallow ones the encoder has what it lacks.
SIZES: dict[str, dict[str, int]] = {
    "tiny": {
        "hidden_dim": 128,
        "intermediate_dim": 256,
        "num_heads": 4,
        "num_layers": 4,
        "num_decoder_layers": 4,
    },
    "tiny-deep-shallow": {
        "hidden_dim": 128,
        "intermediate_dim": 256,
        "num_heads": 4,
        "num_layers": 8,
        "num_decoder_layers": 1,
    },
    "small": {
        "hidden_dim": 256,
        "intermediate_dim": 1024,
        "num_heads": 4,
        "num_layers": 3,
        "num_decoder_layers": 3,
    },
    "base": {
        "hidden_dim": 512,
        "intermediate_dim": 2048,
        "num_heads": 8,
        "num_layers": 6,
        "num_decoder_layers": 6,
    },
    "base-deep-shallow": {
        "hidden_dim": 512,
        "intermediate_dim": 2048,
        "num_heads": 8,
        "num_layers": 12,
        "num_decoder_layers": 1,
    },
}


def size_named(name: str) -> dict[str, int]:
    """Returns the sizes of a model by their name.

    Args:
        name: `"tiny"`, 4 and 4 layers of 128, published for Multi30k; `"small"`, 3 and
            3 of 256; `"base"`, 6 and 6 of 512; or `"tiny-deep-shallow"` with 8 and 1
            and `"base-deep-shallow"` with 12 and 1, which decode faster.

    Returns:
        A dict of arguments of `EncoderDecoder`.

    Raises:
        ValueError: If there is no such name.

    Example:
        ```python
        from keras_encdec.named_sizes import size_named

        print(size_named("base-deep-shallow")["num_decoder_layers"])  # 1
        ```

    Reference:
        Vaswani et al. 2017, table 3, for base; Wu et al. 2021, Good for Misconceived
        Reasons, for tiny; Kasai et al. 2021, Deep Encoder, Shallow Decoder.
    """
    if name not in SIZES:
        near = difflib.get_close_matches(str(name), SIZES, 1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"size must be one of {', '.join(SIZES)}; received {name!r}.{meant}"
        )
    return dict(SIZES[name])
