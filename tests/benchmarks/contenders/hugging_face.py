"""Marian of Hugging Face's transformers, on PyTorch."""

import torch
import transformers
from sizes import END, PADDING, POSITIONS, START, sinusoids

from contenders.torch_training import DEVICE, TorchTrainer, copy_dense, copy_norm


def make_model(size, weights, dropout=0.0):
    config = transformers.MarianConfig(
        vocab_size=size.vocabulary_size,
        d_model=size.hidden_dim,
        encoder_layers=size.num_layers,
        decoder_layers=size.num_layers,
        encoder_attention_heads=size.num_heads,
        decoder_attention_heads=size.num_heads,
        encoder_ffn_dim=size.intermediate_dim,
        decoder_ffn_dim=size.intermediate_dim,
        activation_function="relu",
        scale_embedding=False,
        max_position_embeddings=POSITIONS,
        pad_token_id=PADDING,
        eos_token_id=END,
        bos_token_id=START,
        decoder_start_token_id=START,
        forced_eos_token_id=None,
        share_encoder_decoder_embeddings=True,
        tie_word_embeddings=True,
        dropout=dropout,
        attention_dropout=0.0,
        activation_dropout=0.0,
    )
    with torch.device(DEVICE):
        model = transformers.MarianMTModel(config)
    model.generation_config = transformers.GenerationConfig(
        pad_token_id=PADDING, eos_token_id=END, decoder_start_token_id=START
    )
    with torch.no_grad():
        copy_weights(model.model, weights)
    return model


def copy_weights(core, weights):
    def attention(module, name):
        copy_dense(module.q_proj, weights, f"{name}.query")
        copy_dense(module.k_proj, weights, f"{name}.key")
        copy_dense(module.v_proj, weights, f"{name}.value")
        copy_dense(module.out_proj, weights, f"{name}.output")

    for stack in ("encoder", "decoder"):
        part = getattr(core, stack)
        for i, layer in enumerate(part.layers):
            name = f"{stack}.{i}"
            attention(layer.self_attn, f"{name}.self")
            copy_norm(layer.self_attn_layer_norm, weights, f"{name}.self.norm")
            if stack == "decoder":
                attention(layer.encoder_attn, f"{name}.cross")
                norm = layer.encoder_attn_layer_norm
                copy_norm(norm, weights, f"{name}.cross.norm")
            copy_dense(layer.fc1, weights, f"{name}.feed.inner")
            copy_dense(layer.fc2, weights, f"{name}.feed.outer")
            copy_norm(layer.final_layer_norm, weights, f"{name}.feed.norm")
        # A table, whose own order of sines and cosines is another one.
        table = part.embed_positions.weight
        table.copy_(torch.tensor(sinusoids(*table.shape)))
    core.shared.weight.copy_(torch.tensor(weights["embedding"]))


def make_decoder(variant, size, weights, source, beams, length):
    model = make_model(size, weights).eval().to(getattr(torch, size.dtype))
    source = torch.tensor(source, dtype=torch.long, device=DEVICE)
    mask = torch.ones_like(source)

    def decode():
        with torch.inference_mode():
            ids = model.generate(
                source,
                attention_mask=mask,
                do_sample=False,
                num_beams=beams,
                max_new_tokens=length,
            )
        return ids[:, 1:].cpu().numpy()

    return decode


def make_trainer(variant, size, weights, dropout):
    model = make_model(size, weights, dropout)

    def logits(source, target):
        # Padding of targets is at their end, where nothing else looks.
        return model(
            input_ids=source,
            attention_mask=(source != PADDING).long(),
            decoder_input_ids=target,
            use_cache=False,
        ).logits

    return TorchTrainer(model, logits, size.dtype)


def save_checkpoint(folder, vocabulary_size, hidden_dim, num_layers):
    """Writes a random BART, whose tables are all parameters."""
    config = transformers.BartConfig(
        vocab_size=vocabulary_size,
        d_model=hidden_dim,
        encoder_layers=num_layers,
        decoder_layers=num_layers,
        encoder_attention_heads=hidden_dim // 16,
        decoder_attention_heads=hidden_dim // 16,
        encoder_ffn_dim=4 * hidden_dim,
        decoder_ffn_dim=4 * hidden_dim,
    )
    transformers.BartForConditionalGeneration(config).save_pretrained(folder)


def loader():
    """How to load a checkpoint, and the sum of the largest of each of its weights."""

    def checksum(model):
        # The bias is no parameter here; in these checkpoints it is of zeros.
        return sum(float(x.detach().max()) for x in model.parameters())

    return transformers.AutoModelForSeq2SeqLM.from_pretrained, checksum
