"""The command that learns which tokens may translate each other: shortlist."""

from collections.abc import Iterable, Sequence
from typing import Any

from keras_encdec.cli.arguments import (
    Commands,
    add_command,
    add_pairs,
    add_saved,
    file_of_texts,
    new_file_place,
    positive,
    read_some_pairs,
)
from keras_encdec.cli.models import add_languages, searching_model
from keras_encdec.cli.search import add_search
from keras_encdec.cli.use_checks import check_shortlist
from keras_encdec.files import new_file


def add_commands(commands: Commands) -> None:
    """Adds this command to a parser."""
    added = add_command(
        commands,
        shortlist,
        "learn which target tokens each source may have, to generate faster",
        "runs/en-de --source train.en --target train.de --validation-source val.tsv "
        "--output shortlist.safetensors",
        check=check_shortlist,
    )
    add_saved(added)
    add_languages(added)
    add_pairs(added)
    added.add_argument(
        "--output",
        required=True,
        type=new_file_place,
        help="file to write, which generate --shortlist reads",
    )
    added.add_argument(
        "--validation-source",
        type=file_of_texts,
        help="texts to tell what it changes in, as --source those of train; none if "
        "not given",
    )
    added.add_argument(
        "--validation-target", type=file_of_texts, help="their targets, likewise"
    )
    added.add_argument(
        "--per-token",
        type=positive,
        default=200,
        help="most target tokens of a source token",
    )
    added.add_argument(
        "--of-all",
        type=positive,
        default=2000,
        help="frequent target tokens, which every text may have",
    )
    add_search(added, shortlist=False)


def shortlist(
    saved: Sequence[str],
    weights: Sequence[float] | None,
    modules: Iterable[str],
    source: str,
    target: str | None,
    output: str,
    validation_source: str | None,
    validation_target: str | None,
    per_token: int,
    of_all: int,
    **search: Any,
) -> None:
    """Learns which target tokens each source may have, from pairs of texts.

    Those are the pairs that the model was trained on, or like ones. With validation
    texts it is told how many of them are translated as without it, and how well. A
    shortlist gains most where the vocabulary is large and the model small.
    """
    from keras_encdec.lexicon import learn_shortlist
    from keras_encdec.printing import tell
    from keras_encdec.protocol import facts_of

    pairs = read_some_pairs("A shortlist", source, target)
    some = None
    if validation_source is not None:
        some = read_some_pairs("A validation", validation_source, validation_target)
    number = 0 if some is None else len(some[0])
    text_to_text, answers_to = searching_model(
        saved, modules, weights, number, **search
    )
    facts = facts_of(text_to_text.model)
    learned = learn_shortlist(
        text_to_text.encode(pairs[0]),
        text_to_text.encode(pairs[1], "target"),
        facts.source_vocabulary_size,
        facts.target_vocabulary_size,
        per_token=per_token,
        of_all=of_all,
    )
    with new_file(output) as file:
        learned.save(file)
    tell(f"{learned}\nWritten to {output}.")
    if some is None:
        return
    from keras_encdec.evaluation import evaluate_texts

    sources, references = some
    ids = text_to_text.encode(sources)
    before = [*answers_to(ids)]
    text_to_text.generator.shortlist = learned
    after = [*answers_to(ids)]
    same = sum(x == y for x, y in zip(before, after, strict=True))
    references = text_to_text.target_tokenizer.join(references)
    print(f"{same / len(ids):.1%} of {len(ids):,} texts are as without it")
    for words, texts in (("without it", before), ("with it", after)):
        print(f"BLEU {evaluate_texts(sources, texts, references).bleu:.2f} {words}")
