import pytest

from keras_encdec import (
    BeamSampler,
    ByteTokenizer,
    CharacterTokenizer,
    EncoderDecoder,
    Ensemble,
    TextToText,
    WordTokenizer,
    build,
    text_ensemble,
)
from keras_encdec.generation import NoRepeatNGram

pytestmark = pytest.mark.once

SMALL = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1, "num_heads": 2}


def made(seed=0, tokenizer=None, **options):
    tokenizer = tokenizer or ByteTokenizer()
    return build(
        tokenizer, tokenizer, seed=seed, **{**SMALL, "max_length": 6} | options
    )


def test_shares_the_models_by_their_weights():
    first, other = made(1), made(2, hidden_dim=32)
    ensemble = text_ensemble([first, other], [1, 3], mean="log_probability")
    assert ensemble.model.models == [first.model, other.model]
    config = ensemble.model.options()
    assert config["weights"] == [0.25, 0.75] and config["mean"] == "log_probability"


def test_searches_as_the_first_does():
    sampler, processors = BeamSampler(2), [NoRepeatNGram(2)]
    one, model = ByteTokenizer(), made().model
    first = TextToText(one, one, model, sampler, processors=processors, max_length=5)
    first.card.update(data="words", licence="mit", scores=["BLEU = 1"])
    second = made(2)
    second.card.update(data="words", licence="apache-2.0")
    found = text_ensemble([first, second])
    assert isinstance(found.model, Ensemble) and found.sampler == sampler
    assert found.generator.processors == first.generator.processors
    assert found.max_length == 5
    assert found.card == {"name": "An ensemble of 2 models", "data": "words"}
    size, learned = one.vocabulary_size, {"positions": "learned", "max_length": 4}
    short = EncoderDecoder(size, **SMALL, **learned)
    short = TextToText(one, one, short, max_length=4)
    assert text_ensemble([first, short]).max_length == 4


@pytest.mark.parametrize(
    "tokenizer, says",
    [
        (CharacterTokenizer(["b", "a"]), "give 'a' the ids [4, 2] and [5, 2]"),
        (CharacterTokenizer(["a", "b", "c"]), "have 6 and 7 ids"),
        (CharacterTokenizer(["a", "b"], start_id=2), "have start_id=1 and 2"),
    ],
)
def test_models_of_other_ids_are_refused(tokenizer, says):
    first = made(tokenizer=CharacterTokenizer(["a", "b"]))
    other = made(tokenizer=tokenizer)
    with pytest.raises(ValueError, match="received mine and yours, whose sou") as error:
        text_ensemble([first, first, other], names=["mine", "too", "yours"])
    assert says in str(error.value)


def test_tokenizers_of_another_class_may_give_the_same_ids():
    class Letters(CharacterTokenizer):
        pass

    letters = made(tokenizer=CharacterTokenizer(["a", "b"]))
    assert text_ensemble([letters, made(tokenizer=Letters(["a", "b"]))])
    # Each letter is the same id, but a word of two is none that the other knows.
    words = made(tokenizer=WordTokenizer(["a", "b"]))
    with pytest.raises(ValueError, match="whose source tokenizers give '.*ab?' the id"):
        text_ensemble([letters, words])


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match="at least one model"):
        text_ensemble([])
    with pytest.raises(ValueError, match="a positive weight for each"):
        text_ensemble([made(), made()], [1])
    both = text_ensemble([made(), made()])
    with pytest.raises(TypeError, match=r"Ensemble of text_to_texts\[1\]"):
        text_ensemble([made(), both])
