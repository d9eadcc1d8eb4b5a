"""The time and the memory of a training step with and without rematerialization.

    python tests/benchmarks/rematerialization.py [--remat] [--layers 3] [--rows 4]

in a process of its own for each, for the peak of the memory is that of the process. The
width is 1024, with 16 heads and 4096 within; the updates are plain SGD.
"""

import argparse
import resource
import time

import keras
import numpy as np

from keras_encdec import EncoderDecoder, ProjectedLoss, TokenCrossEntropy

VOCABULARY = 1000


def peak():
    """The most memory that the process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main():
    """Takes some steps and prints what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--remat", action="store_true")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    sizes = {"hidden_dim": 1024, "intermediate_dim": 4096, "num_heads": 16}
    model = EncoderDecoder(
        VOCABULARY, **sizes, num_layers=options.layers, remat=options.remat
    )
    trained = ProjectedLoss(model)
    trained.compile(keras.optimizers.SGD(1e-3), TokenCrossEntropy())
    shape = options.rows, options.length
    ids = np.random.default_rng(0).integers(4, VOCABULARY, shape, dtype="int32")
    before, times = peak(), []
    for _ in range(options.steps):
        begun = time.perf_counter()
        loss = trained.train_on_batch((ids, ids[:, ::-1]), ids)
        times.append(time.perf_counter() - begun)
    print(
        f"{keras.config.backend()}, {'with' if options.remat else 'without'}: "
        f"{min(times):.2f} s a step, {peak() - before:,.0f} MB above the model's "
        f"{before:,.0f}, loss {float(np.ravel(loss)[0]):.6f}"
    )


if __name__ == "__main__":
    main()
