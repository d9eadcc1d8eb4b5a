"""What every test shares."""

import os
import warnings
from pathlib import Path

# Read when TensorFlow is first imported, hence before anything below.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # noqa: E402
import pytest  # noqa: E402
from keras.src import testing  # noqa: E402

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def seed():
    """Makes every test start from the same random state, whatever ran before."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of corpora beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the corpora in {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture
def run_layer_test():
    """Keras's own test of a layer, without the warnings it causes itself."""

    def run(layer, **kwargs):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`shuffle=True` was passed")
            testing.TestCase("run_layer_test").run_layer_test(layer, **kwargs)

    return run
