"""`LightningCallback`: KO and the random directions in anybody's LightningModule."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from kiti.ko import KO
from kiti.ko.foreign_optimizers import ATTRIBUTE, unwrapped
from kiti.ko.sharding import with_gradients
from kiti.residual import Residual
from kiti.seams.watching import Directions


class LightningCallback(Callback):
    """Collides the gradients of each optimizer that has a KO, and saves the directions of KITI in the checkpoints.

    Lightning computes gradients within the optimizer's step, so KO is created with attach=False, in
    `configure_optimizers`. This callback collides after accumulation and unscaling, before Lightning clips. A step that
    float16's scaler skips neither collides nor counts. KO's own state is in the optimizer's.

    Raises:
        ValueError: when training starts, if a KO has attach=True.

    Example:
        >>> import kiti, pytorch_lightning
        >>> trainer = pytorch_lightning.Trainer(callbacks=[kiti.LightningCallback()], logger=False)
    """

    def __init__(self) -> None:
        self._module: LightningModule | None = None
        self._saved: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for optimizer in trainer.optimizers:
            ko = ko_of(optimizer)
            if ko is not None and ko.attached:
                raise ValueError("KO has attach=True, but the LightningCallback collides: create it with attach=False")
        self._module = pl_module
        if self._saved is not None:
            Directions(pl_module).load_state_dict(self._saved)
            self._saved = None

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        ko = ko_of(optimizer)
        if ko is None:
            return
        if is_skipped(trainer, optimizer):
            ko.relative_change, ko.pairs = {}, {}
        else:
            ko.collide()

    def state_dict(self) -> dict[str, Any]:
        module = self._module
        if module is None or not any(isinstance(m, Residual) for m in module.modules()):
            return {}
        return {"directions": Directions(module).state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = state_dict.get("directions")


def ko_of(optimizer: Optimizer) -> KO | None:
    """The KO that was created for this optimizer."""
    return getattr(unwrapped(optimizer), ATTRIBUTE, None)


def scaler_of(trainer: Trainer | None) -> Any:
    """The scaler of Lightning's 16-mixed; None with other precisions."""
    return getattr(getattr(trainer, "precision_plugin", None), "scaler", None)


def is_skipped(trainer: Trainer | None, optimizer: Optimizer) -> bool:
    """Whether Lightning's 16-mixed found a gradient that is not finite, so that it will skip the step.

    The gradients are unscaled afterwards, also those of a fused optimizer.
    """
    scaler = scaler_of(trainer)
    if scaler is None:
        return False
    if not scaler._found_inf_per_device(optimizer) and with_gradients(optimizer):
        scaler.unscale_(optimizer)  # which Lightning leaves to the step of a fused optimizer
    return any(bool(inf) for inf in scaler._found_inf_per_device(optimizer).values())
