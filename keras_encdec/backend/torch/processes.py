"""What processes of PyTorch that share a training exchange, by torch.distributed."""

import atexit
import contextlib
import datetime
import os
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from keras_encdec.annotations import Tensor

# One process may learn a vocabulary, or write to a slow disk, while others wait. One
# that has died is known at once.
PATIENCE = datetime.timedelta(hours=2)

# The group in which CPUs exchange what is no tensor of a step, once one has joined.
_words: Any = None


def join() -> None:
    """Joins the processes that torchrun has started, or those of a group that is there.

    Raises:
        RuntimeError: If there is no group, and nothing that tells of one; or fewer GPUs
            than processes on this machine.
    """
    import torch

    global _words
    if _words is not None:
        return
    available = torch.distributed.is_available()
    if available and not torch.distributed.is_initialized():
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            raise RuntimeError(
                "On PyTorch a training is divided among processes, a device each; "
                "received one process alone. Start them by `torchrun --nproc-per-node "
                "N -m keras_encdec train ...`, with N the number of devices."
            )
        if torch.cuda.is_available():
            place, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
            if place >= gpus:
                raise RuntimeError(
                    "Each process has a GPU of its own; received process "
                    f"{place + 1} of this machine, which has {gpus}. Start as many."
                )
            torch.cuda.set_device(place)
        kinds = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        torch.distributed.init_process_group(kinds, timeout=PATIENCE)
        atexit.register(leave)
    if not available:
        raise RuntimeError(
            "Processes share a training by torch.distributed, which this PyTorch was "
            "built without. Install another one, or train in one process."
        )
    _words = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)
    if index() > 0:
        keras.config.disable_interactive_logging()


def leave() -> None:
    """Leaves the group, which ends for this process."""
    import torch

    global _words
    _words = None
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def count() -> int:
    """Returns the number of processes that have joined; 1 before `join`."""
    import torch

    return 1 if _words is None else torch.distributed.get_world_size()


def index() -> int:
    """Returns the number of this process, from 0."""
    import torch

    return 0 if _words is None else torch.distributed.get_rank()


def gathered(value: Any) -> list[Any]:
    """Returns a value of each process, in their order."""
    import torch

    values = [None] * count()
    torch.distributed.all_gather_object(values, value, group=_words)
    return values


def of_first(value: Any) -> Any:
    """Returns the value of the first process."""
    import torch

    values = [value]
    torch.distributed.broadcast_object_list(values, src=0, group=_words)
    return values[0]


def any_of(flags: Sequence[bool]) -> list[bool]:
    """Returns for each flag whether it is set in any process."""
    import torch

    tensor = torch.tensor(flags, dtype=torch.uint8)
    torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX, group=_words)
    return [bool(x) for x in tensor]


def share_variables(variables: Iterable[Any]) -> None:
    """Gives Keras variables the values that they have in the first process."""
    import torch

    with torch.no_grad():
        for variable in variables:
            value = variable.value.contiguous()
            torch.distributed.broadcast(value, src=0)
            variable.assign(value)


def assign(variable: Any, value: Any) -> None:
    """Gives a variable a value, in this process alone."""
    variable.assign(value)


def alone() -> contextlib.AbstractContextManager[None]:
    """Has what is made within be this process's own, as all is."""
    return contextlib.nullcontext()


def part_random_numbers() -> None:
    """Has each process but the first draw other numbers than the first."""
    import torch

    if index() > 0:
        state = torch.get_rng_state().numpy().tobytes()
        torch.manual_seed(zlib.crc32(state) + index())


def exchanged(
    values: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    totals: Sequence[Tensor] = (),
    *,
    sums: bool = False,
) -> tuple[list[Tensor], list[Tensor | None], list[Tensor]]:
    """Makes one step of what each process found of its rows, in one exchange.

    Args:
        values: The loss; means over the tokens of the rows; and last the weight of
            these tokens.
        gradients: The loss's, None for a variable that it does not depend on.
        totals: Tensors to be summed.
        sums: Whether the loss is a sum; else it is a mean over the tokens too.

    Returns:
        The same for all rows: of the mean over all tokens, or of the sum.
    """
    import torch

    loss, *means, weight = (x.detach() for x in values)
    there = [x for x in gradients if x is not None]
    tensors = [*there, loss, *means, weight, *totals]
    kind = torch.float32
    for tensor in tensors:
        kind = torch.promote_types(kind, tensor.dtype)
    flat = torch.cat([x.detach().reshape(-1).to(kind) for x in tensors])
    first = sum(x.numel() for x in there) + 1
    weighted = flat[:0] if sums else flat[:first]
    others = flat[first : first + len(means)]
    weighted *= weight
    others *= weight
    torch.distributed.all_reduce(flat)
    whole = flat[first + len(means)].clamp(min=keras.config.epsilon())
    weighted /= whole
    others /= whole
    parts = iter(
        part.view(x.shape).to(x.dtype)
        for part, x in zip(
            flat.split([x.numel() for x in tensors]), tensors, strict=True
        )
    )
    found = [None if x is None else next(parts) for x in gradients]
    summed = list(parts)
    number = len(values)
    return summed[:number], found, summed[number:]
