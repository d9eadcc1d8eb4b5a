"""The command that sets a model's probabilities right: calibrate."""

import shlex
from collections.abc import Iterable, Sequence

from keras_encdec.cli.arguments import (
    Commands,
    add_command,
    add_pairs,
    add_saved,
    read_some_pairs,
)
from keras_encdec.cli.models import load_models
from keras_encdec.cli.program import program
from keras_encdec.cli.use_checks import check_calibrate
from keras_encdec.saved_parts import saved_folder


def add_commands(commands: Commands) -> None:
    """Adds this command to a parser."""
    added = add_command(
        commands,
        calibrate,
        "set right how sure a model is, by validation texts",
        "runs/en-de --source val.en --target val.de",
        check=check_calibrate,
    )
    add_saved(added)
    add_pairs(added)


def calibrate(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    modules: Iterable[str],
    source: str,
    target: str | None,
) -> None:
    """Finds the temperature at which a model's probabilities are true, and keeps it.

    It is kept with the model, for the confidences of evaluate, until the model is
    trained further; what it generates does not change. The texts are those of a
    validation set: of those that it was trained on a model is too sure.
    """
    from keras_encdec import confidence
    from keras_encdec.printing import tell

    sources, targets = read_some_pairs("A calibration", source, target)
    text_to_text = load_models(saved, modules)
    text_to_text.temperature = confidence.calibrate(text_to_text, sources, targets)
    folder = saved_folder(saved[0])
    text_to_text.save(folder, overwrite=True)
    how = "too sure" if text_to_text.temperature > 1 else "not sure enough"
    print(
        f"temperature = {text_to_text.temperature:.4f}; without it the model is {how}"
    )
    tell(
        f"Kept in {folder}. Next:\n  {program()} evaluate "
        f"{shlex.quote(saved[0])} --source FILE --target FILE --confidence"
    )
