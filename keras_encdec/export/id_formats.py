"""What the formats of ids share; each adds how a function becomes a file.

Legend of shapes: B batch, S source, R target rows, V vocabulary, L largest length, n
sequences for a source, N heads of keys and values, H head size.
"""

import importlib
import json
import pathlib
import pkgutil
import types
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypedDict

from keras_encdec.annotations import AnyPath, KerasModel, TensorFunction
from keras_encdec.export.child import run_under_tensorflow
from keras_encdec.export.id_functions import id_functions
from keras_encdec.files import FORMAT
from keras_encdec.generation import Generator
from keras_encdec.generation.samplers.speculative import SpeculativeSampler
from keras_encdec.model import EncoderDecoder
from keras_encdec.model_card import write_card
from keras_encdec.option_checks import require_positive
from keras_encdec.saved_parts import new_export
from keras_encdec.text import SentencePieceTokenizer, Tokenizer
from keras_encdec.text_to_text import TextToText

# Of a model, a name, a `tf.function` and a folder, makes the file of that name there.
Writer: TypeAlias = Callable[[KerasModel, str, TensorFunction, pathlib.Path], None]


class IdOptions(TypedDict, total=False):
    """The options that `export_ids` takes by their names."""

    max_length: int | None
    num_return_sequences: int
    modules: Iterable[str]
    overwrite: bool


def export_ids(
    write: Writer,
    text_to_text: TextToText | Generator,
    path: AnyPath,
    *,
    max_length: int | None = None,
    num_return_sequences: int = 1,
    modules: Iterable[str] = (),
    overwrite: bool = False,
) -> pathlib.Path:
    """Writes a model from ids to ids, for batches and lengths of any size.

    | file | inputs | outputs |
    | --- | --- | --- |
    | `encoder` | `source` `(B, S)` | memory |
    | `step` | `tokens` `(R,)`, `index` `()`, memory, past | `logits`, present |
    | `generate` | `source` `(B, S)`, `max_length` `(B,)` | `ids`, `scores` |

    The memory is `mask` `(B, 1, 1, S)`, bool, and for each decoder block i `keys_i` and
    `values_i` `(B, N, S, H)`. The past is `past_keys_i` and `past_values_i`
    `(R, N, L, H)`, zeros at first; then it is what the step before returned as
    `present_keys_i` and `present_values_i`. R is B times the number of rows that each
    source has in turn. The `logits` are `(R, V)`, `ids` `(B, n, L)` and `scores`
    `(B, n)`. Ids, lengths and the index are int32, all else float32.

    `generate` is the whole loop of the sampler; for a random one it also takes `seed`
    `(B,)`, int32. It alone takes empty batches. Texts stay outside: `ids.json` tells
    what stands around the ids of a source, the start, end and padding of a target, and
    L; `source.model` and `target.model` are what SentencePiece tokenizers were made of.
    Of a model of features, of which a `Generator` is given, `source` is `(B, S, F)`,
    float32, and `ids.json` tells nothing of it.

    Args:
        write: What makes a file of a function, `(model, name, function, folder)`, at
            the top level of a module: of the model whose variables it reads, the file's
            name without its suffix, the `tf.function`, and the `Path` to write in.
        text_to_text: A `TextToText`, or a `Generator` without a draft model, of an
            `EncoderDecoder` of dtype float32, under any backend.
        path: The folder to write.
        max_length: The largest number of tokens L of `generate`; by default that of
            a `TextToText`.
        num_return_sequences: The number of sequences n for each source: samples, or the
            best of a `BeamSampler`.
        modules: Modules to import before, by name, that register custom objects of the
            model, its sampler or processors.
        overwrite: Whether to replace a folder that is there already.

    Returns:
        The `pathlib.Path` of the folder.

    Raises:
        FileExistsError: If the folder is there and `overwrite` is False, or holds
            something else.
        TypeError: If the model is no `EncoderDecoder`.
        ValueError: If the model does not compute in float32, or the sampler cannot give
            as many sequences or tokens.
        RuntimeError: If the child process fails, or a function holds an op that the
            format does not have.

    Example:
        ```python
        import tempfile
        from keras_encdec import ByteTokenizer, EncoderDecoder, TextToText
        from keras_encdec.export.id_formats import export_ids
        from keras_encdec.export.litert import write_litert

        tokenizer = ByteTokenizer()
        model = EncoderDecoder(tokenizer.vocabulary_size, 16, 32, 2, 1)
        text_to_text = TextToText(tokenizer, tokenizer, model, max_length=8)
        path = export_ids(write_litert, text_to_text, tempfile.mkdtemp() + "/litert")
        print(sorted(file.name for file in path.iterdir()))
        ```
    """
    model, sampler = text_to_text.model, text_to_text.sampler
    if not isinstance(model, EncoderDecoder):
        raise TypeError(
            f"Only an EncoderDecoder can be exported; received {model!r}. Build one of "
            "its Encoder, or of another Keras model, and a Decoder."
        )
    if isinstance(sampler, SpeculativeSampler):
        raise ValueError(
            "A draft model cannot be exported; received a Generator with one. Give a "
            "Generator without draft_model, whose ids are the same."
        )
    if max_length is None:
        if isinstance(text_to_text, Generator):
            raise ValueError(
                "A Generator is exported with a largest number of tokens, for it has "
                "none of its own; received max_length=None. Give max_length too."
            )
        max_length = text_to_text.max_length
    require_positive(max_length=max_length, num_return_sequences=num_return_sequences)
    sampler.rows_per_source(num_return_sequences)
    dtype = model.dtype_policy.compute_dtype
    if dtype != "float32":
        raise ValueError(
            f"Only models that compute in float32 can be exported; received {dtype}. "
            "Build the model again with dtype='float32' and set these weights."
        )
    largest = model.max_length
    if largest is not None and max_length + sampler.extra_positions > largest:
        raise ValueError(
            "max_length must not be above the model's positions, "
            f"max_length={largest - sampler.extra_positions}; received {max_length}."
        )
    with new_export(path, "onnx", overwrite=overwrite) as folder:
        run_under_tensorflow(
            write_files,
            text_to_text,
            folder,
            modules=modules,
            write=f"{write.__module__}:{write.__qualname__}",
            max_length=max_length,
            num_return_sequences=num_return_sequences,
        )
        write_card(folder, text_to_text, "ids")
    return pathlib.Path(path)


