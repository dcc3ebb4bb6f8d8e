"""Monitors distances between particles and the Knudsen number of KITINet 2.1 during training.

Equation 2 weights a pair by exp(−|x_i − x_j|), so the mean free path is 1 in the units of the features. The paper takes
the 90th percentile of distances as the length L of the system, 3.29 after a normalisation, so that Kn = 1/L = 0.30.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from kiti.collision.particles import to_particles
from kiti.residual import Colliding

MEAN_FREE_PATH = 1.0
QUANTILES = {"q10": 0.1, "q50": 0.5, "q90": 0.9}
_SYSTEMS = 128  # systems measured per replica: they have thousands of pairs


class DistanceMonitor(Callback):
    """Measures distances between particles where features collide, and between neurons whose gradients collide.

    For each replica the metrics `distance_<q10|q50|q90>/<name>@<epoch>` and `knudsen/<name>@<epoch>` = 1 / q90, of the
    features x of the first batch of that epoch, and of the weights before its first step. Checkpoints contain them.

    Args:
        snapshots: epochs, from 1 on.
    """

    def __init__(self, snapshots: Sequence[int]) -> None:
        self.snapshots = sorted(snapshots)
        self._kept: dict[str, Float[Tensor, "R 3"]] = {}  # quantiles by <name>@<epoch>
        self._hooks: list[Any] = []

    # Not at the start of an epoch: a run resumed within an epoch would miss it.
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        epoch = trainer.current_epoch + 1
        if epoch not in self.snapshots:
            return
        replicas: int | None = pl_module.replicas  # type: ignore[assignment]  # of kiti.tasks.task.Task
        ko = getattr(pl_module, "ko", None)
        for name, parameter in ko.params.items() if ko else ():
            if f"{name}@{epoch}" in self._kept:
                continue
            rows = parameter.detach()
            rows = rows.flatten(1).unsqueeze(0) if replicas is None else rows.flatten(2)
            self._kept[f"{name}@{epoch}"] = torch.stack([quantiles(one.unsqueeze(0)) for one in rows])
        for name, module in pl_module.get_submodule("model").named_modules():
            if isinstance(module, Colliding) and f"{name}@{epoch}" not in self._kept:
                self._hooks.append(module.register_forward_pre_hook(self._measure_once(f"{name}@{epoch}", replicas)))

    def on_train_batch_end(self, *args: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        of_replica: list[dict[str, float]] = pl_module.of_replica  # type: ignore[assignment]
        for name, found in self._kept.items():
            for metrics, values in zip(of_replica, found.tolist(), strict=True):
                metrics |= {f"distance_{q}/{name}": value for q, value in zip(QUANTILES, values, strict=True)}
                metrics[f"knudsen/{name}"] = MEAN_FREE_PATH / values[-1] if values[-1] else float("inf")

    def _measure_once(self, key: str, replicas: int | None) -> Any:
        def measure(module: Colliding, arguments: tuple[Tensor, ...]) -> None:
            if key in self._kept:  # measure a module only once even if it is called several times
                return
            x = arguments[0].detach().movedim(module.axis, -1)
            each = [x] if replicas is None else x.unbind(1)
            systems = [to_particles(_some(one), module.rules.collision_heads, module.rules.layout) for one in each]
            self._kept[key] = torch.stack([quantiles(particles) for particles in systems])

        return measure

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self._kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._kept = dict(state["kept"])


def quantiles(particles: Float[Tensor, "S N d"]) -> Float[Tensor, "3"]:
    """10th, 50th and 90th percentile of |x_i − x_j| over pairs i < j of each system; nan where there is no pair."""
    n = particles.shape[1]
    first, second = torch.triu_indices(n, n, offset=1, device=particles.device)
    between = torch.cdist(particles, particles, compute_mode="donot_use_mm_for_euclid_dist")[:, first, second]
    wanted = torch.tensor(list(QUANTILES.values()), dtype=between.dtype, device=between.device)
    if not between.numel():
        return torch.full_like(wanted, torch.nan).cpu()
    return torch.quantile(between.flatten(), wanted).cpu()


def _some(features: Float[Tensor, "*systems D"]) -> Float[Tensor, "S D"]:
    rows = features.flatten(0, -2).float()
    return rows[:: max(1, len(rows) // _SYSTEMS)]
