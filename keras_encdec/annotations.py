"""Names for the types that hints say again and again."""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypedDict

# No checker knows the types of Keras and of the backends.
Tensor: TypeAlias = Any
# Tensors, alone or nested in tuples, lists and dicts.
Nested: TypeAlias = Any
# A `tf.function`, or what it is traced to.
TensorFunction: TypeAlias = Any
KerasModel: TypeAlias = Any

Text: TypeAlias = str | bytes
# Lists and arrays of texts, and string tensors.
Texts: TypeAlias = Sequence[Text] | Tensor
# Lists and arrays of ids, ragged ones too, and tensors.
Ids: TypeAlias = Sequence[Sequence[int]] | Tensor

AnyPath: TypeAlias = str | os.PathLike[str]

# For each row what it must hold: ids in turn, or alternatives of which one is enough.
Phrases: TypeAlias = Sequence[Sequence[Sequence[int] | Sequence[Sequence[int]]]]

# Sources and their targets.
Pairs: TypeAlias = tuple[Sequence[str], Sequence[str]]


class CallArgs(TypedDict, total=False):
    """Arguments of a call of a `TextToText` that do not change what it returns."""

    max_length: int | None
    seed: int
    batch_size: int | None
    progress: Callable[[int, int], None] | None
