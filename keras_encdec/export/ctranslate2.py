"""CTranslate2 export: the model for a small, fast engine that needs no Keras."""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_encdec.annotations import AnyPath, KerasModel, Tensor
from keras_encdec.export.ctranslate2_tokens import (
    register_vocabularies,
    tokenizer_files,
    tokenizers_of,
    tokens_of,
)
from keras_encdec.export.weights import refuse_nan
from keras_encdec.layers import (
    LearnedPosition,
    SinusoidalPosition,
    sinusoidal_positions,
)
from keras_encdec.model import Encoder, EncoderDecoder
from keras_encdec.model.weights import canonical_weights
from keras_encdec.model_card import write_card
from keras_encdec.saved_parts import new_export
from keras_encdec.text_to_text import TextToText

# CTranslate2's module of specifications, and a specification of it.
Specs: TypeAlias = Any
Spec: TypeAlias = Any
Weights: TypeAlias = Mapping[str, np.ndarray]

# CTranslate2 takes positions as a table; by itself it cuts sources at 1,024 tokens.
NUM_POSITIONS = 4096

# The lowest number of float16, the smallest type that a bias may be written in.
NEVER = -65504.0

# The formulas of CTranslate2's feed-forward networks, by the names it gives them.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "RELU": ops.relu,
    "GELU": lambda x: ops.gelu(x, approximate=False),
    "GELUTanh": lambda x: ops.gelu(x, approximate=True),
    "GELUSigmoid": lambda x: x * ops.sigmoid(1.702 * x),
    "SWISH": ops.silu,
    "Tanh": ops.tanh,
    "Sigmoid": ops.sigmoid,
}


def export_ctranslate2(
    text_to_text: TextToText,
    path: AnyPath,
    *,
    quantization: str | None = None,
    overwrite: bool = False,
) -> pathlib.Path:
    """Writes a folder that `ctranslate2.Translator` loads.

    The model keeps its ids and never generates padding. What the sampler and the
    processors say is said to `translate_batch`: `BeamSampler(5, early_stopping=True)`
    is `beam_size=5`, with `min_decoding_length=0` and the `max_length` of
    `text_to_text` as `max_decoding_length`; ids that each row must begin with are its
    `target_prefix`. Of an empty source CTranslate2 makes an empty target. Without
    rotary, relative or learned positions, texts may have up to 4,096 tokens.

    CTranslate2 takes and returns tokens. Those of a SentencePiece model are its pieces,
    and it is written beside as `source.model` or `target.model`; those of a
    `ByteLevelBPETokenizer` are its vocabulary's, for the `tokenizers` package in
    `source.tokenizer.json`; those of a `WordTokenizer` and a `CharacterTokenizer` are
    words and characters; byte 10 of a `ByteTokenizer` is `<0x0A>`. `tokenizer.split`
    gives them for all but bytes.

    One token before each source, such as that of a language, and the end token behind
    it CTranslate2 puts there itself. What it cannot put, config.json tells: a source is
    to be given as `[*source_prefix, *tokens, *source_suffix]`, and where `ForcedFirst`
    is among the processors, `target_prefix` to each source.

    A shortlist is written as its vocabulary map, `vmap.txt`, which
    `translate_batch(use_vmap=True)` uses: the same candidates, of a whole batch for all
    its rows.

    Args:
        text_to_text: A `TextToText`, under any backend.
        path: The folder to write.
        quantization: The type of the written weights: `"int8"`, `"int8_float32"`,
            `"int8_float16"`, `"int8_bfloat16"`, `"int16"`, `"float16"`, `"bfloat16"`
            (the two with bfloat16 need PyTorch) or, by default, float32.
        overwrite: Whether to replace a folder that is there already.

    Returns:
        The `pathlib.Path` of the folder.

    Raises:
        FileExistsError: If the folder is there and `overwrite` is False, or holds
            something else.
        ImportError: If `ctranslate2` cannot be imported.
        ValueError: If CTranslate2 does not know an option of the model, a tokenizer or
            `quantization`; the message lists all of them. If a weight is nan.

    Example:
        ```python
        import tempfile
        import ctranslate2
        from keras_encdec import CharacterTokenizer, EncoderDecoder, TextToText
        from keras_encdec.export.ctranslate2 import export_ctranslate2

        tokenizer = CharacterTokenizer.from_texts(["one text"])
        model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1)
        text_to_text = TextToText(tokenizer, tokenizer, model, max_length=8)
        path = export_ctranslate2(text_to_text, tempfile.mkdtemp() + "/letters")
        translator = ctranslate2.Translator(str(path))
        result = translator.translate_batch([list("one text")], max_decoding_length=8)
        print("".join(result[0].hypotheses[0]))
        ```

    Reference:
        Klein et al. 2020, Efficient and High-Quality Neural Machine Translation with
        OpenNMT; https://opennmt.net/CTranslate2.
    """
    specs = _import_specs()
    unsupported = [*_unsupported(specs, text_to_text, quantization)]
    if unsupported:
        raise ValueError(
            "CTranslate2 must know every option; it does not know:\n- "
            + "\n- ".join(unsupported)
            + "\nChoose options that it knows, or write the model by "
            "export_saved_model, which takes all of them."
        )
    refuse_nan(text_to_text.model)
    with new_export(path, "ctranslate2", overwrite=overwrite) as folder:
        specification = _specification(specs, text_to_text)
        specification.validate()
        specification.optimize(quantization=quantization)
        specification.save(str(folder))
        for name, content in tokenizer_files(text_to_text).items():
            (folder / name).write_bytes(content)
        if text_to_text.generator.shortlist is not None:
            _write_vocabulary_map(folder / "vmap.txt", text_to_text)
        write_card(folder, text_to_text, "ctranslate2")
    return pathlib.Path(path)


