"""What the README and the pages in docs/ show runs, and what they name exists."""

import re
from pathlib import Path

import keras
import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]

PYTHON_BLOCK = re.compile(
    r"^(?P<skip><!-- (?:not run|run with what is slow) -->\n+)?"
    r"^```python\n(?P<code>.*?)^```$",
    re.M | re.S,
)
CODE = re.compile(
    r"^```(?:sh|bash|shell|console)?\n(.*?)^```$|`([^`\n]+)`", re.M | re.S
)


def run_python_blocks(text, name):
    """Runs each Python block in a namespace of its own and returns their number."""
    blocks = [match for match in PYTHON_BLOCK.finditer(text) if not match["skip"]]
    for match in blocks:
        # Empty lines before the code make a traceback name the line of the document.
        lines_before = text.count("\n", 0, match.start("code"))
        code = compile("\n" * lines_before + match["code"], name, "exec")
        exec(code, {"__name__": "readme"})
    return len(blocks)


def make_commands(text):
    """The targets of every `make ...` in code, fenced or between backticks."""
    snippets = [fenced or inline for fenced, inline in CODE.findall(text)]
    return set(re.findall(r"^\s*(?:\$ )?make ([\w-]+)", "\n".join(snippets), re.M))


def make_targets(makefile):
    """The targets a Makefile defines."""
    rules = re.findall(r"^([\w -]+):(?!=)", makefile, re.M)
    return {target for rule in rules for target in rule.split()}


@pytest.fixture
def in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A block may choose a backend, which must not outlive the test.
    monkeypatch.setenv("KERAS_BACKEND", keras.config.backend())


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_python_blocks_run(page, in_a_new_folder):
    run_python_blocks(page.read_text("utf-8"), str(page))


@pytest.mark.slow
def test_python_blocks_that_are_slow_run(in_a_new_folder):
    found = [
        x for page in PAGES for x in PYTHON_BLOCK.finditer(page.read_text("utf-8"))
    ]
    codes = [match["code"] for match in found if "slow" in (match["skip"] or "")]
    assert codes
    for code in codes:
        exec(compile(code, "a page", "exec"), {"__name__": "readme"})


def test_the_first_block_prints_what_the_page_shows(
    in_a_new_folder, capsys, monkeypatch
):
    text = PAGES[0].read_text("utf-8")
    assert run_python_blocks(text, "README.md") == 1
    shown = re.search(r"^```python\n.*?^```\n\n```\n(.*?)^```$", text, re.M | re.S)
    first, second = shown[1].splitlines()
    printed = capsys.readouterr().out.splitlines()
    assert first in printed
    # Rounding decides the last of them.
    (right,) = [x for x in printed if x.endswith(second.partition(" ")[2])]
    assert int(right.split()[0]) >= 98
    # Again, as in a notebook, where one goes on from a cell that has run before; it
    # need not learn again.
    monkeypatch.setattr(keras.Model, "fit", lambda *args, **options: None)
    assert run_python_blocks(text, "README.md") == 1


def test_the_readme_can_be_read_at_once():
    assert len(PAGES[0].read_text("utf-8").splitlines()) <= 150


def test_commands_are_targets_of_the_makefile():
    commands = make_commands("\n".join(page.read_text("utf-8") for page in PAGES))
    targets = make_targets((ROOT / "Makefile").read_text("utf-8"))
    assert {"demo", "test"} <= commands <= targets


def test_a_failing_block_is_found_and_its_line_named():
    text = "# Title\n\n```python\na = 1\n```\n\n```python\nprint(a)\n```\n"
    with pytest.raises(NameError) as error:
        run_python_blocks(text, "README.md")
    last = error.traceback[-1]
    assert (Path(last.path).name, last.lineno + 1) == ("README.md", 8)


def test_marked_blocks_and_other_languages_are_left_alone():
    text = (
        "<!-- not run -->\n```python\n1 / 0\n```\n"
        "```sh\nexit 1\n```\n"
        "```python\nassert True\n```\n"
    )
    assert run_python_blocks(text, "README.md") == 1


def test_finds_commands_and_targets():
    text = "To make sure, `make demo` or\n\n```sh\nmake lint\n$ make test\n```\n"
    assert make_commands(text) == {"demo", "lint", "test"}
    makefile = "A := b\nVENV ?= .venv\n.PHONY: no\ndemo: x\n\ty: z\na b: c\n"
    assert make_targets(makefile) == {"demo", "a", "b"}
