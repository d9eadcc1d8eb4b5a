"""PyTorch's own `torch.nn.Transformer`, eager or compiled."""

import numpy as np
import torch
from sizes import PADDING, POSITIONS, sinusoids

from contenders.torch_training import DEVICE, TorchTrainer, copy_dense, copy_norm


class Model(torch.nn.Module):
    def __init__(self, size, weights, dropout):
        super().__init__()
        options = {
            "d_model": size.hidden_dim,
            "nhead": size.num_heads,
            "dim_feedforward": size.intermediate_dim,
            "dropout": dropout,
            "layer_norm_eps": size.epsilon,
            "batch_first": True,
        }
        stacks = {
            # Without the norms after the stacks, which no other contender has.
            "encoder": torch.nn.TransformerEncoder(
                torch.nn.TransformerEncoderLayer(**options),
                size.num_layers,
                enable_nested_tensor=False,
            ),
            "decoder": torch.nn.TransformerDecoder(
                torch.nn.TransformerDecoderLayer(**options), size.num_layers
            ),
        }
        self.transformer = torch.nn.Transformer(
            size.hidden_dim,
            size.num_heads,
            batch_first=True,
            custom_encoder=stacks["encoder"],
            custom_decoder=stacks["decoder"],
        )
        self.table = torch.nn.Parameter(torch.tensor(weights["embedding"]))
        positions = torch.tensor(sinusoids(POSITIONS, size.hidden_dim))
        self.register_buffer("positions", positions)
        self.dropout = torch.nn.Dropout(dropout)
        with torch.no_grad():
            for stack, part in stacks.items():
                for i, layer in enumerate(part.layers):
                    _prepare(layer, weights, f"{stack}.{i}", stack == "decoder")

    def _embed(self, ids):
        x = torch.nn.functional.embedding(ids, self.table)
        return self.dropout(x + self.positions[: ids.shape[1]])

    def forward(self, source, target):
        length = target.shape[1]
        ahead = torch.ones(length, length, dtype=torch.bool, device=target.device)
        ahead = ahead.triu(1)
        x = self.transformer(
            self._embed(source),
            self._embed(target),
            tgt_mask=ahead,
            src_key_padding_mask=source == PADDING,
            memory_key_padding_mask=source == PADDING,
            # Padding of targets is at their end, where nothing else looks.
            tgt_is_causal=True,
        )
        return x @ self.table.T


def _prepare(layer, weights, name, decodes):
    def attention(module, name):
        for part in ("kernel", "bias"):
            packed = np.concatenate(
                [weights[f"{name}.{p}.{part}"].T for p in ("query", "key", "value")]
            )
            whole = module.in_proj_bias if part == "bias" else module.in_proj_weight
            whole.copy_(torch.tensor(packed))
        copy_dense(module.out_proj, weights, f"{name}.output")
        # The others drop out sublayers' outputs alone.
        module.dropout = 0.0

    attention(layer.self_attn, f"{name}.self")
    copy_norm(layer.norm1, weights, f"{name}.self.norm")
    if decodes:
        attention(layer.multihead_attn, f"{name}.cross")
        copy_norm(layer.norm2, weights, f"{name}.cross.norm")
    copy_dense(layer.linear1, weights, f"{name}.feed.inner")
    copy_dense(layer.linear2, weights, f"{name}.feed.outer")
    copy_norm(layer.norm3 if decodes else layer.norm2, weights, f"{name}.feed.norm")
    layer.dropout = torch.nn.Identity()


def make_trainer(variant, size, weights, dropout):
    model = Model(size, weights, dropout).to(DEVICE)
    return TorchTrainer(model, model, size.dtype, compiled=variant == "compiled")
