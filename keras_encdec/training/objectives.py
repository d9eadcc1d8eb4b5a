"""Other ways to a loss: from hidden states, by R-Drop, SimCut or a teacher's words.

Each wraps a model and trains it in place; evaluation knows nothing of it. Shapes: B
batch, T target length, D model, V vocabulary.
"""

import keras
from keras import ops

from keras_encdec.backend import all_layers, compile_train_step
from keras_encdec.keras_model import CheckedModel, RestoredModel
from keras_encdec.training.losses import (
    TokenCrossEntropy,
    counted_labels,
    token_weights,
)
from keras_encdec.training.metrics import is_best
from keras_encdec.training.projected_loss import projected_cross_entropy

MEAN = TokenCrossEntropy().reduction


class _Objective(CheckedModel, RestoredModel, keras.Model):
    """A model to train, with a term to train it by.

    A subclass defines `added_loss(x, y, y_pred, sample_weight, loss)`, from what
    `compute_loss` takes and the loss of the labels to the loss to train with.
    """

    def __init__(self, model, name, weights_are_shares):
        super().__init__(name=name)
        self.model = model
        self.weights_are_shares = weights_are_shares
        self.term = keras.metrics.Mean(name=name)

    def call(self, inputs, training=None):
        """Returns what the model returns."""
        return self.model(inputs, training=training)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Returns the loss: in training with the term, else that of the labels."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        loss = self.added_loss(x, y, y_pred, sample_weight, loss)
        if self.weights_are_shares:
            loss = loss * ops.sum(self._weights(y, sample_weight))
        return loss

    def _weights(self, y, sample_weight):
        ignored = getattr(self.loss, "ignore_class", 0)
        return token_weights(y, sample_weight, ignored)

    def mean_over_tokens(self, values, y, sample_weight):
        """The mean of values `(B, T)` over the tokens that count; keeps it as a log."""
        weights = self._weights(y, sample_weight)
        total = ops.sum(values * weights)
        mean = total / ops.maximum(ops.sum(weights), keras.config.epsilon())
        self.term.update_state(mean, ops.sum(weights))
        return mean


