"""Files of options, in TOML: one holds those of a command, under the same names."""

import argparse
import difflib
import json
import pathlib
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from keras_encdec.annotations import AnyPath
from keras_encdec.files import require_file
from keras_encdec.named_sizes import SIZES
from keras_encdec.training_options import Numbers

OPTION = "--config"
MODEL_SIZE = "--model-size"
# What says nothing of a command's own.
_NO_KEYS = ("config", "help")


def meant(name: str, known: Iterable[str]) -> str:
    """Returns the question whether the nearest of some names was meant, or nothing.

    Args:
        name: A name that is none of them.
        known: The names.

    Example:
        ```python
        from keras_encdec.cli.configuration import meant

        print("there is no train" + meant("trian", ["train", "export"]))
        ```
    """
    near = difflib.get_close_matches(name, [*known], 1)
    return f"; did you mean {near[0]}?" if near else ""


def path_in(words: Sequence[str]) -> str | None:
    """Returns the path that `--config` is given in the words of a command, or None.

    Args:
        words: The words, a list of `str`.

    Example:
        ```python
        from keras_encdec.cli.configuration import path_in

        print(path_in(["--config", "run.toml", "--epochs", "3"]))  # run.toml
        ```
    """
    return _value_of(OPTION, words)


def with_model_sizes(*given: Sequence[str]) -> list[str]:
    """Returns words with those of the options that `--model-size` stands for.

    Args:
        *given: The words of a file and of a command, each a list of `str`; what stands
            later wins. The size of each has its options before its other words. A name
            that is none says nothing here: the command's parser refuses it.

    Example:
        ```python
        from keras_encdec.cli.configuration import with_model_sizes

        print(with_model_sizes([], ["--model-size", "tiny"]))
        ```
    """
    found: list[str] = []
    for words in given:
        sizes = dict(SIZES.get(_value_of(MODEL_SIZE, words) or "", {}))
        if _value_of("--num-layers", words) is not None:
            # Those of the decoder are as many, as they are without a size.
            sizes.pop("num_decoder_layers", None)
        found += [f"--{key.replace('_', '-')}={value}" for key, value in sizes.items()]
        found += words
    return found


def _value_of(option: str, words: Sequence[str]) -> str | None:
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument(option, dest="value")
    try:
        found: str | None = parser.parse_known_args(words)[0].value
    except argparse.ArgumentError:  # Nothing behind it, which is told with the rest.
        return None
    return found


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Adds `--config`, and for each switch of a parser what undoes it.

    Args:
        parser: A parser with all its other arguments.
    """
    for action in list(parser._actions):
        if _is_switch(action):
            parser.add_argument(
                f"--no-{_key(action)}",
                dest=action.dest,
                action="store_const",
                const=not action.const,
                default=action.default,
                help=argparse.SUPPRESS,
            )
    parser.add_argument(
        OPTION,
        metavar="FILE",
        help="TOML file of these options, as init writes it: epochs = 20; what stands "
        "on the command line wins, and --no-NAME undoes a switch; none if not given",
    )


def words_of(
    path: AnyPath, actions: Iterable[argparse.Action]
) -> Iterator[tuple[argparse.Action, list[str], list[str]]]:
    """Reads a file of options.

    Args:
        path: Its path.
        actions: Those of the parser whose options it may hold.

    Yields:
        For each option its action, the words of its value, and those that say both on
        the command line.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is no TOML, or holds what is no option.
        argparse.ArgumentError: If a value is of another type than the option's.
    """
    import tomllib

    require_file(path, rule="Options are read from a file")
    try:
        options = tomllib.loads(pathlib.Path(path).read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"what holds options must be TOML: {error}") from error
    known = _by_key(actions)
    for key, value in options.items():
        if key not in known:
            if isinstance(value, dict):
                raise ValueError(
                    f"options stand in no table; received [{key}]: leave out this line"
                )
            raise ValueError(f"there is no option {key}{meant(key, known)}")
        action = known[key]
        words = _words(action, value)
        if _is_switch(action):
            yield action, words, [f"--{key}" if value else f"--no-{key}"]
        elif isinstance(value, list):
            yield action, words, [f"--{key}", *words]
        else:
            yield action, words, [f"--{key}={words[0]}"]


def configuration(
    parser: argparse.ArgumentParser, values: Mapping[str, Any], head: str
) -> str:
    """Returns the text of a file of options, each with what it is.

    Args:
        parser: The parser of the command.
        values: Values by the arguments' names, as the parser gives them. All other
            options stand there as comments, with their defaults.
        head: What the file says of itself.

    Returns:
        A `str`: TOML that `words_of` reads.
    """
    blocks = [_comment(head)]
    for group in parser._action_groups:
        actions = [*_by_key(group._group_actions).items()]
        if actions and group.title != "options":
            blocks.append(f"# ---- {group.title}")
        for key, action in actions:
            value = values.get(action.dest, action.default)
            if _is_switch(action):
                value = value == action.const
            line = f"{key} = {_toml(value)}"
            if action.dest not in values:
                line = f"# {line}"
            blocks.append(f"{_comment(_description(action))}\n{line}")
    return "\n\n".join(blocks) + "\n"


def _by_key(actions: Iterable[argparse.Action]) -> dict[str, argparse.Action]:
    return {
        _key(action): action
        for action in actions
        if action.option_strings
        and action.dest not in _NO_KEYS
        and action.help != argparse.SUPPRESS
    }


def _key(action: argparse.Action) -> str:
    return action.option_strings[-1].removeprefix("--")


def _is_switch(action: argparse.Action) -> bool:
    return action.nargs == 0 and isinstance(action.const, bool)


def _words(action: argparse.Action, value: Any) -> list[str]:
    """The words that say a value on the command line, none for a switch."""
    if _is_switch(action):
        if not isinstance(value, bool):
            raise argparse.ArgumentError(
                action, f"must be true or false; received {_received(value)}"
            )
        return []
    if action.nargs in ("+", 2):
        if not isinstance(value, list) or not value:
            raise argparse.ArgumentError(
                action, f"must be a list of texts, [...]; received {_received(value)}"
            )
    elif isinstance(bounds := getattr(action.type, "bounds", None), Numbers):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise argparse.ArgumentError(
                action, f"must be {bounds}, without quotes; received {_received(value)}"
            )
        return [repr(value)]
    words = value if isinstance(value, list) and action.nargs in ("+", 2) else [value]
    for word in words:
        if not isinstance(word, str):
            raise argparse.ArgumentError(
                action, f"must be a text between quotes; received {_received(word)}"
            )
    return words


def _description(action: argparse.Action) -> str:
    words = action.help or ""
    if action.choices is not None:
        words += f": {', '.join(action.choices)}"
    return words


def _comment(words: str) -> str:
    return textwrap.fill(
        words, 88, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _received(value: Any) -> str:
    """A value as TOML has it, where Python has other words."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _toml(value: Any) -> str:
    if value is None or value == argparse.SUPPRESS:
        return "..."
    # A list, a text, a number and a truth are written in TOML as in JSON.
    if isinstance(value, list | tuple):
        value = [str(x) for x in value]
    return json.dumps(value, ensure_ascii=False)
