"""The command that hands a trained model over: export."""

import json
import pathlib

from keras_encdec.cli.arguments import add_command, add_saved, positive


def add_commands(commands):
    """Adds this command to a parser."""
    added = add_command(commands, export, "write a SavedModel: strings in, strings out")
    add_saved(added)
    added.add_argument("path", help="folder of the versions: saved_models/en-de")
    added.add_argument(
        "--version",
        type=positive,
        default=1,
        help="number of the folder to write in it; TF Serving serves the largest",
    )
    added.add_argument(
        "--beams", type=positive, help="answer by beam search, with so many beams"
    )
    added.add_argument(
        "--length-penalty", type=float, default=1.0, help="of beams: above 0 for long"
    )
    added.add_argument("--max-length", type=positive, help="largest number of tokens")
    added.add_argument(
        "--signatures",
        nargs="+",
        help="which of serving_default, generate, beam, sample, score, logits, encode; "
        "by default all",
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
        "--texts", help="file of source texts, whose first lines the proof is made on"
    )
    added.add_argument("--overwrite", action="store_true", help="replace the folder")


def export(
    saved,
    module,
    path,
    version,
    beams,
    length_penalty,
    max_length,
    signatures,
    jit,
    warm_up,
    texts,
    overwrite,
):
    """Writes a SavedModel for TF Serving, and proves it.

    A fresh process with TensorFlow alone must answer some texts as Python does, before
    the version's folder is put in its place.
    """
    from keras_encdec.export import SIGNATURES, export_saved_model
    from keras_encdec.export.proof import REPORT, TEXTS
    from keras_encdec.generation import BeamSampler
    from keras_encdec.text import read_lines
    from keras_encdec.text_to_text import TextToText

    proof_texts = TEXTS if texts is None else read_lines(texts)[:16]
    text_to_text = TextToText.load(saved, module)
    if beams is not None:
        text_to_text = text_to_text.with_sampler(BeamSampler(beams, length_penalty))
    folder = export_saved_model(
        text_to_text,
        pathlib.Path(path, str(version)),
        signatures=SIGNATURES if signatures is None else signatures,
        max_length=max_length,
        length_penalty=length_penalty,
        jit=jit,
        warm_up=warm_up,
        proof_texts=proof_texts,
        modules=module,
        overwrite=overwrite,
    )
    report = json.loads((folder / REPORT).read_text())
    print(
        f"Wrote {folder}: {report['parameters']:,} parameters, "
        f"{report['megabytes']:.1f} MB, loaded in {report['load_seconds']:.1f} s by a "
        f"process without Keras, which answers {report['texts']} texts as Python does."
    )
    for name, signature in report["signatures"].items():
        print(
            f"\n{name}: {signature['milliseconds_for_one']:.1f} ms for one text, "
            f"{signature['milliseconds_for_all']:.1f} ms for all"
        )
        for side in ("inputs", "outputs"):
            for tensor, described in sorted(signature[side].items()):
                print(f"  {side[:-1]:6} {tensor:12} {described}")
    print(
        "\nNext:\n"
        f"  saved_model_cli show --dir {folder} --all\n"
        f'  docker run -p 8501:8501 -v "{pathlib.Path(path).absolute()}:'
        f'/models/{pathlib.Path(path).name}" -e MODEL_NAME={pathlib.Path(path).name} '
        "tensorflow/serving"
    )
