"""Monitors the number of collisions and their energy, module by module (A7)."""

import warnings
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from kiti.ko import KO
from kiti.residual import Colliding, Residual
from kiti.tasks.rank_sums import gathered, part_of


class CollisionMonitor(Callback):
    """Logs statistics of the collisions as means over each epoch, and keeps their means over all of training.

    - `collision/<module>/partners`: accepted partners per particle, for each module that collides features;
    - `collision/<module>/energy_ratio`: its |v'|² / |v|². Warns once if a ratio exceeds `warn_above`: with the literal
      sum energy grows with the number of partners squared, and training no longer resembles inference;
    - `ko/<parameter>/relative_change`: |Δg| / |g|, for each parameter whose gradient collides;
    - `ko/<parameter>/pairs`: pairs of its neurons that collide in a step, if collisions are hard.

    Means of features are over all batches, those of gradients over all steps of the optimizer: the sums stay on the
    device and are read at the end of an epoch. Warns once too if no pair has collided in any module after an epoch.
    Checkpoints contain the sums of every rank.
    """

    def __init__(self, warn_above: float) -> None:
        self.warn_above = warn_above
        self._warned = False
        self._epoch: dict[str, Tensor] = {}  # metric -> (sum, number of steps) over the epoch
        self._before: dict[str, Tensor] = {}  # the same over earlier epochs
        self._ends: dict[str, dict[str, float]] = {}  # metric -> its mean over the "first" and the "last" epoch
        self._particles: dict[str, int] = {}  # N by module; 0 if it varies
        self._picked: dict[str, str] = {}
        self._trainer: Trainer | None = None
        self._ko_steps = 0  # collisions of gradients that are counted already

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._trainer = trainer

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for module in pl_module.modules():
            if isinstance(module, Colliding):
                module.running.warns = False  # this callback does, once for the run

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for full_name, module in pl_module.named_modules():
            if isinstance(module, Residual) and module.collisions is not None:
                name = full_name.removeprefix("model.")
                for what, value in module.collisions._asdict().items():
                    _add(self._epoch, f"collision/{name}/{what}", value)
                module.collisions = None
                if isinstance(module, Colliding) and module.picked and module.particles:
                    self._picked[name] = module.picked
                    n = module.particles
                    self._particles[name] = n if self._particles.get(name, n) == n else 0
        ko: KO | None = getattr(pl_module, "ko", None)
        if ko and ko.step_count != self._ko_steps:  # not where gradients are only gathered
            self._ko_steps = ko.step_count
            for name, change in ko.relative_change.items():
                _add(self._epoch, f"ko/{name}/relative_change", change)
                if name in ko.pairs:
                    _add(self._epoch, f"ko/{name}/pairs", change.new_tensor(ko.pairs[name]))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        means = _means(self._epoch)
        if not self._before:
            self._ends["first"] = means
        self._ends["last"] = means
        for metric, mean in means.items():
            pl_module.log(metric, mean, sync_dist=True)
            if metric.endswith("energy_ratio") and not mean <= self.warn_above:
                self._warn(
                    f"{metric.split('/')[1]}: collisions multiply the kinetic energy by {mean:.3g}; lower coll_coef, "
                    "raise collision_heads, or see kiti-calibrate"
                )
        self._before, self._epoch = self._all(), {}
        if (silent := self.silent()) and silent == len(self.collisions() or {}):
            self._warn(
                f"no pair of features collides in any of {silent} modules; raise coll_coef or see kiti-calibrate"
            )

    def _all(self) -> dict[str, Tensor]:
        """The sums over all of training."""
        both = dict(self._before)
        for metric, row in self._epoch.items():
            both[metric] = both[metric] + row if metric in both else row
        return both

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(message, stacklevel=3)

    def silent(self) -> int:
        """In how many modules no pair has collided over all of training, of those that collide features."""
        return sum(found["partners"] == 0 for found in (self.collisions() or {}).values())

    def collisions(self) -> dict[str, dict[str, float]] | None:
        """By module, means over all of training; None if no features collide.

        `partners` and `energy_ratio` as logged; `energy_ratio_first` and `energy_ratio_last`, its means over the first
        and the last epoch; `particles`, the N of a system, and `pairs` = partners · N / 2, the accepted pairs a system;
        not these two if N varied.
        """
        found: dict[str, dict[str, float]] = {}
        for metric, mean in _means(self._all()).items():
            kind, module, what = metric.split("/")
            if kind == "collision":
                found.setdefault(module, {})[what] = mean
        for module, of_module in found.items():
            if n := self._particles.get(module):
                of_module |= {"particles": n, "pairs": of_module["partners"] * n / 2}
            for end, means in self._ends.items():
                if (metric := f"collision/{module}/energy_ratio") in means:
                    of_module[f"energy_ratio_{end}"] = means[metric]
        return found or None

    def implementations(self) -> dict[str, str] | None:
        """{module: which implementation of the collision ran}; None if no features collide."""
        return self._picked or None

    def ko(self) -> dict[str, float] | None:
        """{parameter: |Δg| / |g|}, means over all of training; None if no gradients collide."""
        return self._of_gradients("relative_change")

    def ko_pairs(self) -> dict[str, float] | None:
        """{parameter: pairs of its neurons that collide in a step}, means over all of training; None if none can."""
        return self._of_gradients("pairs")

    def _of_gradients(self, what: str) -> dict[str, float] | None:
        split = {tuple(metric.split("/")): mean for metric, mean in _means(self._all()).items()}
        return {names[1]: mean for names, mean in split.items() if (names[0], names[2]) == ("ko", what)} or None

    def state_dict(self) -> dict[str, Any]:
        return {
            "epoch": self._of_all_ranks(self._epoch),
            "before": self._of_all_ranks(self._before),
            "warned": self._warned,
            "picked": self._picked,
            "particles": self._particles,
            "ends": self._ends,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._epoch, self._before = (self._of_this_rank(state[sums]) for sums in ("epoch", "before"))
        self._warned, self._picked = state["warned"], dict(state.get("picked", {}))
        # Earlier checkpoints have neither; what ended before them is not known.
        self._particles = dict(state.get("particles", {}))
        self._ends = {end: dict(means) for end, means in state.get("ends", {}).items()}

    def _of_all_ranks(self, sums: dict[str, Tensor]) -> dict[str, Tensor]:
        return {metric: gathered(self._trainer, row) for metric, row in sums.items()}

    def _of_this_rank(self, saved: dict[str, Tensor]) -> dict[str, Tensor]:
        # Checkpoints from before the sums of all ranks were kept have a single row.
        return {metric: part_of(self._trainer, rows.reshape(-1, 2)) for metric, rows in saved.items()}


def _add(sums: dict[str, Tensor], metric: str, value: Tensor) -> None:
    """Add without synchronising with the device."""
    row = torch.stack([value.double(), torch.ones_like(value, dtype=torch.float64)])
    sums[metric] = sums[metric].to(row.device) + row if metric in sums else row


def _means(sums: dict[str, Tensor]) -> dict[str, float]:
    return {metric: float(total / count) for metric, (total, count) in sums.items()}
