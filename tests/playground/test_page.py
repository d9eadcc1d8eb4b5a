"""The page as a person uses it, in Chromium; and what it refuses before it opens."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from keras_encdec import (
    BeamSampler,
    ByteTokenizer,
    TopPSampler,
    build,
    open_playground,
)
from keras_encdec.playground.answers import MOST_CHARACTERS
from keras_encdec.playground.limits import RefuseFiles
from keras_encdec.playground.page import (
    _NAMES,
    _default,
    _request,
    _taken_by,
)

pytestmark = [
    pytest.mark.once,
    # The process that serves the page imports all that this one has.
    pytest.mark.timeout(900),
    # Gradio makes loops that it does not close.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = [
    str(ROOT / "saved_models" / name / "saved")
    for name in ("cmudict-g2p", "multi30k-en-de")
]
SMALL = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 1}
GIVEN = {
    "sampler": "as saved",
    "number": 4,
    "max_length": 8,
    "seed": 0,
    **{name: _default(None, name) for name in ("num_beams", "length_penalty", "k")},
    **{name: _default(None, name) for name in ("temperature", "p")},
    "phrases": "",
}


@pytest.fixture(scope="module")
def text_to_text():
    return build(ByteTokenizer(), ByteTokenizer(), max_length=4, **SMALL)


def why_not():
    """Why there is no browser to test in, or None."""
    for package in ("gradio", "playwright"):
        if importlib.util.find_spec(package) is None:
            return f"needs the package {package}, which the extra test brings"
    if shutil.which("chromium") is None:
        return "needs Debian's chromium: apt-get install chromium"
    return None


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page of the models that ship, as the command opens it in a process."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    said = tmp_path_factory.mktemp("page") / "stderr"
    # It compiles nothing under PyTorch.
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {"KERAS_BACKEND": "torch", "PYTHONPATH": os.pathsep.join(paths)}
    with (
        open(said, "w") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "keras_encdec", "playground", *SHIPPED]
            + ["--port", str(port)],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        try:
            line = process.stdout.readline()
            assert (
                line == f"Open http://127.0.0.1:{port}/ in a browser; Ctrl-C ends it.\n"
            ), said.read_text()
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
    assert "Traceback" not in said.read_text()


@pytest.fixture(scope="module")
def browser():
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Within a container it has no sandbox of its own.
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, address):
    """Opens the page in a new tab of some width; nothing is asked of anybody else."""
    asked, tabs = [], []

    def opened(width):
        tabs.append(browser.new_page(viewport={"width": width, "height": 900}))
        tab = tabs[-1]
        tab.set_default_timeout(120_000)
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: asked.append(f"error: {error}"))
        tab.goto(address)
        tab.wait_for_selector("#text textarea")
        return tab

    yield opened
    for tab in tabs:
        tab.close()
    assert asked and all(url.startswith((address, "data:", "blob:")) for url in asked)


def weights_of(tab, tokens):
    script = "all => all.map(each => +each.style.getPropertyValue('--weight'))"
    return tab.eval_on_selector_all(tokens, script)


def test_a_person_types_waits_reads_and_looks(opened, tmp_path):
    tab = opened(width=1000)
    tab.fill("#text textarea", "serendipity!")
    tab.press("#text textarea", "Enter")
    tab.wait_for_selector("#details-1 li")
    assert tab.inner_text("#details-0 .source .unknown") == "!"
    assert "'!'" in tab.inner_text("#details-0 .remark")
    assert tab.inner_text("#details-1 .source .unknown") == "serendipity!"
    tab.fill("#text textarea", "a man sleeping in a green room on a couch .")
    tab.click("#generate")
    wanted = "ein mann schläft in einem grünen raum auf einem sofa ."
    tab.wait_for_selector(f"#details-1 summary >> text={wanted}")
    assert tab.input_value("#answer-1 textarea") == wanted
    source = "a man sleeping in a green room on a couch . </s>".split()
    assert tab.locator("#details-1 .source .token").all_inner_texts() == source

    # Where it looked for a token, while the mouse is there or since it was chosen.
    shown = "#details-1 .source .token"
    tokens = tab.locator("#details-1 details[open] .token")
    assert tokens.all_inner_texts() == [*wanted.split(), "</s>"]
    rows = [
        [*map(float, tokens.nth(place).get_attribute("data-weights").split())]
        for place in range(tokens.count())
    ]
    # For "schläft" it looks at "sleeping".
    assert rows[2].index(max(rows[2])) == 2
    assert sum(rows[2]) == pytest.approx(1, abs=0.01)
    tokens.nth(1).click()
    assert weights_of(tab, shown) == rows[1]
    tokens.nth(2).hover()
    assert weights_of(tab, shown) == rows[2]
    tab.hover("h1")
    assert weights_of(tab, shown) == rows[1]
    tab.locator(shown).nth(2).click()
    looked = weights_of(tab, "#details-1 details[open] .token")
    assert looked == [row[2] for row in rows]
    tab.screenshot(path=tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")

    tab.fill("#text textarea", "")
    tab.click("#generate")
    tab.wait_for_selector("#details-1 .error")
    assert "received none" in tab.inner_text("#details-0 [role=alert]")
    assert tab.input_value("#answer-0 textarea") == ""


def test_on_a_phone_options_are_those_of_the_sampler_and_are_used(opened):
    tab = opened(width=390)
    wide = tab.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390  # Nothing is cut at the side.
    tab.click("text=Options")
    assert not tab.is_visible("text=Beams")
    tab.click("#sampler input")
    tab.click("ul[role=listbox] >> text=beam")
    tab.wait_for_selector("text=Length penalty")
    assert not tab.is_visible("text=Temperature")
    tab.fill("#phrases textarea", "EH D")
    tab.fill("#text textarea", "read")
    tab.click("#generate")
    tab.wait_for_selector("#details-1 .error")
    assert tab.input_value("#answer-0 textarea") == "R EH D"
    assert tab.locator("#details-0 li").count() == 4
    # Which the other model cannot say.
    assert "'EH', 'D' is not among them" in tab.inner_text("#details-1 .error")


def test_the_page_tells_nobody(address):
    with urllib.request.urlopen(f"{address}config", timeout=60) as answer:
        config = json.load(answer)
    assert config["analytics_enabled"] is False
    assert config["enable_queue"]


def test_listens_at_the_loopback_one_at_a_time_with_no_link_and_no_upload(
    text_to_text, monkeypatch, without_leftovers
):
    gradio = pytest.importorskip("gradio", reason="the extra test brings it")
    launched = {}
    monkeypatch.setattr(
        gradio.Blocks, "launch", lambda page, **options: launched.update(options)
    )
    page = open_playground(text_to_text, queue_size=3)
    assert launched["server_name"] == "127.0.0.1" and launched["share"] is False
    assert launched["max_file_size"] == "1kb" and launched["prevent_thread_lock"]
    (middleware,) = launched["app_kwargs"]["middleware"]
    assert middleware.cls is RefuseFiles
    assert page._queue.max_size == 3 and page._queue.default_concurrency_limit == 1
    assert not page.analytics_enabled
    (text,) = [x for x in page.blocks.values() if getattr(x, "elem_id", "") == "text"]
    assert text.max_length == MOST_CHARACTERS


def test_refuses_other_than_one_model_or_two_and_to_begin_without_gradio(
    text_to_text, monkeypatch
):
    for models, names in (((), None), ((text_to_text,) * 3, None)):
        with pytest.raises(ValueError, match="of one model, or of two"):
            open_playground(*models, names=names)
    with pytest.raises(ValueError, match="names"):
        open_playground(text_to_text, names=("a", "b"))
    with pytest.raises(ValueError, match="queue_size"):
        open_playground(text_to_text, queue_size=0)
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-encdec\[playground\]'"):
        open_playground(text_to_text)


def test_what_is_chosen_is_what_is_asked():
    request = _request("one", GIVEN | {"phrases": " a b \n\nc\n", "seed": 3})
    assert (request.text, request.sampler, request.number) == ("one", None, 4)
    assert (request.max_length, request.seed) == (8, 3)
    assert request.phrases == ("a b", "c")
    # A slider gives floats.
    beams = GIVEN | {"sampler": "beam", "num_beams": 3.0, "length_penalty": 0.5}
    assert _request("", beams).sampler == BeamSampler(3, length_penalty=0.5)
    top_p = GIVEN | {"sampler": "top_p", "p": 0.5, "temperature": 2}
    assert _request("", top_p).sampler == TopPSampler(temperature=2, p=0.5)
    assert _request(None, GIVEN | {"phrases": None}).text == ""


@pytest.mark.parametrize("name", ["seed", "number", "max_length", "num_beams"])
def test_a_number_that_is_missing_is_told(name):
    with pytest.raises(ValueError, match="Each number of the options is needed"):
        _request("one", GIVEN | {"sampler": "beam", name: None})


def test_the_numbers_of_a_sampler_are_its_own():
    assert [*_taken_by("beam")] == ["num_beams", "length_penalty"]
    assert [*_taken_by("greedy")] == [*_taken_by("as saved")] == []
    assert _default("min_p", "p") == 0.1 and _default("top_p", "p") == 0.9
    assert all(control in GIVEN for name in _NAMES for control in _taken_by(name))
