"""Who takes part. A module here has the makers of the tasks its contenders know:

`make_decoder(variant, size, weights, source, beams, length)` returns a function without
arguments that returns ids `(B, L)`, a NumPy array;
`make_trainer(variant, size, weights, dropout)` returns an object with
`loss(batch)`, without dropout, and `train(batches)`, which returns when all is done. A
batch is `(source, target, labels)`, NumPy arrays of ids;
`make_translator(variant, saved, folder, beams, length)` returns a function from a list
of texts to a list of texts in pieces of words, by the `TextToText` in the folder
`saved`, or by what `save_translator`, with the same arguments, wrote into `folder`; its
`tune(work)`, if it has one, chooses that of several settings with which a function
that calls it is fastest, and says which in `setting`;
`loader()` returns a function of a checkpoint's folder, which loads it, and one of what
it returned, the sum of the largest value of each weight.
"""

import dataclasses
import importlib.util
import pathlib


@dataclasses.dataclass(frozen=True)
class Contender:
    module: str
    variant: str
    tasks: tuple
    packages: tuple
    # The value of KERAS_BACKEND, where Keras takes part.
    backend: str = "numpy"
    # Whether real sentences come in the library's buckets, not padded to one length.
    buckets: bool = False
    # Whether other ids than the others' are a fault.
    exact: bool = True
    # The library's shortcuts that are switched off, as in KERAS_ENCDEC_WITHOUT.
    without: str = ""
    # The checkout whose library takes part, if it is not this one.
    checkout: str = ""


ALL = ("decoding", "training", "cold-start", "memory")
TEXTS = ("translation", "latency")
OURS = (*ALL, "loading", *TEXTS)
TRAINING = ("training", "memory")
BACKEND_PACKAGES = {
    "tensorflow": ("tensorflow",),
    "jax": ("jax",),
    "torch": ("torch",),
}

CONTENDERS = {
    **{
        f"ours-{backend}": Contender(
            "ours", "keras", OURS, packages, backend=backend, buckets=True
        )
        for backend, packages in BACKEND_PACKAGES.items()
    },
    **{
        f"ours-{backend}-shortlist": Contender(
            "ours", "shortlist", TEXTS, packages, backend=backend
        )
        for backend, packages in BACKEND_PACKAGES.items()
    },
    "ours-tensorflow-jit": Contender(
        "ours", "jit", ("decoding", *TEXTS), ("tensorflow",), backend="tensorflow"
    ),
    "ours-torch-jit": Contender(
        "ours", "jit", TRAINING, ("torch",), backend="torch", buckets=True
    ),
    **{
        f"ours-{variant}": Contender(
            "saved_model",
            variant,
            ("decoding", *TEXTS),
            ("tensorflow",),
            backend="tensorflow",
        )
        for variant in ("saved-model", "saved-model-jit")
    },
    **{
        f"keras-hub-{backend}": Contender(
            "keras_hub", "keras", ALL, (*packages, "keras_hub"), backend=backend
        )
        for backend, packages in BACKEND_PACKAGES.items()
    },
    "hugging-face": Contender(
        "hugging_face",
        "eager",
        ("decoding", *TRAINING, "loading"),
        ("torch", "transformers"),
    ),
    "torch-transformer": Contender("torch_transformer", "eager", TRAINING, ("torch",)),
    "torch-transformer-compiled": Contender(
        "torch_transformer", "compiled", TRAINING, ("torch",)
    ),
    "ctranslate2": Contender(
        "ctranslate2",
        "float32",
        ("decoding", *TEXTS),
        ("ctranslate2", "tensorflow"),
        backend="tensorflow",
    ),
    "ctranslate2-int8": Contender(
        "ctranslate2",
        "int8",
        ("decoding", *TEXTS),
        ("ctranslate2", "tensorflow"),
        backend="tensorflow",
        exact=False,
    ),
    "ctranslate2-shortlist": Contender(
        "ctranslate2",
        "shortlist",
        TEXTS,
        ("ctranslate2", "tensorflow"),
        backend="tensorflow",
    ),
    # The ceiling of JAX: the same step without Keras, on our batches.
    "jax-by-hand": Contender("jax_by_hand", "jit", TRAINING, ("jax",), buckets=True),
}


def chosen(names, task):
    """Returns the named contenders of a task, all of them for no names.

    `NAME@FOLDER` is a contender with the library of another checkout, and
    `ours-BACKEND-without-SHORTCUT` one with a shortcut switched off.

    Raises:
        ValueError: If a name is unknown, or its contender has no part in the task.
        ImportError: If a package is not installed.
    """
    able = {name: c for name, c in CONTENDERS.items() if task in c.tasks}
    names = [*(names or able)]

    def parts(full_name):
        name, _, checkout = full_name.partition("@")
        name, _, without = name.partition("-without-")
        return name, without, checkout

    unknown = [
        full_name
        for full_name in names
        for name, without, _ in [parts(full_name)]
        if name not in able or (without and not name.startswith("ours-"))
    ]
    if unknown:
        raise ValueError(
            f"The contenders of {task} are {', '.join(able)}; received "
            f"{', '.join(unknown)}."
        )
    picked = {}
    for full_name in names:
        name, without, checkout = parts(full_name)
        if checkout and not (pathlib.Path(checkout) / "keras_encdec").is_dir():
            raise ValueError(
                f"A checkout must hold keras_encdec; received {full_name}."
            )
        picked[full_name] = dataclasses.replace(
            able[name], without=without, checkout=checkout
        )
    for name, contender in picked.items():
        for package in contender.packages:
            if importlib.util.find_spec(package) is None:
                raise ImportError(
                    f"{name} needs the package {package}, which is not installed. "
                    "Install all contenders with `pip install '.[bench]'`, or choose "
                    "others with --peers."
                )
    return picked
