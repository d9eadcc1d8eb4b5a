"""CTranslate2, given the model by the library's export."""

import os
import tempfile

import ctranslate2

from contenders.text import ids_of, make_text_to_text, words_of
from keras_encdec.export.ctranslate2 import export_ctranslate2


def make_decoder(variant, size, weights, source, beams, length):
    text_to_text = make_text_to_text(size, weights, beams, length)
    with tempfile.TemporaryDirectory() as folder:
        path = export_ctranslate2(
            text_to_text,
            f"{folder}/model",
            quantization="int8" if variant == "int8" else None,
        )
        translator = ctranslate2.Translator(
            str(path),
            compute_type=size.dtype if variant == "float32" else variant,
            # As many as the others take by themselves.
            intra_threads=len(os.sched_getaffinity(0)),
        )
    words = words_of(source)

    def decode():
        results = translator.translate_batch(
            words, beam_size=beams, max_decoding_length=length
        )
        return ids_of([result.hypotheses[0] for result in results])

    return decode
