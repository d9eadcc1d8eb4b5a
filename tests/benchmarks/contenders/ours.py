"""The library under one of its three backends."""

import contextlib
import pathlib

import keras
from batches import read_sentences
from sizes import LABEL_SMOOTHING

from keras_encdec import (
    BeamSampler,
    EncoderDecoder,
    Generator,
    GreedySampler,
    Shortlist,
    TextToText,
    TokenCrossEntropy,
    WordTokenizer,
    learn_shortlist,
)
from keras_encdec.layers import SinusoidalPosition
from keras_encdec.training import ProjectedLoss

try:
    from keras_encdec.backend.torch import steps as torch_steps
    from keras_encdec.backend.torch import tracing as torch_tracing
except ImportError:  # An older checkout has them in another place.
    from keras_encdec.backend import torch_steps, torch_tracing


def make_model(size, weights, dropout=0.0, mixed=False):
    model = EncoderDecoder(
        size.vocabulary_size,
        size.hidden_dim,
        size.intermediate_dim,
        num_heads=size.num_heads,
        num_layers=size.num_layers,
        # Those that all contenders can be given.
        positions=SinusoidalPosition(interleaved=True, endpoint=False),
        normalize_first=False,
        scale_embeddings=False,
        epsilon=size.epsilon,
        dropout=dropout,
        dtype=policy(size, mixed),
    )
    copy_weights(model, weights)
    return model


def policy(size, mixed):
    """The name of a dtype policy; a mixed one keeps the weights in float32."""
    return f"mixed_{size.dtype}" if mixed and size.dtype != "float32" else size.dtype


def copy_weights(model, weights):
    def norm(layer, name):
        layer.set_weights([weights[f"{name}.gamma"], weights[f"{name}.beta"]])

    def dense(layer, name):
        layer.set_weights([weights[f"{name}.kernel"], weights[f"{name}.bias"]])

    def attention(layer, name):
        dense(layer.query_dense, f"{name}.query")
        dense(layer.key_dense, f"{name}.key")
        dense(layer.value_dense, f"{name}.value")
        dense(layer.output_dense, f"{name}.output")

    stacks = {"encoder": model.encoder_blocks, "decoder": model.decoder_blocks}
    for stack, blocks in stacks.items():
        for i, block in enumerate(blocks):
            name = f"{stack}.{i}"
            attention(block.self_attention, f"{name}.self")
            norm(block.self_attention_norm, f"{name}.self.norm")
            if stack == "decoder":
                attention(block.cross_attention, f"{name}.cross")
                norm(block.cross_attention_norm, f"{name}.cross.norm")
            dense(block.feed_forward.intermediate_dense, f"{name}.feed.inner")
            dense(block.feed_forward.output_dense, f"{name}.feed.outer")
            norm(block.feed_forward_norm, f"{name}.feed.norm")
    model.source_embedding.table.set_weights([weights["embedding"]])


def make_sampler(beams):
    # Every hypothesis is of one length: the penalty decides nothing.
    return GreedySampler() if beams == 1 else BeamSampler(beams)


def make_decoder(variant, size, weights, source, beams, length):
    # As after the first of many calls.
    torch_tracing.CALLS_BEFORE_TRACE = 1
    model, sampler = make_model(size, weights), make_sampler(beams)
    generator = Generator(model, sampler, jit_compile=variant == "jit")
    return lambda: generator(source, length)


def load_translator(saved, beams, length, **options):
    """The translator that ships; its answers stay in pieces, which are counted."""
    loaded = TextToText.load(saved)
    target = {**loaded.target_tokenizer.get_config(), "continuation": None}
    parts = loaded.source_tokenizer, WordTokenizer(**target), loaded.model
    return TextToText(*parts, make_sampler(beams), max_length=length, **options)


def with_shortlist(text_to_text, folder):
    """Gives it the shortlist that is learned once beside `folder`, for all."""
    place = pathlib.Path(folder).parent / "shortlist.safetensors"
    if not place.exists():
        sides = {"source": "train.en", "target": "train.de"}
        pairs = [
            text_to_text.encode(read_sentences(name), side)
            for side, name in sides.items()
        ]
        tokenizers = text_to_text.source_tokenizer, text_to_text.target_tokenizer
        sizes = [tokenizer.vocabulary_size for tokenizer in tokenizers]
        learn_shortlist(*pairs, *sizes).save(place)
    text_to_text.generator.shortlist = Shortlist.load(place)
    return text_to_text


def save_translator(variant, saved, folder, beams, length):
    if variant == "shortlist":
        with_shortlist(load_translator(saved, beams, length), folder)


def make_translator(variant, saved, folder, beams, length):
    jit = True if variant == "jit" else "auto"
    translator = load_translator(saved, beams, length, jit_compile=jit)
    return with_shortlist(translator, folder) if variant == "shortlist" else translator


def make_trainer(variant, size, weights, dropout):
    # As after the first of thousands of steps.
    torch_steps.STEPS_BEFORE_RECORD = 0
    with contextlib.suppress(ImportError):  # An older checkout has none.
        from keras_encdec.cli.process import keep_freed_memory

        keep_freed_memory()  # As the command line does.
    model = ProjectedLoss(make_model(size, weights, dropout, mixed=True))
    if keras.config.backend() == "torch" and size.dtype != "float32":
        import torch

        # The logits are computed in float32: in TensorFloat-32, as JAX does on GPUs.
        torch.set_float32_matmul_precision("high")
    jit = True if variant == "jit" else "auto"
    return KerasTrainer(model, lambda source, target: (source, target), jit)


class KerasTrainer:
    """Trains a Keras model by `fit`, on TensorFlow batch by batch.

    There `fit` would make a `tf.data` pipeline, which may stall at its end. On JAX it
    carries the weights from step to step, where a call for each batch takes them out of
    hundreds of variables and puts them back.
    """

    def __init__(self, model, inputs, jit_compile="auto"):
        self._model, self._inputs = model, inputs
        model.compile(
            keras.optimizers.Adam(1e-4, epsilon=1e-8),
            TokenCrossEntropy(label_smoothing=LABEL_SMOOTHING),
            # None would keep those that KerasHub's models compile themselves with.
            weighted_metrics=[],
            jit_compile=jit_compile,
        )

    def loss(self, batch):
        source, target, labels = batch
        inputs = self._inputs(source, target)
        found = self._model.test_on_batch(inputs, labels, return_dict=True)
        return float(found["loss"])

    def train(self, batches):
        data = [(self._inputs(*ids), labels) for *ids, labels in batches]
        if keras.config.backend() == "tensorflow":
            for inputs, labels in data:
                self._model.train_on_batch(inputs, labels)
        else:
            steps = {"steps_per_epoch": len(data), "shuffle": False}
            # Of Keras itself: KerasHub's own takes no generator.
            keras.Model.fit(self._model, (each for each in data), verbose=0, **steps)


# What a user waits for at the first answer.


def save_model(size, weights, folder):
    make_model(size, weights).save(folder / "model.keras")


def load_decoder(size, source, beams, length, folder):
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    generator = Generator(model, make_sampler(beams))
    return lambda: generator(source, length)


def loader():
    """How to load a checkpoint, and the sum of the largest of each of its weights."""

    def checksum(model):
        # An array of NumPy would be a copy.
        return sum(float(keras.ops.max(x)) for x in model.weights)

    return EncoderDecoder.from_preset, checksum
