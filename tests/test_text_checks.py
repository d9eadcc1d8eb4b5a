import pytest

from keras_encdec import ByteTokenizer, EncoderDecoder, WordTokenizer
from keras_encdec.text_checks import check_lengths, check_tokenizers

pytestmark = pytest.mark.once


def test_names_the_first_text_that_is_too_long_and_counts_the_others():
    model = EncoderDecoder(9, 8, 8, 2, 1, positions="learned", max_length=4)
    texts = ["short", "long", "longer"]
    check_lengths(model, "source", [3, 4, 4], texts)
    with pytest.raises(ValueError, match="received 5 in text 2 .* 1 more: 'long'"):
        check_lengths(model, "source", [3, 5, 6], texts)
    with pytest.raises(ValueError, match="A target text .* Cut it."):
        check_lengths(model, "target", [3, 5, 4], texts, "Cut it.")


def test_a_model_without_a_limit_takes_any_length():
    check_lengths(EncoderDecoder(9, 8, 8, 2, 1), "source", [10**6], ["long"])


def test_tokenizers_have_the_ids_of_the_model():
    words, more = WordTokenizer(["a"]), WordTokenizer(["a", "b"])
    model = EncoderDecoder(5, 8, 8, 2, 1, target_vocabulary_size=6)
    check_tokenizers(model, words, more)
    check_tokenizers(model, words, words)
    with pytest.raises(ValueError, match="The source tokenizer .* received 6 and 5"):
        check_tokenizers(model, more, more)
    with pytest.raises(ValueError, match="The target tokenizer must not have more"):
        check_tokenizers(model, words, ByteTokenizer())
    other = WordTokenizer(["a"], padding_id=3, unknown_id=0)
    with pytest.raises(ValueError, match="target tokenizer .* received padding_id=3"):
        check_tokenizers(model, words, other)
