"""Runs a program in two processes, as torchrun does, or with the variables of Keras."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Of programs that train in a `folder`, behind what they import: a training, and whether
# two of them came to the same.
TRAINING = """
words = [x * (1 + i % 5) for i, x in enumerate("abcdefghijklmnopqrstuvwxyzabc")]
sizes = {"hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2, "num_layers": 1}
tokenizer = ByteTokenizer()


def built(seed=0, dropout=0.0):
    keras.utils.set_random_seed(seed)
    return build(tokenizer, tokenizer, max_length=8, dropout=dropout, **sizes)


def trained(name=None, callbacks=(), dropout=0.0, **options):
    text_to_text = built(dropout=dropout)
    options = {"epochs": 2, "batch_tokens": 48, "num_shapes": 1, **options}
    logs = train(
        *(text_to_text, words, words),
        validation=(words[:3], words[:3]),
        folder=None if name is None else f"{folder}/{name}",
        callbacks=callbacks,
        verbose=0,
        learning_rate=1e-2,
        **options,
    )
    assert text_to_text(words[:2], max_length=4)
    # A key's bias changes no attention: what moves it is rounding.
    weights = [
        keras.ops.convert_to_numpy(x)
        for x in text_to_text.model.weights
        if not x.path.endswith("key/bias")
    ]
    return logs, weights


def check_same(found, expected, name):
    for logs, others in zip(found[0], expected[0], strict=True):
        assert logs.keys() == others.keys()
        for key, value in others.items():
            np.testing.assert_allclose(logs[key], value, 1e-5, 1e-5, err_msg=key)
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(one, other, 1e-5, 1e-5, err_msg=name)
"""

# Behind it: what goes wrong in one process of a training.
FAILING = """
import time


class Signalled(keras.callbacks.Callback):
    # The second process is sent a signal within the second epoch.
    def __init__(self, number):
        super().__init__()
        self.number, self.epoch = number, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (rank, self.epoch, batch) == (1, 1, 1):
            print("killed at", time.time(), flush=True)
            os.kill(os.getpid(), self.number)


def fails_with_a_full_disk(name, **options):
    # The best model of the second epoch cannot be written by the first process.
    save, left = TextToText.save, [1]

    def full(self, *args, **kwargs):
        if left.pop():
            left.append(0)
            return save(self, *args, **kwargs)
        left.append(0)
        raise OSError(28, "No space left on device")

    TextToText.save = full
    try:
        trained(name, **options)
    except OSError as error:
        assert "No space left on device" in str(error), error
    else:
        raise AssertionError("the disk was not full")
    finally:
        TextToText.save = save
"""


def run_both(program, *arguments):
    """Runs a program twice, with its rank as the last argument.

    Returns, for each, its exit status and all that it said.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(2):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
        variables = {name: str(value) for name, value in place.items()}
        variables |= {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
        variables |= {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
            "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
            "KERAS_DISTRIBUTION_PROCESS_ID": str(rank),
        }
        child = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments), str(rank)],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        children.append(child)
    try:
        said = [child.communicate()[0] for child in children]
    finally:
        for child in children:
            child.kill()  # What waits for ever is ended with the test.
            child.wait()
            child.stdout.close()
    return [(child.returncode, x) for child, x in zip(children, said, strict=True)]


def check_both(program, *arguments):
    """Runs a program twice, which is to succeed; returns what each said."""
    results = run_both(program, *arguments)
    for status, said in results:
        assert status == 0, said
    return [said for _, said in results]


def run_alone(program, *arguments):
    """Runs a program once, which is to succeed; returns what it printed."""
    child = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return child.stdout
