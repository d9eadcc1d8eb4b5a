"""Fine-tuning of a checkpoint: what PyTorch learns, kept alone, given back merged."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_encdec import (
    TextToText,
    TokenCrossEntropy,
    enable_lora,
    labels_to_hugging_face,
    load_adapter,
    merge_lora,
    save_adapter,
    teacher_forcing,
)
from keras_encdec.export.hugging_face import export_hugging_face

SOURCES = [
    "A man sleeps on a couch.",
    "Two dogs run.",
    "The house is red and very old.",
    "She reads a book.",
]
TARGETS = [
    "Matory ny lehilahy.",
    "Mihazakazaka ny alika.",
    "Mena ny trano.",
    "Mamaky boky izy.",
]
UPDATES, RANK, RATE = 50, 4, 3e-3
THEIRS = {"self_attention": "self_attn", "cross_attention": "encoder_attn"}


class Losses(keras.callbacks.Callback):
    """The loss of each update."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_epoch_end(self, epoch, logs=None):
        self.found.append(logs["loss"])


def adapters(model):
    """Its adapted layers by the names that transformers gives them."""
    found = {}
    for layer in model._flatten_layers():
        if getattr(layer, "lora_enabled", False):
            block, attention, name = layer.path.split("/")[-3:]
            side, _, i = block.split("_")
            theirs = f"model.{side}.layers.{i}.{THEIRS[attention]}.{name[0]}_proj"
            found[theirs] = layer
    return found


def trained_by_torch(theirs, start, batch):
    """Trains their model by adapters written here; returns the losses."""
    import torch

    class Adapted(torch.nn.Module):
        def __init__(self, linear, first, second):
            super().__init__()
            self.linear = linear
            self.first, self.second = map(torch.nn.Parameter, (first, second))

        def forward(self, x):
            return self.linear(x) + x @ self.first @ self.second

    theirs.requires_grad_(False)
    learning = []
    for name, pair in start.items():
        owner, _, last = name.rpartition(".")
        owner = theirs.get_submodule(owner)
        parts = map(torch.tensor, pair)
        setattr(owner, last, Adapted(getattr(owner, last), *parts))
        learning += [getattr(owner, last).first, getattr(owner, last).second]
    optimizer = torch.optim.Adam(learning, RATE, eps=1e-10)
    losses = []
    for _ in range(UPDATES):
        loss = theirs(**{k: torch.tensor(v) for k, v in batch.items()}).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def logits_of(theirs, batch):
    import torch

    with torch.no_grad():
        return theirs(**{k: torch.tensor(v) for k, v in batch.items()}).logits.numpy()


@pytest.fixture
def read(load_test_module):
    return load_test_module("pretrained/checkpoints.py").Checkpoint.read


@pytest.mark.slow
def test_an_adapter_learns_as_in_pytorch_and_comes_back(preset, read, tmp_path):
    translate = TextToText.from_preset(preset, dropout=0.0)
    model, padding = translate.model, translate.model.padding_id
    source = translate.source_tokenizer.encode(SOURCES).to_tensor(padding).numpy()
    labels = translate.target_tokenizer.encode(TARGETS).to_tensor(padding).numpy()
    start_id = translate.target_tokenizer.start_id
    data = teacher_forcing(source, labels, start_id=start_id, padding_id=padding)
    enable_lora(model, RANK, targets=("query", "value"))
    ours = adapters(model)
    assert len(ours) == 2 * (len(model.encoder_blocks) + 2 * len(model.decoder_blocks))
    rng, start = np.random.default_rng(0), {}
    for name, layer in sorted(ours.items()):
        first = rng.normal(0, 0.2, layer.lora_kernel_a.shape).astype("float32")
        layer.lora_kernel_a.assign(first)
        start[name] = first, np.zeros(layer.lora_kernel_b.shape, "float32")
    model.compile(
        keras.optimizers.Adam(RATE, epsilon=1e-10),
        TokenCrossEntropy(ignore_class=padding),
    )
    losses, (inputs, true, weights) = Losses(), data
    model.fit(
        inputs,
        true,
        sample_weight=weights,
        batch_size=len(SOURCES),
        epochs=UPDATES,
        callbacks=[losses],
        verbose=0,
    )
    theirs = read(preset)
    batch = {
        "input_ids": source.astype("int64"),
        "attention_mask": (source != padding).astype("int64"),
        "labels": labels_to_hugging_face(labels, padding),
    }
    expected = trained_by_torch(theirs, start, batch)
    assert expected[-1] < 0.95 * expected[0]
    np.testing.assert_allclose(losses.found, expected, rtol=1e-4)

    # Alone, and on the checkpoint again.
    save_adapter(model, tmp_path / "adapter.safetensors")
    again = TextToText.from_preset(preset)
    load_adapter(again.model, tmp_path / "adapter.safetensors")
    learnt = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(
        again.model.predict(inputs, verbose=0), learnt, atol=1e-5
    )

    # Merged, and as transformers reads it.
    merge_lora(again.model)
    merged = ops.convert_to_numpy(again.model(inputs))
    np.testing.assert_allclose(merged, learnt, atol=1e-4)
    written = read(export_hugging_face(again, tmp_path / "merged"))
    is_token = labels != padding
    found = logits_of(written, batch)[is_token]
    np.testing.assert_allclose(found, learnt[is_token], atol=1e-4)
    adapted = logits_of(theirs, batch)[is_token]
    np.testing.assert_allclose(found, adapted, atol=0.03)
