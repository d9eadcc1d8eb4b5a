"""Training few numbers of a model that has many."""


def enable_lora(model, rank, alpha=None):
    """Has all matrices of a model learn by adaptations of a low rank.

    To each kernel and each table of embeddings a product of two small matrices is
    added, which learn in its place; biases and normalizations learn as before. Nothing
    changes until they have learnt. When the model is saved, or `train` ends, they are
    merged. Compile afterwards: an optimizer knows the variables it was built for.

    Args:
        model: A built model, such as an `EncoderDecoder`.
        rank: The inner size of the products, an int.
        alpha: Products are multiplied by `alpha / rank`; by default by 1.

    Raises:
        ValueError: If the rank is not positive, or no layer can do so, or some do.

    Example:
        ```python
        from keras_encdec import EncoderDecoder, enable_lora

        model = EncoderDecoder(1000, 64, 128, num_heads=2, num_layers=1)
        enable_lora(model, rank=4)
        model.summary()  # of 107,000 parameters 7,000 are trainable
        ```

    Reference:
        Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models.
    """
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise ValueError(
            f"The rank of LoRA must be a positive integer; received {rank!r}. 8 is "
            "usual."
        )
    layers = [x for x in model._flatten_layers() if hasattr(x, "enable_lora")]
    adapted = [x.path for x in layers if x.lora_enabled]
    if adapted or not layers:
        which = f"one with LoRA in {adapted[0]!r}" if adapted else "one without any"
        raise ValueError(
            "A model gets LoRA once, on the layers that can have it, such as Dense; "
            f"received {which}. Save and load it first, which merges."
        )
    for layer in layers:
        layer.enable_lora(rank, lora_alpha=alpha)