def write_files(
    text_to_text: TextToText | Generator,
    folder: pathlib.Path,
    *,
    write: str,
    max_length: int,
    num_return_sequences: int,
) -> None:
    """Writes the files of `export_ids`, under the TensorFlow backend.

    Args:
        text_to_text: A `TextToText` or a `Generator`.
        folder: The folder to write in, a `Path`.
        write: Where what makes a file of a function is found, `module:function`.
        max_length: The largest number of tokens of `generate`.
        num_return_sequences: The number of sequences for each source.
    """
    writer: Writer = pkgutil.resolve_name(write)
    functions = id_functions(text_to_text, max_length, num_return_sequences)
    for name, function in functions.items():
        writer(text_to_text.model, name, function, folder)
    ids: dict[str, Any] = {"format": FORMAT}
    tokenizers: dict[str, Tokenizer] = {}
    if isinstance(text_to_text, Generator):
        generator = text_to_text
    else:
        generator, source = text_to_text.generator, text_to_text.source_tokenizer
        tokenizers = {"source": source, "target": text_to_text.target_tokenizer}
        ids["source_prefix_ids"] = list(source.prefix_ids)
        ids["source_suffix_ids"] = list(source.suffix_ids)
    for name in ("start_id", "end_id", "padding_id"):
        ids[name] = getattr(generator, name)
    ids["max_length"] = max_length
    (folder / "ids.json").write_text(json.dumps(ids, indent=2), encoding="utf-8")
    for side, tokenizer in tokenizers.items():
        if isinstance(tokenizer, SentencePieceTokenizer):
            (folder / f"{side}.model").write_bytes(tokenizer.proto)


def import_packages(extra: str, *packages: str) -> list[types.ModuleType]:
    """Imports what a format needs, or says how to install it.

    Args:
        extra: The extra of this library that installs it.
        *packages: The names of the packages.

    Returns:
        The modules, a list.

    Raises:
        ImportError: If one cannot be imported.

    Example:
        ```python
        from keras_encdec.export.id_formats import import_packages

        (json,) = import_packages("onnx", "json")
        ```
    """
    try:
        return [importlib.import_module(package) for package in packages]
    except ImportError as error:
        raise ImportError(
            f"This export needs {' and '.join(packages)}, which could not be imported "
            f"({error}). Install with `pip install 'keras-encdec[{extra}]'`."
        ) from error


def unknown_ops(format: str, name: str, said: str | Exception) -> RuntimeError:
    """Returns the error of a function that a format cannot hold.

    Args:
        format: The format's name.
        name: The function's.
        said: What its converter said, a sentence, or an exception.
    """
    return RuntimeError(
        f"What is exported must hold only ops that {format} has; its converter said of "
        f"{name}: {said} Replace the layer, sampler or processor that uses them."
    )
