"""Checks of the options of samplers and processors, with one wording."""

import numbers


def require_size(name, size):
    """Raises unless a size is an integer of at least 1.

    Args:
        name: What to call it in the error.
        size: The value.

    Raises:
        ValueError: If it is not.
    """
    whole = isinstance(size, numbers.Integral) and not isinstance(size, bool)
    if not whole or size < 1:
        raise ValueError(f"{name} must be an integer of at least 1; received {size!r}.")


def require_one_of(name, choice, choices):
    """Raises unless an option is one of some choices.

    Args:
        name: What to call it in the error.
        choice: The value.
        choices: The values allowed.

    Raises:
        ValueError: If it is none of them.
    """
    if choice not in choices:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, choices))}; received "
            f"{choice!r}."
        )


def require_share(name, share):
    """Raises unless a probability is above 0 and at most 1.

    Args:
        name: What to call it in the error.
        share: The value.

    Raises:
        ValueError: If it is not.
    """
    if not 0 < share <= 1:
        raise ValueError(f"{name} must be above 0 and at most 1; received {share!r}.")
