"""What every test shares.

Of what takes seconds nothing is imported here, but where it is used: the process that
only hands out tests to others reads this before these start.
"""

import asyncio
import contextlib
import fcntl
import functools
import gc
import importlib.util
import json
import os
import shutil
import signal
import tempfile
import warnings
from pathlib import Path

import pytest

# Read when TensorFlow is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if os.environ.get("KERAS_BACKEND") == "jax":
    # Tests compile much and compute little: this makes compiling twice as fast.
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
    # Many tests build the same model: what one process has compiled, all others read.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        COMPILED = tempfile.TemporaryDirectory()
        os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

# What TensorFlow says of pipelines where nothing is compiled: they are all the same.
PIPELINES = "Even though the `tf.config.experimental_run_functions_eagerly` option"

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def seed():
    """Makes every test start from the same random state, whatever ran before."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture
def interrupt():
    """Ctrl-C as Python hears it, also where the tests run in the background."""
    with _heard(signal.SIGINT, signal.default_int_handler) as call_handler:
        yield call_handler


@pytest.fixture
def terminate():
    """SIGTERM as Python hears it, whatever the tests before have set for it."""
    with _heard(signal.SIGTERM, signal.SIG_DFL) as call_handler:
        yield call_handler


@contextlib.contextmanager
def _heard(number, handler):
    """Gives a function that calls what handles a signal.

    The handler is called and no signal sent, which can end the process that runs the
    tests; what a signal does, tests of a process of its own show.
    """

    def call_handler():
        found = signal.getsignal(number)
        if found is not signal.SIG_IGN:
            found(number, None)

    before = signal.signal(number, handler)
    try:
        yield call_handler
    finally:
        # None is a handler that Python has not set, and cannot set again.
        signal.signal(number, signal.SIG_DFL if before is None else before)


@pytest.fixture
def eagerly():
    """Compiles nothing under TensorFlow: nearly all that a very small model takes.

    Pipelines of tf.data are compiled all the same, and say so in a warning.
    """
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def without_leftovers():
    """Drops the loops that Gradio leaves open, of which Python would warn later."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.set_event_loop(None)
        gc.collect()


def pytest_collection_modifyitems(items):
    # What commands and trainings do beside computing, nothing need be compiled for.
    for item in items:
        if item.get_closest_marker("once") and item.path.parent.name in ("cli", "run"):
            # Of its own: cases of a test share the list.
            item.fixturenames = [*item.fixturenames, "eagerly"]
        if "eagerly" in item.fixturenames:
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{PIPELINES}"))


@pytest.fixture(scope="session", autouse=True)
def quick_collections_in_session():
    """Has each module of tests, in which these are too, leave frozen what it found."""
    from keras_encdec.layers.part_states import quick_collections

    with quick_collections():
        yield


@pytest.fixture(scope="module", autouse=True)
def quick_collections_in_module(quick_collections_in_session):
    """Keeps what is there before a module of tests out of each search for garbage.

    A session holds a million objects: modules and compiled functions.
    """
    from keras_encdec.layers.part_states import quick_collections

    gc.collect()
    with quick_collections():
        yield


