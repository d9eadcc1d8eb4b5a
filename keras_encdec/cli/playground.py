"""The command that opens a page to try a model on: playground."""

import socket
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from keras_encdec.cli.arguments import (
    Commands,
    Within,
    add_command,
    add_modules,
    load_model,
    positive,
    saved_or_checkpoint,
)
from keras_encdec.cli.checks import check_models, require_packages
from keras_encdec.cli.models import add_languages
from keras_encdec.training_options import Numbers

LOOPBACK = "127.0.0.1"
# What is waited for, of which there is none but Ctrl-C.
ended = threading.Event
_port = Within(Numbers(kind=int, least=1, below=2**16))


def add_commands(commands: Commands) -> None:
    """Adds this command to a parser."""
    added = add_command(
        commands,
        playground,
        "open a page in the browser to try a model on, or two side by side",
        "runs/en-de",
        "runs/en-de runs/en-de-large --port 8000",
        check=check_playground,
    )
    added.add_argument(
        "saved",
        nargs="+",
        type=saved_or_checkpoint,
        metavar="RUN",
        help="folder that train or demo wrote, or of a checkpoint of transformers; or "
        "hf://owner/name of the hub; two stand side by side",
    )
    add_modules(added)
    add_languages(added)
    added.add_argument(
        "--host",
        default=LOOPBACK,
        help="address to listen at; 0.0.0.0 for whoever reaches this machine",
    )
    added.add_argument(
        "--port", type=_port, help="the first free from 7860 if not given"
    )
    added.add_argument(
        "--queue", type=positive, default=16, help="how many requests may wait"
    )
    added.add_argument(
        "--share",
        action="store_true",
        help="ask Gradio for a public link, through its servers",
    )


def check_playground(
    saved: Sequence[str], host: str, port: int | None, **options: Any
) -> None:
    """Refuses more than two models, to begin without gradio, and where none may listen.

    Args:
        saved: As in `playground`.
        host: Likewise.
        port: Likewise.
        **options: Likewise.

    Raises:
        ImportError: If gradio is missing.
        OSError: If it cannot listen there.
        ValueError: If there are more than two.
    """
    if len(saved) > 2:
        raise ValueError(
            "A playground is of one model, or of two side by side; received "
            f"{', '.join(map(repr, saved))}. Leave some out."
        )
    require_packages("A playground", "playground", "gradio")
    told = (options[x] for x in ("source_language", "target_language", "tag"))
    check_models(saved, None, *told)
    try:
        found = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as listening:
            # As servers do: what a closed connection leaves is no hindrance.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
    except (OSError, UnicodeError) as error:
        where = f"--host {host}" + (f" --port {port}" if port else "")
        words = getattr(error, "strerror", None) or str(error)
        raise OSError(
            "A playground listens at an address of this machine, at a port that is "
            f"free; received {where}: {words}. Choose another, or leave it out."
        ) from error


def playground(
    saved: Sequence[str],
    modules: Iterable[str],
    host: str,
    port: int | None,
    queue: int,
    share: bool,
    **languages: str | None,
) -> None:
    """Opens a page to type texts on and see what a model makes of them.

    It shows texts as they come, the n-best with scores, where the model looked, and
    which words it does not know; samplers, beams and phrases that must appear can be
    chosen. It is reached from this machine alone unless --host says otherwise, and
    answers one request at a time. Ctrl-C ends it.
    """
    from keras_encdec.playground import open_playground

    models = [load_model(place, modules, **languages) for place in saved]
    page = open_playground(
        *models,
        names=_names(saved),
        host=host,
        port=port,
        queue_size=queue,
        share=share,
    )
    try:
        place = page.share_url or page.local_url
        print(f"Open {place} in a browser; Ctrl-C ends it.", flush=True)
        if host not in (LOOPBACK, "localhost", "::1"):
            print(f"Whoever reaches {host} can use it.", flush=True)
        ended().wait()
    finally:
        page.close(verbose=False)


def _names(saved: Sequence[str]) -> tuple[str, ...]:
    """The ends of their paths, where these tell which is which."""
    short = tuple("/".join(place.rstrip("/").split("/")[-2:]) for place in saved)
    return short if len({*short}) == len(short) else tuple(saved)