class ProjectedLoss(CheckedModel, RestoredModel, keras.Model):
    """Trains an `EncoderDecoder` faster and in less memory than by its logits.

    The loss, and its gradient, are those of `TokenCrossEntropy` on the model's logits,
    but the logits are never there all at once: see `projected_cross_entropy`. The
    accuracy of the tokens, which a metric would need the logits for, is logged as
    `token_accuracy` beside the loss.

    Regularizers of weights count too; what a layer gives to `add_loss` does not. On
    PyTorch steps are recorded after 32 of the same shapes and then run without Python,
    the optimizer's part too: as on the other backends, a schedule or a learning rate
    that is a function has to be there when the model is compiled. With
    `jit_compile=True` given to `compile` Inductor compiles these steps there, which
    takes a minute or more for each set of shapes and pays on GPUs, for large models;
    dropout then draws other numbers.

    Args:
        model: The `EncoderDecoder` to train in place.
        weights_are_shares: For gradients that the optimizer accumulates over n batches:
            whether the sample weights of n batches in turn sum to n, as those of
            `TokenBatches.dataset(accumulate=n)` do. The loss of a batch is then
            multiplied by the sum of its weights, and the update is that of one batch of
            all their tokens; Keras alone takes the mean of the batches' means.

    Raises:
        ValueError: If a layer regularizes its outputs, or `compile` is given another
            loss than a `TokenCrossEntropy`, or metrics.

    Example:
        ```python
        import numpy as np
        from keras_encdec import EncoderDecoder, TokenCrossEntropy
        from keras_encdec.training import ProjectedLoss

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        trained = ProjectedLoss(model)
        trained.compile("adam", TokenCrossEntropy(label_smoothing=0.1))
        source, target = np.array([[5, 7, 2]]), np.array([[1, 7, 5]])
        trained.fit((source, target), np.array([[7, 5, 2]]), verbose=0)
        print(model((source, target)).shape)
        ```
    """

    def __init__(self, model, *, weights_are_shares=False):
        super().__init__(name="projected_loss")
        for layer in all_layers(model):
            if getattr(layer, "activity_regularizer", None) is not None:
                raise ValueError(
                    "ProjectedLoss takes no loss of layers' outputs; received a model "
                    f"whose {layer.name!r} has an activity_regularizer. Compile the "
                    "model itself, or regularize weights."
                )
        self.model = model
        self.weights_are_shares = weights_are_shares
        self.accuracy = keras.metrics.Mean(name="token_accuracy")

    def compile(self, optimizer="rmsprop", loss=None, **kwargs):
        """Compiles as `keras.Model.compile` does, with a `TokenCrossEntropy`."""
        if not isinstance(loss, TokenCrossEntropy) or loss.reduction != MEAN:
            raise ValueError(
                "ProjectedLoss computes the mean of TokenCrossEntropy; received "
                f"loss={loss!r}. Compile the model itself for another loss."
            )
        if kwargs.get("metrics") or kwargs.get("weighted_metrics"):
            raise ValueError(
                "Metrics need logits, which ProjectedLoss avoids; received metrics. "
                "Leave them out (token_accuracy is logged), or compile the model."
            )
        super().compile(optimizer, loss, **kwargs)
        step = super().train_step
        self._train_step = compile_train_step(
            step,
            self._training_loss,
            self._log,
            self.optimizer,
            [*self.model.variables, *self.metrics_variables],
            jit=self.jit_compile,
            sums=self.weights_are_shares,
        )
        if self._train_step is not step:
            # Keras would compile what records the step, not the step.
            self.jit_compile = False

    def train_step(self, *args, **kwargs):
        """Takes a step as `keras.Model.train_step` does."""
        return self._train_step(*args, **kwargs)

    def call(self, inputs, training=None):
        """Returns the logits `(B, T, V)`; in training the ids, for `compute_loss`."""
        return inputs if training else self.model(inputs, training=False)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Returns the loss, in training from the ids, else from logits."""
        if training:
            loss, accuracy, count = self._training_loss(x, y, sample_weight)
        else:
            loss = super().compute_loss(x, y, y_pred, sample_weight, training)
            weights, count = self._weights(y, sample_weight)
            best = is_best(counted_labels(y, weights), y_pred)
            accuracy = ops.sum(best * weights) / count
        self.accuracy.update_state(accuracy, count)
        return loss

    def weight_of(self, y, y_pred, sample_weight):
        """Returns the weight of all tokens, which the loss is a mean over."""
        if keras.tree.is_nested(y_pred):  # The ids of training.
            return ops.sum(token_weights(y, sample_weight, self.loss.ignore_class))
        return super().weight_of(y, y_pred, sample_weight)

    def _weights(self, labels, sample_weight):
        weights = token_weights(labels, sample_weight, self.loss.ignore_class)
        return weights, ops.maximum(ops.sum(weights), keras.config.epsilon())

    def _log(self, rows, loss, accuracy, count):
        """Updates the metrics as `compute_loss` and Keras do; returns their results."""
        self.accuracy.update_state(accuracy, count)
        (mean,) = (x for x in self.metrics if x.name == "loss")
        mean.update_state(loss, sample_weight=rows)
        return self.get_metrics_result()

    def _training_loss(self, x, labels, sample_weight):
        """Returns the loss, and without a gradient accuracy and sum of the weights."""
        source, target = (x["source"], x["target"]) if isinstance(x, dict) else x
        encoded = self.model.encode_hidden(source, training=True)
        hidden = self.model.decode_hidden(target, encoded, training=True)
        hidden = ops.cast(hidden, "float32")
        table, bias = self.model.projection(training=True)
        table = ops.cast(table, "float32")
        if bias is not None:
            # One more feature, which is 1 everywhere.
            hidden = ops.pad(hidden, [[0, 0], [0, 0], [0, 1]], constant_values=1.0)
            bias = ops.cast(bias, "float32")
            table = ops.concatenate([table, bias[:, None]], axis=1)
        weights, count = self._weights(labels, sample_weight)
        sums = projected_cross_entropy(
            ops.reshape(hidden, (-1, hidden.shape[-1])),
            table,
            ops.reshape(labels, (-1,)),
            ops.reshape(weights, (-1,)),
            label_smoothing=self.loss.label_smoothing,
        )
        loss = sums[0] / count
        for variable in self.model.trainable_variables:
            if variable.regularizer is not None:
                loss = loss + variable.regularizer(variable)
        if self.weights_are_shares:
            loss = loss * count
        return loss, ops.stop_gradient(sums[1]) / count, count


class RDrop(_Objective):
    """Trains a model so that two draws of dropout predict the same.

    Each batch goes through the model twice. The loss is half of the paper's, so that
    it compares with that of a single pass: the mean of both passes' losses, and
    `weight / 2` times the mean over the tokens of the two Kullback-Leibler divergences
    between their predictions, averaged. The divergence is logged as `r_drop`.

    Args:
        model: The model to train in place, with dropout in it, from ids to logits
            `(B, T, V)`; an `EncoderDecoder`.
        weight: The paper's alpha; 5 is usual for translation.
        weights_are_shares: As `ProjectedLoss` has it.

    Raises:
        ValueError: If `weight` is not positive.

    Example:
        ```python
        import numpy as np
        from keras_encdec import EncoderDecoder, TokenCrossEntropy
        from keras_encdec.training import RDrop

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1, dropout=0.3)
        trained = RDrop(model, weight=5)
        trained.compile("adam", TokenCrossEntropy(label_smoothing=0.1))
        source, target = np.array([[5, 7, 2]]), np.array([[1, 7, 5]])
        trained.fit((source, target), np.array([[7, 5, 2]]), verbose=0)
        print(model((source, target)).shape)
        ```

    Reference:
        Liang et al. 2021, R-Drop: Regularized Dropout for Neural Networks, equation 4.
    """

    def __init__(self, model, weight=5.0, *, weights_are_shares=False):
        super().__init__(model, "r_drop", weights_are_shares)
        if not weight > 0:
            raise ValueError(
                f"The weight of R-Drop must be positive; received {weight}. Train the "
                "model itself for none."
            )
        self.weight = weight

    def added_loss(self, x, y, y_pred, sample_weight, loss):
        """Returns the loss of two passes that should agree."""
        again = self.model(x, training=True)
        second = super().compute_loss(x, y, again, sample_weight, training=False)
        left, right = (
            ops.log_softmax(ops.cast(logits, "float32")) for logits in (y_pred, again)
        )
        # Half the sum of both divergences.
        divergence = ops.sum((ops.exp(left) - ops.exp(right)) * (left - right), -1) / 2
        term = self.mean_over_tokens(divergence, y, sample_weight)
        return (loss + second) / 2 + ops.cast(self.weight / 2 * term, loss.dtype)


class SimCut(_Objective):
    """Trains a model to predict the same where some tokens are cut out of its sight.

    Each batch goes through the model twice, the second time with the vectors of some
    tokens, of sources and targets, set to zero. The loss is that of the labels in the
    first pass, and `weight` times the mean over the tokens of the Kullback-Leibler
    divergence of the second pass's prediction from the first one's, through both of
    which the gradient flows. The divergence is logged as `simcut`.

    Args:
        model: The `EncoderDecoder` to train in place, with an `Encoder`.
        weight: The paper's alpha; 3 is usual for translation.
        cutoff: The probability of each token to be cut.
        weights_are_shares: As `ProjectedLoss` has it.

    Raises:
        ValueError: If `weight` is not positive, `cutoff` is not between 0 and 1, or
            the encoder embeds no tokens.

    Example:
        ```python
        import numpy as np
        from keras_encdec import EncoderDecoder, TokenCrossEntropy
        from keras_encdec.training import SimCut

        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1, dropout=0.3)
        trained = SimCut(model, weight=3, cutoff=0.05)
        trained.compile("adam", TokenCrossEntropy(label_smoothing=0.1))
        source, target = np.array([[5, 7, 2]]), np.array([[1, 7, 5]])
        trained.fit((source, target), np.array([[7, 5, 2]]), verbose=0)
        print(model((source, target)).shape)
        ```

    Reference:
        Gao et al. 2022, Bi-SimCut: A Simple Strategy for Boosting Neural Machine
        Translation.
    """

    def __init__(self, model, weight=3.0, cutoff=0.05, *, weights_are_shares=False):
        super().__init__(model, "simcut", weights_are_shares)
        if not (weight > 0 and 0 < cutoff < 1):
            raise ValueError(
                "The weight of SimCut must be positive, the probability to cut a token "
                f"above 0 and below 1; received {weight} and {cutoff}. Train the model "
                "itself for none."
            )
        if getattr(model, "source_vocabulary_size", None) is None:
            raise ValueError(
                "SimCut cuts tokens where an Encoder embeds them; received a model of "
                "an encoder of another kind. Train it by RDrop."
            )
        self.weight = weight
        self.cutoff = cutoff
        self.seed_generator = keras.random.SeedGenerator()

    def added_loss(self, x, y, y_pred, sample_weight, loss):
        """Returns the loss of the labels and of the pass with cut tokens."""
        source, target = (x["source"], x["target"]) if isinstance(x, dict) else x
        cut = [self._drawn(ids) for ids in (source, target)]
        encoded = self.model.encode_hidden(source, training=True, cut=cut[0])
        hidden = self.model.decode_hidden(target, encoded, training=True, cut=cut[1])
        left, right = (
            ops.log_softmax(ops.cast(logits, "float32"))
            for logits in (y_pred, self.model.decoder.logits(hidden))
        )
        divergence = ops.sum(ops.exp(left) * (left - right), -1)
        term = self.mean_over_tokens(divergence, y, sample_weight)
        return loss + ops.cast(self.weight * term, loss.dtype)

    def _drawn(self, ids):
        """Which of ids `(B, L)` are cut, bool."""
        draws = keras.random.uniform(ops.shape(ids), seed=self.seed_generator)
        return draws < self.cutoff


class WordDistillation(_Objective):
    """Trains a model to predict as a teacher does, token by token.

    The loss is `1 - weight` times that of the labels, and `weight` times the mean over
    the tokens of the Kullback-Leibler divergence of the model's prediction from the
    teacher's, which is logged as `word_distillation`.

    Args:
        model: The model to train in place, from ids to logits `(B, T, V)`; an
            `EncoderDecoder`.
        teacher: A trained model with the same vocabularies, or an `Ensemble` of
            several, whose mean prediction is then learned. It is not trained, and
            never drops out.
        weight: The teacher's share, above 0 and at most 1.
        temperature: What both logits are divided by first: above 1, more is learned
            of the less likely words. The divergence is multiplied by its square, which
            keeps the gradients' size.
        weights_are_shares: As `ProjectedLoss` has it.

    Raises:
        ValueError: If `weight` or `temperature` is out of range, or the vocabularies
            differ in size.

    Example:
        ```python
        import numpy as np
        from keras_encdec import EncoderDecoder, TokenCrossEntropy
        from keras_encdec.training import WordDistillation

        teacher = EncoderDecoder(20, 32, 64, num_heads=2, num_layers=2)
        model = EncoderDecoder(20, 16, 32, num_heads=2, num_layers=1)
        trained = WordDistillation(model, teacher, weight=0.5, temperature=2)
        trained.compile("adam", TokenCrossEntropy())
        source, target = np.array([[5, 7, 2]]), np.array([[1, 7, 5]])
        trained.fit((source, target), np.array([[7, 5, 2]]), verbose=0)
        print(model((source, target)).shape)
        ```

    Reference:
        Kim and Rush 2016, Sequence-Level Knowledge Distillation, section 3.1; Hinton
        et al. 2015, Distilling the Knowledge in a Neural Network.
    """

    # Not `keras.distillation.Distiller`: that one counts padding and leaves out sample
    # weights, and its teacher takes part in evaluation.

    def __init__(
        self,
        model,
        teacher,
        weight=0.5,
        temperature=1.0,
        *,
        weights_are_shares=False,
    ):
        super().__init__(model, "word_distillation", weights_are_shares)
        if not (0 < weight <= 1 and temperature > 0):
            raise ValueError(
                "The teacher's weight must be above 0 and at most 1, the temperature "
                f"positive; received {weight} and {temperature}."
            )
        sizes = [each.output.shape[-1] for each in (model, teacher)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                "Model and teacher must have the same target vocabulary; received "
                f"{sizes[0]} and {sizes[1]} ids. Train both with the same tokenizers."
            )
        self.teacher = teacher
        self.weight = weight
        self.temperature = temperature

    # The teacher is not trained here; whether it is elsewhere is not ours to change.

    @property
    def trainable_variables(self):
        """Those of the model."""
        return self.model.trainable_variables

    @property
    def trainable_weights(self):
        """Those of the model."""
        return self.model.trainable_weights

    @property
    def non_trainable_variables(self):
        """All others, those of the teacher too."""
        return _without(self.variables, self.trainable_variables)

    @property
    def non_trainable_weights(self):
        """All others, those of the teacher too."""
        return _without(self.weights, self.trainable_weights)

    def added_loss(self, x, y, y_pred, sample_weight, loss):
        """Returns the loss of the labels and of the teacher."""
        taught = ops.stop_gradient(self.teacher(x, training=False))
        left, right = (
            ops.log_softmax(ops.cast(logits, "float32") / self.temperature)
            for logits in (taught, y_pred)
        )
        divergence = ops.sum(ops.exp(left) * (left - right), -1) * self.temperature**2
        term = self.mean_over_tokens(divergence, y, sample_weight)
        return (1 - self.weight) * loss + ops.cast(self.weight * term, loss.dtype)


def _without(variables, others):
    ids = {id(variable) for variable in others}
    return [variable for variable in variables if id(variable) not in ids]
