"""The command that writes texts as ids on disk: encode."""

import itertools
import shlex
from collections.abc import Sequence

from keras_encdec.cli.arguments import (
    Commands,
    Within,
    add_command,
    count,
    file_of_texts,
    file_of_vocabulary,
)
from keras_encdec.cli.checks import check_encode
from keras_encdec.cli.models import word
from keras_encdec.cli.program import program
from keras_encdec.interrupts import check_interrupt, interrupts_kept
from keras_encdec.training_options import Numbers

_TOLD_EACH = 1_000_000  # Pairs.


def add_commands(commands: Commands) -> None:
    """Adds this command to a parser."""
    added = add_command(
        commands,
        encode,
        "write texts as ids on disk, for a training larger than memory",
        "--source train.en --target train.de --vocabulary vocabulary.model "
        "--output corpus",
        "--source a.tsv.gz b.tsv.gz --vocabulary vocabulary.model --output corpus "
        "--min-length 1 --max-ratio 4 --drop-duplicates",
        check=check_encode,
    )
    added.add_argument(
        "--source",
        nargs="+",
        required=True,
        type=file_of_texts,
        help="files of source texts, a line each; or of source<tab>target; .gz too",
    )
    added.add_argument(
        "--target",
        nargs="+",
        type=file_of_texts,
        help="as many files of targets; if not given, they are beside the sources",
    )
    added.add_argument(
        "--vocabulary",
        required=True,
        type=file_of_vocabulary,
        help="SentencePiece model for both sides, as the command vocabulary writes it",
    )
    added.add_argument(
        "--tag",
        type=word,
        metavar="WORD",
        help="what to put at the head of each source, a symbol of the vocabulary; "
        "nothing if not given",
    )
    added.add_argument("--output", required=True, help="folder to write: corpus")
    added.add_argument(
        "--min-length",
        type=count,
        default=0,
        help="leave out pairs with a side of fewer tokens",
    )
    added.add_argument(
        "--max-ratio",
        type=Within(Numbers(kind=float, least=1)),
        help="leave out pairs one side of which has more times as many tokens; none "
        "if not given",
    )
    added.add_argument(
        "--drop-duplicates",
        action="store_true",
        help="leave out pairs that came before",
    )


def encode(
    source: Sequence[str],
    target: Sequence[str] | None,
    vocabulary: str,
    tag: str | None,
    output: str,
    min_length: int,
    max_ratio: float | None,
    drop_duplicates: bool,
) -> None:
    """Writes texts as a corpus of ids on disk, from which train begins at once.

    The texts are read once and never held; interrupted, even by a kill, it goes on
    where it was when the same command is given again.
    """
    from keras_encdec.printing import tell
    from keras_encdec.tags import tag_id
    from keras_encdec.text import SentencePieceTokenizer, encode_corpus, stream_pairs

    tokenizer = SentencePieceTokenizer(vocabulary)
    if tag is not None:
        tag_id(tokenizer, tag)  # Raises if there is none.
    told = 0

    def progress(read: int, kept: int) -> None:
        nonlocal told
        check_interrupt()
        if read - told >= _TOLD_EACH:
            told = read
            tell(f"{read:,} pairs read, {kept:,} kept")

    targets = [None] * len(source) if target is None else target
    files = zip(source, targets, strict=True)
    pairs = itertools.chain.from_iterable(itertools.starmap(stream_pairs, files))
    tagged = ((text if tag is None else f"{tag} {text}", true) for text, true in pairs)
    with interrupts_kept(until_checked=True):
        counts = encode_corpus(
            tagged,
            tokenizer,
            tokenizer,
            output,
            min_length=min_length,
            max_ratio=max_ratio,
            drop_duplicates=drop_duplicates,
            progress=progress,
        )
    left_out = ", ".join(
        f"{counts[kind]:,} {words}"
        for kind, words in (
            ("short", "too short"),
            ("uneven", "too uneven"),
            ("duplicates", "duplicates"),
        )
    )
    tell(
        f"{counts['kept']:,} of {counts['read']:,} pairs ({left_out}): {output}\n"
        f"Next: {program()} train --corpus {shlex.quote(output)} --output RUN"
    )
