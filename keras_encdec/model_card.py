"""The model card: what stands in the README.md of a folder that holds a model."""

import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

CARD_FILE = "README.md"
# By the format of an export, or "saved": the title, and how it is used.
_USES = {
    "saved": (
        "A model of keras_encdec, with its tokenizers and its search.",
        """\
In Python, under TensorFlow, JAX or PyTorch:

```python
from keras_encdec import TextToText

text_to_text = TextToText.load("THIS FOLDER")
print(text_to_text(["A text."]))
```

On the command line:

```sh
echo "A text." | keras-encdec generate "THIS FOLDER"
```

In TF Serving:

```sh
keras-encdec export "THIS FOLDER" saved_models/NAME --version 1
docker run -p 8501:8501 -v "$PWD/saved_models/NAME:/models/NAME" \\
  -e MODEL_NAME=NAME tensorflow/serving
curl -d '{"instances": ["A text."]}' localhost:8501/v1/models/NAME:predict
```""",
    ),
    "saved-model": (
        "A SavedModel: strings in, strings out. TF Serving serves the folder above, in "
        "which this one is a version.",
        """\
In TF Serving, of `saved_models/NAME/1`:

```sh
docker run -p 8501:8501 -v "$PWD/saved_models/NAME:/models/NAME" \\
  -e MODEL_NAME=NAME tensorflow/serving
curl -d '{"instances": ["A text."]}' localhost:8501/v1/models/NAME:predict
```

In Python, with TensorFlow and tensorflow-text alone:

```python
import tensorflow as tf
import tensorflow_text

serve = tf.saved_model.load("THIS FOLDER").signatures["serving_default"]
print(serve(text=tf.constant(["A text."]))["text"].numpy())
```

On the command line: `saved_model_cli show --dir "THIS FOLDER" --all`. Its graph is a
program: load it only from people you trust.""",
    ),
    "hugging-face": (
        "A checkpoint as transformers saves it.",
        """\
In Python, with transformers:

```python
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")
model = AutoModelForSeq2SeqLM.from_pretrained("THIS FOLDER")
ids = model.generate(**tokenizer(["A text."], return_tensors="pt"))
print(tokenizer.batch_decode(ids, skip_special_tokens=True))
```

On the command line:

```sh
echo "A text." | keras-encdec generate "THIS FOLDER"
```

For TF Serving: `keras-encdec export "THIS FOLDER" saved_models/NAME`.""",
    ),
    "ctranslate2": (
        "A model of CTranslate2, which takes and gives tokens.",
        """\
In Python, with ctranslate2:

```python
import ctranslate2

translator = ctranslate2.Translator("THIS FOLDER")
tokens = ["a", "list", "of", "tokens"]
(found,) = translator.translate_batch([tokens], SEARCH)
print(found.hypotheses[0])
```

What `source_prefix` and `source_suffix` of config.json hold stands around the
tokens.""",
    ),
    "ids": (
        "Graphs of a model, which take and give ids; ids.json tells which.",
        """\
Any runtime of the format loads `encoder`, `step` and `generate`, the whole search;
`ids.json` tells what stands around a source and which id ends a target, and the
tokenizers' own files, where there are any, lie beside.""",
    ),
}
_YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_SIZES = {
    "hidden_dim": "size of hidden states",
    "intermediate_dim": "size in feed-forward layers",
    "num_heads": "attention heads",
    "num_layers": "blocks of the encoder",
    "num_decoder_layers": "blocks of the decoder",
}


