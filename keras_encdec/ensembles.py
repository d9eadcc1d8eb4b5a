"""Several models from text to text as one."""

from collections.abc import Sequence

from keras_encdec.model import EncoderDecoder, Ensemble
from keras_encdec.text_checks import check_same_ids
from keras_encdec.text_to_text import TextToText


def text_ensemble(
    text_to_texts: Sequence[TextToText],
    weights: Sequence[float] | None = None,
    *,
    mean: str = "probability",
    names: Sequence[str] | None = None,
) -> TextToText:
    """Returns one `TextToText` of which several predict each token together.

    Tokenizers, sampler, processors and largest length are those of the first. The
    models are shared, not copied.

    Args:
        text_to_texts: A list of `TextToText`s of `EncoderDecoder`s, of any sizes, whose
            tokenizers give the same ids.
        weights: As in `Ensemble`.
        mean: As in `Ensemble`.
        names: What errors call each of them, such as its folder; by default its place
            in the list.

    Returns:
        A `TextToText` of an `Ensemble`, which is saved and exported as one.

    Raises:
        TypeError: If one has a model of another kind.
        ValueError: If there is none, tokenizers give different ids, or the weights are
            not a positive number for each.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, build, text_ensemble

        tokenizer, small = ByteTokenizer(), {"intermediate_dim": 32, "num_layers": 1}
        several = [
            build(tokenizer, tokenizer, hidden_dim=width, **small) for width in (16, 32)
        ]
        print(text_ensemble(several, weights=[1, 2]))
        ```
    """
    if not text_to_texts:
        raise ValueError("An ensemble needs at least one model; received none.")
    if names is None:
        names = [f"text_to_texts[{place}]" for place in range(len(text_to_texts))]
    for name, each in zip(names, text_to_texts, strict=True):
        if not isinstance(each.model, EncoderDecoder):
            raise TypeError(
                "The models of an ensemble are EncoderDecoders; received "
                f"{type(each.model).__name__} of {name}. Of another ensemble give the "
                "models themselves."
            )
    for side in ("source", "target"):
        tokenizers = [getattr(each, f"{side}_tokenizer") for each in text_to_texts]
        check_same_ids(side, names, tokenizers)
    first = text_to_texts[0]
    model = Ensemble([each.model for each in text_to_texts], weights, mean=mean)
    lengths = [first.max_length, model.max_length]
    ensemble = TextToText(
        first.source_tokenizer,
        first.target_tokenizer,
        model,
        first.sampler,
        processors=first.generator.processors,
        force_prefix=False,
        max_length=min(length for length in lengths if length is not None),
        jit_compile=first.generator.jit_compile,
    )
    cards = [each.card for each in text_to_texts]
    # What is told of all is so of the whole; the scores are of each alone.
    for fact in ("data", "licence"):
        told = [card.get(fact) for card in cards]
        if told[0] is not None and all(x == told[0] for x in told):
            ensemble.card[fact] = told[0]
    ensemble.card["name"] = f"An ensemble of {len(cards)} models"
    return ensemble
