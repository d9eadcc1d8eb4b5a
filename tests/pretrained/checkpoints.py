"""Small random checkpoints of each family, made and answered by transformers."""

import functools
import json
import shutil

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file

SIZE, LENGTH = 60, 12

BART_SIZES = {
    "vocab_size": SIZE,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 20,
    "max_position_embeddings": 32,
}
T5_SIZES = {
    "vocab_size": SIZE,
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 24,
    "num_layers": 2,
    "num_decoder_layers": 1,
    "num_heads": 3,
    "decoder_start_token_id": 0,
}
UNTIED = {"tie_word_embeddings": False}

# The options in which published models differ.
CASES = {
    "marian": (
        transformers.MarianConfig,
        BART_SIZES
        | {"activation_function": "swish", "scale_embedding": True}
        | {"pad_token_id": 59, "decoder_start_token_id": 59, "eos_token_id": 0}
        | {"forced_eos_token_id": None},
    ),
    "marian, two vocabularies": (
        transformers.MarianConfig,
        BART_SIZES
        | {"decoder_vocab_size": 50, "share_encoder_decoder_embeddings": False}
        | {"activation_function": "relu", "decoder_layers": 2}
        | {"pad_token_id": 49, "decoder_start_token_id": 49, "eos_token_id": 0}
        | {"forced_eos_token_id": None},
    ),
    "t5 1.0": (transformers.T5Config, T5_SIZES),
    "t5 1.0, 8 a head": (
        transformers.T5Config,
        T5_SIZES | {"d_kv": 8, "relative_attention_num_buckets": 8},
    ),
    "t5 1.1": (
        transformers.T5Config,
        T5_SIZES | UNTIED | {"feed_forward_proj": "gated-gelu"},
    ),
    "ul2": (
        transformers.T5Config,
        T5_SIZES | UNTIED | {"feed_forward_proj": "gated-silu"},
    ),
    "mt5": (transformers.MT5Config, T5_SIZES | UNTIED),
    "m2m_100": (
        transformers.M2M100Config,
        BART_SIZES | {"attention_dropout": 0.1, "encoder_layerdrop": 0.05},
    ),
    "bart": (transformers.BartConfig, BART_SIZES | {"forced_eos_token_id": None}),
    "bart, untied": (
        transformers.BartConfig,
        BART_SIZES | UNTIED | {"forced_eos_token_id": None, "encoder_layers": 1},
    ),
    "mbart": (
        transformers.MBartConfig,
        BART_SIZES
        | {"activation_function": "relu", "scale_embedding": True}
        | {"decoder_start_token_id": 5, "forced_eos_token_id": None},
    ),
    "pegasus": (
        transformers.PegasusConfig,
        BART_SIZES
        | {"activation_function": "relu", "scale_embedding": True}
        | {"forced_eos_token_id": None},
    ),
    "blenderbot": (
        transformers.BlenderbotConfig,
        BART_SIZES | {"activation_function": "gelu", "forced_eos_token_id": None},
    ),
    "umt5": (
        transformers.UMT5Config,
        T5_SIZES | {"num_decoder_layers": 2, "relative_attention_max_distance": 64},
    ),
}


# What their generation_config.json says, but for lengths.
_FORCED_END = {"forced_eos_token_id": "the end"}
GENERATION = {
    "marian": {**_FORCED_END, "renormalize_logits": True},
    "marian, two vocabularies": _FORCED_END,
    "m2m_100": {"early_stopping": True, "forced_bos_token_id": 9},
    "bart": {
        **_FORCED_END,
        "early_stopping": True,
        "forced_bos_token_id": 0,
        "length_penalty": 2.0,
        "min_length": 6,
        "no_repeat_ngram_size": 3,
    },
    "mbart": {**_FORCED_END, "early_stopping": True},
    "pegasus": {**_FORCED_END, "length_penalty": 0.6},
    "blenderbot": {
        **_FORCED_END,
        "encoder_no_repeat_ngram_size": 3,
        "length_penalty": 0.65,
        "min_length": 7,
        "no_repeat_ngram_size": 3,
        # Theirs counts the start into n-grams, where a row has it once more.
        "suppress_tokens": [1],
    },
}


