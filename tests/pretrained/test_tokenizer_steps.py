"""Steps of a `tokenizer.json`: done as `tokenizers` does them, or refused by name."""

import json

import pytest
import tokenizers
from tokenizers import Regex, decoders, models, normalizers, processors
from tokenizers import pre_tokenizers as splits

from keras_encdec.pretrained.tokenizers import tokenizers_from
from keras_encdec.text.byte_level import byte_alphabet

pytestmark = pytest.mark.once

SPECIAL = ["<pad>", "</s>", "<unk>", "<s>"]
CONFIG = {"model_type": "bart", "tokenizer_class": "PreTrainedTokenizerFast"}
TEXTS = ["ab a", " a  b\nab ", "A\u0301", ""]
METASPACE = splits.Metaspace()
WHITE_SPACE = normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " ")
RIGHT = normalizers.Strip(left=False)
IN_A_ROW = normalizers.Replace(Regex(" {2,}"), " ")


def pieces(model=models.Unigram, **options):
    found = [*((x, 0.0) for x in SPECIAL), ("▁a", -2.0), ("▁", -3.0)]
    found += [("a", -3.0), ("b", -3.0), ("▁ab", -2.5)]
    if model is models.BPE:
        ids = {piece: number for number, (piece, _) in enumerate(found)}
        merges = [("▁", "a"), ("▁a", "b")]
        options = {"unk_token": "<unk>", "fuse_unk": True, **options}
        built = models.BPE(ids, merges, **options)
    else:
        built = models.Unigram(found, unk_id=2, **options)
    tokenizer = tokenizers.Tokenizer(built)
    tokenizer.pre_tokenizer = splits.Sequence([splits.WhitespaceSplit(), METASPACE])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def pairs(**options):
    ids = {x: i for i, x in enumerate([*SPECIAL, *byte_alphabet(), "ab", "Ġa"])}
    merges = [("a", "b"), ("Ġ", "a")]
    tokenizer = tokenizers.Tokenizer(models.BPE(ids, merges, **options))
    tokenizer.pre_tokenizer = splits.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def read(tokenizer, folder, change=None):
    description = json.loads(tokenizer.to_str())
    for part, value in (change or {}).items():
        description[part] = value
    (folder / "tokenizer.json").write_text(json.dumps(description))
    return tokenizers_from(folder, CONFIG)[:2]


def template(single):
    return processors.TemplateProcessing(single, special_tokens=[("<s>", 3)])


@pytest.mark.parametrize(
    "kind, part, step",
    [
        (pieces, "normalizer", normalizers.Strip()),
        (pieces, "normalizer", normalizers.Sequence([IN_A_ROW])),
        (pieces, "normalizer", normalizers.NFC()),
        (pieces, "normalizer", normalizers.Sequence([WHITE_SPACE, RIGHT])),
        (pieces, "pre_tokenizer", METASPACE),
        (pieces, "post_processor", template("<s> $A <s>")),
        (pieces, "post_processor", processors.BertProcessing(("</s>", 1), ("<s>", 3))),
        (pairs, "pre_tokenizer", splits.ByteLevel()),
        (pairs, "pre_tokenizer", splits.Sequence([splits.ByteLevel()])),
        (pairs, "post_processor", processors.RobertaProcessing(("</s>", 1), ("a", 3))),
        (
            pairs,
            "post_processor",
            processors.Sequence([processors.ByteLevel(), template("<s> $A")]),
        ),
    ],
)
def test_steps_that_are_done_are_those_of_tokenizers(kind, part, step, tmp_path):
    tokenizer = kind()
    setattr(tokenizer, part, step)
    source, target = read(tokenizer, tmp_path)
    expected = [each.ids for each in tokenizer.encode_batch(TEXTS)]
    assert source.encode(TEXTS).to_list() == expected
    assert target.suffix_ids


def test_pairs_of_pieces_are_those_of_tokenizers(tmp_path):
    tokenizer = pieces(models.BPE)
    source, _ = read(tokenizer, tmp_path)
    expected = [each.ids for each in tokenizer.encode_batch(TEXTS)]
    assert source.encode(TEXTS).to_list() == expected