@pytest.fixture(scope="session")
def shared_data():
    """The folder of corpora beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the corpora in {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def load_test_module():
    """Imports a module of the tests, which are no package, by its path."""

    def load(path):
        path = Path(__file__).parent / path
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def checkpoint(load_test_module, tmp_path_factory):
    """Returns a small random checkpoint of transformers by its name, made once."""
    pytest.importorskip("transformers")
    module = load_test_module("pretrained/checkpoints.py")
    folder = tmp_path_factory.mktemp("checkpoints")
    return functools.cache(lambda name: module.Checkpoint(name, folder / name))


@pytest.fixture(scope="session")
def preset(load_test_module, shared_data, tmp_path_factory):
    """A folder: a small random Marian with the tokenizer of a published one."""
    transformers = pytest.importorskip("transformers")
    import torch

    module = load_test_module("pretrained/checkpoints.py")
    folder = tmp_path_factory.mktemp("preset")
    real = shared_data / "hugging_face" / "opus-mt-en-mg"
    for name in ("source.spm", "target.spm", "vocab.json", "tokenizer_config.json"):
        shutil.copy(real / name, folder)
    sizes = {x: v for x, v in module.BART_SIZES.items() if x != "vocab_size"}
    config = json.loads((real / "config.json").read_text()) | sizes
    config = transformers.MarianConfig(**config, attn_implementation="eager")
    model = transformers.MarianMTModel(config)
    module.draw(model)
    with torch.no_grad():
        # As published: padding starts the target and is never predicted.
        model.model.shared.weight[config.pad_token_id] = 0.0
        # Some texts are to end.
        model.final_logits_bias[0, config.eos_token_id] = 7.0
    model.save_pretrained(folder)
    said = {"num_beams": 4, "max_length": 12, "bad_words_ids": [[config.pad_token_id]]}
    said |= {"forced_eos_token_id": 0, "renormalize_logits": True, "eos_token_id": 0}
    for name in ("pad_token_id", "decoder_start_token_id"):
        said[name] = config.pad_token_id
    (folder / "generation_config.json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="session")
def family_folders(load_test_module):
    """The module that makes small tokenizers of every family."""
    return load_test_module("pretrained/folders.py")


@pytest.fixture(scope="session")
def multi30k(shared_data, family_folders):
    """Some sentences to learn from, and others, of two languages."""
    raw = shared_data / "multi30k" / "raw"
    learned = [
        line
        for x in ("en", "de")
        for line in family_folders.lines_of(raw / f"train.{x}.gz")[:2000]
    ]
    others = [
        line
        for x in ("en", "de")
        for line in family_folders.lines_of(raw / f"val.{x}.gz")
    ]
    return learned, others


@pytest.fixture(scope="session")
def family_folder(multi30k, family_folders, tmp_path_factory):
    """The folder of a family with its own vocabulary, `family_folder("t5")`."""
    root = tmp_path_factory.mktemp("families")
    return family_folders.maker(multi30k[0], root)


@pytest.fixture(scope="session")
def family_preset(family_folder, family_folders, load_test_module, tmp_path_factory):
    """A small random model with tokenizers of its family, `family_preset("t5 1.0")`."""
    pytest.importorskip("transformers")
    module = load_test_module("pretrained/checkpoints.py")
    root = tmp_path_factory.mktemp("presets")

    def make(name):
        tokenizers = module.PRESETS[name]
        languages = family_folders.LANGUAGES.get(tokenizers, (None, None))
        return module.Preset(name, family_folder(tokenizers), root / name, languages)

    return functools.cache(make)


@pytest.fixture(scope="session")
def program(load_test_module, tmp_path_factory, pytestconfig):
    """A server without Python, built once for all processes, and for later sessions."""
    module = load_test_module("serving/program.py")
    cache = getattr(pytestconfig, "cache", None)
    folder = cache.mkdir("program") if cache else tmp_path_factory.mktemp("program")
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return module.Program(folder / module.version())


@pytest.fixture
def run_layer_test():
    """Keras's own test of a layer, without the warnings it causes itself."""
    from keras.src import testing

    def run(layer, **kwargs):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`shuffle=True` was passed")
            testing.TestCase("run_layer_test").run_layer_test(layer, **kwargs)

    return run


@pytest.fixture
def copy_from_torch():
    """Draws the weights of a torch module and copies them into a layer built alike."""
    import torch

    def copy(layer, module):
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, 0.1, 0.3)
        _copy(layer, module)

    return copy


def _copy(layer, module):
    import torch

    if isinstance(module, torch.nn.Linear):
        layer.set_weights([_array(module.weight).T, _array(module.bias)])
    elif isinstance(module, torch.nn.LayerNorm):
        layer.set_weights([_array(module.weight), _array(module.bias)])
    elif isinstance(module, torch.nn.MultiheadAttention):
        kernels = (
            (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
            if module.in_proj_weight is None
            else module.in_proj_weight.chunk(3)
        )
        denses = layer.query_dense, layer.key_dense, layer.value_dense
        biases = module.in_proj_bias.chunk(3)
        for dense, kernel, bias in zip(denses, kernels, biases, strict=True):
            dense.set_weights([_array(kernel).T, _array(bias)])
        _copy(layer.output_dense, module.out_proj)
    else:
        decodes = isinstance(module, torch.nn.TransformerDecoderLayer)
        _copy(layer.self_attention, module.self_attn)
        _copy(layer.self_attention_norm, module.norm1)
        if decodes:
            _copy(layer.cross_attention, module.multihead_attn)
            _copy(layer.cross_attention_norm, module.norm2)
        _copy(layer.feed_forward.intermediate_dense, module.linear1)
        _copy(layer.feed_forward.output_dense, module.linear2)
        _copy(layer.feed_forward_norm, module.norm3 if decodes else module.norm2)


def _array(parameter):
    return parameter.detach().numpy()
