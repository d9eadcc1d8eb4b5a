"""CTranslate2, given the model by the library's export."""

import os
import tempfile
import time

import ctranslate2

# The library is imported where it is needed: who only translates waits for none of it.


def make_decoder(variant, size, weights, source, beams, length):
    from contenders.text import ids_of, make_text_to_text, words_of

    text_to_text = make_text_to_text(size, weights, beams, length)
    with tempfile.TemporaryDirectory() as folder:
        path = _export(variant, text_to_text, f"{folder}/model")
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


def save_translator(variant, saved, folder, beams, length):
    from contenders.ours import load_translator, with_shortlist

    text_to_text = load_translator(saved, beams, length)
    if variant == "shortlist":
        with_shortlist(text_to_text, folder)
    _export(variant, text_to_text, folder, overwrite=True)


def _export(variant, text_to_text, path, **options):
    from keras_encdec.export.ctranslate2 import export_ctranslate2

    quantization = "int8" if variant == "int8" else None
    return export_ctranslate2(text_to_text, path, quantization=quantization, **options)


class Translate:
    """Translates a list of texts, by the fastest of a few settings once it is tuned."""

    def __init__(self, folder, compute_type, **search):
        self._folder, self._compute_type, self._search = folder, compute_type, search
        # As its page advises: a translator for each core, sorted batches of tokens.
        cores = len(os.sched_getaffinity(0))
        self._settings = [(cores, 1, tokens) for tokens in (1024, 512, 2048, 4096)]
        self._settings.append((1, cores, 1024))
        self._use(self._settings[0])

    def _use(self, setting):
        translators, threads, self._tokens = setting
        self.setting = (
            f"inter_threads={translators}, intra_threads={threads}, "
            f"max_batch_size={self._tokens} tokens"
        )
        self._translator = ctranslate2.Translator(
            self._folder,
            compute_type=self._compute_type,
            inter_threads=translators,
            intra_threads=threads,
        )

    def __call__(self, texts):
        results = self._translator.translate_batch(
            [text.split() for text in texts],
            # It sorts by length itself.
            max_batch_size=self._tokens,
            batch_type="tokens",
            **self._search,
        )
        return [" ".join(result.hypotheses[0]) for result in results]

    def tune(self, work):
        def seconds(setting):
            self._use(setting)
            start = time.perf_counter()
            work()
            return time.perf_counter() - start

        self._use(min(self._settings, key=seconds))


def make_translator(variant, saved, folder, beams, length):
    search = {"beam_size": beams, "max_decoding_length": length}
    if variant == "shortlist":
        return Translate(folder, "float32", **search, use_vmap=True)
    return Translate(folder, variant, **search)
