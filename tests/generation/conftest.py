"""What the tests of generation share."""

import numpy as np
import pytest

from keras_encdec import EncoderDecoder


@pytest.fixture(scope="session")
def small_model():
    """A function that builds a model with the same weights under every backend."""

    def build(seed=1, **options):
        # With tied embeddings, random weights mostly repeat one token.
        options = {"num_heads": 2, "num_layers": 1, "tie_embeddings": False, **options}
        model = EncoderDecoder(20, 16, 32, **options)
        rng = np.random.default_rng(seed)

        def weight(variable):
            center = float(variable.path.endswith(("gamma", "scale")))
            spread = 0.1 if len(variable.shape) == 1 else 0.6
            return (center + spread * rng.normal(size=variable.shape)).astype("float32")

        model.set_weights([weight(variable) for variable in model.weights])
        return model

    return build
