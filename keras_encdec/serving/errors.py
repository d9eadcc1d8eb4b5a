"""What goes wrong on the way to a model server, in one wording for both protocols."""

from typing import Any


class ServingError(RuntimeError):
    """What a model server says of a request that it refuses.

    Example:
        ```python
        from keras_encdec.serving import ServingError

        print(repr(ServingError("No such signature.")))
        ```
    """


def refused(address: str, code: Any, message: str) -> ServingError:
    """Returns the error for a request that the server refused."""
    return ServingError(f"The server at {address} refused ({code}): {message:.2000}")


def timed_out(address: str, seconds: float) -> TimeoutError:
    """Returns the error for an answer that did not come in time."""
    return TimeoutError(
        f"The server at {address} must answer within {seconds} seconds; it did not. "
        "Send smaller batches, or allow a longer timeout."
    )


def unreachable(address: str, cause: object) -> ConnectionError:
    """Returns the error for a server that is not there."""
    return ConnectionError(
        f"A model server must answer at {address}; it could not be reached ({cause}). "
        "Start it, or check address and protocol: REST and gRPC have ports of their "
        "own."
    )