def model_card(text_to_text: Any, form: str = "saved") -> str:
    """Returns the text of a model's README.md: what it is, and how it is used.

    Args:
        text_to_text: A `TextToText`, whose `card` tells of its data, its scores and its
            licence; or a `Generator` or a model, which have none.
        form: What the folder holds: `"saved"`, `"saved-model"`, `"hugging-face"`,
            `"ctranslate2"` or `"ids"`.

    Returns:
        A `str`, Markdown with the head that the Hugging Face hub reads.

    Example:
        ```python
        from keras_encdec import ByteTokenizer, build
        from keras_encdec.model_card import model_card

        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
        text_to_text = build(ByteTokenizer(), ByteTokenizer(), **small)
        text_to_text.card["licence"] = "apache-2.0"
        print(model_card(text_to_text))
        ```

    Reference:
        Mitchell et al. 2019, Model Cards for Model Reporting.
    """
    card: Mapping[str, Any] = getattr(text_to_text, "card", {})
    title, use = _USES[form]
    head = ["library_name: keras", "tags: [encoder-decoder, keras_encdec]"]
    use = use.replace("SEARCH", _search_of_ctranslate2(text_to_text))
    licence = " ".join(str(card.get("licence") or "").split())
    if licence:
        head.append(f"license: {_yaml(licence)}")
    return (
        "\n\n".join(
            [
                "\n".join(["---", *head, "---"]),
                f"# {card.get('name', 'A sequence-to-sequence model')}",
                title,
                "## What it is",
                "\n".join(f"- {line}" for line in sizes_of(text_to_text)),
                "## Data",
                str(card.get("data", "Not told.")),
                "## Scores",
                _scores(card.get("scores", ())),
                "## Licence",
                licence or "Not told.",
                "## Use",
                use,
            ]
        ).rstrip()
        + "\n"
    )


def write_card(folder: pathlib.Path, text_to_text: Any, form: str) -> None:
    """Writes the card in a folder of a model.

    Args:
        folder: The folder.
        text_to_text: As in `model_card`.
        form: Likewise.
    """
    (folder / CARD_FILE).write_text(model_card(text_to_text, form), encoding="utf-8")


def sizes_of(text_to_text: Any) -> list[str]:
    """Returns what a model's card tells of its sizes.

    Args:
        text_to_text: As in `model_card`.

    Returns:
        A list of `str`, Markdown.

    Example:
        ```python
        from keras_encdec import EncoderDecoder
        from keras_encdec.model_card import sizes_of

        print(sizes_of(EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)))
        ```
    """
    model = getattr(text_to_text, "model", text_to_text)
    lines = [f"{type(model).__name__}, {model.count_params():,} parameters"]
    config = model.get_config() if type(model).__name__ == "EncoderDecoder" else {}
    lines += [
        f"{words}: {config[name]}"
        for name, words in _SIZES.items()
        if isinstance(config.get(name), int)
    ]
    for side in ("source", "target"):
        tokenizer = getattr(text_to_text, f"{side}_tokenizer", None)
        if tokenizer is not None:
            lines.append(
                f"{side}: {type(tokenizer).__name__} of "
                f"{tokenizer.vocabulary_size:,} ids"
            )
    if hasattr(text_to_text, "target_tokenizer"):
        lines.append(f"at most {text_to_text.max_length} tokens, unless told otherwise")
    if hasattr(text_to_text, "sampler"):
        lines.append(f"search: `{text_to_text.sampler!r}`")
    return lines


def _search_of_ctranslate2(text_to_text: Any) -> str:
    """What `translate_batch` must be told, for the scores are those of this search."""
    sampler: Any = getattr(text_to_text, "sampler", None)
    options: dict[str, Any] = {"beam_size": getattr(sampler, "num_beams", 1)}
    if hasattr(sampler, "length_penalty"):
        options["length_penalty"] = sampler.length_penalty
    options["min_decoding_length"] = 0
    options["max_decoding_length"] = getattr(text_to_text, "max_length", 256)
    return ", ".join(f"{name}={value!r}" for name, value in options.items())


def _yaml(text: str) -> str:
    # Words alone may be a truth, or null: no, off, y.
    is_plain = re.fullmatch(r"[A-Za-z][\w.+-]*( [\w.+-]+)*", text)
    if is_plain and text.lower() not in _YAML_WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)  # Which is YAML too.


def _scores(lines: Any) -> str:
    if not lines:
        return "None were taken."
    return "\n".join(["```", *map(str, lines), "```"])
