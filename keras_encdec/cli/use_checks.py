"""What the commands that use a model refuse before anything heavy is imported."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from keras_encdec.cli.arguments import is_checkpoint, require_some_line
from keras_encdec.cli.checks import check_models, require_another
from keras_encdec.cli.rescoring_file import Rescoring, with_beams
from keras_encdec.cli.search import SAMPLING_OPTIONS, check_n_best, check_sampler


def check_evaluate(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    source: str,
    target: str | None,
    output: str | None,
    rescoring: Rescoring | None = None,
    **options: Any,
) -> None:
    """Refuses options that do not fit, files without a line, and to replace them."""
    told = (options[x] for x in ("source_language", "target_language", "tag"))
    check_models(saved, weights, *told)
    check_sampler(**{name: options[name] for name in SAMPLING_OPTIONS})
    texts = [path for path in (source, target) if path is not None]
    require_another(output, "source or --target", texts)
    if rescoring is not None:
        _check_rescoring(rescoring, output, 1, options)
    for path in texts:
        require_some_line("An evaluation", path)


def check_generate(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    source: str,
    output: str,
    n_best: int,
    resume: bool,
    rescoring: Rescoring | None = None,
    **options: Any,
) -> None:
    """Refuses options that do not fit, and to replace what is read."""
    places = source, output
    # A pipe may bring other texts each time.
    if resume and ("-" in places or not all(map(_is_file_or_nothing, places))):
        raise ValueError(
            "--resume goes on with the file of --output, for that of --source; "
            f"received --source {source} and --output {output}. Name a file with each."
        )
    told = (options[x] for x in ("source_language", "target_language", "tag"))
    check_models(saved, weights, *told)
    check_sampler(**{name: options[name] for name in SAMPLING_OPTIONS})
    require_another(output, "source", [source])
    if rescoring is None:
        check_n_best(n_best, options["sampler"], options["beams"])
        return
    _check_rescoring(rescoring, output, n_best, options)


def _check_rescoring(
    rescoring: Rescoring, output: str | None, n_best: int, options: Mapping[str, Any]
) -> None:
    if n_best > rescoring.candidates:
        raise ValueError(
            "--n-best is at most the number of candidates that are rescored; received "
            f"{n_best} with --rescore {rescoring.path!r}, which has "
            f"{rescoring.candidates}. Tune with more, or ask for fewer."
        )
    require_another(output, "rescore", [rescoring.path])
    check_candidates(rescoring.candidates, options["sampler"], options["beams"])


def check_calibrate(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    source: str,
    target: str | None,
    **options: Any,
) -> None:
    """Refuses several models, a checkpoint, and files without a line."""
    if len(saved) > 1 or is_checkpoint(saved[0]):
        raise ValueError(
            "A temperature is kept with one model that was trained or saved here; "
            f"received {', '.join(map(repr, saved))}. Give one folder that train, demo "
            "or TextToText.save wrote."
        )
    check_models(saved, weights)
    for path in (source, target):
        if path is not None:
            require_some_line("A calibration", path)


def check_distill(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    source: str,
    output: str,
    resume: bool,
    **options: Any,
) -> None:
    """Refuses what `generate` refuses, and a file without a line."""
    check_generate(saved, weights, source, output, 1, resume, **options)
    require_some_line("A distillation", source)


def check_shortlist(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    source: str,
    target: str | None,
    output: str,
    validation_source: str | None,
    validation_target: str | None,
    **options: Any,
) -> None:
    """Refuses what `evaluate` refuses, and options that are for nothing.

    Args:
        saved: As in `shortlist`, and so are all others.
        weights: Likewise.
        source: Likewise.
        target: Likewise.
        output: Likewise.
        validation_source: Likewise.
        validation_target: Likewise.
        **options: Likewise.
    """
    if output == "-":
        raise ValueError(
            "A shortlist is written to a file, which generate --shortlist reads; "
            "received --output -. Name a file."
        )
    if validation_source is None and validation_target is not None:
        raise ValueError(
            "--validation-target goes with --validation-source; received it alone. "
            "Give both."
        )
    check_evaluate(saved, weights, source, target, output, **options)
    if validation_source is not None:
        texts = validation_source, validation_target
        check_evaluate(saved, weights, *texts, output, **options)


def check_tune_rescoring(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    source: str,
    target: str | None,
    output: str,
    scorers: Sequence[str],
    reverse_scorers: Sequence[str],
    candidates: int,
    **options: Any,
) -> None:
    """Refuses what `evaluate` refuses, no scorer, and more candidates than there are.

    Args:
        saved: As in `tune_rescoring`, and so are all others.
        weights: Likewise.
        source: Likewise.
        target: Likewise.
        output: Likewise.
        scorers: Likewise.
        reverse_scorers: Likewise.
        candidates: Likewise.
        **options: Likewise.
    """
    if not (scorers or reverse_scorers):
        raise ValueError(
            "Rescoring asks other models; received neither --scorer nor "
            "--reverse-scorer. Give at least one."
        )
    if output == "-":
        raise ValueError(
            "Weights are written to a file, which generate --rescore reads; received "
            "--output -. Name a file."
        )
    check_evaluate(saved, weights, source, target, output, **options)
    check_candidates(candidates, options["sampler"], options["beams"])


def check_candidates(candidates: int, sampler: str | None, beams: int | None) -> None:
    """Refuses more candidates than a sampler gives; beams are as many if not given.

    Args:
        candidates: The number of candidates.
        sampler: As in `check_n_best`.
        beams: Likewise.

    Raises:
        ValueError: If there cannot be as many.
    """
    search = with_beams({"sampler": sampler, "beams": beams}, candidates)
    check_n_best(candidates, **search)


def _is_file_or_nothing(path: str) -> bool:
    return os.path.isfile(path) or not os.path.exists(path)
