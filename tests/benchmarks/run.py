"""The command: `python tests/benchmarks/run.py decoding`, and so on."""

import argparse
import pathlib
import sys

import comparisons
from contenders import CONTENDERS, chosen
from loading import loading
from report import describe, write
from rounds import ROOT
from sizes import SIZES
from translation import latency, translation

TASKS = {
    **comparisons.TASKS,
    "loading": loading,
    "translation": translation,
    "latency": latency,
}
DESCRIPTION = """\
Compares encoder-decoder Transformers of several libraries, given the same weights.

  decoding    new tokens a second: sources of 32 tokens, 64 new ones, greedy and beams
  training    sentences and tokens a second: Multi30k, and batches without padding
  memory      peak memory of some training steps with 32,000 ids
  cold-start  seconds to import, and to the first token of a saved model
  loading     seconds and peak memory to load a checkpoint of transformers
  translation sentences a second of a real file by the translator that ships, cold and
              warm, its memory and BLEU
  latency     milliseconds of one real sentence at a time
"""


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Contenders: " + ", ".join(CONTENDERS) + ".",
    )
    parser.add_argument("task", choices=TASKS)
    parser.add_argument(
        "--sizes", nargs="+", choices=SIZES, default=["tiny"], help="default: tiny"
    )
    parser.add_argument(
        "--dtype",
        choices=comparisons.LOSS_TOLERANCE,
        default="float32",
        help="in which to compute; bfloat16 is for GPUs; default: float32",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        metavar="NAME",
        help="the contenders, the first of which others are compared with; default: "
        "all of the task that are installed",
    )
    parser.add_argument(
        "--rounds", type=int, help="rounds of each contender; default: 5, of memory 1"
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=ROOT / "build" / "benchmarks",
        help="the folder of the results; default: build/benchmarks",
    )
    group = parser.add_argument_group("translation and latency")
    group.add_argument(
        "--lines",
        type=int,
        help="sentences of test 2016; default: 1000, of latency 200",
    )
    group = parser.add_argument_group("decoding")
    group.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    group.add_argument("--beams", nargs="+", type=int, default=[1, 5])
    group.add_argument(
        "--new-tokens", type=int, default=64, help="of each source; default: 64"
    )
    group.add_argument(
        "--seconds",
        type=float,
        default=0.5,
        help="a round repeats until it has taken as long; default: 0.5",
    )
    group = parser.add_argument_group("training and memory")
    group.add_argument(
        "--kinds",
        nargs="+",
        choices=["real", "full"],
        default=["real", "full"],
        help="Multi30k, batches without padding, or both (the default)",
    )
    group.add_argument(
        "--steps", type=int, default=8, help="optimizer steps a round; default: 8"
    )
    group.add_argument(
        "--sentences",
        type=int,
        default=128,
        help="sentences of Multi30k a step; default: 128",
    )
    group.add_argument(
        "--rows", type=int, default=64, help="sentences without padding; default: 64"
    )
    group.add_argument(
        "--row-tokens", type=int, default=64, help="tokens of these; default: 64"
    )
    group = parser.add_argument_group("loading")
    group.add_argument(
        "--checkpoint",
        type=pathlib.Path,
        help="a folder of transformers; default: a random BART of 302 million "
        "parameters, made in the output's folder",
    )
    options = parser.parse_args(arguments)
    if options.rounds is None:
        options.rounds = 1 if options.task == "memory" else 5
    try:
        options.contenders = chosen(options.peers, options.task)
    except (ValueError, ImportError) as error:
        parser.error(str(error))
    return options


def main(arguments=None):
    options = parse(arguments)
    (options.output / "logs").mkdir(parents=True, exist_ok=True)
    results = []
    for result in TASKS[options.task](options):
        results.append(result)
        print("\n".join(describe(result)), flush=True)
        # After each, so that an interruption loses one at most.
        write(options.output, options.task, results)
    for path in write(options.output, options.task, results):
        print(f"Wrote {path}")
    return 1 if any(result.failures for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
