"""The command that hands a trained model over: export."""

import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from keras_encdec.cli.arguments import (
    Commands,
    add_command,
    add_licence,
    add_saved,
    file_of_texts,
    positive,
    require_some_line,
    tell_licence,
)
from keras_encdec.cli.checks import check_models, require_packages
from keras_encdec.cli.models import add_languages, load_models
from keras_encdec.cli.search import add_beams, add_shortlist, make_sampler
from keras_encdec.files import require_place_of_folder
from keras_encdec.saved_parts import EXPORT_FILES, saved_folder

if TYPE_CHECKING:
    from keras_encdec.text_to_text import TextToText

# What each needs beside TensorFlow, installed by an extra of its name.
PACKAGES = {
    "ctranslate2": ("ctranslate2",),
    "onnx": ("onnx", "tf2onnx"),
    "openvino": ("openvino",),
}
# Those of `export.SIGNATURES`, which cannot be imported without TensorFlow.
SIGNATURES = (
    "serving_default",
    "generate",
    "beam",
    "sample",
    "score",
    "logits",
    "encode",
)
# Those of CTranslate2.
QUANTIZATIONS = (
    "int8",
    "int8_float32",
    "int8_float16",
    "int8_bfloat16",
    "int16",
    "float16",
    "bfloat16",
    "float32",
)
# Those that hold a shortlist.
WITH_SHORTLIST = "saved-model", "ctranslate2"
OF_SAVED_MODELS = ("version", "signatures", "jit", "warm_up", "texts")


def add_commands(commands: Commands) -> None:
    """Adds this command to a parser."""
    added = add_command(
        commands,
        export,
        "write a SavedModel: strings in, strings out",
        "runs/en-de saved_models/en-de --version 2 --beams 5",
        "runs/en-de en-de.onnx --format onnx",
        "runs/a runs/b saved_models/both",
        check=check_export,
    )
    add_saved(added)
    add_languages(added)
    added.add_argument(
        "path",
        help="folder of the versions, saved_models/en-de; of another format the "
        "folder to write",
    )
    added.add_argument(
        "--format",
        choices=tuple(EXPORT_FILES),
        default="saved-model",
        help="what to write; all but saved-model take ids or tokens, not strings",
    )
    added.add_argument(
        "--version",
        type=positive,
        help="number of the folder to write in it, 1 if not given; TF Serving serves "
        "the largest",
    )
    add_beams(added, "answer by beam search, of so many; as saved if not given")
    add_shortlist(added)
    added.add_argument(
        "--max-length",
        type=positive,
        help="largest number of tokens; as saved if not given",
    )
    added.add_argument(
        "--signatures",
        nargs="+",
        choices=SIGNATURES,
        help="which to write; all if not given",
    )
    added.add_argument(
        "--jit",
        action="store_true",
        help="let XLA compile the search: faster for small models, in a server that "
        "was started with --xla_cpu_compilation_enabled",
    )
    added.add_argument(
        "--warm-up",
        action="store_true",
        help="write requests that TF Serving sends itself first; needs the extra "
        "serving",
    )
    added.add_argument(
        "--texts",
        type=file_of_texts,
        help="file of source texts, as in generate, on whose first lines the proof is "
        "made; some of its own if not given",
    )
    added.add_argument(
        "--quantization",
        choices=QUANTIZATIONS,
        help="of the weights of ctranslate2; none if not given",
    )
    add_licence(added)
    added.add_argument("--overwrite", action="store_true", help="replace the folder")


def export(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    modules: Iterable[str],
    path: str,
    format: str,
    max_length: int | None,
    beams: int | None,
    length_penalty: float | None,
    licence: str | None,
    shortlist: str | None,
    **options: Any,
) -> None:
    """Writes a SavedModel for TF Serving, and proves it; or another format.

    A fresh process with TensorFlow alone must answer some texts as Python does, before
    the version's folder is put in its place. The other formats take ids or tokens.
    """
    sampler = make_sampler(beams=beams, length_penalty=length_penalty)
    told = "source_language", "target_language", "tag"
    languages = {name: options.pop(name) for name in told}
    text_to_text = load_models(saved, modules, weights, **languages)
    text_to_text = text_to_text.with_sampler(
        text_to_text.sampler if sampler is None else sampler, max_length=max_length
    )
    if shortlist is not None:
        from keras_encdec.generation import Shortlist

        text_to_text.generator.shortlist = Shortlist.load(shortlist)
        # With no source a call checks its options, and no more.
        text_to_text.generator([], text_to_text.max_length)
    tell_licence(text_to_text, licence)
    if format == "saved-model":
        del options["quantization"]
        _export_saved_model(text_to_text, modules, path, **options)
    else:
        for name in OF_SAVED_MODELS:
            del options[name]
        _export_other(text_to_text, modules, path, format, **options)


