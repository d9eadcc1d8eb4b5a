"""What generation asks of a model: three verbs, and what it may say of itself.

Legend of shapes: B sources, S source, F features, R target rows (R / B in turn share a
source), T positions, V vocabulary, L steps.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from keras_encdec.annotations import Tensor

VERBS = "encode", "new_cache", "step"


class GenerationModel:
    """A model that a `Generator` can be given; any object with its verbs is one.

    A subclass, or another object, says by the attributes what can be checked before
    anything runs; what it does not say has the values here, and is not checked.

    Attributes:
        padding_id: The id of padding in source and target; None for any, 0 by default.
        source_vocabulary_size: The number of source ids, or None.
        target_vocabulary_size: The number of target ids V, or None.
        max_source_length: The largest length of a source, or None.
        max_length: The largest length of a target, or None.
        source_features: The number F of features of each source position, for a model
            whose source is `(B, S, F)`, float, a position of zeros being padding; None
            for ids, `(B, S)`, int32.
        masks_padding: Whether padding behind a source changes nothing; if it is False
            none is added, and sources of several lengths are refused.
        steps_by_row: Whether `step` also takes an index for each row, `(R,)`, int32, by
            which rows get ahead of others where drafts are checked; if not, all rows
            advance by as many tokens.
        projection: A function that returns the table `(V, D)` and the bias `(V,)`, or
            None, of the logits. `step` is then given `projection=`, a pair of some rows
            of both (or `()`), when the logits of these ids alone are wanted; without
            it, a shortlist takes them from all logits, which saves nothing.

    Example:
        ```python
        from keras import ops
        from keras_encdec import Generator
        from keras_encdec.protocol import GenerationModel

        class Copies(GenerationModel):
            def encode(self, source):
                return source

            def new_cache(self, batch_size, length):
                return ()

            def step(self, tokens, index, memory, cache):
                return ops.one_hot(memory[:, index], 10), cache

        print(Generator(Copies())([[5, 7, 2]], max_length=3))
        ```
    """

    padding_id = None
    source_vocabulary_size = None
    target_vocabulary_size = None
    max_source_length = None
    max_length = None
    source_features = None
    masks_padding = None
    steps_by_row = None
    projection = None

    def encode(self, source: Tensor) -> Tensor:
        """Returns what every step needs of the sources, nested tensors.

        Args:
            source: `(B, S)`, int32; or `(B, S, F)`, float.
        """
        raise NotImplementedError

    def new_cache(self, batch_size: int, length: int) -> Any:
        """Returns what steps remember, nested tensors of R rows each.

        Where their shapes depend on the length, more room is made by zeros at the end.

        Args:
            batch_size: The number of rows R, an int or an int32 scalar.
            length: The largest number of steps L, an int.
        """
        raise NotImplementedError

    def step(
        self, tokens: Tensor, index: Any, memory: Any, cache: Any
    ) -> tuple[Tensor, Any]:
        """Decodes the next token of each row.

        Scores, alignments and a draft's proposals call it with several positions at
        once, tokens `(R, T)`, and want an axis T in what it returns; alignments also
        give `attention_layer=` and want weights `(R, T, N, S)` behind the cache;
        `ContrastiveSampler` gives `return_hidden=True` and wants the hidden states.

        Args:
            tokens: The last token of each row, `(R,)`, int32.
            index: How many tokens came before, an int32 scalar; or, of a model that
                `steps_by_row`, `(R,)`.
            memory: What `encode` returned for B sources.
            cache: What the last step returned, or `new_cache`.

        Returns:
            The logits of the next token `(R, V)`, float, and the cache.
        """
        raise NotImplementedError

    def check_ids(self, source: Any = None, target: Any = None) -> None:
        """Raises a ValueError for arrays that the model cannot take.

        Args:
            source: A NumPy array of sources, or None.
            target: A NumPy array of target ids `(B, T)`, or None.
        """


class ModelFacts(NamedTuple):
    """What a model says of itself, the attributes of `GenerationModel`."""

    padding_id: Any
    source_vocabulary_size: Any
    target_vocabulary_size: Any
    max_source_length: Any
    max_length: Any
    source_features: Any
    masks_padding: Any
    steps_by_row: Any
    projection: Any


def facts_of(model: Any) -> ModelFacts:
    """Returns what a model says of itself, and None for what it does not.

    Args:
        model: A `GenerationModel`, or any object with its verbs.

    Returns:
        `ModelFacts`.

    Raises:
        TypeError: If it lacks a verb.

    Example:
        ```python
        from keras_encdec import EncoderDecoder
        from keras_encdec.protocol import facts_of

        print(facts_of(EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)))
        ```
    """
    lacking = [verb for verb in VERBS if not callable(getattr(model, verb, None))]
    if lacking:
        raise TypeError(
            "A model that generates must have the verbs encode(source), new_cache("
            "batch_size, length) and step(tokens, index, memory, cache); received "
            f"{model!r}, without {', '.join(lacking)}. Give an EncoderDecoder, or "
            "write the verbs as keras_encdec.protocol.GenerationModel says."
        )
    return ModelFacts(
        *(
            getattr(model, name, getattr(GenerationModel, name))
            for name in ModelFacts._fields
        )
    )


def largest_lengths(models: Iterable[Any]) -> dict[str, int | None]:
    """Returns the largest lengths that all of some models take.

    Args:
        models: As in `facts_of`.

    Returns:
        A dict of `max_source_length` and `max_length`, each an int, or None.
    """
    facts = [*map(facts_of, models)]
    return {
        name: min((x for x in lengths if x is not None), default=None)
        for name, lengths in (
            ("max_source_length", [x.max_source_length for x in facts]),
            ("max_length", [x.max_length for x in facts]),
        )
    }


def check_ids(model: Any, source: Any = None, target: Any = None) -> None:
    """Raises a ValueError for arrays that a model cannot take, if it can tell.

    Args:
        model: As in `facts_of`.
        source: A NumPy array of sources, or None.
        target: A NumPy array of target ids, or None.
    """
    check = getattr(model, "check_ids", GenerationModel().check_ids)
    check(source) if target is None else check(source, target)
