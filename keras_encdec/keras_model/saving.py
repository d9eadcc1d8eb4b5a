"""A Keras model that is saved whole or not at all, and can be trained on."""

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

    def save(self, filepath, *args, **kwargs):
        """Saves as `keras.Model.save` does, whole or not at all."""
        self.get_config()  # What cannot be saved is refused before anything is written.
        if not str(filepath).endswith(".keras"):
            super().save(filepath, *args, **kwargs)
            return
        with new_file(filepath) as file:
            # Keras knows its files by their names.
            beside = file.with_name(f"{file.name}.keras")
            try:
                super().save(beside, *args, **kwargs)
                os.replace(beside, file)
            finally:
                beside.unlink(missing_ok=True)

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
