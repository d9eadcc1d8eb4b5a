"""Words that stand for an id of their own wherever a text spells them."""

import re
from collections.abc import Callable

from keras_encdec.annotations import Tensor
from keras_encdec.backend import import_tensorflow

tf = import_tensorflow()

# No byte of a text in UTF-8.
_BREAK = b"\xff"
_SPACED = (
    *((f" {sign}", sign) for sign in (".", "?", "!", ",")),
    (" ' ", "'"),
    *((f" {short}", short) for short in ("n't", "'m", "'s", "'ve", "'re")),
)


class Sentinels(tf.Module):  # type: ignore[name-defined]
    """Words at which a text is split first: what stands between is a text of its own.

    Args:
        ids: A dict from each word to its id, such as `{"<extra_id_0>": 32099}`.

    Example:
        ```python
        from keras_encdec.text import ByteTokenizer
        from keras_encdec.text.sentinels import Sentinels

        tokenizer = ByteTokenizer(suffix_ids=())
        around = Sentinels({"<gap>": 260})
        print(around.encode(["a<gap>b"], tokenizer.encode).to_list())
        ```
    """

    def __init__(self, ids: dict[str, int]) -> None:
        super().__init__()
        # Of two words that begin alike, the longer one.
        words = sorted(ids, key=len, reverse=True)
        self._pattern = "|".join(map(re.escape, words))
        if not words:
            return
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                words, [ids[word] for word in words], tf.string, tf.int32
            ),
            default_value=-1,
        )

    def encode(self, texts: Tensor, to_ids: Callable[[Tensor], Tensor]) -> Tensor:
        """Ragged ids of texts `(B,)`, with `to_ids` for all that is no sentinel."""
        if not self._pattern:
            return to_ids(texts)
        broken = tf.strings.regex_replace(texts, self._pattern, b"\xff\\0\xff")
        parts = tf.strings.split(broken, _BREAK)
        ids = self._table.lookup(parts.flat_values)
        is_text = ids < 0
        between = to_ids(tf.where(is_text, parts.flat_values, ""))
        own = tf.RaggedTensor.from_tensor(
            ids[:, None], lengths=tf.cast(~is_text, tf.int64)
        )
        return parts.with_values(tf.concat([between, own], axis=1)).merge_dims(1, 2)


def without_gaps(texts: Tensor) -> Tensor:
    """Takes the spaces before English signs and short forms out of texts."""
    for spaced, plain in _SPACED:
        texts = tf.strings.regex_replace(texts, re.escape(spaced), plain)
    return texts
