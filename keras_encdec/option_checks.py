"""Checks of the options of a constructor or a call, with one wording."""

import numbers
from collections.abc import Collection


def require_positive(**sizes: object) -> None:
    """Raises unless every named size is a positive integer.

    Args:
        **sizes: Argument names and their values.

    Raises:
        ValueError: If a value is not an integer above zero.

    Example:
        ```python
        from keras_encdec.option_checks import require_positive

        require_positive(hidden_dim=128, num_heads=4)
        ```
    """
    for name, value in sizes.items():
        if (
            not isinstance(value, numbers.Integral)
            or isinstance(value, bool)
            or value < 1
        ):
            raise ValueError(
                f"{name} must be a positive integer; received {name}={value!r}. "
                "Give a size of at least 1."
            )


def require_number(lowest: float, highest: float, **options: object) -> None:
    """Raises unless every named option is a number in a range.

    Args:
        lowest: The least value.
        highest: The greatest value.
        **options: Argument names and their values.

    Raises:
        ValueError: If a value is no number, or out of range.

    Example:
        ```python
        from keras_encdec.option_checks import require_number

        require_number(0, 1, dropout=0.1)
        ```
    """
    for name, value in options.items():
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not (is_number and lowest <= value <= highest):  # type: ignore[operator]
            raise ValueError(
                f"{name} must be a number from {lowest} to {highest}; received "
                f"{name}={value!r}."
            )


def require_one_of(choices: Collection, **options: object) -> None:
    """Raises unless every named option is one of the choices.

    Args:
        choices: The values allowed.
        **options: Argument names and their values.

    Raises:
        ValueError: If a value is not among the choices.

    Example:
        ```python
        from keras_encdec.option_checks import require_one_of

        require_one_of(("layer", "rms"), normalization="rms")
        ```
    """
    for name, value in options.items():
        if value not in choices:
            raise ValueError(
                f"{name} must be one of {', '.join(map(repr, choices))}; received "
                f"{name}={value!r}."
            )


def require_share(**shares: float) -> None:
    """Raises unless every named option is above 0 and at most 1.

    Args:
        **shares: Argument names and their values.

    Raises:
        ValueError: If a value is not.

    Example:
        ```python
        from keras_encdec.option_checks import require_share

        require_share(p=0.9)
        ```
    """
    for name, value in shares.items():
        if not 0 < value <= 1:
            raise ValueError(
                f"{name} must be above 0 and at most 1; received {name}={value!r}."
            )
