"""The rules of the tree, read off the syntax of every file."""

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]

# What each room may import, beside itself.
IMPORTS = {
    "annotations": set(),
    "backend": set(),
    "files": set(),
    "interrupts": set(),
    "lock": set(),
    "model_card": set(),
    "option_checks": set(),
    "printing": set(),
    "saved_parts": {"files"},
    "training_options": set(),
    "protocol": set(),
    "text_checks": {"protocol", "text"},
    "text": {"backend", "files", "lock"},
    "layers": {"backend", "option_checks"},
    "keras_model": {"backend", "files"},
    "training": {
        "backend",
        "files",
        "interrupts",
        "keras_model",
        "option_checks",
        "printing",
        "training_options",
    },
    "generation": {"backend", "option_checks", "protocol"},
    "model": {"backend", "files", "layers", "keras_model", "pretrained", "protocol"},
    "pretrained": {"backend", "files", "generation", "layers", "option_checks", "text"},
    "bulk": {"generation"},
    "text_to_text": {
        "bulk",
        "evaluation",
        "files",
        "generation",
        "text_checks",
        "model",
        "model_card",
        "option_checks",
        "pretrained",
        "protocol",
        "saved_parts",
        "text",
        "training",
    },
    "ensembles": {"model", "text_checks", "text_to_text"},
    "serving": set(),
    "export": {
        "backend",
        "files",
        "generation",
        "layers",
        "model",
        "model_card",
        "option_checks",
        "pretrained",
        "saved_parts",
        "serving",
        "text",
        "text_to_text",
    },
    "evaluation": {"option_checks", "reliability", "text"},
    "plots": {"confidence", "files", "generation", "text", "text_to_text"},
    "playground": {
        "generation",
        "model_card",
        "option_checks",
        "text",
        "text_to_text",
    },
    "report": {
        "backend",
        "evaluation",
        "files",
        "model_card",
        "option_checks",
        "plots",
        "saved_parts",
        "text",
        "text_to_text",
    },
    "bayes_risk": {"generation", "option_checks", "text", "text_to_text"},
    "confidence": {
        "generation",
        "option_checks",
        "text",
        "text_checks",
        "text_to_text",
    },
    "reliability": set(),
    "named_sizes": set(),
    "rescoring": {"confidence", "option_checks", "protocol", "text", "text_to_text"},
    "lexicon": {"generation", "option_checks", "text_checks"},
    "tags": {"text", "text_to_text"},
    "recipe": {"text", "model", "named_sizes", "printing", "tags", "text_to_text"},
    "distribution": {"backend"},
    "run": {
        "generation",
        "backend",
        "evaluation",
        "files",
        "interrupts",
        "lock",
        "text_checks",
        "printing",
        "saved_parts",
        "text",
        "text_to_text",
        "training",
        "training_options",
    },
    "demo": {"backend", "files", "printing", "text", "export", "recipe", "run"},
}
# Every room says with it what it takes and gives.
EVERYWHERE = {"annotations"}
# The doors of the house see every room.
DOORS = {"keras_encdec", "cli", "__main__"}

MAY_ASK_WHICH_BACKEND_RUNS = {"backend", "export"}
MAY_IMPORT = {
    "jax": {"backend"},
    "torch": {"backend"},
    "tensorflow": {"backend", "text", "export", "serving"},
    "tensorflow_text": {"backend", "text", "export"},
    "keras_hub": {"backend", "text", "export"},
}
MAX_LINES = 350


def room(module):
    """The part of the house a module belongs to."""
    parts = module.split(".")
    if "text_to_text" in parts:
        return "text_to_text"
    return parts[min(1, len(parts) - 1)]


def module_name(path):
    """`keras_encdec.layers` for `keras_encdec/layers/__init__.py`."""
    parts = Path(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path, source):
    """Every module that is imported, wherever in the file.

    In `from a import b`, b may be a module or not; the house's own are `a.b`, so that
    `from keras_encdec import text` counts as an import of `text`.
    """
    package = module_name(path).split(".")
    if Path(path).name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module.split(".")[0] != "keras_encdec":
                yield module
            else:
                yield from (f"{module}.{alias.name}" for alias in node.names)


