"""Servers that are not there, do not answer, or are none, are told apart."""

import contextlib
import http.server
import re
import socket
import threading

import pytest

from keras_encdec.serving import ServingClient, ServingError

pytestmark = pytest.mark.once


@pytest.fixture(params=["rest", "grpc"])
def protocol(request):
    return request.param


@contextlib.contextmanager
def answering(status, content):
    """A web server that gives one answer to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_no_server(protocol):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # And does not listen.
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        client = ServingClient(address, "model", protocol=protocol, timeout=20)
        with pytest.raises(
            ConnectionError, match=f"{address}; it could not be reached"
        ):
            client.predict({"text": ["a"]})


def test_a_server_that_does_not_answer(protocol):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        client = ServingClient(address, "model", protocol=protocol, timeout=0.2)
        with pytest.raises(TimeoutError, match=f"{address} must .* within 0.2 seconds"):
            client.predict({"text": ["a"]})


@pytest.mark.parametrize(
    "status, content, match",
    [
        (404, b'{"error": "Servable not found"}', "refused (404): Servable not found"),
        # Versions of TF Serving have written errors that are no JSON.
        (400, b'{ "error": "No values in \\\'instances\\\'" }', "No values in"),
        (503, b"busy \xff", "refused (503): busy \ufffd"),
        (200, b"<html>Welcome</html>", "refused (200): <html>Welcome"),
        (200, b"[1]", "refused (200): [1]"),
        (500, b"{}", "refused (500): {}"),
    ],
)
def test_answers_that_are_errors(status, content, match):
    with answering(status, content) as address:
        with pytest.raises(ServingError, match=re.escape(match)):
            ServingClient(address, "model").predict({"text": ["a"]})


def test_rest_at_the_port_of_something_else():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def speak():
            connection, _ = other.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"\0\0\0 not HTTP\r\n\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        client = ServingClient(f"127.0.0.1:{other.getsockname()[1]}", "model")
        with pytest.raises(ConnectionError, match="ports of their own"):
            client.predict({"text": ["a"]})
        thread.join()