def _import_specs() -> Specs:
    try:
        from ctranslate2 import specs
    except ImportError as error:
        raise ImportError(
            f"export_ctranslate2 needs CTranslate2, which could not be imported "
            f"({error}). Install it with `pip install ctranslate2`."
        ) from error
    return specs


def _write_vocabulary_map(path: pathlib.Path, text_to_text: TextToText) -> None:
    """Writes a line for each source token: itself, a tab, and its candidates."""
    shortlist = text_to_text.generator.shortlist
    assert shortlist is not None
    source, target = map(tokens_of, tokenizers_of(text_to_text).values())
    assert source is not None and target is not None
    # Start, end and unknown every row may have there. What stands around each
    # source is no token of a line.
    tokenizer = text_to_text.source_tokenizer
    around = [*tokenizer.prefix_ids, *tokenizer.suffix_ids]
    of_all = {*shortlist.of_all, *shortlist.candidates[around].ravel()}
    lines = ["\t" + " ".join(target[x] for x in sorted(of_all) if x in target)]
    for number, token in source.items():
        ids = shortlist.candidates[number]
        found = [target[x] for x in ids if x in target]
        if found:
            lines.append(f"{token}\t{' '.join(found)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# What cannot be written


def _unsupported(
    specs: Specs, text_to_text: TextToText, quantization: str | None
) -> Iterator[str]:
    """Yields each option that CTranslate2 does not know, with those it knows."""
    types = specs.model_spec.ACCEPTED_MODEL_TYPES
    if quantization is not None and quantization not in types:
        yield f"quantization={quantization!r}; it knows None, {', '.join(types)}"
    for side, tokenizer in tokenizers_of(text_to_text).items():
        if tokens_of(tokenizer) is None:
            yield (
                f"{side}_tokenizer={type(tokenizer).__name__}; it knows SentencePiece, "
                "byte-level BPE, words, characters and bytes"
            )
    model = text_to_text.model
    if not isinstance(model, EncoderDecoder):
        yield f"model={type(model).__name__}; it knows EncoderDecoder"
        return
    if not isinstance(model.encoder, Encoder):
        yield f"encoder={model.encoder.name}; it knows Encoder"
        return
    stacks = model.encoder, model.decoder
    unknown = {x.blocks[0].activation for x in stacks if _activation(x) is None}
    for activation in unknown:
        name = getattr(activation, "__name__", activation)
        yield (
            f"activation={name!r}; it knows relu, gelu (exact, by tanh, by sigmoid), "
            "silu, tanh, sigmoid"
        )
    known = type(None), SinusoidalPosition, LearnedPosition
    for positions in {type(x.embedding.position_layer) for x in stacks}:
        if positions not in known:
            yield (
                f"positions={positions.__name__}; it knows sinusoidal, learned, "
                "rotary, relative, None"
            )
    epsilons = {x.blocks[0].epsilon for x in stacks}
    if len(epsilons) > 1:
        yield f"epsilon={' and '.join(map(str, epsilons))}; it knows one for both"
    if not all(keras.backend.is_float_dtype(weight.dtype) for weight in model.weights):
        yield (
            "weights that Keras has quantized; it knows float ones, which it quantizes "
            "itself"
        )


def _activation(stack: KerasModel) -> str | None:
    """Returns CTranslate2's name of a stack's activation, None if it has none."""
    # By its values: there are functions of one name, and names of one function.
    x = ops.linspace(-6.0, 6.0, 64)[None]
    values = ops.convert_to_numpy(stack.blocks[0].activation(x))
    for name, formula in ACTIVATIONS.items():
        if np.allclose(values, ops.convert_to_numpy(formula(x)), atol=1e-5):
            return name
    return None


# The weights


def _specification(specs: Specs, text_to_text: TextToText) -> Spec:
    model = text_to_text.model
    weights = canonical_weights(model)
    encoder = specs.TransformerEncoderSpec(
        len(model.encoder.blocks), **_options(specs, model.encoder)
    )
    decoder = specs.TransformerDecoderSpec(
        len(model.decoder.blocks),
        **_options(specs, model.decoder),
        # The mean of all heads, as in the coverage penalty of BeamSampler.
        alignment_heads=model.decoder.blocks[0].num_heads,
    )
    number = max(NUM_POSITIONS, text_to_text.max_length)
    # There may be several source embeddings, the features of a token.
    encoder.embeddings[0].weight = weights["encoder.embedding"]
    decoder.embeddings.weight = weights["decoder.embedding"]
    for name, spec, stack in (
        ("encoder", encoder, model.encoder),
        ("decoder", decoder, model.decoder),
    ):
        _fill_stack(spec, stack, number, weights, name)
    _fill_projection(decoder, model, weights)
    specification = specs.TransformerSpec(encoder, decoder)
    specification.config.layer_norm_epsilon = model.decoder.blocks[0].epsilon
    register_vocabularies(specification, text_to_text)
    return specification


def _options(specs: Specs, stack: KerasModel) -> dict[str, Any]:
    block = stack.blocks[0]
    return {
        "num_heads": block.num_heads,
        "num_heads_kv": block.num_key_value_heads,
        "head_dim": block.head_dim,
        "pre_norm": block.normalize_first,
        "rms_norm": block.normalization == "rms",
        "activation": specs.Activation[_activation(stack)],
        "ffn_glu": block.gated,
        "relative_attention_bias": bool(stack.relative_biases),
        "layernorm_embedding": stack.embedding.norm is not None,
        # 0 turns all features; ours are paired with those of the other half.
        "rotary_dim": 0 if block.rotary else None,
        "rotary_interleave": False,
    }


def _fill_stack(
    spec: Spec, stack: KerasModel, num_positions: int, weights: Weights, name: str
) -> None:
    spec.scale_embeddings = stack.embedding.scale
    if hasattr(spec, "position_encodings"):
        if isinstance(stack.embedding.position_layer, LearnedPosition):
            offset = stack.embedding.position_layer.offset
            positions = weights[f"{name}.positions"][offset:]
        else:
            positions = _positions(stack.embedding, num_positions)
        spec.position_encodings.encodings = positions
    if stack.embedding.norm is not None:
        _fill_norm(spec.layernorm_embedding, weights, f"{name}.embedding_norm")
    for i, layer in enumerate(spec.layer):
        block = f"{name}.blocks.{i}"
        if stack.relative_biases:
            whose = name if len(stack.relative_biases) == 1 else block
            attention = layer.self_attention
            attention.relative_attention_bias = weights[f"{whose}.relative_bias"]
            attention.relative_attention_max_distance = np.int32(
                stack.relative_biases[0].max_distance
            )
        _fill_attention(layer.self_attention, weights, f"{block}.self_attention")
        if name == "decoder":
            _fill_attention(layer.attention, weights, f"{block}.cross_attention")
        feed_forward = f"{block}.feed_forward"
        _fill_norm(layer.ffn.layer_norm, weights, f"{feed_forward}.norm")
        _fill_dense(layer.ffn.linear_0, weights, f"{feed_forward}.intermediate")
        if f"{feed_forward}.gate.kernel" in weights:
            _fill_dense(layer.ffn.linear_0_noact, weights, f"{feed_forward}.gate")
        _fill_dense(layer.ffn.linear_1, weights, f"{feed_forward}.output")
    if stack.norm is not None:
        _fill_norm(spec.layer_norm, weights, f"{name}.norm")


def _positions(embedding: Any, number: int) -> np.ndarray:
    layer = embedding.position_layer
    if layer is None:
        return np.zeros((number, embedding.hidden_dim), "float32")
    positions = sinusoidal_positions(
        layer.first + ops.arange(number),
        embedding.hidden_dim,
        interleaved=layer.interleaved,
        endpoint=layer.endpoint,
    )
    return np.array(ops.convert_to_numpy(positions), "float32")


def _fill_projection(decoder: Spec, model: KerasModel, weights: Weights) -> None:
    spec = decoder.projection
    if "logits.kernel" in weights:
        _fill_dense(spec, weights, "logits")
    else:
        spec.weight = decoder.embeddings.weight
    bias = np.zeros(len(spec.weight), "float32")
    spec.bias = weights.get("logits.bias", bias)
    # Ours is kept from it by the generator.
    spec.bias[model.padding_id] = NEVER


def _fill_attention(spec: Spec, weights: Weights, name: str) -> None:
    _fill_norm(spec.layer_norm, weights, f"{name}.norm")
    query, key, value, output = (
        f"{name}.{part}" for part in ("query", "key", "value", "output")
    )
    # One matrix for all that is projected from one sequence.
    first = [[query, key, value]] if len(spec.linear) == 2 else [[query], [key, value]]
    for linear, names in zip(spec.linear, [*first, [output]], strict=True):
        _fill_dense(linear, weights, *names)


def _fill_dense(spec: Spec, weights: Weights, *names: str) -> None:
    spec.weight = np.concatenate([weights[f"{name}.kernel"].T for name in names])
    if f"{names[0]}.bias" in weights:
        spec.bias = np.concatenate([weights[f"{name}.bias"] for name in names])


def _fill_norm(spec: Spec, weights: Weights, name: str) -> None:
    spec.gamma = weights[f"{name}.scale"]
    # RMS normalization has a scale alone.
    if f"{name}.bias" in weights:
        spec.beta = weights[f"{name}.bias"]