def forbidden_imports(path, source):
    """Imports against the direction of the house, and of a backend's own package."""
    here = room(module_name(path))
    for module in imported_modules(path, source):
        top = module.split(".")[0]
        if top == "keras_encdec" and here not in DOORS:
            if room(module) not in IMPORTS.get(here, set()) | {here} | EVERYWHERE:
                yield f"{path}: {here} must not import {module}"
        elif here not in MAY_IMPORT.get(top, {here}):
            yield f"{path}: {here} must not import {top}"


def imports_on_arrival(path, source):
    """Heavy packages imported with the file, and not when first needed."""
    tree = ast.parse(source)
    inside_functions = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            if node not in inside_functions:
                for module in imported_modules(path, ast.unparse(node)):
                    if module.split(".")[0] in MAY_IMPORT:
                        yield f"{path}: import {module} where it is needed"


def backend_questions(path, source):
    """Places outside `backend` and `export` that ask which backend runs."""
    if room(module_name(path)) in MAY_ASK_WHICH_BACKEND_RUNS:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            asks = isinstance(node.func, ast.Attribute) and node.func.attr == "backend"
        elif isinstance(node, ast.ImportFrom):
            asks = (node.module or "").split(".")[0] == "keras" and any(
                alias.name == "backend" for alias in node.names
            )
        else:
            asks = isinstance(node, ast.Constant) and node.value == "KERAS_BACKEND"
        if asks:
            yield f"{path}:{node.lineno}: only backend and export may ask this"


def length(path, source):
    """Files too long to be read at a sitting, what they say of themselves left out."""
    lines = len(source.splitlines())
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
    if lines > MAX_LINES:
        yield f"{path}: {lines} lines without docstrings, at most {MAX_LINES}: split it"


def missing_docstrings(path, source):
    """Modules, and their public functions and classes, that say nothing."""
    tree = ast.parse(source)
    definitions = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
    ]
    for node in [tree, *definitions]:
        if not ast.get_docstring(node):
            yield f"{path}: {getattr(node, 'name', 'the module')} has no docstring"


def missing_test(path, root=ROOT):
    """A module without a test file in the same place under `tests`."""
    path = Path(path)
    if path.name not in ("__init__.py", "__main__.py"):
        test = Path("tests", *path.parts[1:-1], f"test_{path.name}")
        if not (root / test).is_file():
            yield f"{path}: {test} is missing"


RULES = [
    forbidden_imports,
    imports_on_arrival,
    backend_questions,
    length,
    missing_docstrings,
]


@pytest.fixture(scope="module")
def sources():
    paths = sorted(ROOT.glob("keras_encdec/**/*.py"))
    assert paths
    return {path.relative_to(ROOT): path.read_text("utf-8") for path in paths}


@pytest.mark.parametrize("rule", RULES)
def test_rule_holds(rule, sources):
    problems = [x for path, source in sources.items() for x in rule(path, source)]
    assert not problems, "\n".join(problems)


def test_every_module_has_a_test_file(sources):
    problems = [x for path in sources for x in missing_test(path)]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    "path, source",
    [
        ("layers/a.py", "import keras_encdec.text"),
        ("layers/a.py", "from keras_encdec import training"),
        ("layers/a.py", "from keras_encdec import EncoderDecoder"),
        ("layers/a.py", "from ..text.tokenizers import ByteTokenizer"),
        ("layers/a.py", "def f():\n    from keras_encdec.model import EncoderDecoder"),
        ("layers/__init__.py", "from .. import text"),
        ("generation/a.py", "from keras_encdec.generation import text_to_text"),
        ("model.py", "from keras_encdec.generation import Generator"),
        ("export.py", "from keras_encdec import cli"),
        ("backend.py", "from keras_encdec.layers import Attention"),
        ("layers/a.py", "import tensorflow as tf"),
        ("layers/a.py", "from tensorflow.data import Dataset"),
        ("model.py", "import keras_hub"),
        ("text/a.py", "import jax.numpy as jnp"),
        ("export.py", "import torch"),
        ("cli.py", "import tensorflow"),
    ],
)
def test_finds_forbidden_imports(path, source):
    assert list(forbidden_imports(f"keras_encdec/{path}", source))