def check_export(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    path: str,
    format: str,
    beams: int | None,
    length_penalty: float | None,
    overwrite: bool,
    source_language: str | None = None,
    target_language: str | None = None,
    tag: str | None = None,
    **options: Any,
) -> None:
    """Refuses options that do not fit, and a place that is taken."""
    check_models(saved, weights, source_language, target_language, tag)
    if format != "saved-model" and len(saved) > 1:
        raise ValueError(
            f"Only a SavedModel holds several models; received {len(saved)} and "
            f"--format {format}. Export each alone, or leave the format out."
        )
    if format == "saved-model" and _is_model(path):
        raise ValueError(
            "The place to write stands behind the models, and is none itself; received "
            f"{path!r}, which holds one. Name another place, the last."
        )
    if length_penalty is not None and beams is None:
        raise ValueError(
            "--length-penalty is an option of --beams; received no --beams. Give both, "
            "or leave it out."
        )
    if beams is not None and format == "ctranslate2":
        raise ValueError(
            "ctranslate2 holds a model without its search, and is told its beam_size "
            f"where it translates; received --beams {beams}. Leave it out."
        )
    if options["shortlist"] is not None and format not in WITH_SHORTLIST:
        raise ValueError(
            f"Only {' and '.join(WITH_SHORTLIST)} hold a shortlist; received "
            f"--shortlist {options['shortlist']} and --format {format}. Leave it out."
        )
    if format != "ctranslate2" and options["quantization"] is not None:
        raise ValueError(
            f"Only ctranslate2 takes --quantization; received --format {format}. Leave "
            "it out."
        )
    folder = pathlib.Path(path)
    if format != "saved-model":
        for name in OF_SAVED_MODELS:
            if options[name]:
                raise ValueError(
                    f"Only a SavedModel takes --{name.replace('_', '-')}; received "
                    f"--format {format}. Leave it out."
                )
    else:
        folder = _version_folder(path, options["version"])
    if options["warm_up"]:
        require_packages("--warm-up", "serving", "tensorflow_serving")
    require_packages(f"--format {format}", format, *PACKAGES.get(format, ()))
    if options["texts"] is not None:
        require_some_line("A proof", options["texts"])
    holds = EXPORT_FILES[format]
    require_place_of_folder(folder, overwrite=overwrite, holds=holds)


def _is_model(path: str) -> bool:
    try:
        saved_folder(path)
    except OSError:
        return False
    return True


def _version_folder(path: str, version: int | None) -> pathlib.Path:
    return pathlib.Path(path, str(version or 1))


def _export_other(
    text_to_text: "TextToText",
    modules: Iterable[str],
    path: str,
    format: str,
    quantization: str | None,
    overwrite: bool,
) -> None:
    from keras_encdec import export
    from keras_encdec.export.hugging_face import export_hugging_face
    from keras_encdec.printing import tell

    options: dict[str, Any] = {"overwrite": overwrite}
    if format == "ctranslate2":
        # It reads weights, and no code has to be found again.
        options["quantization"] = quantization
    elif format != "hugging-face":
        options["modules"] = modules
    if format == "hugging-face":
        folder = export_hugging_face(text_to_text, path, **options)
    else:
        folder = getattr(export, f"export_{format}")(text_to_text, path, **options)
    tell(f"Wrote {folder}:")
    for file in sorted(folder.iterdir()):
        tell(f"  {file.stat().st_size / 1e6:8.2f} MB  {file.name}")


def _export_saved_model(
    text_to_text: "TextToText",
    modules: Iterable[str],
    path: str,
    version: int | None,
    signatures: Sequence[str] | None,
    jit: bool,
    warm_up: bool,
    texts: str | None,
    overwrite: bool,
) -> None:
    from keras_encdec.export import export_saved_model
    from keras_encdec.export.proof import REPORT, TEXTS
    from keras_encdec.printing import tell
    from keras_encdec.text import read_sources

    tell("Building the graphs, which a process without Keras then proves: a minute ...")
    folder = export_saved_model(
        text_to_text,
        _version_folder(path, version),
        signatures=SIGNATURES if signatures is None else signatures,
        jit=jit,
        warm_up=warm_up,
        proof_texts=TEXTS if texts is None else read_sources(texts)[:16],
        modules=modules,
        overwrite=overwrite,
    )
    report = json.loads((folder / REPORT).read_text())
    tell(
        f"Wrote {folder}: {report['parameters']:,} parameters, "
        f"{report['megabytes']:.1f} MB, loaded in {report['load_seconds']:.1f} s by a "
        f"process without Keras, which answers {report['texts']} texts as Python does."
    )
    for name, signature in report["signatures"].items():
        tell(
            f"\n{name}: {signature['milliseconds_for_one']:.1f} ms for one text, "
            f"{signature['milliseconds_for_all']:.1f} ms for all"
        )
        if signature["rounded"]:
            tell(f"  rounding chose another text {signature['rounded']} times")
        for side in ("inputs", "outputs"):
            for tensor, described in sorted(signature[side].items()):
                tell(f"  {side[:-1]:6} {tensor:12} {described}")
    tell(
        "\nNext:\n"
        f"  saved_model_cli show --dir {folder} --all\n"
        f'  docker run -p 8501:8501 -v "{pathlib.Path(path).absolute()}:'
        f'/models/{pathlib.Path(path).name}" -e MODEL_NAME={pathlib.Path(path).name} '
        "tensorflow/serving"
    )
