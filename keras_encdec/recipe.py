"""The usual way to train: pairs of texts in, a `TextToText` out."""

import time

import keras

from keras_encdec.model import EncoderDecoder
from keras_encdec.text import (
    ByteTokenizer,
    CharacterTokenizer,
    SentencePieceTokenizer,
    WordTokenizer,
    text_dataset,
)
from keras_encdec.text_to_text import TextToText
from keras_encdec.training import TokenAccuracy, TokenCrossEntropy

TOKENIZERS = ("sentencepiece", "word", "character", "byte")


def make_tokenizer(kind, texts, vocabulary_size=8000):
    """Builds a tokenizer of a kind from texts.

    Args:
        kind: `"sentencepiece"`, `"word"`, `"character"` or `"byte"`.
        texts: A list of texts.
        vocabulary_size: The largest number of ids, the four special ones included. Of
            SentencePiece the number itself, which its trainer lowers if the texts have
            fewer pieces; bytes have their own.

    Returns:
        A `Tokenizer`.

    Raises:
        ValueError: If the kind is unknown, or the texts give no vocabulary.

    Example:
        ```python
        from keras_encdec.recipe import make_tokenizer

        print(make_tokenizer("character", ["one", "two"]).vocabulary_size)
        ```
    """
    if kind == "byte":
        return ByteTokenizer()
    if kind == "sentencepiece":
        return SentencePieceTokenizer.train(
            texts, vocabulary_size, character_coverage=1.0, hard_vocab_limit=False
        )
    kinds = {"word": WordTokenizer, "character": CharacterTokenizer}
    if kind not in kinds:
        raise ValueError(
            f"The kind of a tokenizer must be one of {', '.join(TOKENIZERS)}; received "
            f"{kind!r}."
        )
    return kinds[kind].from_texts(texts, max_size=vocabulary_size - 4)


def train(
    sources,
    targets,
    source_tokenizer,
    target_tokenizer,
    *,
    validation=None,
    hidden_dim=256,
    intermediate_dim=1024,
    num_heads=4,
    num_layers=3,
    num_decoder_layers=None,
    dropout=0.1,
    label_smoothing=0.1,
    epochs=10,
    batch_size=64,
    learning_rate=1e-3,
    bucket_boundaries=(8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256),
    max_length=256,
    seed=0,
    callbacks=(),
    verbose="auto",
):
    """Builds an `EncoderDecoder` for two tokenizers and trains it on pairs of texts.

    Adam with a linear warm-up over the first twentieth of the updates and a cosine
    decay over the rest, label smoothing, batches of similar lengths. If training is
    interrupted from the keyboard, what has been learned is returned.

    Args:
        sources: The source texts, a list.
        targets: The target texts, as many.
        source_tokenizer: A `Tokenizer`.
        target_tokenizer: A `Tokenizer`; if it is the same object, source and target
            share their embeddings.
        validation: A pair `(sources, targets)` to evaluate after each epoch, or None.
        hidden_dim: As of `EncoderDecoder`.
        intermediate_dim: As of `EncoderDecoder`.
        num_heads: As of `EncoderDecoder`.
        num_layers: As of `EncoderDecoder`.
        num_decoder_layers: As of `EncoderDecoder`.
        dropout: As of `EncoderDecoder`.
        label_smoothing: As of `TokenCrossEntropy`.
        epochs: The number of passes over the pairs.
        batch_size: The number of pairs in a batch.
        learning_rate: The highest learning rate.
        bucket_boundaries: The lengths that batches are padded to.
        max_length: The largest number of tokens of a source or a target; longer texts
            are cut.
        seed: The seed of initial weights, order and dropout.
        callbacks: Keras callbacks.
        verbose: As of `keras.Model.fit`.

    Returns:
        A greedy `TextToText`, with `history` as `keras.Model.fit` returns it (None if
        training was interrupted) and `training_seconds`.

    Raises:
        ValueError: If there are no pairs, or an option is out of range.

    Example:
        ```python
        from keras_encdec.recipe import make_tokenizer, train

        sources, targets = ["one", "two"], ["eno", "owt"]
        tokenizer = make_tokenizer("character", sources)
        small = {"hidden_dim": 16, "intermediate_dim": 32, "num_layers": 1}
        text_to_text = train(
            sources, targets, tokenizer, tokenizer, **small, epochs=1, max_length=8
        )
        print(text_to_text(["two"]))
        ```
    """
    keras.utils.set_random_seed(seed)
    options = {
        "batch_size": batch_size,
        "bucket_boundaries": bucket_boundaries,
        "max_source_length": max_length,
        "max_target_length": max_length,
    }
    tokenizers = source_tokenizer, target_tokenizer
    dataset = text_dataset(sources, targets, *tokenizers, seed=seed, **options)
    if validation is not None:
        validation = text_dataset(*validation, *tokenizers, shuffle=False, **options)
    shared = source_tokenizer is target_tokenizer
    model = EncoderDecoder(
        source_tokenizer.vocabulary_size,
        hidden_dim,
        intermediate_dim,
        num_heads,
        num_layers,
        target_vocabulary_size=None if shared else target_tokenizer.vocabulary_size,
        num_decoder_layers=num_decoder_layers,
        dropout=dropout,
    )
    updates = epochs * int(dataset.cardinality())
    warmup = min(updates // 20 + 1, 4000)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 100,
        max(1, updates - warmup),
        alpha=0.01,
        warmup_target=learning_rate,
        warmup_steps=warmup,
    )
    model.compile(
        keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=1e-9),
        TokenCrossEntropy(label_smoothing=label_smoothing),
        metrics=[TokenAccuracy()],
    )
    text_to_text = TextToText(*tokenizers, model, max_length=max_length)
    text_to_text.history = None
    start = time.perf_counter()
    try:
        text_to_text.history = model.fit(
            dataset,
            epochs=epochs,
            validation_data=validation,
            callbacks=list(callbacks),
            verbose=verbose,
        )
    except KeyboardInterrupt:
        print("\nInterrupted; going on with what has been learned.")
    text_to_text.training_seconds = time.perf_counter() - start
    return text_to_text
