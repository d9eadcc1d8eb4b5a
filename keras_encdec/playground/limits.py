"""What of Gradio a page of texts and numbers has no use for, and refuses to anybody.

Gradio's routes would fetch any address for a visitor and take files; so would a file's
description that is sent in place of a text.
"""

import re
from collections.abc import Callable
from typing import Any

# All that fetches, gives or takes files, under whatever path the page is mounted.
_FILES = re.compile(
    r"/gradio_api/(file|proxy|upload|process_recording|component_server)"
)


class RefuseFiles:
    """An ASGI middleware that answers 403 where Gradio would fetch or take files.

    Args:
        app: The ASGI app that answers everything else.

    Example:
        ```python
        from keras_encdec.playground.limits import RefuseFiles

        async def answer(scope, receive, send): ...

        app = RefuseFiles(answer)
        ```
    """

    def __init__(self, app: Callable) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Callable, send: Callable) -> None:
        """Answers one request."""
        if scope["type"] == "http" and _FILES.search(scope["path"]):
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"No files here."})
        else:
            await self.app(scope, receive, send)


def require_plain(values: list[Any]) -> None:
    """Raises unless all that was sent is texts, numbers and None.

    Args:
        values: A list.

    Raises:
        ValueError: If a value is anything else.

    Example:
        ```python
        from keras_encdec.playground.limits import require_plain

        require_plain(["one text", 0.5, None])
        ```
    """
    for value in values:
        if not isinstance(value, str | int | float | None):
            raise ValueError(
                "The page takes texts and numbers alone; received a "
                f"{type(value).__name__}. Send what its form sends."
            )
