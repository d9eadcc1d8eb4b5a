"""The command that tells what is installed, and what is missing for what: doctor."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping

import keras_encdec
from keras_encdec.cli.arguments import Commands, add_command

DISTRIBUTION = "keras-encdec"
# What each extra is for.
EXTRAS = {
    "hub": "checkpoints by their names, hf://owner/name",
    "demo": "keras-encdec demo",
    "jax": "the backend JAX",
    "torch": "the backend PyTorch",
    "tensorboard": "train --tensorboard",
    "plots": "the pictures of keras_encdec.plots, and keras-encdec report",
    "playground": "keras-encdec playground",
    "docs": "make docs, the site of the documentation",
    "ctranslate2": "export --format ctranslate2",
    "onnx": "export --format onnx",
    "openvino": "export --format openvino",
    "litert": "running what export --format litert writes",
    "byte-level-bpe": "learning --tokenizer byte-level-bpe",
    "serving": "gRPC, and export --warm-up",
}
# What processes of their own print: which is slow, and may fail.
PROGRAMS = {
    "keras": "import keras; print('backend', keras.config.backend())",
    "tensorflow": (
        "import tensorflow as tf; "
        "print(*(x.name for x in tf.config.list_logical_devices()))"
    ),
    "jax": "import jax; print(*jax.devices())",
    "torch": (
        "import torch; gpus = range(torch.cuda.device_count()); "
        "print('cpu', *(torch.cuda.get_device_name(i) for i in gpus))"
    ),
}
# Which variables of the environment change what is computed, and how fast. Not all that
# begin with TF_: Terraform's hold secrets.
PREFIXES = (
    *("KERAS_", "TF_CPP_", "TF_ENABLE_", "TF_FORCE_", "TF_NUM_", "TF_USE_", "TF_XLA_"),
    *("XLA_", "JAX_", "PYTORCH_", "OMP_", "CUDA_VISIBLE_"),
)
SECONDS = 120


def add_commands(commands: Commands) -> None:
    """Adds this command to a parser."""
    add_command(
        commands,
        doctor,
        "tell versions, devices and what is missing",
        "",
        "> report.txt",
        needs_keras=False,
    )


def doctor() -> None:
    """Tells versions, backends with their devices, and what is missing for what.

    It is made to stand in a report of a fault. Each backend is imported in a process of
    its own; the status is 2 if something that is always needed is missing or broken.
    """
    print(f"{DISTRIBUTION} {keras_encdec.__version__} in {keras_encdec.__path__[0]}")
    print(
        f"Python {platform.python_version()}, {platform.platform()}, "
        f"{os.cpu_count()} cores"
    )
    for name, value in sorted(os.environ.items()):
        if name.startswith(PREFIXES):
            print(f"{name}={value}")
    needed, extras = requirements()
    print("\nbackends")
    told = tell_programs(PROGRAMS)
    for name, (works, words) in told.items():
        state = words if works else f"does not work: {words}"
        print(f"  {name} {_version(name) or 'is missing'}: {state}")
    print("\nalways needed")
    problems = [line for line, is_fine in needed.values() if not is_fine]
    for line, _ in needed.values():
        print(f"  {line}")
    print("\nextras")
    for extra, packages in extras.items():
        missing = [line for line, is_fine in packages.values() if not is_fine]
        print(f"  {extra}: {', '.join(line for line, _ in packages.values())}")
        if missing:
            print(
                f"    for {EXTRAS[extra]}: pip install '{DISTRIBUTION}[{extra}]'",
            )
    if not told["keras"][0]:
        problems.append(f"Keras does not work: {told['keras'][1]}")
    if problems:
        raise RuntimeError(
            f"What is always needed must be there; received {'; '.join(problems)}. "
            f"Install it with `pip install {DISTRIBUTION}`, or set KERAS_BACKEND to a "
            "backend that works."
        )


def tell_programs(programs: Mapping[str, str]) -> dict[str, tuple[bool, str]]:
    """Runs programs of Python, each in a process, all at once.

    Args:
        programs: By names.

    Returns:
        A dict: whether it has worked, and the last line that it printed, or of its
        error.

    Example:
        ```python
        from keras_encdec.cli.doctor import tell_programs

        print(tell_programs({"python": "print('cpu')"}))  # {'python': (True, 'cpu')}
        ```
    """
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
        )
        for name, program in programs.items()
    }
    told = {}
    for name, process in processes.items():
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            told[name] = False, f"no answer within {SECONDS} s"
            continue
        works = process.returncode == 0
        lines = (out if works else err).strip().splitlines()
        told[name] = works, lines[-1] if lines else f"status {process.returncode}"
    return told


# Of each package its line, and whether it fits.
_Packages = dict[str, tuple[str, bool]]


def requirements() -> tuple[_Packages, dict[str, _Packages]]:
    """Compares what the distribution requires with what is installed.

    Returns:
        A pair of dicts: of each package that is always needed its line, such as
        `"keras 3.15.1"`, and whether it is there in a version that fits; and the same
        for each of `EXTRAS`.

    Raises:
        RuntimeError: If the distribution is not installed, only found on a path.

    Example:
        ```python
        from keras_encdec.cli.doctor import requirements

        needed, extras = requirements()
        print(needed["keras"], extras["onnx"])
        ```
    """
    needed: _Packages = {}
    extras: dict[str, _Packages] = {extra: {} for extra in EXTRAS}
    for text, extra in _required():
        name, line, is_fine = _compared(text)
        if extra is None:
            needed[name] = line, is_fine
        elif extra in extras:
            extras[extra][name] = line, is_fine
    return needed, extras


def _required() -> Iterator[tuple[str, str | None]]:
    """Yields what is required on this machine, and the extra that it is of, or None."""
    from packaging.requirements import Requirement

    try:
        texts = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise RuntimeError(
            f"What is required is read from what pip installed; {DISTRIBUTION} is only "
            f"found in {keras_encdec.__path__[0]}. Install it with `pip install`."
        ) from error
    for text in texts:
        marker = Requirement(text).marker
        if marker is None or marker.evaluate({"extra": ""}):
            yield text, None
            continue
        for extra in EXTRAS:
            if marker.evaluate({"extra": extra}):
                yield text, extra


def _compared(text: str) -> tuple[str, str, bool]:
    from packaging.requirements import Requirement

    required = Requirement(text)
    version = _version(required.name)
    wanted = f"{required.name}{required.specifier}"
    if version is None:
        return required.name, f"{wanted} is missing", False
    if not required.specifier.contains(version, prereleases=True):
        return required.name, f"{required.name} {version}, not {wanted}", False
    return required.name, f"{required.name} {version}", True


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
