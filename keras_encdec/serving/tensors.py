"""The arrays that signatures take and give: their types, and strings in them."""

import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

# By the `kind` of a NumPy dtype: what may be cast to it.
ACCEPTED_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "iuf", "O": "O"}
RENAMED_DTYPES = {
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "string": "object",
}


class TensorSpec(typing.NamedTuple):
    """The type of a tensor that a signature takes or gives.

    Args:
        dtype: A `numpy.dtype`; strings are `object`.
        shape: A tuple, -1 where a size is open, or None if the rank is open too.

    Example:
        ```python
        import numpy as np
        from keras_encdec.serving import TensorSpec

        print(TensorSpec(np.dtype("int32"), (-1,)))
        ```
    """

    dtype: np.dtype
    shape: tuple | None


def find_signature(signatures: Any, name: str) -> Any:
    """Finds a signature among those of a model.

    Args:
        signatures: A dict from names to `SignatureDef`s, each as JSON.
        name: The signature's name.

    Returns:
        A pair of dicts, from its input names and from its output names to
        `TensorSpec`s.

    Raises:
        ValueError: If there is no such signature.

    Example:
        ```python
        from keras_encdec.serving import find_signature

        text = {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}]}}
        signatures = {"upper": {"inputs": {"text": text}, "outputs": {"text": text}}}
        print(find_signature(signatures, "upper"))
        ```
    """
    # TensorFlow's own, such as `__saved_model_init_op`, are not for requests.
    names = sorted(known for known in signatures if not known.startswith("__"))
    if name not in names:
        raise ValueError(
            f"A signature must be one of {', '.join(names)}; received {name!r}."
        )
    # JSON leaves out what is empty.
    return tuple(
        {name: _spec(info) for name, info in signatures[name].get(side, {}).items()}
        for side in ("inputs", "outputs")
    )


def _spec(info: Mapping[str, Any]) -> TensorSpec:
    dtype = info["dtype"].removeprefix("DT_").lower()
    shape = info.get("tensor_shape", {})
    sizes = tuple(int(size.get("size", 0)) for size in shape.get("dim", []))
    return TensorSpec(
        np.dtype(RENAMED_DTYPES.get(dtype, dtype)),
        None if shape.get("unknown_rank") else sizes,
    )


def cast_inputs(
    inputs: Mapping[str, Any], specs: Mapping[str, TensorSpec], signature: str
) -> dict[str, np.ndarray]:
    """Gives inputs the dtypes of their signature.

    Args:
        inputs: A dict from names to lists or arrays.
        specs: A dict from the signature's input names to `TensorSpec`s.
        signature: The signature's name, for errors.

    Returns:
        A dict from names to arrays; strings are `bytes` in arrays of `object`.

    Raises:
        TypeError: If values are not of the type that the signature takes.
        ValueError: If names are missing or unknown, or integers out of range.

    Example:
        ```python
        import numpy as np
        from keras_encdec.serving import TensorSpec, cast_inputs

        specs = {"seed": TensorSpec(np.dtype("int32"), (-1,))}
        print(cast_inputs({"seed": [1, 2]}, specs, "sample"))
        ```
    """
    if inputs.keys() != specs.keys():
        raise ValueError(
            f"The signature {signature!r} takes the inputs {', '.join(sorted(specs))}; "
            f"received {', '.join(sorted(inputs)) or 'none'}. Give these, no more and "
            "no less."
        )
    return {
        name: _cast(as_array(inputs[name], name), spec, name)
        for name, spec in specs.items()
    }


def _cast(array: np.ndarray, spec: TensorSpec, name: str) -> np.ndarray:
    dtype = spec.dtype
    # An empty list has no type of its own.
    if array.size and array.dtype.kind not in ACCEPTED_KINDS[dtype.kind]:
        wanted, received = (
            "strings" if kind.kind == "O" else kind for kind in (dtype, array.dtype)
        )
        raise TypeError(f"{name} must hold {wanted}; received {received}.")
    array = complete_shape(array, spec)
    if spec.shape is not None and not (
        array.ndim == len(spec.shape)
        and all(
            size in (-1, own) for size, own in zip(spec.shape, array.shape, strict=True)
        )
    ):
        raise ValueError(
            f"{name} must have the shape {list(spec.shape)}, where -1 is any size; "
            f"received {list(array.shape)}. Give a batch of one as a list, too."
        )
    cast = array.astype(dtype)
    if dtype.kind in "iu" and (cast != array).any():
        raise ValueError(
            f"{name} must fit {dtype}; received {array.min()} to {array.max()}."
        )
    return cast


def complete_shape(array: Any, spec: TensorSpec) -> np.ndarray:
    """Gives an empty array the rank of its spec, for lists end at an empty dimension.

    Args:
        array: An array.
        spec: Its `TensorSpec`.

    Returns:
        The array, with dimensions added if it is empty, of size 0 where the spec's
        are open.
    """
    if array.size or spec.shape is None:
        return array
    rest = spec.shape[array.ndim :]
    return array.reshape(array.shape + tuple(max(size, 0) for size in rest))


def as_array(value: Any, name: str) -> np.ndarray:
    """Makes an array of a list, in which strings are `bytes` in an array of `object`.

    Args:
        value: A list or array of strings, numbers or booleans.
        name: The name of the input, for errors.

    Returns:
        The array.

    Raises:
        TypeError: If `value` holds anything else.
        ValueError: If its rows differ in length.
    """
    # Not by NumPy's own strings, which drop zeros at their ends.
    try:
        array = np.array(value, object)
        if array.size and all(isinstance(item, (str, bytes)) for item in array.flat):
            # A lone surrogate becomes bytes that are not UTF-8, unknown but no error.
            encoded = [
                item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item
                for item in array.flat
            ]
            return np.array(encoded, object).reshape(array.shape)
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{name} must have rows of one length; received {value!r:.200}. Pad them."
        ) from error
    if array.size and array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} must hold strings alone or numbers alone; received {value!r:.200}."
        )
    return array


def as_strings(array: np.ndarray, name: str) -> np.ndarray:
    """Reads an array of `bytes` as TF Serving's names mean it.

    Args:
        array: An array of `bytes`, of dtype `object`.
        name: The output's name.

    Returns:
        The array, of `bytes` if the name ends in `_bytes`, and else of `str`, in which
        bytes that are not UTF-8 are U+FFFD.
    """
    if name.endswith("_bytes"):
        return array
    texts = [item.decode("utf-8", "replace") for item in array.flat]
    return np.array(texts, object).reshape(array.shape)
