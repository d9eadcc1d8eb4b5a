"""Every example in a docstring runs by itself, and every public name has one."""

import ast
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import keras
import pytest

pytestmark = [
    pytest.mark.once,
    # Most of what an example takes is compiling, of which it shows nothing.
    pytest.mark.usefixtures("eagerly"),
]

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    *("", ".export", ".generation", ".layers", ".model", ".serving", ".text"),
    ".training",
)
BLOCK = re.compile(r"^ *```python\n(.*?)^ *```$", re.M | re.S)


def examples(path, source):
    """Yields `(name, line, code)` of each Python block in the docstrings of a file."""
    for name, node in documented(path, ast.parse(source)):
        docstring = ast.get_docstring(node, clean=False) or ""
        for match in BLOCK.finditer(docstring):
            line = node.body[0].lineno + docstring.count("\n", 0, match.start(1))
            yield name, line, textwrap.dedent(match[1])


def documented(path, node, name=None):
    """Yields `(name, node)` of a file and of all its classes and functions."""
    if name is None:
        name = ".".join(Path(path).with_suffix("").parts).removesuffix(".__init__")
        yield name, node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield f"{name}.{child.name}", child
            yield from documented(path, child, f"{name}.{child.name}")


def run_example(path, line, code):
    """Runs code in a namespace of its own."""
    # Empty lines before the code make a traceback name the line of the file.
    code = compile("\n" * (line - 1) + code, str(path), "exec")
    exec(code, {"__name__": "example"})


EXAMPLES = [
    pytest.param(path, line, code, id=name)
    for path in sorted(ROOT.glob("keras_encdec/**/*.py"))
    for name, line, code in examples(path.relative_to(ROOT), path.read_text("utf-8"))
]


@pytest.mark.parametrize("path, line, code", EXAMPLES)
def test_example_runs(path, line, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # An example may choose a backend, which must not outlive this test.
    monkeypatch.setenv("KERAS_BACKEND", keras.config.backend())
    run_example(path, line, code)


@pytest.mark.parametrize("room", [f"keras_encdec{room}" for room in ROOMS])
def test_every_public_class_and_function_has_an_example(room):
    module = importlib.import_module(room)
    public = {name: getattr(module, name) for name in module.__all__}
    without = [
        name
        for name, it in public.items()
        if inspect.isclass(it) or inspect.isfunction(it)
        # `__doc__` and not `getdoc`, which would show the base class's.
        if not BLOCK.search((it.__doc__ or "").partition("Example:\n")[2])
    ]
    assert not without, f"no example in the docstrings of {', '.join(without)}"


def test_finds_examples_and_their_lines():
    source = '''"""Module.

```python
a = 1
```
"""
class C:
    """Class."""
    def method(self):
        """Method.

        Example:
            ```python
            if True:
                b = 2
            ```

            ```sh
            exit 1
            ```

            ```python
            c = 3
            ```
        """
'''
    assert list(examples("room/file.py", source)) == [
        ("room.file", 4, "a = 1\n"),
        ("room.file.C.method", 14, "if True:\n    b = 2\n"),
        ("room.file.C.method", 23, "c = 3\n"),
    ]
    assert [name for name, _, _ in examples("a/__init__.py", source)][0] == "a"


def test_a_failing_example_is_found_and_its_line_named():
    with pytest.raises(ZeroDivisionError) as error:
        run_example("file.py", 7, "a = 1\na / 0\n")
    last = error.traceback[-1]
    assert (Path(last.path).name, last.lineno + 1) == ("file.py", 8)
