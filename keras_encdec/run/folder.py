"""The folder of a training: what it was begun with, and what it has come to."""

import contextlib
import csv
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, Self

from keras_encdec.annotations import AnyPath
from keras_encdec.backend import from_first, in_first_alone
from keras_encdec.files import check_format, new_file, recover
from keras_encdec.lock import held
from keras_encdec.run.record import DEFAULTS, changes_of, other_parts
from keras_encdec.saved_parts import ASIDE, MOVING, RECORD_FILE, require_place_of_run
from keras_encdec.text import SentencePieceTokenizer
from keras_encdec.text_to_text import TextToText
from keras_encdec.training.adaptation import has_lora, save_adapter
from keras_encdec.training.checkpoint_files import checkpoints_in, positions_in

LOG_FILE = "log.csv"
OPTIONS_FILE = "options.toml"
RUNNING_LOG_FILE = "log.jsonl"
ADAPTER_FILE = "adapter.safetensors"
_OURS = (
    RECORD_FILE,
    OPTIONS_FILE,
    LOG_FILE,
    RUNNING_LOG_FILE,
    "source.model",
    "target.model",
    "best",
    ADAPTER_FILE,
    "checkpoints",
    "tensorboard",
)


class RunFolder:
    """The folder of a training.

    It holds `options.json`, the record of what the training was begun with;
    `options.toml`, the same for people and for `train --config`, where the command line
    began it;
    `checkpoints/`; `log.csv`, the logs of all epochs, and `log.jsonl`, those within
    epochs too, as `RunningLog` writes them; `best/`, the best model so far
    with its tokenizers; `source.model` and `target.model` where these are of
    SentencePiece; and `adapter.safetensors`, what LoRA has learnt, which is merged in
    the best model, where it was trained so. Of processes that share a training the
    first one alone writes there.

    Args:
        path: Its place, `str` or `Path`; it need not be there yet.

    Example:
        ```python
        import tempfile
        from keras_encdec.run import RunFolder

        print(RunFolder(tempfile.mkdtemp()).epochs_done)  # 0
        ```
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = pathlib.Path(path)
        self.best = self.path / "best"
        self.checkpoints = self.path / "checkpoints"

    @property
    def has_record(self) -> bool:
        """Whether it tells what its training was begun with."""
        return (self.path / RECORD_FILE).is_file()

    @property
    def epochs_done(self) -> int:
        """The number of epochs that the last checkpoint tells of."""
        return max(checkpoints_in(self.checkpoints), default=0)

    @property
    def position(self) -> tuple[int, int]:
        """The epochs done, and the batches of the next, that can be gone on from."""
        return max(positions_in(self.checkpoints), default=(0, 0))

    @contextlib.contextmanager
    def held(self) -> Iterator[Self]:
        """Keeps other trainings off, and puts in order what a kill left half done.

        The folder is made if it is missing, and removed in the end if it is empty. Of
        processes that share a training the first one holds it.

        Raises:
            BlockingIOError: If another process trains in it.
        """
        with contextlib.ExitStack() as stack:
            from_first(lambda: self._take(stack))
            yield self

    def _take(self, stack: contextlib.ExitStack) -> None:
        recover(self.path)
        missing = [x for x in (self.path, *self.path.parents) if not x.exists()]
        stack.callback(_remove_empty, missing)
        if missing:
            self.path.mkdir(parents=True, exist_ok=True)
        if self.path.is_dir():
            stack.enter_context(held(self.path))
            self.recover()

    def recover(self) -> None:
        """Puts in order what a kill left half done."""
        recover(self.best)
        # Those of any batch: a training that goes on seldom writes at the same one.
        for left in sorted(self.checkpoints.glob(".epoch-*.part")):
            recover(left.with_name(left.name[1:].rsplit(".", 2)[0]))
        if (self.path / MOVING).is_dir():
            self._move_back()
        elif not any(self.position):
            self._bring_back()
        else:
            self.let_go()

    def check_place(self) -> None:
        """Checks that a training may begin or go on here.

        Raises:
            OSError: As in `require_place_of_run`.
        """
        require_place_of_run(self.path)

    def check_same(
        self, record: dict[str, Any], text_to_text: TextToText | None = None
    ) -> int:
        """Checks that a training goes on with what it was begun with.

        Args:
            record: What `make_record` returned.
            text_to_text: The `TextToText` to train, or None to compare it not.

        Returns:
            The number of epochs that it was begun for, which the record tells: more or
            fewer may be wanted now, where its schedule does not end with them.

        Raises:
            ValueError: If anything else differs, or a later version began the training.
        """
        before = self._read_record() if self.has_record else record
        changes = changes_of(before, record)
        if text_to_text is not None and self.epochs_done:
            changes += other_parts(TextToText.load(self.best), text_to_text)
        if changes:
            raise ValueError(
                "A training goes on with the texts and options it was begun with; in "
                f"{str(self.path)!r} {'; '.join(changes)}. Give the same, choose "
                "another folder, or start anew with `overwrite`."
            )
        begun = before if any(self.position) else record
        return {**DEFAULTS, **begun["options"]}["epochs"]

    @in_first_alone
    def begin(
        self,
        record: dict[str, Any],
        text_to_text: TextToText,
        *,
        overwrite: bool = False,
    ) -> None:
        """Writes down what a training begins with.

        Args:
            record: What `make_record` returned.
            text_to_text: The `TextToText` to train.
            overwrite: Whether to put aside what an earlier training left here: until
                `let_go`, a kill or `withdraw` bring it back. What is not a training's
                stays.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if overwrite:
            self._put_aside()
        # The first, for it makes this a training's folder.
        with new_file(self.path / RECORD_FILE) as file:
            file.write_text(json.dumps(record, indent=2), encoding="utf-8")
        for side in ("source", "target"):
            tokenizer = getattr(text_to_text, f"{side}_tokenizer")
            if isinstance(tokenizer, SentencePieceTokenizer):
                with new_file(self.path / f"{side}.model") as file:
                    file.write_bytes(tokenizer.proto)

    @in_first_alone
    def write_options_file(self, text: str) -> None:
        """Writes the options as the command line reads them.

        Args:
            text: A `str`, TOML.
        """
        with new_file(self.path / OPTIONS_FILE) as file:
            # A path may hold what is no UTF-8, which no TOML can.
            file.write_text(text, encoding="utf-8", errors="backslashreplace")

    @in_first_alone
    def save_best(self, text_to_text: TextToText, as_before: Any) -> None:
        """Writes the best model so far, in which LoRA is merged, and its adapter alone.

        Args:
            text_to_text: The `TextToText`, with these weights.
            as_before: What `adapted` gave, for a model to be saved as it came.
        """
        with as_before():
            text_to_text.save(self.best, overwrite=True)
        if has_lora(text_to_text.model):
            save_adapter(text_to_text.model, self.path / ADAPTER_FILE)

    @in_first_alone
    def let_go(self) -> None:
        """Removes the earlier training, when there is an epoch of the new one."""
        shutil.rmtree(self.path / ASIDE, ignore_errors=True)

    @in_first_alone
    def withdraw(self) -> bool:
        """Removes what a training wrote that ended before its first epoch did.

        Returns:
            Whether the training that it would have overwritten is here again.
        """
        if self._bring_back():
            return True
        self._remove_ours()
        if not any(self.path.iterdir()):
            self.path.rmdir()
        return False

    def _remove_ours(self) -> None:
        for path in (self.path / name for name in _OURS):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _put_aside(self) -> None:
        self._bring_back()
        moving = self.path / MOVING
        names = [name for name in _OURS if os.path.lexists(self.path / name)]
        if not names:
            return
        moving.mkdir()
        try:
            for name in names:
                os.rename(self.path / name, moving / name)
            os.rename(moving, self.path / ASIDE)
        except BaseException:
            self._move_back()
            raise

    def _bring_back(self) -> bool:
        """Whether there was an earlier training, which is here again."""
        if not (self.path / ASIDE).is_dir():
            return False
        self._remove_ours()
        os.rename(self.path / ASIDE, self.path / MOVING)
        self._move_back()
        return True

    def _move_back(self) -> None:
        moving = self.path / MOVING
        for path in list(moving.iterdir()):
            os.rename(path, self.path / path.name)
        moving.rmdir()

    @in_first_alone
    def write_log(self, history: Sequence[dict[str, Any]]) -> None:
        """Writes the logs of all epochs, those before an interruption too.

        Args:
            history: The logs, a list of dicts.
        """
        names = list(dict.fromkeys(name for logs in history for name in logs))
        with new_file(self.path / LOG_FILE) as path:
            with open(path, "w", newline="") as file:
                writer = csv.DictWriter(file, ["epoch", *names])
                writer.writeheader()
                for number, logs in enumerate(history, start=1):
                    writer.writerow({"epoch": number, **logs})

    def _read_record(self) -> dict[str, Any]:
        path = self.path / RECORD_FILE
        try:
            record = dict(json.loads(path.read_text("utf-8")))
        except (TypeError, ValueError) as error:
            raise _damaged(path, error) from error
        if check_format(record.get("format"), path) > 1:
            options, recipe = (record.get(name, ...) for name in ("options", "recipe"))
            if isinstance(options, dict) and isinstance(recipe, dict | None):
                return record
            raise _damaged(path, "it lacks `options` or `recipe`")
        # All in one, and nothing but the path of the teacher.
        record.pop("tensorboard", None)
        digests = {name: record.pop(name, None) for name in ("texts", "validation")}
        return {
            "options": {name: record.pop(name) for name in {*DEFAULTS} & {*record}},
            "recipe": record,
            **digests,
        }


def _remove_empty(folders: Sequence[pathlib.Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _damaged(path: AnyPath, reason: Exception | str) -> ValueError:
    return ValueError(
        f"{str(path)!r} must hold the options of a training; it could not be read: "
        f"{reason}. Choose another folder, or start anew with `overwrite`."
    )
