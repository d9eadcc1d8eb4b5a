"""The library's SavedModel, strings in and strings out, loaded in TensorFlow."""

import tempfile

import tensorflow as tf

from contenders.ours import load_translator
from contenders.text import ids_of, make_text_to_text, words_of
from keras_encdec import export_saved_model


def make_decoder(variant, size, weights, source, beams, length):
    texts = tf.constant([" ".join(words) for words in words_of(source)])
    text_to_text = make_text_to_text(size, weights, beams, length)
    with tempfile.TemporaryDirectory() as folder:
        path = export_saved_model(
            text_to_text,
            f"{folder}/1",
            signatures=["serving_default"],
            jit=variant == "saved-model-jit",
        )
        loaded = tf.saved_model.load(path)
    serve = loaded.signatures["serving_default"]

    def decode():
        found = serve(text=texts)["text"].numpy()
        return ids_of([text.decode().split() for text in found])

    # The loaded object must live as long as its signatures are called.
    decode.keep = loaded
    return decode


def save_translator(variant, saved, folder, beams, length):
    export_saved_model(
        load_translator(saved, beams, length),
        folder / "1",
        signatures=["serving_default"],
        jit=variant == "saved-model-jit",
        overwrite=True,
    )


def make_translator(variant, saved, folder, beams, length, rows=64):
    loaded = tf.saved_model.load(f"{folder}/1")
    serve = loaded.signatures["serving_default"]

    def translate(texts):
        # Sorted, as a client does who sends many.
        order = sorted(range(len(texts)), key=lambda i: -texts[i].count(" "))
        found = [None] * len(texts)
        for start in range(0, len(texts), rows):
            some = order[start : start + rows]
            answers = serve(text=tf.constant([texts[i] for i in some]))["text"]
            for i, answer in zip(some, answers.numpy(), strict=True):
                found[i] = answer.decode()
        return found

    # The loaded object must live as long as its signatures are called.
    translate.keep = loaded
    return translate
