"""What is kept, and what is said, when a training ends."""

import numpy as np
import pytest

from keras_encdec.interrupts import check_interrupt
from keras_encdec.recipe import build
from keras_encdec.run import RunFolder
from keras_encdec.run.ending import best_in_the_end
from keras_encdec.run.record import make_record
from keras_encdec.text import ByteTokenizer
from keras_encdec.training import DivergenceError, TrainingOptions

pytestmark = pytest.mark.once


@pytest.mark.parametrize("done", [0, 2])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, DivergenceError, OSError])
def test_what_ends_it_is_told_with_what_is_kept(
    tmp_path, done, error, overwrite, interrupt
):
    small = {"hidden_dim": 8, "intermediate_dim": 8, "num_heads": 1, "num_layers": 1}
    text_to_text = build(ByteTokenizer(), ByteTokenizer(), max_length=8, **small)
    model, options = text_to_text.model, TrainingOptions(epochs=3)
    before = model.get_weights()
    place = RunFolder(tmp_path / "run")
    place.begin(make_record(options, (["one"], ["eno"])), text_to_text)
    kept = "up to epoch 2 of 3" if done else "No epoch was finished"
    # Told to overwrite, the same would begin anew.
    again = "the same without `overwrite` goes on" if overwrite else "the same again"
    kept += f".*{again}" if done and error is KeyboardInterrupt else ""
    words = kept if error is not OSError else "broken"
    with pytest.raises(error, match=words):
        with best_in_the_end(place, model, options, named=True, overwrite=overwrite):
            if done:
                text_to_text.save(place.best)
                place.checkpoints.mkdir()
                (place.checkpoints / f"epoch-{done:05d}.safetensors").touch()
            model.set_weights([weights + 1 for weights in before])
            if error is KeyboardInterrupt:
                interrupt()
                check_interrupt()
            raise error("broken")
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert place.path.exists() == bool(done)
