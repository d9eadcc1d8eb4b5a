"""Connections between processes of JAX, by which one learns that another has died.

JAX itself waits for what a dead process owes until its heartbeat is missed, for 100
seconds, and then aborts without a word that a user understands. A connection ends with
its process.
"""

import atexit
import contextlib
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

# What an error has among its attributes that all processes raise.
OF_ALL = "of_all_processes"
_PATIENCE = 10  # Seconds to connect in.
_PAUSE = 1  # Second, which is long for a connection to end in.
_DONE = b"done"
# A machine that is gone closes nothing: it is asked after so many seconds, and again.
_KEPT_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}


class Lifelines:
    """Ends this process when another of a training dies, or tells that it has failed.

    The first process has a connection to each other one. What it learns of one it tells
    to all. Where no connection comes about there is JAX's heartbeat alone.

    Args:
        index: The number of this process.
        host: A name of the first process's machine, or None to take its own word.
        gathered: A function that returns a value of each process.
        end: A function that ends this process, with a sentence for its user.

    Attributes:
        has_failed: Whether this process has told the others so.

    Example:
        ```python
        from keras_encdec.backend.jax.lifelines import Lifelines

        lifelines = Lifelines(0, None, gathered=lambda value: [value])
        lifelines.leave()
        ```
    """

    def __init__(
        self,
        index: int,
        host: str | None,
        gathered: Callable[[Any], list[Any]],
        end: Callable[[str], None] | None = None,
    ) -> None:
        self._index, self._end = index, end or _end
        self._lock = threading.Lock()
        self._others: dict[int, socket.socket] = {}
        self._left = self.has_failed = False
        server, mine = None, None
        if index == 0:
            server = socket.create_server(("", 0))
            mine = server.getsockname()[1], secrets.token_hex(16), socket.gethostname()
        told = gathered(mine)
        port, token, name = told[0]
        if server is not None:
            self._run(self._accept, server, token, len(told))
            return
        for place in (host, name):
            with contextlib.suppress(OSError):
                first = socket.create_connection((place or name, port), _PATIENCE)
                first.settimeout(None)
                first.sendall(f"{token} {index}\n".encode())
                self._others[0] = _kept_alive(first)
                self._run(self._watch, 0, first)
                return

    def _run(self, function: Callable[..., None], *args: Any) -> None:
        threading.Thread(target=function, args=args, daemon=True).start()

    def _accept(self, server: socket.socket, token: str, count: int) -> None:
        with server, contextlib.suppress(OSError):
            server.settimeout(6 * _PATIENCE)
            while len(self._others) < count - 1:
                other, _ = server.accept()
                with contextlib.suppress(OSError, ValueError):
                    other.settimeout(_PATIENCE)
                    with other.makefile("rb", 0) as file:
                        said = file.readline(100).decode().split()
                    if said[:1] == [token]:
                        other.settimeout(None)
                        self._others[int(said[1])] = _kept_alive(other)
                        self._run(self._watch, int(said[1]), other)

    def _watch(self, number: int, other: socket.socket) -> None:
        said = b""
        with contextlib.suppress(OSError):
            while part := other.recv(4096):
                said += part
                if said.endswith(b"\n"):
                    break
        if said.strip() == _DONE:
            return
        with self._lock:
            if self._left:
                return
            words = said.decode("utf-8", "replace").strip()
            words = words or f"process {number} has died"
            self._tell(words)
            self._end(
                f"Processes that share a training end together: {words}. The same "
                "command, in all of them, goes on from the last checkpoint."
            )

    def _tell(self, words: str) -> None:
        for other in self._others.values():
            with contextlib.suppress(OSError):
                other.sendall(words.replace("\n", " ").encode() + b"\n")

    def fail(self, error: BaseException) -> None:
        """Ends the other processes, for this one has failed.

        Args:
            error: Why.
        """
        # An error that came of another's death is that one's, which is known at once.
        time.sleep(_PAUSE)
        with self._lock:
            if not self._left:
                self._left = self.has_failed = True
                reason = f"{type(error).__name__}: {error}".rstrip(". ")
                self._tell(f"process {self._index} has failed, {reason}")

    def leave(self) -> None:
        """Tells the others that this process needs them no more."""
        with self._lock:
            if not self._left:
                self._left = True
                self._tell(_DONE.decode())


def _kept_alive(connection: socket.socket) -> socket.socket:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEPT_ALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connection


def _end(sentence: str) -> None:
    # The main thread waits within JAX for what will not come, where no exception of
    # Python's reaches it. What is on the disk is whole whenever it ends.
    os.write(2, f"\n{sentence}\n".encode())
    os._exit(1)


def begin(
    index: int, host: str | None, gathered: Callable[[Any], list[Any]]
) -> Lifelines:
    """Returns the lifelines of this process, which end with it.

    Args:
        index: As in `Lifelines`, like the other two.
        host: Likewise.
        gathered: Likewise.
    """
    lifelines = Lifelines(index, host, gathered)

    def leave() -> None:
        error = getattr(sys, "last_value", None)
        if error is not None and OF_ALL not in vars(error):
            lifelines.fail(error)
        lifelines.leave()
        if lifelines.has_failed:  # JAX would wait for the others, which are no more.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)

    atexit.register(leave)
    return lifelines
