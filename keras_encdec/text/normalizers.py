"""How texts are normalized before they are split, in TensorFlow's graph."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from keras_encdec.annotations import Tensor
from keras_encdec.backend import lazy_tensorflow
from keras_encdec.text.character_classes import SPACE
from keras_encdec.text.graph_parts import HasGraphParts, graph_part

tf = lazy_tensorflow()

Step: TypeAlias = Mapping[str, Any]

# Patterns that other programs read otherwise than RE2.
_PATTERNS = {r"\s{2,}|[\n\r\t]": rf"[{SPACE}]{{2,}}|[\n\r\t]"}


class Normalizer(HasGraphParts):
    """Steps that change a text, one after the other, as a `tokenizer.json` says them.

    Args:
        steps: A sequence of dicts: `{"type": "NFC"}`; `{"type": "Strip", "strip_left":
            True, "strip_right": True}`; `{"type": "Replace", "pattern": {"String": a},
            "content": b}`, or `{"Regex": a}` of what RE2 reads alike; or `{"type":
            "Precompiled"}`, the normalization of a SentencePiece model.
        charsmap: That normalization, as SentencePiece writes it.

    Raises:
        ValueError: If a step is none of these.

    Example:
        ```python
        from keras_encdec.text.normalizers import Normalizer

        print(Normalizer([{"type": "NFC"}])(["e\u0301"]).numpy()[0].decode())  # é
        ```
    """

    def __init__(self, steps: Sequence[Step], charsmap: bytes = b"") -> None:
        known = "NFC", "Precompiled", "Replace", "Strip"
        others = [step for step in steps if step.get("type") not in known]
        if others:
            raise ValueError(
                f"Each step of a normalizer must be one of {', '.join(known)}; "
                f"received {others[0]!r:.80}. Leave it out, and do it to the texts."
            )
        self._steps = tuple(dict(step) for step in steps)
        self._charsmap = charsmap

    @graph_part
    def _model(self) -> Any:
        from keras_encdec.text.piece_models import load_pieces

        if self._charsmap:
            return load_pieces(_normalizing_proto(self._charsmap), tf.string)
        return None

    def __call__(self, texts: Tensor) -> Tensor:
        """Returns the normalized texts, strings `(B,)`."""
        for step in self._steps:
            texts = self._done(step, tf.convert_to_tensor(texts))
        return texts

    def _done(self, step: Step, texts: Tensor) -> Tensor:
        if step["type"] == "NFC":
            import tensorflow_text

            return tensorflow_text.normalize_utf8(texts, "NFC")
        if step["type"] == "Strip":
            sides = {"strip_left": f"^[{SPACE}]+", "strip_right": f"[{SPACE}]+$"}
            for side, pattern in sides.items():
                if step.get(side, True):
                    texts = tf.strings.regex_replace(texts, pattern, "")
            return texts
        if step["type"] == "Replace":
            ((kind, pattern),) = step["pattern"].items()
            pattern = _PATTERNS.get(pattern, pattern)
            pattern = re.escape(pattern) if kind == "String" else pattern
            content = step["content"].replace("\\", r"\\")
            return tf.strings.regex_replace(texts, pattern, content)
        if self._model is None:
            return texts
        return tf.strings.reduce_join(self._model.tokenize(texts), axis=1)


def _normalizing_proto(charsmap: bytes) -> bytes:
    """A model of which the one piece, of what is unknown, is the normalized text."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    model.pieces.add(piece="<unk>", score=0.0, type=2)
    model.trainer_spec.model_type = model.trainer_spec.CHAR
    model.trainer_spec.unk_id = 0
    for name in ("bos_id", "eos_id", "pad_id"):
        setattr(model.trainer_spec, name, -1)
    model.normalizer_spec.precompiled_charsmap = charsmap
    for name in ("add_dummy_prefix", "remove_extra_whitespaces", "escape_whitespaces"):
        setattr(model.normalizer_spec, name, False)
    return model.SerializeToString()
