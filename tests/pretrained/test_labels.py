"""Labels of Hugging Face's and ours, and the shift of each family."""

import numpy as np
import pytest

from keras_encdec import (
    labels_from_hugging_face,
    labels_to_hugging_face,
    teacher_forcing,
    text_dataset,
)

pytestmark = pytest.mark.once

LABELS = np.array([[8, 9, 4, 2], [7, 2, -100, -100], [2, -100, -100, -100]])
# The target language of mBART-25 stands behind the end, and begins the target.
WITH_LANGUAGE = np.array([[8, 9, 2, 6], [7, 2, 6, -100], [2, 6, -100, -100]])


@pytest.mark.parametrize("family", ["marian", "bart", "m2m_100", "pegasus", "mbart"])
@pytest.mark.parametrize("padding", [0, 1])
def test_targets_are_theirs_shifted_right(family, padding):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    modeling = getattr(transformers.models, family)
    shift = getattr(modeling, f"modeling_{family}").shift_tokens_right
    labels = WITH_LANGUAGE if family == "mbart" else LABELS
    start = 6 if family == "mbart" else 2
    more = () if family == "mbart" else (start,)
    theirs = shift(torch.tensor(labels), padding, *more).numpy()
    ours = labels_from_hugging_face(labels.tolist(), padding)
    (_, target), true, weights = teacher_forcing(
        np.zeros((3, 1), "int32"), ours, start_id=start, padding_id=padding
    )
    real = labels != -100
    np.testing.assert_array_equal(weights, real)
    np.testing.assert_array_equal(target[real], theirs[real])
    assert ours.dtype == "int32" and np.all(ours[~real] == padding)
    # And back.
    back = labels_to_hugging_face(true, padding)
    assert back.dtype == "int64"
    np.testing.assert_array_equal(back, labels)


def test_targets_of_t5_start_with_padding():
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    sizes = {"vocab_size": 12, "d_model": 4, "d_kv": 2, "d_ff": 4, "num_layers": 1}
    config = transformers.T5Config(**sizes, num_heads=2, decoder_start_token_id=0)
    model = transformers.T5ForConditionalGeneration(config)
    theirs = model._shift_right(torch.tensor(LABELS)).numpy()
    ours = labels_from_hugging_face(LABELS, 0)
    (_, target), *_ = teacher_forcing(LABELS * 0, ours, start_id=0, padding_id=0)
    real = LABELS != -100
    np.testing.assert_array_equal(target[real], theirs[real])


def test_what_is_padded_already_is_left_out_too():
    found = labels_from_hugging_face([[5, 2, 1, -100]], 1)
    assert found.tolist() == [[5, 2, 1, 1]]
    assert labels_from_hugging_face(np.zeros((0, 3), "int64"), 1).shape == (0, 3)


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        ([[5, -1]], ValueError, r"0 or more, or -100 .*; received -1 at row 0, column"),
        ([[5, 2], [-101, 2]], ValueError, "received -101 at row 1, column 0"),
        ([[5, 2], [-100, 2]], ValueError, "end of a row; row 1 has it before"),
        ([5, 2], ValueError, r"rank 2.*received shape \(2,\)"),
        ([[5.0, 2.0]], TypeError, "integer ids; received dtype float64"),
    ],
)
def test_refuses_other_labels(labels, error, words):
    with pytest.raises(error, match=words):
        labels_from_hugging_face(labels, 1)


def test_refuses_what_is_theirs_already_and_no_padding():
    with pytest.raises(ValueError, match="received -100 at row 0, column 1. Give"):
        labels_to_hugging_face([[5, -100]], 1)
    with pytest.raises(ValueError, match="padding_id must be an id.*received -1"):
        labels_from_hugging_face([[5]], -1)


@pytest.mark.parametrize("name", ["mbart", "mbart50", "m2m_100", "nllb"])
def test_texts_of_a_language_are_shifted_as_theirs(name, family_folder, read):
    torch = pytest.importorskip("torch")
    from transformers.models.m2m_100 import modeling_m2m_100
    from transformers.models.mbart import modeling_mbart

    source, target, start = read(family_folder(name), name)
    texts = ["Two men.", "A man in green holds a guitar."]
    dataset = text_dataset(texts, texts, source, target, bucket_boundaries=[24])
    (((_, shifted), labels, weights),) = dataset.as_numpy_iterator()
    theirs = torch.tensor(labels)
    if name.startswith("mbart"):
        theirs = modeling_mbart.shift_tokens_right(theirs, target.padding_id)
        if name == "mbart50":
            # Their shift wraps the end, which is what theirs start with.
            assert start.start_id == target.end_id
    else:
        theirs = modeling_m2m_100.shift_tokens_right(
            theirs, target.padding_id, start.start_id
        )
    real = weights > 0
    np.testing.assert_array_equal(shifted[real], theirs.numpy()[real])
