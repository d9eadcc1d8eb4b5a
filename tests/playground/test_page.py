"""The page as a person uses it, in Chromium; and what it refuses before it opens."""

import importlib.util
import json
import shutil
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from keras_encdec import (
    BeamSampler,
    ByteTokenizer,
    TextToText,
    TopPSampler,
    build,
    open_playground,
)
from keras_encdec.playground.page import _NAMES, _default, _request, _taken_by

pytestmark = pytest.mark.once

SAVED = Path(__file__).resolve().parents[2] / "saved_models" / "cmudict-g2p" / "saved"
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


def why_not():
    """Why there is no browser to test in, or None."""
    for package in ("gradio", "playwright"):
        if importlib.util.find_spec(package) is None:
            return f"needs the package {package}, which the extra test brings"
    if shutil.which("chromium") is None:
        return "needs Debian's chromium: apt-get install chromium"
    return None


@pytest.fixture(scope="module")
def text_to_text():
    return build(ByteTokenizer(), ByteTokenizer(), max_length=4, **SMALL)


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
def opened(browser):
    """Opens models in a new tab; returns it, and what was asked of which address."""
    pages = []

    def opened(*models, width=1000, **options):
        pages.append(open_playground(*models, **options))
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.set_default_timeout(120_000)
        asked = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: asked.append(f"error: {error}"))
        tab.goto(pages[-1].local_url)
        tab.wait_for_selector("#text textarea")
        return tab, asked

    yield opened
    for page in pages:
        page.close(verbose=False)


def test_a_person_types_waits_reads_and_looks(opened, tmp_path):
    text_to_text = TextToText.load(SAVED)
    other = text_to_text.with_sampler(BeamSampler(2))
    tab, asked = opened(text_to_text, other, names=("greedy", "two beams"))
    tab.fill("#text textarea", "serendipity!")
    tab.press("#text textarea", "Enter")
    tab.wait_for_selector("#details-1 li")
    for number, model in enumerate((text_to_text, other)):
        read = tab.input_value(f"#answer-{number} textarea")
        assert read == model(["serendipity!"])[0] != ""
        assert tab.inner_text(f"#details-{number} .source .unknown") == "!"
        assert "'!'" in tab.inner_text(f"#details-{number} .remark")
    assert tab.locator("#details-1 details").count() == 2

    # Where it looked for a token, while the mouse is there or since it was chosen.
    (alignment,) = text_to_text.align(["serendipity!"], text_to_text(["serendipity!"]))

    def weights():
        script = "all => all.map(x => +x.style.getPropertyValue('--weight'))"
        return tab.eval_on_selector_all("#details-0 .source .token", script)

    tokens = tab.locator("#details-0 details[open] .token")
    tokens.nth(1).click()
    assert weights() == pytest.approx(alignment.weights[1], abs=1e-3)
    tokens.nth(3).hover()
    assert weights() == pytest.approx(alignment.weights[3], abs=1e-3)
    tab.hover("h1")
    assert weights() == pytest.approx(alignment.weights[1], abs=1e-3)
    tab.locator("#details-0 .source .token").nth(2).click()
    script = "all => all.map(x => +x.style.getPropertyValue('--weight'))"
    looked = tab.eval_on_selector_all("#details-0 details[open] .token", script)
    assert looked == pytest.approx(alignment.weights[:, 2], abs=1e-3)

    tab.fill("#text textarea", "")
    tab.click("#generate")
    tab.wait_for_selector("#details-1 .error")
    assert "received none" in tab.inner_text("#details-0 [role=alert]")
    assert tab.input_value("#answer-0 textarea") == ""

    # Nothing is asked of anybody else, and no script failed.
    assert {url.split("/")[2].split(":")[0] for url in asked} == {"127.0.0.1"}
    tab.screenshot(path=tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def test_options_are_those_of_the_sampler_and_are_used(opened, text_to_text, eagerly):
    tab, asked = opened(text_to_text, width=390)
    wide = tab.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390  # Nothing is cut at the side of a phone.
    tab.click("text=Options")
    assert not tab.is_visible("text=Beams")
    tab.click("#sampler input")
    tab.click("ul[role=listbox] >> text=beam")
    tab.wait_for_selector("text=Length penalty")
    assert not tab.is_visible("text=Temperature")
    tab.fill("#phrases textarea", "ab")
    tab.fill("#text textarea", "x")
    tab.click("#generate")
    tab.wait_for_selector("#details-0 li")
    assert "ab" in tab.input_value("#answer-0 textarea")
    assert tab.locator("#details-0 li").count() == 4
    tab.fill("#phrases textarea", "abcde")
    tab.click("#generate")
    tab.wait_for_selector("#details-0 .error")
    assert "max_length" in tab.inner_text("#details-0 .error")


def test_the_page_listens_at_the_loopback_and_tells_nobody(text_to_text):
    pytest.importorskip("gradio", reason="the extra test brings it")
    page = open_playground(text_to_text, queue_size=3)
    try:
        assert page.server_name == "127.0.0.1" and page.share_url is None
        assert not page.analytics_enabled
        with urllib.request.urlopen(f"{page.local_url}config", timeout=10) as answer:
            config = json.load(answer)
        assert not config["analytics_enabled"]
        assert page._queue.max_size == 3
        assert {each.concurrency_limit for each in page.fns.values() if each.queue} <= {
            "default",
            1,
        }
        assert page._queue.default_concurrency_limit == 1
    finally:
        page.close(verbose=False)
    deadline = time.monotonic() + 10
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        while time.monotonic() < deadline:
            urllib.request.urlopen(page.local_url, timeout=1).close()


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
