"""A page fetches nothing and takes no files for whoever reaches it, mounted or not."""

import asyncio
import gc
import json
import warnings

import pytest

from keras_encdec import ByteTokenizer, build
from keras_encdec.playground.limits import require_plain
from keras_encdec.playground.page import make_page, page_options

pytestmark = [
    pytest.mark.once,
    # Gradio makes loops that it does not close.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

SMALL = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 1}


@pytest.fixture(scope="module")
def text_to_text():
    return build(ByteTokenizer(), ByteTokenizer(), max_length=4, **SMALL)


@pytest.fixture(scope="module", params=["/", "/below"])
def visitor(request, text_to_text):
    """Somebody who reaches the page in an app of one's own, and where it is there."""
    gradio = pytest.importorskip("gradio", reason="the extra test brings it")
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    page = make_page(text_to_text, queue_size=3)
    assert page._queue.max_size == 3 and page._queue.default_concurrency_limit == 1
    app = gradio.mount_gradio_app(FastAPI(), page, request.param, **page_options())
    with TestClient(app) as client:
        yield client, request.param.rstrip("/")
    # Gradio leaves loops open, of which Python would warn later.
    del client, app, page
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.set_event_loop(None)
        gc.collect()


@pytest.mark.parametrize(
    "method, route",
    [
        ("GET", "file=http://example.invalid/x"),
        ("GET", "file%3Dhttp%3A//example.invalid/x"),
        ("GET", "file/http://example.invalid/x"),
        ("GET", "proxy=https://example.invalid/x"),
        ("POST", "upload"),
        ("POST", "process_recording"),
        ("POST", "component_server"),
    ],
)
def test_fetches_and_takes_no_files_for_whoever_asks(visitor, method, route):
    client, below = visitor
    answer = client.request(method, f"{below}/gradio_api/{route}")
    assert (answer.status_code, answer.text) == (403, "No files here.")


def test_the_page_itself_is_there_with_its_looks(visitor):
    client, below = visitor
    config = client.get(f"{below}/config").json()
    assert config["css"].strip().startswith(".gradio-container")
    assert config["enable_queue"] and not config["footer_links"]
    assert client.get(f"{below}/").status_code == 200
    assert "system-ui" in client.get(f"{below}/theme.css").text


def test_a_file_in_place_of_a_text_is_refused_before_it_is_fetched(
    visitor, monkeypatch
):
    from gradio import processing_utils

    fetched = []

    async def fetch(url, **options):
        fetched.append(url)
        return ""

    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", fetch)
    client, below = visitor
    config = client.get(f"{below}/config").json()
    (inputs, place) = max(
        (len(each["inputs"]), each["id"]) for each in config["dependencies"]
    )
    address = "http://example.invalid/x"
    file = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
    joined = client.post(
        f"{below}/gradio_api/queue/join",
        json={"data": [file] * inputs, "fn_index": place, "session_hash": "a"},
    )
    assert joined.status_code == 200
    with client.stream(
        "GET", f"{below}/gradio_api/queue/data", params={"session_hash": "a"}
    ) as stream:
        told = [json.loads(line[6:]) for line in stream.iter_lines() if line]
    (end,) = [each for each in told if each["msg"] == "process_completed"]
    assert not end["success"] and "texts and numbers alone" in str(end["output"])
    assert fetched == []


def test_texts_numbers_and_nothing_are_plain():
    require_plain(["one", 1, 0.5, True, None])
    for value in ([], {}, ["one"]):
        with pytest.raises(ValueError, match=type(value).__name__):
            require_plain(["one", value])