@pytest.mark.parametrize(
    "path, source",
    [
        ("__init__.py", "from keras_encdec.model import EncoderDecoder"),
        ("cli.py", "from keras_encdec import export, text"),
        ("layers/a.py", "import keras\nfrom keras_encdec.layers.b import c"),
        ("layers/__init__.py", "from .a import b\nfrom ..backend import write_at"),
        ("model.py", "from keras_encdec.layers import Attention"),
        ("generation/text_to_text.py", "from keras_encdec.text.a import b"),
        ("text_to_text.py", "from keras_encdec.generation import Generator"),
        ("export.py", "from keras_encdec.generation.text_to_text import TextToText"),
        ("text/a.py", "import tensorflow_text\nimport sentencepiece"),
        ("backend.py", "import jax\nimport torch\nimport tensorflow"),
    ],
)
def test_allows_imports_along_the_way(path, source):
    assert not list(forbidden_imports(f"keras_encdec/{path}", source))


@pytest.mark.parametrize(
    "source, found",
    [
        ("import tensorflow as tf", True),
        ("try:\n    import torch\nexcept ImportError:\n    pass", True),
        ("class A:\n    from keras_hub import tokenizers", True),
        ("def f():\n    import tensorflow as tf", False),
        ("import keras", False),
    ],
)
def test_finds_heavy_imports_on_arrival(source, found):
    assert bool(list(imports_on_arrival("keras_encdec/text/a.py", source))) == found


@pytest.mark.parametrize(
    "path, source, found",
    [
        ("model.py", "keras.backend.backend() == 'jax'", True),
        ("model.py", "keras.config.backend()", True),
        ("model.py", "from keras.config import backend", True),
        ("cli.py", "import os\nos.environ['KERAS_BACKEND'] = 'jax'", True),
        ("model.py", "'''KERAS_BACKEND is not asked here.'''", False),
        ("model.py", "from keras_encdec import backend\nbackend.write_at()", False),
        ("backend.py", "keras.config.backend()", False),
        ("export.py", "keras.config.backend()", False),
    ],
)
def test_finds_questions_about_the_backend(path, source, found):
    assert bool(list(backend_questions(f"keras_encdec/{path}", source))) == found


def test_finds_long_files():
    assert not list(length("keras_encdec/a.py", "\n" * MAX_LINES))
    assert list(length("keras_encdec/a.py", "\n" * (MAX_LINES + 1)))
    words = '"""\n\n\n"""'
    documented = f"{words}\nclass A:\n    {words}\n    def f():\n        {words}\n"
    assert not list(length("keras_encdec/a.py", documented + "\n" * (MAX_LINES - 2)))
    assert list(length("keras_encdec/a.py", documented + "\n" * (MAX_LINES - 1)))


def test_finds_missing_docstrings():
    documented = "'''A.'''\ndef f():\n    '''B.'''\nclass _C: pass\ndef _d(): pass"
    assert not list(missing_docstrings("keras_encdec/a.py", documented))
    bare = "def f(): pass\nclass C: pass"
    assert len(list(missing_docstrings("keras_encdec/a.py", bare))) == 3


def test_finds_missing_test_files(tmp_path):
    (tmp_path / "tests" / "text").mkdir(parents=True)
    (tmp_path / "tests" / "text" / "test_a.py").touch()
    assert not list(missing_test("keras_encdec/text/a.py", tmp_path))
    assert not list(missing_test("keras_encdec/text/__init__.py", tmp_path))
    assert list(missing_test("keras_encdec/text/b.py", tmp_path))
    assert list(missing_test("keras_encdec/a.py", tmp_path))
