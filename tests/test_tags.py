"""A tag at the head of sources: the same ids, answers and exports as in the text."""

import pytest

from keras_encdec import ByteTokenizer, TextToText, build, with_tag
from keras_encdec.recipe import learn_subwords, make_tokenizer
from keras_encdec.tags import tag_id, tag_symbol

pytestmark = pytest.mark.once

TEXTS = ["a cat sat on a mat", "eine katze", "", " two  spaces"]
TAGS = ["<de>", "<en>"]
SMALL = {"hidden_dim": 8, "intermediate_dim": 8, "num_layers": 1, "num_heads": 1}


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def tokenizer(request):
    return learn_subwords(TEXTS[:2] * 20, 60, tags=TAGS, model_type=request.param)


@pytest.fixture
def both(tokenizer):
    return build(tokenizer, tokenizer, max_length=4, **SMALL)


@pytest.mark.parametrize("tag", TAGS)
def test_ids_and_answers_are_those_of_the_tag_in_the_text(both, tag, eagerly):
    tagged = with_tag(both, tag)
    written = [f"{tag} {text}" for text in TEXTS]
    rows = [row.tolist() for row in both.encode(written)]
    assert [row.tolist() for row in tagged.encode(TEXTS)] == rows
    assert {row[0] for row in rows} == {tag_id(both.source_tokenizer, tag)}
    assert tagged(TEXTS) == both(written)
    # Nothing else is another.
    assert tagged.model is both.model and not both.source_tokenizer.prefix_ids
    assert tagged.target_tokenizer is both.target_tokenizer


def test_is_saved_with_it(both, tmp_path, eagerly):
    tagged = with_tag(both, "<de>")
    tagged.save(tmp_path / "saved")
    loaded = TextToText.load(tmp_path / "saved")
    for one, other in zip(loaded.encode(TEXTS), tagged.encode(TEXTS), strict=True):
        assert one.tolist() == other.tolist()


def test_drawn_subwords_keep_the_tag(tokenizer):
    for row in tokenizer.sample(["<de> a cat"] * 20, alpha=0.5, seed=1).to_list():
        assert row[0] == tag_id(tokenizer, "<de>")


def test_a_vocabulary_without_tags_is_what_it_was():
    plain = make_tokenizer("sentencepiece", TEXTS[:2] * 20, 40)
    tagged = make_tokenizer("sentencepiece", TEXTS[:2] * 20, 40, tags=TAGS)
    assert plain.split(["<de>"]) != [[tag_symbol("<de>")]]
    assert tagged.split(["<de> a"])[0][0] == tag_symbol("<de>")


def test_says_what_is_wrong(both):
    with pytest.raises(ValueError, match="received '<fr>' and <SentencePiece"):
        with_tag(both, "<fr>")
    with pytest.raises(ValueError, match="received '<en>' for a tokenizer with prefix"):
        with_tag(with_tag(both, "<de>"), "<en>")
    # A word that texts have is none.
    with pytest.raises(ValueError, match="must be a symbol"):
        with_tag(both, "a")
    of_bytes = build(ByteTokenizer(), ByteTokenizer(), **SMALL)
    with pytest.raises(ValueError, match="received '<de>' and <ByteTokenizer"):
        with_tag(of_bytes, "<de>")