def draw(model, seed=0):
    """Draws weights of which all matter."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor, mean, std):
        with torch.no_grad():
            drawn = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(mean + std * drawn)

    for name, tensor in model.named_parameters():
        if not tensor.requires_grad:
            continue  # Sinusoids.
        is_table = "shared" in name or "embed" in name
        mean, std = 0.0, 0.3 if is_table or tensor.ndim < 2 else 0.6
        if "norm" in name and name.endswith("weight"):
            # With a tied table the last token would repeat for ever.
            mean = -1.0 if "decoder" in name else 1.0
        normal(tensor, mean, std)
    if hasattr(model, "final_logits_bias"):
        normal(model.final_logits_bias, 0.0, 0.3)


# Which model goes with which tokenizers, of `folders.py`.
PRESETS = {
    "t5 1.0": "t5",
    "t5 1.1": "t5",
    "mt5": "t5",
    "umt5": "t5",
    "byt5": "byt5",
    "m2m_100": "m2m_100",
    "nllb": "nllb",
    "bart": "bart",
    "mbart": "mbart",
    "mbart50": "mbart50",
    "pegasus": "pegasus",
    "blenderbot": "blenderbot",
}
_MODELS = {"byt5": "t5 1.1", "nllb": "m2m_100", "mbart50": "mbart"}


class Preset:
    """A random model with the tokenizers of its family, in a folder.

    Args:
        name: One of `PRESETS`.
        tokenizers: The folder of its tokenizers.
        folder: The folder to write.
        languages: Of sources and of targets, where the family has some.
    """

    def __init__(self, name, tokenizers, folder, languages):
        shutil.copytree(tokenizers, folder)
        source, target = languages
        names = {"src_lang": source, "tgt_lang": target} if source else {}
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **names)
        kind = json.loads((folder / "config.json").read_text())
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        if "tokenizer_class" in settings:
            kind["tokenizer_class"] = settings["tokenizer_class"]
        end = self.tokenizer.eos_token_id
        # The tables of some are larger than their vocabularies.
        spare = {"m2m_100": 8, "mbart50": 0}.get(name, 3 if "t5" in name else 0)
        more = {"vocab_size": len(self.tokenizer) + spare, "eos_token_id": end}
        more["pad_token_id"] = self.tokenizer.pad_token_id
        self.forced = None
        if target:
            spelled = f"__{target}__" if name == "m2m_100" else target
            self.forced = self.tokenizer.convert_tokens_to_ids(spelled)
        if "d_kv" not in CASES[_MODELS.get(name, name)][1]:
            more |= {"max_position_embeddings": 256, "decoder_start_token_id": end}
            # The converter of CTranslate2 takes those of the encoder for both.
            more["decoder_attention_heads"] = 4
        if name == "pegasus":
            more["decoder_start_token_id"] = more["pad_token_id"]
        if name == "mbart":
            more["decoder_start_token_id"], self.forced = self.forced, None
        self.checkpoint = Checkpoint(_MODELS.get(name, name), folder, **more)
        config = json.loads((folder / "config.json").read_text())
        # What published ones say, and transformers does so or so.
        norms = {"normalize_before": name[:4] not in ("bart", "mari")}
        norms["normalize_embedding"] = "bart" in name
        config = {**norms, **kind, **config}
        (folder / "config.json").write_text(json.dumps(config))
        self.model, self.folder = self.checkpoint.model, folder
        self.options = {}
        if source:
            self.options = {"source_language": source, "target_language": target}
        said = {
            x: config.get(x)
            for x in ("eos_token_id", "pad_token_id", "decoder_start_token_id")
        }
        said |= {"num_beams": 5, "max_length": 12, "early_stopping": True}
        said |= {"renormalize_logits": True, "bad_words_ids": [[said["pad_token_id"]]]}
        (folder / "generation_config.json").write_text(json.dumps(said))


class Checkpoint:
    """Their model, in its folder."""

    def __init__(self, name, folder, **more):
        kind, options = CASES[name]
        options = {**options, **more}
        self.name, self.folder = name, folder
        config = kind(**options, attn_implementation="eager")
        model = transformers.AutoModelForSeq2SeqLM.from_config(config)
        is_t5 = "d_kv" in options
        if is_t5 and "tie_word_embeddings" in options:
            head = torch.empty(model.lm_head.weight.shape)
            model.lm_head.weight = torch.nn.Parameter(head)
        draw(model)
        if not is_t5 and "tie_word_embeddings" in options:
            # As in version 4 of transformers, which had one table.
            table = model.model.shared.weight
            for stack in (model.model.encoder, model.model.decoder):
                stack.embed_tokens.weight = torch.nn.Parameter(table.clone())
        model.save_pretrained(folder)
        if is_t5 and "tie_word_embeddings" in options:
            # As published; this version writes another word for it.
            config = json.loads((folder / "config.json").read_text())
            config |= UNTIED
            (folder / "config.json").write_text(json.dumps(config))
        self.model = self.read(folder)
        self.config = self.model.config
        self.padding_id = self.config.pad_token_id
        self.start_id = self.config.decoder_start_token_id
        self.end_id = self.config.eos_token_id
        self.target_size = self.model.lm_head.weight.shape[0]

    @staticmethod
    def read(folder):
        """Returns the model of a folder, as transformers reads it."""
        verbosity = transformers.utils.logging.get_verbosity()
        transformers.utils.logging.set_verbosity_error()
        try:
            return transformers.AutoModelForSeq2SeqLM.from_pretrained(
                folder, attn_implementation="eager"
            ).eval()
        finally:
            transformers.utils.logging.set_verbosity(verbosity)

    @functools.cached_property
    def tensors(self):
        return load_file(self.folder / "model.safetensors")

    def inputs(self, rows=3):
        """Returns padded sources and targets."""
        rng = np.random.default_rng(0)
        # None of the special ids.
        source, target = (
            rng.integers(6, 48, (rows, width)).astype("int32") for width in (7, 9)
        )
        lengths = np.arange(rows)[:, None]
        source[np.arange(7) >= 7 - lengths * 3 % 6] = self.padding_id
        target[np.arange(9) >= 9 - lengths * 2 % 7] = self.padding_id
        target[:, 0] = self.start_id
        return source, target

    def logits(self, source, target, model=None):
        """Returns their logits, and which are of tokens."""
        is_token = target != self.padding_id
        is_token[:, 0] = True
        with torch.no_grad():
            logits = (model or self.model)(
                input_ids=torch.tensor(source),
                attention_mask=torch.tensor(source != self.padding_id).long(),
                decoder_input_ids=torch.tensor(target),
                decoder_attention_mask=torch.tensor(is_token).long(),
            ).logits
        return logits.numpy(), is_token

    def generate(self, source, beams):
        """Returns their best ids, ended by padding, and their scores."""
        config = transformers.GenerationConfig(
            **{**self.generation, "num_beams": beams},
            output_scores=True,
            return_dict_in_generate=True,
        )
        output = self.model.generate(
            torch.tensor(source),
            attention_mask=torch.tensor(source != self.padding_id).long(),
            generation_config=config,
        )
        ids = output.sequences[:, 1:].numpy()
        missing = LENGTH - ids.shape[1]
        ids = np.pad(ids, ((0, 0), (0, missing)), constant_values=self.padding_id)
        ends = ids == self.end_id
        ids[np.cumsum(ends, axis=1) - ends > 0] = self.padding_id
        if beams > 1:
            return ids, output.sequences_scores.numpy()
        scores = torch.stack(output.scores, 1).log_softmax(-1).numpy()
        chosen = ids[:, : scores.shape[1], None]
        scores = np.take_along_axis(scores, chosen, 2)[..., 0]
        is_token = chosen[..., 0] != self.padding_id
        return ids, np.where(is_token, scores, 0).sum(1)

    @property
    def generation(self):
        """What generation_config.json of a published model says, shorter."""
        named = {
            "pad_token_id": self.padding_id,
            "eos_token_id": self.end_id,
            "decoder_start_token_id": self.start_id,
            # Of padding the weights here say as much as of all else.
            "bad_words_ids": [[self.padding_id]],
            "max_length": LENGTH + 1,
        }
        said = GENERATION.get(self.name, {})
        if "forced_eos_token_id" in said:
            said = {**said, "forced_eos_token_id": self.end_id}
        return {**named, **said}
