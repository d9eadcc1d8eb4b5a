import json

import pytest
import tensorflow as tf

from keras_encdec.export import fresh_process

pytestmark = pytest.mark.once


def test_refuses_a_process_that_knows_the_library(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "model"))
    (tmp_path / "requests").write_text(json.dumps([]))
    with pytest.raises(ImportError, match="must be fresh"):
        fresh_process.main(str(tmp_path / "model"), tmp_path)
    assert not (tmp_path / "answers").exists()
