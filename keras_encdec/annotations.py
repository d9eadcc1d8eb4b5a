"""Names for the types that hints say again and again."""

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

# No checker knows the types of Keras and of the backends.
Tensor: TypeAlias = Any
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
