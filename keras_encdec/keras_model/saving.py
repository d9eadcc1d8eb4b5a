"""A Keras model that is saved whole or not at all, and can be trained on."""

import functools
import os

import keras

from keras_encdec.files import new_file, portable_config
from keras_encdec.keras_model.optimizers import has_optimizer_state, pass_over_state


class RestoredModel:
    """Mixed into a `keras.Model`: saved whole, and loaded compiled as it was.

    Example:
        ```python
        import os
        import tempfile

        import keras
        import numpy as np
        from keras_encdec.keras_model import RestoredModel

        class Doubled(RestoredModel, keras.Model):
            def call(self, inputs):
                return 2 * inputs

        model = Doubled()
        model.compile("sgd", "mse")
        model.predict(np.ones((2, 3)), verbose=0)
        model.save(os.path.join(tempfile.mkdtemp(), "model.keras"))
        ```
    """

    def save(self, filepath, overwrite=True, zipped=None, **kwargs):
        """Saves as `keras.Model.save` does, whole or not at all."""
        self.get_config()  # What cannot be saved is refused before anything is written.
        suffixes = () if zipped is False else (".keras", ".h5", ".hdf5")
        save = functools.partial(super().save, zipped=zipped, **kwargs)
        _save_whole(save, filepath, suffixes, overwrite)

    def save_weights(self, filepath, overwrite=True, max_shard_size=None):
        """Saves as `keras.Model.save_weights` does; one file whole or not at all."""
        suffixes = (".weights.h5",) if max_shard_size is None else ()
        save = functools.partial(super().save_weights, max_shard_size=max_shard_size)
        _save_whole(save, filepath, suffixes, overwrite)

    def get_compile_config(self):
        """Returns what `compile` was given, in words that every backend understands."""
        config = portable_config(super().get_compile_config())
        if config and getattr(self, "optimizer", None) is not None:
            config["optimizer_state"] = has_optimizer_state(self)
        return config

    def compile_from_config(self, config):
        """Compiles as a saved model was, by what `get_compile_config` returned."""
        config = dict(config)
        had_state = config.pop("optimizer_state", True)
        # Keras's own leaves a model whose `compile` is not its own uncompiled.
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is None:
            return
        if not had_state:
            pass_over_state(self.optimizer)
        elif self.built:
            self.optimizer.build(self.trainable_variables)


def _save_whole(save, filepath, suffixes, overwrite):
    """Has Keras write a file, of which it tells the kind by the end of its name."""
    suffix = next((x for x in suffixes if str(filepath).endswith(x)), None)
    if suffix is None or str(filepath).startswith("hf://"):
        save(filepath, overwrite=overwrite)
        return
    if not overwrite and os.path.exists(filepath):
        # Keras would ask at the terminal, and about the file beside it.
        raise FileExistsError(
            f"overwrite=False replaces no file; {str(filepath)!r} is there already. "
            "Choose another place, or give overwrite=True."
        )
    with new_file(filepath, suffix=suffix) as file:
        save(str(file))
