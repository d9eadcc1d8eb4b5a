"""The parser of the command line, and the arguments that several commands take."""

import argparse
import dataclasses
import functools
import importlib.util
import inspect
import os
import pathlib
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from keras_encdec.annotations import AnyPath
from keras_encdec.cli import configuration
from keras_encdec.files import require_file, require_place_of_file
from keras_encdec.pretrained.hub import is_remote, parts_of, require_downloader
from keras_encdec.saved_parts import CONFIG_FILE, saved_folder
from keras_encdec.training_options import PORTION, POSITIVE, SHARE, Names, Numbers

if TYPE_CHECKING:
    from keras_encdec.text_to_text import TextToText

# What `add_subparsers` returns, which has no public name.
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
# What makes the value of an argument of its word.
Reader: TypeAlias = Callable[[str], Any]


class _Help(
    argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter
):
    """Tells the defaults that say something: no False of a switch, and no None."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or isinstance(action.default, (bool, list, tuple)):
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, and what was meant.

    Args:
        **options: Those of `argparse.ArgumentParser`.

    Example:
        ```python
        from keras_encdec.cli.arguments import Parser

        try:
            Parser(prog="it").parse_args(["--hepl"])
        except SystemExit as leaving:  # It has said that --help was meant.
            print(leaving.code)
        ```
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Help, **options)
        self.commands: dict[str, Parser] = {}
        self.given: set[str] = set()

    @property
    def names(self) -> dict[str, str]:
        """For each argument the name that it has on the command line."""
        return {
            action.dest: action.option_strings[-1]
            for action in self._actions
            if action.option_strings and action.help != argparse.SUPPRESS
        }

    def parse_known_args(  # type: ignore[override]  # One case of its overloads.
        self,
        args: Iterable[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parses; what is unknown is told before what is missing."""
        args = sys.argv[1:] if args is None else list(args)
        self.given = set()
        options = self._option_string_actions
        for word in args:
            name = word.partition("=")[0]
            if word == "--" or (self.commands and name in self.commands):
                break
            if name.startswith("--") and " " not in name:
                # The beginning of an option stands for it.
                if not any(option.startswith(name) for option in options):
                    self._refuse("option", name, options)
            elif self.commands and not name.startswith("-"):
                self._refuse("command", name, self.commands)
        if configuration.OPTION in self._option_string_actions:
            # What stands later wins.
            args = configuration.with_model_sizes(self._words_of_file(args), args)
        found, rest = super().parse_known_args(args, namespace)
        if "given" in self._defaults:
            found.given = {k: v for k, v in vars(found).items() if k in self.given}
        return found, rest

    def _words_of_file(self, args: list[str]) -> list[str]:
        """Returns the words that stand for the file of options, if one is given."""
        path = configuration.path_in(args)
        words: list[str] = []
        if path is None:
            return words
        try:
            for action, values, some in configuration.words_of(path, self._actions):
                if values:
                    # Refused here, where the file can be named.
                    self._get_values(action, values)
                words += some
        except (argparse.ArgumentError, OSError, ValueError) as error:
            self.error(f"in {path!r}: {error}")
        return words

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        self.given.add(action.dest)
        return super()._get_values(action, arg_strings)

    def _refuse(self, kind: str, name: str, known: Iterable[str]) -> NoReturn:
        if any(name in each._option_string_actions for each in self.commands.values()):
            self.error(f"{name} is an option of a command; it stands behind its name")
        self.error(f"there is no {kind} {name}{configuration.meant(name, known)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += configuration.meant(value, action.choices or ())
            raise

    def error(self, message: str) -> NoReturn:
        """Ends the program with status 2, and one line."""
        if self.commands:
            message = message.replace("COMMAND", f"COMMAND, {' '.join(self.commands)}")
        self.exit(2, f"{self.prog}: error: {message} (--help tells all)\n")


def add_command(
    commands: Commands,
    function: Callable[..., None],
    summary: str,
    *examples: str,
    check: Callable[..., None] | None = None,
    needs_keras: bool = True,
) -> Parser:
    """Adds the command of a function, under its name, described by its docstring.

    Args:
        commands: What `add_subparsers` returned.
        function: The function, whose arguments are those of the command.
        summary: What the program's `--help` says of it.
        *examples: What may stand behind its name.
        check: A function of the same arguments, which refuses what can be seen before
            anything heavy is imported.
        needs_keras: Whether Keras, and the backend, are imported before it runs; what
            does without has nothing to say that is not its result, and no `--quiet`.

    Returns:
        The `Parser` of the command.
    """
    added = commands.add_parser(
        function.__name__.replace("_", "-"),
        help=summary,
        description=inspect.getdoc(function),
        epilog="\n".join(["examples:", *(f"  %(prog)s {words}" for words in examples)]),
    )
    added.set_defaults(command=_while_it_is_read(function), check=check, parser=added)
    added.set_defaults(needs_keras=needs_keras, quiet=False)
    if needs_keras:
        added.add_argument(
            "--quiet",
            action="store_true",
            help="print results, warnings and errors alone",
        )
    return added


def _while_it_is_read(command: Callable[..., None]) -> Callable[..., None]:
    """Ends a command with status 141, as a shell does, when nobody reads it further."""

    @functools.wraps(command)
    def run(**options: Any) -> None:
        try:
            command(**options)
            sys.stdout.flush()
        except OSError as error:
            try:
                sys.stdout.flush()
            except OSError:
                # What could not be written would fail once more when Python ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise SystemExit(141) from error
            raise

    return run


def checked_by(check: Callable[[str], object]) -> Reader:
    """Returns the type of an argument that is a path, or - where a command takes it.

    Args:
        check: A function that raises an `OSError` if the path is not what it must be.

    Example:
        ```python
        from keras_encdec.cli.arguments import checked_by
        from keras_encdec.files import require_file

        print(checked_by(require_file)("/dev/null"))
        ```
    """

    def read(text: str) -> str:
        try:
            if text != "-":
                check(text)
        except OSError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        return text

    return read


file_of_texts = checked_by(
    functools.partial(require_file, rule="Texts are read from a file")
)
file_of_vocabulary = checked_by(
    functools.partial(require_file, rule="A vocabulary is read from a file")
)
saved_model = checked_by(saved_folder)


def is_checkpoint(place: AnyPath) -> bool:
    """Returns whether a place is a checkpoint of transformers, here or on the hub."""
    folder = pathlib.Path(place)
    ours = (folder / CONFIG_FILE).is_file()
    return is_remote(place) or (folder / "config.json").is_file() and not ours


def _require_model(place: str) -> None:
    if not is_checkpoint(place):
        saved_folder(place)
    elif is_remote(place):
        try:
            parts_of(place)
            require_downloader(place)
        except (ImportError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error


saved_or_checkpoint = checked_by(_require_model)


def load_model(
    place: AnyPath,
    modules: Iterable[str] = (),
    *,
    source_language: str | None = None,
    target_language: str | None = None,
    tag: str | None = None,
) -> "TextToText":
    """Returns the `TextToText` of a saved folder, or of a checkpoint.

    Args:
        place: What `saved_or_checkpoint` takes.
        modules: As in `TextToText.load`.
        source_language: As in `TextToText.from_preset`.
        target_language: Likewise.
        tag: As in `with_tag`, or None.
    """
    from keras_encdec.text_to_text import TextToText

    if is_checkpoint(place):
        return TextToText.from_preset(place, source_language, target_language)
    text_to_text = TextToText.load(place, modules)
    if tag is None:
        return text_to_text
    from keras_encdec.tags import with_tag

    return with_tag(text_to_text, tag)


def add_licence(parser: argparse._ActionsContainer) -> None:
    """Adds the licence that a model card tells."""
    parser.add_argument(
        "--license",
        dest="licence",
        metavar="NAME",
        help="licence of the model, for its README.md, such as apache-2.0; none is "
        "told, or that of before, if not given",
    )


def tell_licence(text_to_text: "TextToText", licence: str | None) -> None:
    """Puts the licence in the card of a model, if one is given."""
    if licence is not None:
        text_to_text.card["licence"] = licence


new_file_place = checked_by(require_place_of_file)


def _module(name: str) -> str:
    try:
        found = importlib.util.find_spec(name.partition(".")[0])
    except ValueError:  # No name at all.
        found = None
    if found is None:
        raise argparse.ArgumentTypeError(
            f"must be a module that Python finds, as in `import {name}`; received "
            f"{name!r}. Its folder is one of PYTHONPATH, and .py is no part of its name"
        )
    return name


def add_pairs(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds the files of source and target texts.

    Args:
        parser: The parser.
        required: Whether nothing may stand in place of sources.
    """
    otherwise = "" if required else "; if not given, --corpus is"
    parser.add_argument(
        "--source",
        required=required,
        type=file_of_texts,
        help="file of source texts, a line each; or of source<tab>target; .gz too"
        + otherwise,
    )
    parser.add_argument(
        "--target",
        type=file_of_texts,
        help="file of target texts, a line each; not needed for source<tab>target",
    )


def read_some_pairs(
    purpose: str, source: AnyPath, target: AnyPath | None
) -> tuple[list[str], list[str]]:
    """Reads pairs of texts, at least one.

    Args:
        purpose: What they are for, as "A training".
        source: What `add_pairs` calls so.
        target: Likewise.

    Returns:
        The list of sources and the list of targets.

    Raises:
        ValueError: If there is none, or as in `read_pairs`.
    """
    from keras_encdec.text import read_pairs

    pairs = read_pairs(source, target)
    if not pairs[0]:
        raise _no_line(purpose, source)
    return pairs


def require_some_line(purpose: str, path: str) -> None:
    """Raises if a file has not even a byte; what it has is looked at later.

    Args:
        purpose: What it is for, as "A training".
        path: The path of the file, or -.

    Raises:
        ValueError: If it is empty.
    """
    if is_empty(path):
        raise _no_line(purpose, path)


def is_empty(path: str) -> bool:
    """Whether a path is that of a file without a byte; pipes are not known to be."""
    return os.path.isfile(path) and not os.path.getsize(path)


def _no_line(purpose: str, path: AnyPath) -> ValueError:
    return ValueError(
        f"{purpose} needs at least one line; received none in {path}. Check the file."
    )


def add_saved(parser: argparse.ArgumentParser) -> None:
    """Adds the folders of trained models, and their weights where there are several."""
    parser.add_argument(
        "saved",
        nargs="+",
        type=saved_or_checkpoint,
        help="folder that train or demo wrote, or of a checkpoint of transformers; or "
        "hf://owner/name of the hub; several predict each token together",
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        type=positive_real,
        metavar="NUMBER",
        help="how much each of several models counts, in their order; all the same if "
        "not given",
    )
    add_modules(parser)


def add_modules(parser: argparse.ArgumentParser) -> None:
    """Adds the modules that register what a model is made of."""
    parser.add_argument(
        "--module",
        dest="modules",
        type=_module,
        action="append",
        default=[],
        help="module to import that registers custom objects of the model; may be "
        "given again for more",
    )


@dataclasses.dataclass(frozen=True)
class Within:
    """The type of an argument that lies within bounds.

    Args:
        bounds: What it may be, as in `training_options`: `Numbers` or `Names`.

    Example:
        ```python
        from keras_encdec.cli.arguments import Within
        from keras_encdec.training_options import Numbers

        print(Within(Numbers(kind=int, least=1))("3"))
        ```
    """

    bounds: Numbers | Names

    def __call__(self, text: str) -> Any:
        """Returns the value that a text says."""
        value = self.bounds.read(text)
        if value not in self.bounds:
            raise argparse.ArgumentTypeError(
                f"must be {self.bounds}; received {text!r:.30}"
            )
        return value


# Four ids are special.
vocabulary_size = Within(Numbers(kind=int, least=5, below=2**31))
# Larger ones would fit into no array of ids.
positive = Within(Numbers(kind=int, least=1, below=2**31))
count = Within(Numbers(kind=int, least=0, below=2**31))
positive_real = Within(POSITIVE)
share = Within(SHARE)
portion = Within(PORTION)
