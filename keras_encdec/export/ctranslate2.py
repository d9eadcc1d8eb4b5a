"""CTranslate2 export: the model for a small, fast engine that needs no Keras."""

import pathlib

import keras
import numpy as np
from keras import ops

from keras_encdec.export.weights import refuse_nan
from keras_encdec.files import new_folder
from keras_encdec.layers import (
    LearnedPosition,
    SinusoidalPosition,
    sinusoidal_positions,
)
from keras_encdec.model import EncoderDecoder
from keras_encdec.text import (
    ByteTokenizer,
    CharacterTokenizer,
    SentencePieceTokenizer,
    WordTokenizer,
)

# CTranslate2 takes positions as a table; by itself it cuts sources at 1,024 tokens.
NUM_POSITIONS = 4096

# The lowest number of float16, the smallest type that a bias may be written in.
NEVER = -65504.0

# The formulas of CTranslate2's feed-forward networks, by the names it gives them.
ACTIVATIONS = {
    "RELU": ops.relu,
    "GELU": lambda x: ops.gelu(x, approximate=False),
    "GELUTanh": lambda x: ops.gelu(x, approximate=True),
    "GELUSigmoid": lambda x: x * ops.sigmoid(1.702 * x),
    "SWISH": ops.silu,
    "Tanh": ops.tanh,
    "Sigmoid": ops.sigmoid,
}


