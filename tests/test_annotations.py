"""What a type checker tells those who use the library."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

RIGHT = """
import numpy as np
from keras_encdec import BeamSampler, Generator, TextToText, train
from keras_encdec.generation import BadWords

text_to_text = TextToText.load("folder", modules=["my_layers"])
texts: list[str] = text_to_text(["one", b"two"], max_length=8)
pairs: list[tuple[str, float]] = text_to_text(["one"], return_scores=True)
other = text_to_text.with_sampler("beam", jit_compile=False)
score: float = other.evaluate(["one"], ["eins"]).bleu
text_to_text.align(["one"], ["eins"], heads=4)
generator = Generator(text_to_text.model, BeamSampler(4), start_id=1, end_id=2)
mine = lambda ids, logits, step: logits / step.padding_id
generator = Generator(generator.model, processors=[BadWords([[5, 6]]), mine])
generator([[5], [7]], np.array([4, 6]), seed=np.array([0, 1]))
generator.align([[5]], [[7]], heads=4)
logs = train(text_to_text, ["one"], ["eins"], epochs=2, validation=(["a"], ["b"]))
"""
WRONG = {
    'TextToText.load(["folder"])': "arg-type",
    'TextToText.load("folder").stream(["a text"])': "arg-type",
    'TextToText.load("folder")(["one"], max_len=8)': "call-overload",
    'TextToText.load("folder").encode(["one"], side="left")': "arg-type",
    'train(TextToText.load("folder"), ["one"], None)': "arg-type",
    'BeamSampler(4, length_normalization="googol")': "arg-type",
    "Generator(text_to_text.model, processors=[len])": "list-item",
}


def test_right_use_passes_and_wrong_use_is_told(tmp_path):
    program = tmp_path / "program.py"
    lines = [*RIGHT.splitlines(), *WRONG]
    program.write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        # With the settings of the house, for which it knows the library already.
        [sys.executable, "-m", "mypy", str(program)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    told = {}
    for line in done.stdout.splitlines():
        if found := re.search(r":(\d+): error: .*\[([a-z-]+)\]$", line):
            told[lines[int(found[1]) - 1]] = found[2]
    assert told == WRONG, done.stdout + done.stderr
