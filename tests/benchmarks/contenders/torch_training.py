"""What the contenders written in plain PyTorch share."""

import torch
from sizes import LABEL_SMOOTHING, PADDING

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def copy_dense(module, weights, name):
    module.weight.copy_(torch.tensor(weights[f"{name}.kernel"].T))
    module.bias.copy_(torch.tensor(weights[f"{name}.bias"]))


def copy_norm(module, weights, name):
    module.weight.copy_(torch.tensor(weights[f"{name}.gamma"]))
    module.bias.copy_(torch.tensor(weights[f"{name}.beta"]))


class TorchTrainer:
    """Trains a PyTorch model, of which `logits(source, target)` is a function."""

    def __init__(self, model, logits, dtype, compiled=False):
        self._model, self._logits = model, logits
        self._dtype = getattr(torch, dtype)
        # The fastest that it has.
        self._optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
        self._forward = torch.compile(self._loss) if compiled else self._loss

    def _loss(self, source, target, labels):
        mixed = self._dtype != torch.float32
        with torch.autocast(DEVICE, self._dtype, enabled=mixed):
            logits = self._logits(source, target)
            return torch.nn.functional.cross_entropy(
                logits.flatten(0, 1),
                labels.flatten(),
                ignore_index=PADDING,
                label_smoothing=LABEL_SMOOTHING,
            )

    def loss(self, batch):
        self._model.eval()
        with torch.no_grad():
            return float(self._loss(*_tensors(batch)))

    def train(self, batches):
        self._model.train()
        for batch in batches:
            self._optimizer.zero_grad()
            loss = self._forward(*_tensors(batch))
            loss.backward()
            self._optimizer.step()
            # As Keras gives it after each batch.
            float(loss)


def _tensors(batch):
    return [torch.tensor(ids, dtype=torch.long, device=DEVICE) for ids in batch]