def export_ctranslate2(text_to_text, path, *, quantization=None, overwrite=False):
    """Writes a folder that `ctranslate2.Translator` loads.

    The model keeps its ids, never generates padding, and puts the start token before
    each source and the end token behind, if the source tokenizer does so, by itself.
    What the sampler and the processors say is said to
    `translate_batch`: `BeamSampler(5, early_stopping=True)` is `beam_size=5`, with
    `min_decoding_length=0` and the `max_length` of `text_to_text` as
    `max_decoding_length`. Of an empty source CTranslate2 makes an empty target. Without
    rotary, relative or learned positions, texts may have up to 4,096 tokens.

    CTranslate2 takes and returns tokens. Those of a `SentencePieceTokenizer` are its
    pieces, and its model is written beside as `source.model` or `target.model`; those
    of a `WordTokenizer` and a `CharacterTokenizer` are words and characters; byte 10
    of a `ByteTokenizer` is `<0x0A>`.

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
        FileExistsError: If the folder is there and `overwrite` is False.
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
    with new_folder(path, overwrite=overwrite) as folder:
        specification = _specification(specs, text_to_text)
        specification.validate()
        specification.optimize(quantization=quantization)
        specification.save(str(folder))
        for side, tokenizer in _tokenizers(text_to_text).items():
            if isinstance(tokenizer, SentencePieceTokenizer):
                (folder / f"{side}.model").write_bytes(tokenizer.proto)
    return pathlib.Path(path)


def _import_specs():
    try:
        from ctranslate2 import specs
    except ImportError as error:
        raise ImportError(
            f"export_ctranslate2 needs CTranslate2, which could not be imported "
            f"({error}). Install it with `pip install ctranslate2`."
        ) from error
    return specs


def _tokenizers(text_to_text):
    return {
        "source": text_to_text.source_tokenizer,
        "target": text_to_text.target_tokenizer,
    }


# What cannot be written


def _unsupported(specs, text_to_text, quantization):
    """Yields each option that CTranslate2 does not know, with those it knows."""
    types = specs.model_spec.ACCEPTED_MODEL_TYPES
    if quantization is not None and quantization not in types:
        yield f"quantization={quantization!r}; it knows None, {', '.join(types)}"
    for side, tokenizer in _tokenizers(text_to_text).items():
        if _tokens(tokenizer) is None:
            yield (
                f"{side}_tokenizer={type(tokenizer).__name__}; it knows SentencePiece, "
                "words, characters and bytes"
            )
    source = text_to_text.source_tokenizer
    if source.prefix_ids not in ((), (source.start_id,)):
        yield (
            f"prefix_ids={source.prefix_ids} of the source tokenizer; it knows none "
            f"and the start id, ({source.start_id},)"
        )
    if source.suffix_ids not in ((), (source.end_id,)):
        yield (
            f"suffix_ids={source.suffix_ids} of the source tokenizer; it knows none "
            f"and the end id, ({source.end_id},)"
        )
    model = text_to_text.model
    if not isinstance(model, EncoderDecoder):
        yield f"model={type(model).__name__}; it knows EncoderDecoder"
        return
    config = model.get_config()
    if _activation(model) is None:
        yield (
            f"activation={config['activation']!r}; it knows relu, gelu (exact, by "
            "tanh, by sigmoid), silu, tanh, sigmoid"
        )
    known = type(None), SinusoidalPosition, LearnedPosition
    positions = model.source_embedding.position_layer
    if type(positions) not in known:
        yield (
            f"positions={type(positions).__name__}; it knows sinusoidal, learned, "
            "rotary, relative, None"
        )
    if not all(keras.backend.is_float_dtype(weight.dtype) for weight in model.weights):
        yield (
            "weights that Keras has quantized; it knows float ones, which it quantizes "
            "itself"
        )


def _activation(model):
    """Returns CTranslate2's name of the model's activation, None if it has none."""
    # By its values: there are functions of one name, and names of one function.
    x = ops.linspace(-6.0, 6.0, 64)[None]
    values = ops.convert_to_numpy(model.encoder_blocks[0].activation(x))
    for name, formula in ACTIVATIONS.items():
        if np.allclose(values, ops.convert_to_numpy(formula(x)), atol=1e-5):
            return name
    return None


# The vocabularies


def _tokens(tokenizer):
    """Returns the regular tokens by their ids, a dict; None of an unknown kind."""
    if isinstance(tokenizer, SentencePieceTokenizer):
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.proto)
        tokens = processor.id_to_piece([*range(processor.get_piece_size())])
        return {
            number: token
            for number, token in enumerate(tokens)
            if number not in tokenizer.special_ids
        }
    if isinstance(tokenizer, ByteTokenizer):
        tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    elif isinstance(tokenizer, (WordTokenizer, CharacterTokenizer)):
        tokens = tokenizer.vocabulary
    else:
        return None
    return dict(zip(tokenizer.regular_ids(len(tokens)), tokens, strict=True))


def _register_vocabularies(specification, text_to_text):
    tokenizers = _tokenizers(text_to_text)
    tokens = {side: _tokens(tokenizer) for side, tokenizer in tokenizers.items()}
    taken = {token for known in tokens.values() for token in known.values()}

    def free(name):
        # A regular token may be spelled like a special one, and both must be told.
        while name in taken:
            name = f"<{name}>"
        return name

    model, names = text_to_text.model, {}
    for side, register, embedding in (
        (
            "source",
            specification.register_source_vocabulary,
            model.source_embedding,
        ),
        (
            "target",
            specification.register_target_vocabulary,
            model.target_embedding,
        ),
    ):
        tokenizer = tokenizers[side]
        # Names that both sides share; the start may be the padding or the end.
        names[side] = {
            tokenizer.start_id: free("<s>"),
            tokenizer.padding_id: free("<pad>"),
            tokenizer.end_id: free("</s>"),
            tokenizer.unknown_id: free("<unk>"),
        }
        known = {**tokens[side], **names[side]}
        # A model may have more ids than its tokenizer.
        size = embedding.vocabulary_size
        register([known.get(i) or free(f"<unused_{i}>") for i in range(size)])
    source, target = tokenizers["source"], tokenizers["target"]
    config = specification.config
    config.bos_token = names["source"][source.start_id]
    config.decoder_start_token = names["target"][target.start_id]
    config.eos_token = names["target"][target.end_id]
    config.unk_token = names["target"][target.unknown_id]
    config.add_source_bos = source.prefix_ids != ()
    config.add_source_eos = source.suffix_ids != ()


# The weights


def _specification(specs, text_to_text):
    model = text_to_text.model
    config = model.get_config()
    options = {
        "num_heads": config["num_heads"],
        "num_heads_kv": config["num_key_value_heads"],
        "head_dim": config["head_dim"],
        "pre_norm": config["normalize_first"],
        "rms_norm": config["normalization"] == "rms",
        "activation": specs.Activation[_activation(model)],
        "ffn_glu": config["gated"],
        "relative_attention_bias": model.encoder_bias is not None,
        # 0 turns all features; ours are paired with those of the other half.
        "rotary_dim": 0 if config["positions"] == "rotary" else None,
        "rotary_interleave": False,
    }
    encoder = specs.TransformerEncoderSpec(len(model.encoder_blocks), **options)
    # The mean of all heads, as in the coverage penalty of BeamSampler.
    options["alignment_heads"] = config["num_heads"]
    decoder = specs.TransformerDecoderSpec(len(model.decoder_blocks), **options)
    number = max(NUM_POSITIONS, text_to_text.max_length)
    _fill_stack(encoder, model.source_embedding, number, model.encoder_bias)
    _fill_stack(decoder, model.target_embedding, number, model.decoder_bias)
    # There may be several source embeddings, the features of a token.
    encoder.embeddings[0].weight = _array(model.source_embedding.table.embeddings)
    decoder.embeddings.weight = _array(model.target_embedding.table.embeddings)
    _fill_blocks(encoder.layer, model.encoder_blocks)
    _fill_blocks(decoder.layer, model.decoder_blocks)
    for spec, block in zip(decoder.layer, model.decoder_blocks, strict=True):
        _fill_norm(spec.attention.layer_norm, block.cross_attention_norm)
        _fill_attention(spec.attention, block.cross_attention)
    if config["normalize_first"]:
        _fill_norm(encoder.layer_norm, model.encoder_norm)
        _fill_norm(decoder.layer_norm, model.decoder_norm)
    _fill_projection(decoder, model)
    specification = specs.TransformerSpec(encoder, decoder)
    specification.config.layer_norm_epsilon = config["epsilon"]
    _register_vocabularies(specification, text_to_text)
    return specification


def _fill_stack(spec, embedding, num_positions, bias):
    spec.scale_embeddings = embedding.scale
    if hasattr(spec, "position_encodings"):
        positions = _positions(embedding, num_positions)
        spec.position_encodings.encodings = positions
    if bias is not None:
        for layer in spec.layer:
            attention = layer.self_attention
            attention.relative_attention_bias = _array(bias.bucket_biases)
            attention.relative_attention_max_distance = np.int32(bias.max_distance)


def _positions(embedding, number):
    layer = embedding.position_layer
    if layer is None:
        return np.zeros((number, embedding.hidden_dim), "float32")
    if isinstance(layer, LearnedPosition):
        return _array(layer.position_vectors)
    return _array(
        sinusoidal_positions(
            layer.first + ops.arange(number),
            embedding.hidden_dim,
            interleaved=layer.interleaved,
            endpoint=layer.endpoint,
        )
    )


def _fill_projection(decoder, model):
    spec = decoder.projection
    if model.logits_dense is not None:
        _fill_dense(spec, model.logits_dense)
    else:
        spec.weight = decoder.embeddings.weight
        if model.target_embedding.output_bias:
            spec.bias = _array(model.target_embedding.bias)
    if not spec.has_bias():
        spec.bias = np.zeros(len(spec.weight), "float32")
    # Ours is kept from it by the generator.
    spec.bias[model.padding_id] = NEVER


def _fill_blocks(layers, blocks):
    for spec, block in zip(layers, blocks, strict=True):
        _fill_norm(spec.self_attention.layer_norm, block.self_attention_norm)
        _fill_attention(spec.self_attention, block.self_attention)
        _fill_norm(spec.ffn.layer_norm, block.feed_forward_norm)
        _fill_dense(spec.ffn.linear_0, block.feed_forward.intermediate_dense)
        if block.gated:
            _fill_dense(spec.ffn.linear_0_noact, block.feed_forward.gate_dense)
        _fill_dense(spec.ffn.linear_1, block.feed_forward.output_dense)


def _fill_attention(spec, layer):
    query, key, value = layer.query_dense, layer.key_dense, layer.value_dense
    # One matrix for all that is projected from one sequence.
    first = [[query, key, value]] if len(spec.linear) == 2 else [[query], [key, value]]
    for linear, denses in zip(spec.linear, [*first, [layer.output_dense]], strict=True):
        _fill_dense(linear, *denses)


def _fill_dense(spec, *denses):
    spec.weight = np.concatenate([_array(dense.kernel).T for dense in denses])
    if denses[0].use_bias:
        spec.bias = np.concatenate([_array(dense.bias) for dense in denses])


def _fill_norm(spec, norm):
    # RMS normalization has a scale alone.
    names = ("gamma", "beta")[: len(norm.weights)]
    for name, weight in zip(names, norm.weights, strict=True):
        setattr(spec, name, _array(weight))


def _array(tensor):
    # A copy whatever the backend gives: CTranslate2 quantizes in place.
    return np.array(ops.convert_to_numpy(tensor), "float32")
