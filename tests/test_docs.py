"""The site: every public name has its place, every page is found, every link holds."""

import importlib
import inspect
import re
import tomllib
import xml.etree.ElementTree
from pathlib import Path

import pytest

import keras_encdec

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
REFERENCE = sorted((DOCS / "reference").glob("*.md"))
OF_THE_SITE = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.glob("**/*.md")),
    ROOT / "saved_models" / "README.md",
    ROOT / "tests" / "benchmarks" / "README.md",
]
# Those of the top level, and the model's, whose names all stand there.
ROOMS = [
    name for name, place in keras_encdec._places.items() if place == "keras_encdec"
]
ROOMS = [importlib.import_module(f"keras_encdec.{name}") for name in (*ROOMS, "model")]

FENCE = re.compile(r"^(`{3,}).*?^\1`*$", re.M | re.S)
CODE = re.compile(r"`[^`\n]+`")


def public_names(module):
    """`__all__`, or the functions and classes that a module defines."""
    return getattr(module, "__all__", None) or [
        name
        for name, it in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(it) or inspect.isclass(it))
        and it.__module__ == module.__name__
    ]


def find(path):
    """What a dotted path names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def documented():
    """Names on pages of the reference, and functions and classes under any name."""
    names, found = set(), []
    for page in REFERENCE:
        text = page.read_text("utf-8")
        for path in re.findall(r"^\.\. automodule:: (\S+)$", text, re.M):
            module = importlib.import_module(path)
            names.add(path)
            # Of constants it shows nothing.
            found += [
                it
                for it in (getattr(module, name) for name in public_names(module))
                if inspect.isclass(it) or inspect.isroutine(it)
            ]
        paths = re.findall(r"^\.\. auto(?:class|function|data):: (\S+)$", text, re.M)
        names.update(paths)
        found += [find(path) for path in paths]
    return names, found


def slugs(text):
    """The anchors of a page's headings, as hosts of code and MyST make them."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", FENCE.sub("", text), re.M)
    found = []
    for heading in headings:
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return found


def links(text):
    """What a page links to, but other sites."""
    text = CODE.sub("", FENCE.sub("", text))
    return re.findall(r"\]\((?!https?:|mailto:)<?([^)>\s]+)", text)


def broken_links(page):
    """The links of a page that lead nowhere."""
    broken = []
    for link in links(page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        place = page.parent / path if path else page
        if not place.exists():
            broken.append(link)
        elif anchor and anchor not in slugs(place.read_text("utf-8")):
            broken.append(link)
    return broken


def test_every_public_name_is_on_a_page_of_the_reference():
    names, found = documented()
    missing = [
        f"{room.__name__}.{name}"
        for room in ROOMS
        for name in public_names(room)
        if f"{room.__name__}.{name}" not in names
        and not any(getattr(room, name) is it for it in found)
    ]
    assert not missing
    assert {room.__name__ for room in ROOMS} <= names


def test_the_reference_lists_the_names_of_the_top_level():
    text = (DOCS / "reference" / "index.md").read_text("utf-8")
    listed = re.findall(r"^   ~(\S+)$", text, re.M)
    top = {
        name: place
        for name, place in keras_encdec._places.items()
        if place != "keras_encdec"
    }
    assert sorted(path.rpartition(".")[2] for path in listed) == sorted(top)
    _, found = documented()
    for path in listed:
        it = find(path)
        assert it is getattr(keras_encdec, path.rpartition(".")[2])
        assert any(it is other for other in found)


def test_every_page_is_in_the_table_of_contents():
    listed = set()
    for index in (DOCS / "index.md", DOCS / "reference" / "index.md"):
        listed.add(index)
        tables = re.findall(
            r"^```{toctree}\n(.*?)^```$", index.read_text("utf-8"), re.M | re.S
        )
        for line in "".join(tables).splitlines():
            if line and not line.startswith(":"):
                entry = re.sub(r"^.*<(.*)>$", r"\1", line)
                listed.add((index.parent / f"{entry}.md").resolve())
    assert {*OF_THE_SITE} == {path for path in listed if "*" not in path.name}


@pytest.mark.parametrize(
    "page", OF_THE_SITE, ids=lambda page: str(page.relative_to(ROOT))
)
def test_what_a_page_links_to_is_there(page):
    assert not broken_links(page)


def test_finds_links_that_lead_nowhere(tmp_path):
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# Other\n\n## A `part`, again\n\n## Other\n")
    page.write_text(
        "# A page\n\n[1](other.md) [2](other.md#a-part-again) [3](#a-page)\n"
        "[4](other.md#other-1) [5](other.md#part) [6](missing.md) [7](#other)\n"
        "[8](https://example.org/none.md) `[9](none.md)`\n"
        "```md\n# No heading\n[10](none.md)\n```\n![11](none.svg)\n[12](#no-heading)\n"
    )
    assert broken_links(page) == [
        "other.md#part",
        "missing.md",
        "#other",
        "none.svg",
        "#no-heading",
    ]


@pytest.mark.parametrize("name", ["training", "generation"])
def test_a_drawing_is_small_and_says_what_it_shows(name):
    path = DOCS / "images" / f"{name}.svg"
    drawing = xml.etree.ElementTree.fromstring(path.read_text("utf-8"))
    assert drawing.findtext("{http://www.w3.org/2000/svg}title")
    assert path.stat().st_size < 10_000
    shown = [page for page in OF_THE_SITE if f"images/{path.name}" in page.read_text()]
    assert shown


def test_the_tools_of_the_site_are_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pinned = (ROOT / "constraints.txt").read_text("utf-8")
    for package in project["optional-dependencies"]["docs"]:
        name, least = package.split(">=")
        (version,) = re.findall(rf"^{name}==([\d.]+)$", pinned, re.M)
        assert version.split(".") >= least.split(".")
