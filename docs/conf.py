"""The site of the documentation, by Sphinx: `make docs`.

The root of the repository is the root of the site, so that a link from one page to
another is the same here and where code is hosted.
"""

import os
import re
import sys
import textwrap
from pathlib import Path

from ipython_pygments_lexers import IPython3Lexer
from sphinx.util import inspect

ROOT = Path(__file__).resolve().parents[1]
# What is documented is what lies beside these pages, and needs no GPU.
sys.path.insert(0, str(ROOT))
os.environ.update(
    CUDA_VISIBLE_DEVICES="", KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="2"
)

import keras_encdec  # noqa: E402

project = "keras_encdec"
author = "The keras_encdec authors"
release = version = keras_encdec.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
root_doc = "docs/index"
include_patterns = [
    "*.md",
    "docs/**",
    "saved_models/README.md",
    "tests/benchmarks/README.md",
    "tutorials/*.ipynb",
]
exclude_patterns = [".*", "build", "runs", "docs/conf.py", "tutorials/saved_models"]

myst_heading_anchors = 4
# They are run by the tests.
nb_execution_mode = "off"

nitpicky = True
nitpick_ignore_regex = [
    # What is not ours, and what nobody writes by hand, has no page here.
    (r"py:.*", r"(?!keras_encdec\.).*"),
    (r"py:class", r"keras_encdec\..*(State|IdOptions|StoredTensor|CallArgs)"),
]

autodoc_default_options = {"members": True, "undoc-members": False}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autosummary_generate = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Call arguments", "params_style"), "Reference"]

html_theme = "furo"
html_title = f"keras_encdec {release}"
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]
# Leads from the root to the first page.
html_extra_path = ["site"]

# Fenced code, or code within a line with what follows it.
CODE = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$|`([^`]+)`(\w?)", re.M | re.S)


def markdown_to_rest(app, what, name, obj, options, lines):
    """Writes the code that docstrings hold as reStructuredText has it."""

    def written(found):
        indent, language, block, within, behind = found.groups()
        if within:
            return f"``{within}``" + (rf"\ {behind}" if behind else "")
        block = textwrap.indent(block, "    ")
        return f"\n{indent}.. code-block:: {language}\n\n{block}"

    lines[:] = CODE.sub(written, "\n".join(lines)).split("\n")


def signature_of_class(app, what, name, obj, options, signature, returns):
    """Returns the arguments of `__init__`, which Keras's `__new__` hides."""
    if what == "class" and signature and signature.startswith("(*args, **kwargs)"):
        arguments = inspect.signature(obj.__init__, bound_method=True)
        return inspect.stringify_signature(arguments), returns
    return None


def is_described_by_its_class(app, what, name, obj, skip, options):
    """Leaves out the fields of tuples, which say their numbers alone."""
    return True if str(obj.__doc__).startswith("Alias for field number") else None


def setup(app):
    """Has docstrings changed before napoleon, whose priority is 500, reads them."""
    app.connect("autodoc-process-docstring", markdown_to_rest, priority=400)
    app.connect("autodoc-process-signature", signature_of_class)
    app.connect("autodoc-skip-member", is_described_by_its_class)
    # Notebooks have commands of the shell among their Python.
    app.add_lexer("python", IPython3Lexer)