@pytest.mark.parametrize(
    "tokenizer, part, step, told",
    [
        *(
            (kind, "normalizer", step, type(step).__name__)
            for kind in (pieces, pairs)
            for step in (
                normalizers.Lowercase(),
                normalizers.NFKC(),
                normalizers.BertNormalizer(),
                normalizers.Prepend("x"),
            )
        ),
        (
            pieces,
            "normalizer",
            normalizers.Sequence([IN_A_ROW, normalizers.StripAccents()]),
            "StripAccents",
        ),
        (pieces, "normalizer", normalizers.Replace("a", "b"), "Replace of 'a' by 'b'"),
        (pairs, "normalizer", IN_A_ROW, "Replace"),
        (pieces, "pre_tokenizer", splits.WhitespaceSplit(), r"\['WhitespaceSplit'\]"),
        (pieces, "pre_tokenizer", splits.Metaspace(prepend_scheme="never"), "never"),
        (pieces, "pre_tokenizer", splits.Metaspace("_"), "replacement"),
        (pieces, "pre_tokenizer", splits.Sequence([]), r"received \[\]"),
        (
            pieces,
            "pre_tokenizer",
            splits.Sequence([splits.Digits(), METASPACE]),
            "'Digits', 'Metaspace'",
        ),
        (pairs, "pre_tokenizer", splits.ByteLevel(use_regex=False), "use_regex=true"),
        (
            pairs,
            "pre_tokenizer",
            splits.Sequence([splits.Digits(), splits.ByteLevel()]),
            "'Digits', 'ByteLevel'",
        ),
        (pieces, "post_processor", template("$A <s> $A"), "one text in it"),
        (pieces, "decoder", decoders.WordPiece(), "WordPiece"),
        (pairs, "decoder", decoders.BPEDecoder(), "BPEDecoder"),
    ],
)
def test_a_step_that_is_not_done_is_refused(tokenizer, part, step, told, tmp_path):
    tokenizer = tokenizer()
    setattr(tokenizer, part, step)
    with pytest.raises(ValueError, match=f"(?s)Each step.*{part}.*{told}.*take it out"):
        read(tokenizer, tmp_path)


@pytest.mark.parametrize(
    "tokenizer, told",
    [
        (lambda: pairs(ignore_merges=True), "ignore_merges=True"),
        (lambda: pairs(dropout=0.5), "dropout=0.5"),
        (lambda: pairs(byte_fallback=True), "byte_fallback=True"),
        (lambda: pieces(byte_fallback=True), "byte_fallback=True"),
        (lambda: pieces(models.BPE, end_of_word_suffix="b"), "end_of_word_suffix='b'"),
        (lambda: pieces(models.BPE, fuse_unk=False), "fuse_unk=false"),
    ],
)
def test_an_option_of_the_model_that_is_not_done_is_refused(tokenizer, told, tmp_path):
    with pytest.raises(ValueError, match=f"(?s)its model.*{told}"):
        read(tokenizer(), tmp_path)


def test_what_tokenizers_does_not_have_yet_is_refused(tmp_path):
    known = {"post_processor": {"type": "Later"}}, {"decoder": {"type": "Later"}}
    for change in (*known, {"pre_tokenizer": None}, {"normalizer": {"type": "Later"}}):
        with pytest.raises(ValueError, match="Each step"):
            read(pieces(), tmp_path, change)
    model = {**json.loads(pieces().to_str())["model"], "later": 1}
    with pytest.raises(ValueError, match="later=1"):
        read(pieces(), tmp_path, {"model": model})


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": "Lowercase"},
        {"normalizer": {"type": "Replace"}},
        {"model": None},
        {"post_processor": {"type": "RobertaProcessing"}},
        {"added_tokens": [{"content": "x"}]},
    ],
)
def test_files_of_another_form_are_refused(change, tmp_path):
    with pytest.raises(ValueError, match="form that transformers writes.*Copy"):
        read(pieces(), tmp_path, change)


def test_an_id_around_texts_is_one_of_the_vocabulary(tmp_path):
    step = {"type": "RobertaProcessing", "cls": ["a", 3], "sep": ["b", 10**9]}
    with pytest.raises(ValueError, match="post_processor.*ids of the vocabulary"):
        read(pieces(), tmp_path, {"post_processor": step})


def test_words_are_found_in_the_order_of_tokenizers(tmp_path):
    tokenizer = pieces()
    first = tokenizers.AddedToken("b x", normalized=False)
    tokenizer.add_tokens(["x", "xb", "(a|b)*", first])
    texts = [*TEXTS, "axb x", "b(a|b)*xa", "xb xbx"]
    expected = [each.ids for each in tokenizer.encode_batch(texts)]
    assert read(tokenizer, tmp_path)[0].encode(texts).to_list() == expected
