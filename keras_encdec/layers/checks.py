"""Checks of constructor arguments, with one wording."""

import numbers


def require_positive(**sizes):
    """Raises unless every named size is a positive integer.

    Args:
        **sizes: Argument names and their values.

    Raises:
        ValueError: If a value is not an integer above zero.

    Example:
        ```python
        from keras_encdec.layers.checks import require_positive

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


def require_one_of(choices, **options):
    """Raises unless every named option is one of the choices.

    Args:
        choices: The values allowed.
        **options: Argument names and their values.

    Raises:
        ValueError: If a value is not among the choices.

    Example:
        ```python
        from keras_encdec.layers.checks import require_one_of

        require_one_of(("layer", "rms"), norm="rms")
        ```
    """
    for name, value in options.items():
        if value not in choices:
            raise ValueError(
                f"{name} must be one of {', '.join(map(repr, choices))}; received "
                f"{name}={value!r}."
            )
