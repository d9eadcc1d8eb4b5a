"""Contenders in turn: A B A B, each in a process that waits while others work."""

import contextlib
import json
import os
import pathlib
import select
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class WorkerFailed(RuntimeError):
    """A contender could not do its work; the message holds the end of its output."""


class Worker:
    """A process that prepares once and then works for a round at a time.

    Args:
        order: What `worker.py` is given.
        backend: The Keras backend.
        log: The file of what it prints.
        checkout: The checkout of the library, if it is not this one.
        without: The library's shortcuts that are switched off.
        limit: The most seconds that an answer may take.
    """

    def __init__(self, order, backend, log, checkout="", without="", limit=1800.0):
        self._log, self._limit = log, limit
        # OpenMP's threads spin for some milliseconds after their work, as they do for
        # who works alone; asleep at once they cost PyTorch much of its speed.
        inherited = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        environment = {
            **inherited,
            "KERAS_BACKEND": backend,
            "KERAS_ENCDEC_WITHOUT": without,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            # Others of a GPU's memory are alive at the same time.
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "PYTHONPATH": os.pathsep.join(
                [checkout or str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
        }
        self._start = time.perf_counter()
        with open(log, "wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "worker.py"), json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=environment,
            )

    def prepare(self):
        """Returns the first answer, and `wall`, the seconds from the start to it."""
        answer = self._answer()
        return {**answer, "wall": time.perf_counter() - self._start}

    def round(self):
        """Lets it work for a round and returns its answer."""
        # Where it has died, the missing answer tells so.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(b"round\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        ready, _, _ = select.select([self._process.stdout], [], [], self._limit)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            self.close()
            reason = "died" if ready else f"gave no answer for {self._limit:.0f} s"
            output = pathlib.Path(self._log).read_text("utf-8", "replace")
            raise WorkerFailed(
                f"It {reason}; the end of {self._log}:\n{output[-2000:]}"
            )
        return json.loads(line)

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class FreshWorkers:
    """Like a `Worker`, but each round is a new process, whose first answer counts."""

    def __init__(self, *args):
        self._args = args

    def prepare(self):
        # Files come into the system's cache.
        return self.round()

    def round(self):
        worker = Worker(*self._args)
        answer = worker.prepare()
        worker.close()
        return answer

    def close(self):
        pass


def take_turns(starters, number, check=None, say=print):
    """Prepares all workers, then lets each work for a round in turn, many times.

    Args:
        starters: By name a function that starts a worker.
        number: The number of rounds.
        check: A function of the name and the first answer, which raises a `ValueError`
            where it is wrong.
        say: Called with lines on the progress.

    Returns:
        By name the first answers, the lists of the rounds' answers, and what failed.
    """
    workers, prepared, failures = {}, {}, {}

    def drop(name, error):
        failures[name] = str(error)
        say(f"  {name} FAILED: {error}")
        workers.pop(name).close()
        answers.pop(name, None)

    answers = {}
    try:
        for name, start in starters.items():
            workers[name] = start()
            try:
                # One after the other, or they would slow each other down.
                prepared[name] = workers[name].prepare()
                if check is not None:
                    check(name, prepared[name])
            except (WorkerFailed, ValueError) as error:
                drop(name, error)
                continue
            answers[name] = []
            numbers = {
                key: round(value, 2)
                for key, value in prepared[name].items()
                if isinstance(value, int | float)
            }
            say(f"  {name} is ready {numbers or ''}")
        for _ in range(number):
            for name in [*workers]:
                try:
                    answers[name].append(workers[name].round())
                except WorkerFailed as error:
                    drop(name, error)
    finally:
        for worker in workers.values():
            worker.close()
    return prepared, answers, failures


def spread(values):
    """Returns the median, the least and the greatest, as a dict."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }


def ratios(rounds, lower_is_better=False):
    """Compares all pairs round by round, so that what slows both down cancels out.

    Args:
        rounds: By name the values of the rounds.
        lower_is_better: Whether the values are, for instance, seconds.

    Returns:
        By two names, how many times as good the first is as the second: the spread of
        the quotients of the values of one round.
    """
    return {
        one: {
            other: spread(
                [
                    b / a if lower_is_better else a / b
                    for a, b in zip(values, others, strict=True)
                ]
            )
            for other, others in rounds.items()
            if other != one
        }
        for one, values in rounds.items()
    }
