"""The command playground: a page that opens and ends, and what it refuses at once."""

import importlib.util
import socket
import sys

import pytest

from keras_encdec import ByteTokenizer, build
from keras_encdec.cli import main
from keras_encdec.cli.playground import _names

pytestmark = pytest.mark.once
with_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="the extra test brings gradio"
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    small = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 1}
    folder = tmp_path_factory.mktemp("playground") / "saved"
    build(ByteTokenizer(), ByteTokenizer(), max_length=4, **small).save(folder)
    return folder


class Page:
    """A page that is opened, and ended by Ctrl-C."""

    local_url, share_url = "http://127.0.0.1:7860/", None
    is_open = True

    def close(self, verbose):
        self.is_open = False


@with_gradio
def test_opens_a_page_until_it_is_interrupted(saved, capsys, monkeypatch):
    opened, page = {}, Page()

    def open_playground(*models, **options):
        opened.update(options, models=models)
        return page

    class Ended:
        def wait(self):
            assert page.is_open
            raise KeyboardInterrupt

    monkeypatch.setattr("keras_encdec.playground.open_playground", open_playground)
    monkeypatch.setattr("keras_encdec.cli.playground.ended", Ended)
    with socket.socket() as free:
        free.bind(("0.0.0.0", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--queue", "3", "--host", "0.0.0.0"]
    assert main(["playground", str(saved), *options]) == 130
    assert not page.is_open
    (model,) = opened.pop("models")
    assert model.max_length == 4
    assert opened.pop("names") == (f"{saved.parent.name}/saved",)
    listening = {"host": "0.0.0.0", "port": port}
    assert opened == {**listening, "queue_size": 3, "share": False}
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "Open http://127.0.0.1:7860/ in a browser; Ctrl-C ends it.",
        "Whoever reaches 0.0.0.0 can use it.",
    ]


def test_refuses_at_once_what_is_no_run(tmp_path, error_of):
    said = error_of("playground", tmp_path / "none")
    assert "'" + str(tmp_path / "none") + "', which is not there" in said
    assert "model.keras is missing" in error_of("playground", tmp_path)


@with_gradio
def test_refuses_a_port_that_is_taken_and_an_address_of_another(saved, error_of):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        taken = listening.getsockname()[1]
        said = error_of("playground", saved, "--port", taken)
        assert f"--port {taken}: Address already in use" in said
    assert "--host 192.0.2.1" in error_of("playground", saved, "--host", "192.0.2.1")
    assert "--host a..b" in error_of("playground", saved, "--host", "a..b")
    assert "--port: must be" in error_of("playground", saved, "--port", "70000")


def test_refuses_three_models_and_to_begin_without_gradio(saved, error_of, monkeypatch):
    assert "of two side by side" in error_of("playground", saved, saved, saved)
    monkeypatch.setitem(sys.modules, "gradio", None)
    said = error_of("playground", saved)
    assert "pip install 'keras-encdec[playground]'" in said


def test_models_have_the_names_that_tell_them_apart():
    assert _names(["runs/a/", "/x/y/runs/b"]) == ("runs/a", "runs/b")
    assert _names(["x/runs/a", "y/runs/a"]) == ("x/runs/a", "y/runs/a")
    assert _names(["a"]) == ("a",)
