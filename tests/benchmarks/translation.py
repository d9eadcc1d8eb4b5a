"""The translator that ships on real sentences: a whole file, or a line at a time."""

import numpy as np
from batches import CORPUS, read_sentences
from comparisons import starters
from report import Result
from rounds import ROOT, take_turns

SAVED = ROOT / "saved_models" / "multi30k-en-de" / "saved"
MOST_TOKENS = 64
# Of one contender's BLEU from that of the first: beams may stop by other rules.
BLEU_TOLERANCE = 1.0


def translation(options):
    lines = options.lines or 1000
    for beams in options.beams:
        title = f"translation, {lines:,} sentences, {way(beams)}"
        prepared, answers, failures, notes, tokens = _taken_turns(
            options, title, "translation", lines, beams
        )

        yield Result(
            title,
            "sentences/s",
            {name: [lines / x["seconds"] for x in xs] for name, xs in answers.items()},
            prepared,
            failures,
            notes,
            also={"target tokens/s": tokens / lines},
        )
        yield Result(
            title,
            "seconds from the start of the process to the last line, cold",
            {name: [prepared[name]["wall"]] for name in answers},
            lower_is_better=True,
        )
        yield Result(
            title,
            "MB at the peak",
            {name: [x["megabytes"] for x in xs] for name, xs in answers.items()},
            lower_is_better=True,
        )


def latency(options):
    lines = options.lines or 200
    for beams in options.beams:
        title = f"latency, {lines:,} sentences one by one, {way(beams)}"
        prepared, answers, failures, notes, _ = _taken_turns(
            options, title, "latency", lines, beams
        )
        for metric, share in (("median", 50), ("95th percentile", 95)):
            rounds = {
                name: [1000 * np.percentile(x["seconds"], share) for x in xs]
                for name, xs in answers.items()
            }
            yield Result(
                title,
                f"ms, {metric}",
                rounds,
                prepared,
                failures,
                notes,
                lower_is_better=True,
            )


def way(beams):
    return "greedy" if beams == 1 else f"{beams} beams"


def _taken_turns(options, title, task, lines, beams):
    if not CORPUS.is_dir():
        raise SystemExit(f"{title} needs the corpus in {CORPUS}.")
    print(title, flush=True)

    def folder(name):
        name = f"translator-{name.replace('/', '_')}"
        return str((options.output / "saved" / name).resolve())

    order = {
        "saved": str(SAVED),
        "lines": lines,
        "beams": beams,
        "length": MOST_TOKENS,
    }
    exports = starters(options, {**order, "task": "translator"}, folder=folder)
    for start in exports.values():
        worker = start()
        worker.prepare()
        worker.close()
    check, notes, tokens = good_texts(read_sentences("test.2016.de", lines))
    begin = starters(options, {**order, "task": task}, folder=folder)
    prepared, answers, failures = take_turns(begin, options.rounds, check)
    for name, of_rounds in answers.items():
        notes += [f"{name}: {x['setting']}" for x in of_rounds[:1] if "setting" in x]
    return prepared, answers, failures, notes, next(iter(tokens), 0)


def good_texts(references):
    """Returns a check that all translate as well, its notes, and each one's tokens."""
    import sacrebleu

    true = [joined(text) for text in references]
    known, notes, tokens = [], [], []

    def check(name, answer):
        pieces = answer.pop("texts")
        texts = [joined(text) for text in pieces]
        bleu = sacrebleu.BLEU(tokenize="none", force=True)
        score = bleu.corpus_score(texts, [true]).score
        known.append((score, texts))
        # The end of each counts.
        tokens.append(sum(len(text.split()) + 1 for text in pieces))
        same = np.mean([x == y for x, y in zip(texts, known[0][1], strict=True)])
        notes.append(
            f"{name}: BLEU {score:.2f}, {tokens[-1]:,} tokens, {same:.1%} of the texts "
            "are the first's"
        )
        if abs(score - known[0][0]) > BLEU_TOLERANCE:
            raise ValueError(f"BLEU {score:.2f}, and not {known[0][0]:.2f}")

    return check, notes, tokens


def joined(text):
    return f"{text} ".replace("@@ ", "").strip()
