"""BatchNorm over the batch of all ranks, in models with hooks."""

from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class SyncBatchNormInPlace(TorchSyncBatchNorm):
    """Makes each BatchNorm a torch SyncBatchNorm, and back, without creating a new module.

    torch's own conversion creates one, which loses the hooks of seams, stochastic depth and quadratic neurons.
    """

    def __init__(self) -> None:
        self._before: dict[nn.Module, type[nn.Module]] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        """Raises TypeError for a subclass of BatchNorm: it may do more than SyncBatchNorm does."""
        for name, module in model.named_modules():
            if type(module) in PLAIN:
                self._before[module] = type(module)
                module.__class__ = nn.SyncBatchNorm
                module.process_group = None  # type: ignore[assignment]  # all ranks
            elif isinstance(module, PLAIN):
                raise TypeError(f"trainer.sync_batchnorm: cannot synchronise {name}, a {type(module).__name__}")
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        for module, kind in self._before.items():
            module.__class__ = kind
            del module.process_group
        self._before = {}
        return model
